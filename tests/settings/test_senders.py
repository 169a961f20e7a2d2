"""Settings of who sends a token: TLS, terminators in front, and what is refused of them at start."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.errors import ProofRefused, SettingsError
from smart_gateway.gateway.edge.tls import ClientCertificates, TlsFiles
from smart_gateway.gateway.snapshot import CertificateHeader
from smart_gateway.principal import Principal
from smart_gateway.settings.building.senders import build_tls
from smart_gateway.settings.building.snapshot import build
from smart_gateway.settings.findings import Severity
from smart_gateway.settings.loading import examine, load_settings
from smart_gateway.settings.reloading import Reloader, SettingsFile
from smart_gateway.tokens.presented import Presented, Scheme
from smart_gateway.tokens.terminators import Terminator
from tests.support.certificates import authority, self_signed
from tests.support.issuer import NOW, make_key
from tests.support.proofs import proof, thumbprint

URL = "https://fhir.example.org/fhir/Patient/1"
PROXIES = ["10.1.0.0/16"]
HEADER = "server.client_certificate_header"
GOOD_TLS = {"certificate": "server.pem", "key": "server.key"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Certificates in files: ``server`` fits, ``other`` has another key, ``ca`` is an authority."""
    ca = authority()
    ca.issue("gateway").write(tmp_path, "server")
    self_signed("other").write(tmp_path, "other")
    ca.write(tmp_path, "ca")
    (tmp_path / "empty.pem").write_text("")
    return tmp_path


def config(folder: Path, server: dict[str, Any], issuer: dict[str, Any] | None = None, **more: Any) -> Path:
    import yaml

    path = folder / "gateway.yaml"
    content = {
        "server": {"public_url": "https://fhir.example.org/fhir", "sealing": {"keys": ["k" * 44]}, **server},
        "upstream": {"url": "http://127.0.0.1:8090/fhir", "fhir_version": "R4"},
        "issuers": [{"issuer": "https://idp.example.org", **(issuer or {})}],
        **more,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def findings(path: Path) -> list[tuple[str, str, Severity]]:
    """All but the warning of the plain sealing key."""
    found = examine(path, {}).findings
    return [(finding.key, finding.text, finding.severity) for finding in found if "in the open" not in finding.text]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"tls": {"key": "server.key"}}, "server.tls.certificate", "is missing"),
    ({"tls": {"certificate": "server.pem"}}, "server.tls.key", "is missing"),
    ({"tls": {"certificate": "absent.pem", "key": "server.key"}}, "server.tls.certificate", "cannot be read"),
    ({"tls": {"certificate": "server.pem", "key": "absent.key"}}, "server.tls.key", "cannot be read"),
    ({"tls": {"certificate": "server.pem", "key": "other.key"}}, "server.tls.certificate", "not what TLS can be spoken with"),
    ({"tls": {"certificate": "empty.pem", "key": "server.key"}}, "server.tls.certificate", "not what TLS can be spoken with"),
    ({"tls": {"certificate": "server.key", "key": "server.pem"}}, "server.tls.certificate", "not what TLS can be spoken with"),
    ({"tls": {**GOOD_TLS, "client_certificates": "optional"}}, "server.tls.client_certificates", "needs client_ca"),
    ({"tls": {**GOOD_TLS, "client_certificates": "required"}}, "server.tls.client_certificates", "needs client_ca"),
    ({"tls": {**GOOD_TLS, "client_ca": "ca.pem"}}, "server.tls.client_ca", "has no effect"),
    ({"tls": {**GOOD_TLS, "client_ca": "absent.pem", "client_certificates": "optional"}}, "server.tls.client_ca", "cannot be read"),
    ({"tls": {**GOOD_TLS, "client_ca": "empty.pem", "client_certificates": "optional"}}, "server.tls.certificate", "not what TLS"),
    ({"tls": {**GOOD_TLS, "client_certificates": "maybe"}}, "server.tls.client_certificates", "must be none, optional or required"),
    ({"client_certificate_header": {"format": "nginx"}}, "server.client_certificate_header", "is believed from nobody"),
    ({"client_certificate_header": {"format": "nginx"}, "trusted_proxies": []}, "server.client_certificate_header", "believed from nobody"),
    ({"client_certificate_header": {"format": "apache"}, "trusted_proxies": PROXIES}, "server.client_certificate_header.format", "must be"),
    ({"client_certificate_header": {}, "trusted_proxies": PROXIES}, "server.client_certificate_header.format", "is missing"),
    *(
        (
            {"client_certificate_header": {"format": "nginx", "name": name}, "trusted_proxies": PROXIES},
            "server.client_certificate_header.name",
            "",
        )
        for name in ("Authorization", "DPoP", "ssl_client_cert", "ssl client", "", "x" * 101, "X-Forwarded-For", "héader", "a:b")
    ),
]


@pytest.mark.parametrize(("server", "key", "says"), REFUSED, ids=[f"{n}-{case[1]}" for n, case in enumerate(REFUSED)])
def test_what_is_refused_at_start(folder: Path, server: dict[str, Any], key: str, says: str) -> None:
    errors = [found for found in findings(config(folder, server)) if found[2] is Severity.ERROR]
    assert [found[0] for found in errors] == [key], errors
    assert says in errors[0][1]
    with pytest.raises(SettingsError):
        load_settings(folder / "gateway.yaml", environment={})


