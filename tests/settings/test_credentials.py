"""Settings of what the FHIR server gets to know of the gateway and of who asks, and of what bounds tokens besides their scopes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smart_gateway.gateway.credentials import ExchangedAuthorization, OwnAuthorization
from smart_gateway.policy.model import ActorRule, Certification
from smart_gateway.settings.building.policy import build_policy
from smart_gateway.settings.building.snapshot import build, build_issuers
from smart_gateway.settings.findings import Severity
from smart_gateway.settings.loading import examine, load_settings
from smart_gateway.settings.model import Settings
from tests.support.deciding import scopes
from tests.support.udap import BEGUN, CERTIFIER, IAT, make, statement

IDP = "https://idp.example.org"
CLIENT = {"client_id": "gateway", "client_secret": {"from_env": "S"}}
SECRET = "0123456789012345678901234567890123456789"


def made(folder: Path, **sections: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "server": {"public_url": "https://fhir.example.org/fhir", "sealing": {"keys": [{"from_env": "S"}]}},
        "upstream": {"url": "http://127.0.0.1:8090/fhir", "fhir_version": "R4"},
        "issuers": [{"issuer": IDP}],
    }
    for name, section in sections.items():
        base[name] = {**base[name], **section} if name in base and isinstance(section, dict) else section
    return base


def findings(folder: Path, **sections: Any) -> dict[str, str]:
    """Errors and warnings by key."""
    import yaml

    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(made(folder, **sections)))
    found = examine(file, {"S": SECRET, "SHORT": "short"}, proxying=True).findings
    return {f.key: ("" if f.severity is Severity.ERROR else "warning: ") + f.text for f in found}


def load(folder: Path, **sections: Any) -> Settings:
    import yaml

    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(made(folder, **sections)))
    return load_settings(file, environment={"S": SECRET})


def authorization(value: Any) -> dict[str, Any]:
    return {"upstream": {"authorization": value}}


GOOD: list[tuple[dict[str, Any], type]] = [
    ({"client_credentials": CLIENT}, OwnAuthorization),
    ({"client_credentials": {**CLIENT, "token_endpoint": f"{IDP}/token", "auth": "post", "scope": ["system/*.rs"]}}, OwnAuthorization),
    ({"client_credentials": {**CLIENT, "issuer": "https://other.example"}}, OwnAuthorization),
    ({"token_exchange": CLIENT}, ExchangedAuthorization),
    ({"token_exchange": {**CLIENT, "audience": "fhir", "resource": "urn:x", "actor": True}}, ExchangedAuthorization),
    ({"token_exchange": {**CLIENT, "issuer": "https://other.example", "subject_issuers": [IDP]}}, ExchangedAuthorization),
]


@pytest.mark.parametrize(("value", "kind"), GOOD)
async def test_what_the_upstream_gets_in_authorization(tmp_path: Path, value: dict[str, Any], kind: type) -> None:
    assert findings(tmp_path, **authorization(value)) == {}
    built = build(load(tmp_path, **authorization(value)), recording=False)
    assert type(built.snapshot.credentials.authorization) is kind
    await built.aclose()


BAD: list[tuple[Any, str, str]] = [
    ({}, "", "needs one of bearer"),
    ({"bearer": {"from_env": "S"}, "client_credentials": CLIENT}, "", "needs one of bearer"),
    ({"client_credentials": {}}, ".client_credentials", "needs client_id"),
    ({"client_credentials": {"client_id": "c"}}, ".client_credentials", "needs client_id"),
    ({"client_credentials": {"client_id": "c", "key_file": "none.pem"}}, ".client_credentials.key_file", "cannot be read"),
    ({"client_credentials": {**CLIENT, "token_endpoint": "http://idp.example/token"}}, ".client_credentials.token_endpoint", "plain http"),
    ({"client_credentials": {**CLIENT, "issuer": "http://idp.example"}}, ".client_credentials.issuer", "plain http"),
    ({"client_credentials": {**CLIENT, "scope": ["a b"]}}, ".client_credentials.scope[0]", "one scope"),
    ({"client_credentials": {**CLIENT, "actor": True}}, ".client_credentials.actor", "unknown key"),
    ({"token_exchange": {**CLIENT, "issuer": "https://other.example"}}, ".token_exchange.subject_issuers", "is missing"),
    ({"token_exchange": {**CLIENT, "subject_issuers": []}}, ".token_exchange.subject_issuers", "must not be empty"),
    ({"token_exchange": {**CLIENT, "subject_issuers": [IDP, IDP + "/"]}}, ".token_exchange.subject_issuers[1]", "is none of issuers"),
]


@pytest.mark.parametrize(("value", "key", "says"), BAD)
def test_what_cannot_be_meant_in_authorization(tmp_path: Path, value: Any, key: str, says: str) -> None:
    found = findings(tmp_path, **authorization(value))
    assert says in found[f"upstream.authorization{key}"], found


IDENTITY: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", "tells nothing"),
    ({"headers": {"X-Who": "subject"}}, ".headers", "warning: nothing signs them"),
    ({"assertion": "X-Who"}, ".assertion", "needs secret or key_file"),
    ({"assertion": "X-Who", "secret": {"from_env": "S"}, "key_file": "k.pem"}, ".assertion", "and not both"),
    ({"headers": {"X-Who": "subject"}, "secret": {"from_env": "S"}}, ".secret", "no effect without assertion"),
    ({"assertion": "X-Who", "secret": {"from_env": "SHORT"}}, ".secret", "at least 32 bytes"),
    ({"assertion": "X-Who", "key_file": "none.pem"}, ".key_file", "cannot be read"),
    ({"assertion": "X-Who", "secret": {"from_env": "S"}, "lifetime": "6m"}, ".lifetime", "at most 5m"),
    ({"assertion": "x-who", "secret": {"from_env": "S"}, "headers": {"X-Who": "subject"}}, ".headers", "twice"),
    ({"headers": {"X-Who": "subjct"}}, ".headers.X-Who", "must be"),
]


@pytest.mark.parametrize(("value", "key", "says"), IDENTITY)
def test_what_cannot_be_meant_in_identity_headers(tmp_path: Path, value: dict[str, Any], key: str, says: str) -> None:
    found = findings(tmp_path, upstream={"identity_headers": value})
    assert says in found[f"upstream.identity_headers{key}"], found


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Host",
        "X_Who",
        "X-Who\r\nX",
        "X-",
        "X-Forwarded-For",
        "x-request-id",
        "X-Cascade",
        "X-Security-Context",
        "X-Real-IP",
    ],
)
def test_identity_headers_take_over_no_other_header(tmp_path: Path, name: str) -> None:
    found = findings(tmp_path, upstream={"identity_headers": {"headers": {name: "subject"}}})
    assert any("header" in text and not text.startswith("warning") for text in found.values()), found


def test_identity_headers_are_built_as_they_are_said(tmp_path: Path) -> None:
    said = {"headers": {"X-Fhir-Patient": "patient"}, "assertion": "X-Who", "secret": {"from_env": "S"}, "lifetime": "10s"}
    identity = build(load(tmp_path, upstream={"identity_headers": said}), recording=False).snapshot.credentials.identity
    assert (identity.names, identity.assertion) == (((b"x-fhir-patient", "patient"),), b"x-who")
    assert identity.signer is not None
    assert (identity.signer.issuer, identity.signer.audience, identity.signer.lifetime) == (
        "https://fhir.example.org/fhir",
        "http://127.0.0.1:8090/fhir",
        10.0,
    )
    assert SECRET not in repr(identity)


def test_actors_registrations_and_ceilings_are_built_as_they_are_said(tmp_path: Path) -> None:
    registered = {"registered_scopes": ["system/*.rs", "openid"], "intersect_registered": True, "role": "system", "issuers": [IDP]}
    policy = {"actors": {"scheduler": {"limit": ["patient/*.rs"]}, "*": {}}, "clients": {"c": registered}}
    settings = load(tmp_path, policy=policy, issuers=[{"issuer": IDP, "ceiling": ["system/Observation.rs"]}])
    built = build_policy(settings)
    assert built.actors == {"scheduler": ActorRule(scopes("patient/*.rs")), "*": ActorRule()}
    assert built.clients is not None
    assert (built.clients["c"].intersect_registered, built.clients["c"].issuers) == (True, {IDP})
    assert build_issuers(settings)[0].ceiling == scopes("system/Observation.rs")
    assert build_issuers(load(tmp_path, issuers=[{"issuer": IDP, "ceiling": []}]))[0].ceiling == ()
    assert (build_policy(load(tmp_path)).actors, build_issuers(load(tmp_path))[0].ceiling) == (None, None)


OTHER = [{"issuer": IDP}, {"issuer": "https://other.example"}]


@pytest.mark.parametrize(
    ("sections", "key", "says"),
    [
        ({"policy": {"actors": {}}}, "policy.actors", "warning: is empty"),
        ({"policy": {"actors": {"a": {"limit": ["patient/Observatin.rs"]}}}}, "policy.actors.a.limit[0]", "no resource type"),
        ({"policy": {"actors": {"a": {"limt": []}}}}, "policy.actors.a.limt", "unknown key"),
        (
            {"policy": {"clients": {"c": {"intersect_registered": True}}}},
            "policy.clients.c.intersect_registered",
            "needs registered_scopes",
        ),
        ({"policy": {"clients": {"c": {"issuers": ["https://x.example"]}}}}, "policy.clients.c.issuers[0]", "is none of issuers"),
        ({"policy": {"clients": {"c": {"issuers": []}}}}, "policy.clients.c.issuers", "must not be empty"),
        ({"issuers": OTHER, "policy": {"clients": {"c": {"role": "system"}}}}, "policy.clients.c.issuers", "warning: is missing"),
        ({"issuers": [{"issuer": IDP, "ceiling": []}]}, "issuers[0].ceiling", "warning: is empty"),
        ({"issuers": [{"issuer": IDP, "ceiling": ["openid", "x"]}]}, "issuers[0].ceiling[1]", "is no scope for resources"),
        ({"issuers": [{"issuer": IDP, "ceiling": "system/*.rs"}]}, "issuers[0].ceiling", "must be a list"),
    ],
)
def test_what_cannot_be_meant_in_what_bounds_tokens(tmp_path: Path, sections: dict[str, Any], key: str, says: str) -> None:
    found = findings(tmp_path, **sections)
    assert says in found.get(key, ""), found


def udap(folder: Path, **more: Any) -> dict[str, Any]:
    root = make("Root", ca=True, days=3650)
    (folder / "root.pem").write_bytes(root.pem)
    (folder / "stranger.pem").write_bytes(make("Stranger", ca=True).pem)
    (folder / "c.jwt").write_text(statement(root.issue("Certifier")) + "\n")
    (folder / "plain.jwt").write_text(statement(root.issue("Certifier"), scope="openid"))
    return {"policy": {"udap": {"anchors": ["root.pem"], "statements": {"c": "c.jwt"}, **more}}}


def test_certifications_are_built_from_their_statements(tmp_path: Path) -> None:
    assert findings(tmp_path, **udap(tmp_path, required=True, certifiers=[CERTIFIER])) == {}
    built = build_policy(load(tmp_path, **udap(tmp_path, required=True)))
    held = scopes("system/Observation.rs", "system/Patient.r")
    assert built.certifications == {"c": Certification(held, float(IAT), float(IAT + 86_400 * 100), frozenset({"openid", "launch"}))}
    assert built.certified_only
    assert BEGUN.timestamp() < IAT


def test_files_of_certifications_are_watched(tmp_path: Path) -> None:
    load(tmp_path, **udap(tmp_path))
    watched = examine(tmp_path / "gateway.yaml", {"S": SECRET}, proxying=True).files
    assert {"root.pem", "c.jwt"} <= {path.name for path in watched}


@pytest.mark.parametrize(
    ("more", "key", "says"),
    [
        ({"anchors": ["none.pem"]}, "anchors", "cannot be read"),
        ({"anchors": ["c.jwt"]}, "anchors", "holds no certificate"),
        ({"anchors": []}, "anchors", "must not be empty"),
        ({"anchors": ["stranger.pem"]}, "statements.c", "none of the anchors"),
        ({"statements": {"c": "root.pem"}}, "statements.c", "no signed JWT"),
        ({"statements": {"c": "none.jwt"}}, "statements.c", "cannot be read"),
        ({"certifiers": ["https://other.example"]}, "statements.c", "by none of certifiers"),
        ({"statements": {"c": "plain.jwt"}}, "statements.c", "warning: the statement in plain.jwt certifies no scope"),
        ({"statements": {}, "required": True}, "required", "warning: and there is no statement"),
    ],
)
def test_what_cannot_be_certified(tmp_path: Path, more: dict[str, Any], key: str, says: str) -> None:
    found = findings(tmp_path, **udap(tmp_path, **more))
    assert says in found.get(f"policy.udap.{key}", ""), found
