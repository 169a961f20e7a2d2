"""Options come before the environment, the environment before the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smart_gateway.settings.loading import Examination, examine, glance

FILE = """server:
  public_url: https://fhir.example.org/fhir
  management: 127.0.0.1:9090
upstream: {url: http://127.0.0.1:8090/fhir, fhir_version: R4}
issuers:
  - issuer: https://idp.example.org
policy: {clients: {Growth-Chart: {role: system}}, users: {Practitioner: everything}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE)
    return path


def read(file: Path, environment: dict[str, str], *given: str) -> Any:
    examination = examine(file, environment, given=given)
    assert examination.settings is not None, [str(finding) for finding in examination.findings]
    return examination.settings


def errors(examination: Examination) -> list[str]:
    return [f"{f.place} {f.key}: {f.text}{f' ({f.nearest})' if f.nearest else ''}" for f in examination.findings if f.severity == "error"]


@pytest.mark.parametrize(
    ("name", "value", "get", "expected"),
    [
        ("UPSTREAM__URL", "http://127.0.0.1:1/x", lambda s: s.upstream.url, "http://127.0.0.1:1/x"),
        ("UPSTREAM__ALLOW_HTTP", "true", lambda s: s.upstream.allow_http, True),
        ("ISSUERS__0__ISSUER", "https://other.example", lambda s: s.issuers[0].issuer, "https://other.example"),
        ("ISSUERS__1", "{issuer: https://b.example}", lambda s: [i.issuer for i in s.issuers][1], "https://b.example"),
        ("ISSUERS", "[{issuer: https://c.example}]", lambda s: [i.issuer for i in s.issuers], ["https://c.example"]),
        ("ISSUERS__0__AUDIENCES", "[a, b]", lambda s: s.issuers[0].audiences, ["a", "b"]),
        ("ISSUERS__0__AUDIENCES__0", "42", lambda s: s.issuers[0].audiences, ["42"]),
        ("ISSUERS__0__LEEWAY", "1m", lambda s: s.issuers[0].leeway, 60.0),
        ("POLICY__LIMITS__ENTRIES", "7", lambda s: s.policy.limits.entries, 7),
        ("POLICY__CLIENTS__GROWTH-CHART__ROLE", "system", lambda s: list(s.policy.clients), ["Growth-Chart"]),
        ("POLICY__USERS__PRACTITIONER", "nothing", lambda s: s.policy.users.of("Practitioner"), "nothing"),
        ("SERVER__TRUSTED_PROXIES", "[10.0.0.0/8]", lambda s: s.server.trusted_proxies, ["10.0.0.0/8"]),
        ("REVOCATION__JTI", "['1']", lambda s: s.revocation.jti, ["1"]),
    ],
)
def test_variables_set_keys(file: Path, name: str, value: str, get: Any, expected: Any) -> None:
    assert get(read(file, {f"SMART_GATEWAY_{name}": value})) == expected


def test_a_variable_that_looks_like_a_number_is_the_text_that_is_wanted(file: Path) -> None:
    settings = read(file, {"SMART_GATEWAY_UPSTREAM__AUTHORIZATION__BEARER": "0123456"}, "upstream.authorization={bearer: x}")
    assert settings.upstream.authorization.bearer.reveal() == "x"
    settings = read(file, {"SMART_GATEWAY_UPSTREAM__AUTHORIZATION__BEARER": "12345"})
    assert settings.upstream.authorization.bearer.reveal() == "12345"


def test_options_come_before_the_environment(file: Path) -> None:
    settings = read(file, {"SMART_GATEWAY_SERVER__LISTEN": "127.0.0.1:1"}, "server.listen=127.0.0.1:2", "policy.limits.entries=3")
    assert (settings.server.listen, settings.policy.limits.entries) == ("127.0.0.1:2", 3)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("UPSTRAEM__URL", "x", "$SMART_GATEWAY_UPSTRAEM__URL upstraem: unknown key (upstream)"),
        ("UPSTREAM__URI", "x", "$SMART_GATEWAY_UPSTREAM__URI upstream.uri: unknown key (url)"),
        ("UPSTREAM__URL", "ftp://x", "$SMART_GATEWAY_UPSTREAM__URL upstream.url: must be an absolute http or https URL"),
        ("UPSTREAM__URL__X", "1", "$SMART_GATEWAY_UPSTREAM__URL__X upstream.url.x: upstream has no level below it here"),
        ("ISSUERS__9__ISSUER", "https://x", "$SMART_GATEWAY_ISSUERS__9__ISSUER issuers.9.issuer: issuers has no level below it here"),
        ("ISSUERS__X", "1", "$SMART_GATEWAY_ISSUERS__X issuers.x: there is no such item to set"),
        ("SERVER__LISTEN", "", "$SMART_GATEWAY_SERVER__LISTEN server.listen: has no value"),
        ("SERVER__LISTEN", "[", "$SMART_GATEWAY_SERVER__LISTEN : not YAML: expected the node content, but found '<stream end>'"),
        ("UPSTREAM__ALLOW_HTTP", "yes", "$SMART_GATEWAY_UPSTREAM__ALLOW_HTTP : \"yes\" is a boolean to some YAML readers and a text to "
         "others: write true, false or quote it"),
        ("POLICY", "nope.yaml", "cannot be read"),
    ],
)  # fmt: skip
def test_findings_name_the_variable(file: Path, name: str, value: str, error: str) -> None:
    found = errors(examine(file, {f"SMART_GATEWAY_{name}": value}))
    assert any(error in text for text in found), found
    assert all(text.startswith(f"$SMART_GATEWAY_{name}") for text in found), found


def test_findings_name_the_option(file: Path) -> None:
    found = errors(examine(file, {}, given=["upstream.urll=x", "server.listen"]))
    assert found == ["--set server.listen server.listen: has no value", "--set upstream.urll upstream.urll: unknown key (url)"]


def test_a_variable_can_name_the_policy_file_and_others_reach_into_it(file: Path, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("clients: {a: {}}\n")
    environment = {"SMART_GATEWAY_POLICY": "p.yaml", "SMART_GATEWAY_POLICY__CLIENTS__A__ROLE": "system"}
    settings = read(file, environment)
    assert settings.policy.clients["a"].role == "system"
    assert read(file, environment, "policy={absent_and_forbidden: 403}").policy.absent_and_forbidden == 403


def test_variables_of_secrets_and_of_the_command_line_are_no_settings(file: Path) -> None:
    environment = {"SMART_GATEWAY_CONFIG": "x", "SMART_GATEWAY_TOKEN": "abc", "OTHER__KEY": "x"}
    settings = read(file, environment, "upstream.authorization={bearer: {from_env: SMART_GATEWAY_TOKEN}}")
    assert settings.upstream.authorization.bearer.reveal() == "abc"


def test_a_glance_reads_what_a_refused_file_still_says(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("server: {management: 127.0.0.1:9090, nonsense: 1}\n")
    keys = (("server", "management"), ("server", "listen"), ("server", "nonsense"))
    assert glance(file, {"SMART_GATEWAY_SERVER__LISTEN": "127.0.0.1:1"}, (), *keys) == ("127.0.0.1:9090", "127.0.0.1:1", None)
    assert glance(tmp_path / "none.yaml", {}, (), *keys) == (None, None, None)
