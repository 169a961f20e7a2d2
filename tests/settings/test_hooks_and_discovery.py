"""``hooks``, ``server.smart_configuration`` and claim paths: what is refused at start, and what is built."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from smart_gateway.settings.building.snapshot import build, build_issuers
from smart_gateway.settings.findings import Finding
from smart_gateway.settings.loading import Examination, examine

ENVIRONMENT = {"SEALING_KEY": "0123456789012345678901234567890123456789"}
MODULE = """
    from smart_gateway import Amendment

    async def hook(principal):
        return Amendment()

    def synchronous(principal):
        return Amendment()

    class Hook:
        async def __call__(self, principal):
            return Amendment()

        async def method(self, principal):
            return Amendment()

    made = Hook()
    number = 7
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "our_hooks.py").write_text(dedent(MODULE))
    (tmp_path / "broken_hooks.py").write_text("raise RuntimeError('secret')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("our_hooks", "broken_hooks"):
        sys.modules.pop(name, None)


def examined(tmp_path: Path, *, server: str = "", issuer: str = "", rest: str = "") -> Examination:
    (tmp_path / "gateway.yaml").write_text(
        f"server: {{public_url: https://fhir.example.org/fhir, sealing: {{keys: [{{from_env: SEALING_KEY}}]}}{server}}}\n"
        "upstream: {url: http://127.0.0.1:8090/fhir, fhir_version: R4}\n"
        f"issuers: [{{issuer: https://idp.example.org{issuer}}}, {{issuer: https://other.example.org}}]\n{rest}\n"
    )
    return examine(tmp_path / "gateway.yaml", ENVIRONMENT, proxying=True)


def found(examination: Examination) -> list[tuple[str, str]]:
    def short(finding: Finding) -> tuple[str, str]:
        return finding.key, finding.text

    return [short(finding) for finding in examination.findings]


@pytest.mark.parametrize("name", ["our_hooks:hook", "our_hooks:made", "our_hooks:made.method"])
async def test_async_callables_are_hooks(tmp_path: Path, name: str) -> None:
    examination = examined(tmp_path, rest=f"hooks: {{principal: '{name}', timeout: 500ms}}")
    assert found(examination) == []
    assert examination.settings is not None
    await build(examination.settings, recording=False).aclose()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("our_hooks:missing", "cannot be imported: AttributeError"),
        ("no_such_module:hook", "cannot be imported: ModuleNotFoundError"),
        ("broken_hooks:hook", "cannot be imported: RuntimeError"),
        ("our_hooks:synchronous", "is no async callable"),
        ("our_hooks:Hook", "is no async callable"),
        ("our_hooks:number", "is no async callable"),
        ("our_hooks", "must be module:object"),
        ("our_hooks:", "must be module:object"),
        (":hook", "must be module:object"),
        ("our hooks:hook", "must be module:object"),
        ("our_hooks:hook()", "must be module:object"),
        ("../our_hooks:hook", "must be module:object"),
    ],
)
def test_a_hook_that_cannot_be_asked_refuses_the_start(tmp_path: Path, name: str, says: str) -> None:
    examination = examined(tmp_path, rest=f"hooks: {{principal: '{name}'}}")
    assert examination.settings is None
    ((key, text),) = found(examination)
    assert key == "hooks.principal"
    assert says in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "rest", ["hooks: {}", "hooks: {principal: 'our_hooks:hook', timeout: 0s}", "hooks: {principal: 'our_hooks:hook', x: 1}"]
)
def test_a_section_of_hooks_is_closed(tmp_path: Path, rest: str) -> None:
    assert examined(tmp_path, rest=rest).settings is None


DECLARED = [
    ("issuer: https://unlisted.example.org", "issuer", "is none of issuers"),
    ("capabilities: [launch-standlone]", "capabilities[0]", "is no SMART capability"),
    ("token_endpoint: /token", "token_endpoint", "absolute"),
    ("grant_types_supported: [implicit]", "grant_types_supported[0]", ""),
    ("token_endpoint_auth_methods_supported: [none]", "token_endpoint_auth_methods_supported[0]", ""),
    ("scopes_supported: []", "scopes_supported", ""),
    ("associated_endpoints: [{url: https://s.example}]", "associated_endpoints[0].capabilities", ""),
    ("user_access_brand_identifier: {system: urn:x}", "user_access_brand_identifier.value", ""),
    ("code_challenge_methods_supported: [plain]", "code_challenge_methods_supported", ""),
]


@pytest.mark.parametrize(("text", "key", "says"), DECLARED, ids=[key for _, key, _ in DECLARED])
def test_what_may_not_be_declared(tmp_path: Path, text: str, key: str, says: str) -> None:
    examination = examined(tmp_path, server=f", smart_configuration: {{{text}}}")
    assert examination.settings is None
    assert [name for name, what in found(examination) if says in what] == [f"server.smart_configuration.{key}"]


async def test_what_is_declared_reaches_the_snapshot(tmp_path: Path) -> None:
    text = (
        "issuer: https://other.example.org, capabilities: [launch-ehr, https://example.org/own], token_endpoint: https://x.example/t, "
        "user_access_brand_identifier: {value: b1}, associated_endpoints: [{url: https://s.example, capabilities: [smart-app-state]}]"
    )
    examination = examined(tmp_path, server=f", smart_configuration: {{{text}}}")
    assert examination.settings is not None, found(examination)
    built = build(examination.settings, recording=False)
    assert built.snapshot.described_issuer == "https://other.example.org"
    assert built.snapshot.declared.capabilities == ("launch-ehr", "https://example.org/own")
    assert dict(built.snapshot.declared.members) == {
        "token_endpoint": "https://x.example/t",
        "user_access_brand_identifier": {"value": "b1"},
        "associated_endpoints": [{"url": "https://s.example", "capabilities": ["smart-app-state"]}],
    }
    await built.aclose()


@pytest.mark.parametrize("path", ["a..b", "a[", "a[x]", ".a", "a.", 'a["b]'])
def test_what_is_no_claim_path_is_refused(tmp_path: Path, path: str) -> None:
    examination = examined(tmp_path, issuer=f", claims: {{patient: ['{path}']}}")
    assert examination.settings is None
    ((key, text),) = found(examination)
    assert (key, "claim path" in text) == ("issuers[0].claims.patient[0]", True)


def test_no_audience_is_never_every_audience(tmp_path: Path) -> None:
    assert examined(tmp_path, issuer=", claims: {audience: []}").settings is None


def test_claim_paths_reach_the_issuer(tmp_path: Path) -> None:
    claims = "tenant: [org.id], audience: [aud, client_id], patient: ['[\"https://example.org/c\"].patient']"
    examination = examined(tmp_path, issuer=f", claims: {{{claims}}}")
    assert examination.settings is not None, found(examination)
    first, second = build_issuers(examination.settings)
    assert (first.claims.tenant, first.claims.audience) == (("org.id",), ("aud", "client_id"))
    assert first.claims.patient == ('["https://example.org/c"].patient',)
    assert (second.claims.tenant, second.claims.audience) == ((), ("aud",))