def test_tls_behind_a_plain_public_url_is_warned_about(folder: Path) -> None:
    found = findings(config(folder, {"tls": GOOD_TLS, "public_url": "http://fhir.example.org/fhir"}))
    assert [(key, severity) for key, _, severity in found] == [("server.public_url", Severity.WARNING)]


def test_files_are_found_beside_the_settings_and_watched(folder: Path) -> None:
    path = config(folder, {"tls": {**GOOD_TLS, "client_ca": "ca.pem", "client_certificates": "optional"}})
    assert findings(path) == []
    settings = load_settings(path, environment={})
    assert settings.server.tls is not None
    files = build_tls(settings.server.tls, settings)
    assert files == TlsFiles(folder / "server.pem", folder / "server.key", folder / "ca.pem", ClientCertificates.OPTIONAL)
    assert {folder / "server.pem", folder / "server.key", folder / "ca.pem"} <= set(examine(path, {}).files)


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ({"format": "envoy"}, CertificateHeader(b"x-forwarded-client-cert", Terminator.ENVOY)),
        ({"format": "nginx"}, CertificateHeader(b"ssl-client-cert", Terminator.NGINX)),
        ({"format": "traefik"}, CertificateHeader(b"x-forwarded-tls-client-cert", Terminator.TRAEFIK)),
        ({"format": "nginx", "name": "X-SSL-Cert"}, CertificateHeader(b"x-ssl-cert", Terminator.NGINX)),
    ],
)
def test_the_header_of_a_terminator_has_its_usual_name(folder: Path, header: dict[str, str], read: CertificateHeader) -> None:
    path = config(folder, {"client_certificate_header": header, "trusted_proxies": PROXIES})
    assert build(load_settings(path, environment={}), recording=False).snapshot.certificate_header == read


DPOP = ["RS256", "RS384", "ES256", "ES384", "PS256", "EdDSA"]
ANNOUNCED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {}, {}, {}),
    ({}, {"mtls": {"required": True}}, {}, {}),
    ({}, {"dpop": {}}, {}, {"dpop_signing_alg_values_supported": DPOP}),
    ({}, {"dpop": {"required": True}}, {}, {"dpop_signing_alg_values_supported": DPOP, "dpop_bound_access_tokens_required": True}),
    ({}, {}, {"clients": {"a": {"sender_constraint": "any"}, "*": {}}}, {"dpop_signing_alg_values_supported": DPOP}),
    ({}, {}, {"clients": {"a": {"sender_constraint": "mtls"}, "*": {}}}, {}),
    ({"tls": GOOD_TLS}, {}, {}, {}),
    (
        {"tls": {**GOOD_TLS, "client_ca": "ca.pem", "client_certificates": "optional"}},
        {},
        {},
        {"tls_client_certificate_bound_access_tokens": True},
    ),
    (
        {"client_certificate_header": {"format": "envoy"}, "trusted_proxies": PROXIES},
        {},
        {},
        {"tls_client_certificate_bound_access_tokens": True},
    ),
]


@pytest.mark.parametrize(("server", "issuer", "policy", "said"), ANNOUNCED)
def test_what_clients_are_told_of_bound_tokens(
    folder: Path, server: dict[str, Any], issuer: dict[str, Any], policy: dict[str, Any], said: dict[str, Any]
) -> None:
    """RFC 9728 section 2; RFC 9449 section 7.1 for the challenge."""
    snapshot = build(load_settings(config(folder, server, issuer, policy=policy), environment={}), recording=False).snapshot
    assert snapshot.bindings == said
    assert list(snapshot.dpop_algorithms) == said.get("dpop_signing_alg_values_supported", [])


@pytest.mark.parametrize(
    ("dpop", "key"),
    [
        ({"proof_age": "6m"}, "proof_age"),
        ({"proof_age": "0s"}, "proof_age"),
        ({"proof_age": 60}, "proof_age"),
        ({"required": 1}, "required"),
    ],
)
def test_rules_of_proofs_that_are_refused(folder: Path, dpop: dict[str, Any], key: str) -> None:
    assert [found[0] for found in findings(config(folder, {}, {"dpop": dpop}))] == [f"issuers[0].dpop.{key}"]


async def test_a_reload_keeps_the_memory_of_proofs_and_the_key_of_nonces(folder: Path) -> None:
    settings = load_settings(config(folder, {}, {"dpop": {"nonce": True}}), environment={})
    first = build(settings, recording=False)
    second = build(settings, recording=False, previous=first)
    key, claims = make_key("ES256"), {"scope": "patient/*.rs"}
    principal = Principal("https://idp.example.org", confirmation={"jkt": thumbprint(key)}, claims=claims)
    bare = Presented("GET", URL, token="t", scheme=Scheme.DPOP)
    nonce = first.snapshot.possessions.nonce(principal, bare, NOW)
    shown = replace(bare, proofs=(proof(key, "t", url=URL, nonce=nonce).encode(),))
    assert await first.snapshot.possessions.check(principal, shown, NOW) == {"dpop"}
    with pytest.raises(ProofRefused, match="used before"):
        await second.snapshot.possessions.check(principal, shown, NOW)
    for built in (first, second):
        await built.aclose()


async def test_a_reload_says_what_takes_effect_at_the_next_start(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = SettingsFile(config(folder, {"tls": GOOD_TLS}), {})
    reloader = Reloader(file, file.read()[0], lambda _settings: None)
    config(folder, {"tls": {**GOOD_TLS, "client_ca": "ca.pem", "client_certificates": "optional"}})
    with caplog.at_level(logging.WARNING):
        assert await reloader.reload()
    assert "takes effect at the next start" in caplog.text
