"""Backend services: signed assertions at real Keycloak, registrations, several organisations with ceilings, certifications (UDAP)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app import MakeApp, refused
from tests.integration.records import EVERYBODY
from tests.integration.servers import realm
from tests.integration.servers.delegating import BACKEND, BACKEND_KEYS, Realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.keycloak import Keycloak, TokenRefusedError
from tests.support.issuer import make_key
from tests.support.udap import CERTIFIER, make, statement


@pytest.fixture(scope="module")
def ours(keycloak: Keycloak) -> Realm:
    return Realm(keycloak, "backends")


@pytest.fixture(scope="module")
def neighbour(keycloak: Keycloak) -> Realm:
    return Realm(keycloak, "neighbour")


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A certification of the signing backend that is in force, and one of the other that has ended."""
    folder = tmp_path_factory.mktemp("udap")
    begun = datetime.now(UTC) - timedelta(days=2)
    root = make("Root", ca=True, begun=begun - timedelta(days=1))
    signer = root.issue("Certifier", begun=begun)
    times = {"iat": int(begun.timestamp()), "exp": int(time.time()) + 86_400}
    (folder / "root.pem").write_bytes(root.pem)
    (folder / "good.jwt").write_text(statement(signer, **times, scope="system/Patient.rs"))
    (folder / "ended.jwt").write_text(statement(signer, **{**times, "exp": int(time.time()) - 60}, scope="system/*.rs"))
    named: dict[str, Path] = {BACKEND: folder / "good.jwt", realm.SERVICE: folder / "ended.jwt"}
    statements = {client: str(path) for client, path in named.items()}
    return {"anchors": [str(folder / "root.pem")], "statements": statements, "certifiers": [CERTIFIER]}


@pytest.fixture(scope="module")
def gateway_of(gateways: StartGateway, hapi: Hapi, ours: Realm) -> Any:
    def make(*issuers: dict[str, Any], **policy: Any) -> Gateway:
        first = {"issuer": ours.issuer, "audiences": [realm.AUDIENCE]}
        upstream = {"url": hapi.base, "fhir_version": "R4"}
        return gateways({"upstream": upstream, "issuers": [first, *issuers], "policy": policy})

    return make


@pytest.fixture(scope="module")
def registered(gateway_of: Any) -> Gateway:
    """Registered for less than the realm gives."""
    held = {"role": "system", "registered_scopes": ["system/Patient.rs"], "intersect_registered": True}
    at: Gateway = gateway_of(clients={BACKEND: held, realm.SERVICE: {"registered_scopes": ["system/*.rs"]}})
    return at


@pytest.mark.parametrize("alg", sorted(BACKEND_KEYS))
def test_a_signing_backend_gets_within_what_it_registered(app: MakeApp, registered: Gateway, ours: Realm, alg: str) -> None:
    wide = app(ours.signed_token(BACKEND_KEYS[alg], "system/*.cruds"), sees=EVERYBODY, at=registered)
    assert wide.get("/Patient/pat-a").status_code == 200
    assert wide.get("/Patient").status_code == 200
    refused(wide.get("/Observation"), 403, "insufficient-scope")
    refused(wide("DELETE", "/Patient/pat-a"), 403, "insufficient-scope")
    other = app(ours.signed_token(BACKEND_KEYS[alg], "user/*.rs"), at=registered)
    refused(other.get("/Patient/pat-a"), 403, "insufficient-scope")


def test_a_backend_without_the_role_gets_nothing(app: MakeApp, registered: Gateway, ours: Realm) -> None:
    refused(app(ours.service_token("system/*.rs"), at=registered).get("/Patient/pat-a"), 403)


def test_a_key_that_is_not_registered_gets_no_token(ours: Realm) -> None:
    with pytest.raises(TokenRefusedError):
        ours.signed_token(make_key("ES384", "stranger"), "system/*.rs")


@pytest.fixture(scope="module")
def two_organisations(gateway_of: Any, ours: Realm, neighbour: Realm) -> Gateway:
    """The neighbour maps its claims otherwise, and vouches for less."""
    issuer = {
        "issuer": neighbour.issuer,
        "audiences": [realm.AUDIENCE],
        "ceiling": ["system/Patient.rs", "patient/Observation.rs"],
        "claims": {"client": ["azp"], "patient": ["patient"]},
    }
    clients = {BACKEND: {"role": "system", "issuers": [ours.issuer]}, "*": {"role": "system"}}
    at: Gateway = gateway_of(issuer, clients=clients)
    return at


def test_an_organisation_vouches_for_no_more_than_its_ceiling(
    app: MakeApp, two_organisations: Gateway, ours: Realm, neighbour: Realm
) -> None:
    at = two_organisations
    theirs = app(neighbour.service_token("system/*.cruds"), sees=EVERYBODY, at=at)
    assert theirs.get("/Patient/pat-a").status_code == 200
    refused(theirs.get("/Condition"), 403, "insufficient-scope")
    refused(theirs("DELETE", "/Patient/pat-a"), 403, "insufficient-scope")
    assert app(ours.service_token("system/*.cruds"), sees=EVERYBODY, at=at).get("/Condition").status_code == 200
    amy = app(neighbour.user_token("amy", "patient/*.rs"), sees="a", at=at)
    assert amy.get("/Observation").status_code == 200
    refused(amy.get("/Condition"), 403, "insufficient-scope")


def test_an_organisation_speaks_for_no_client_of_another(app: MakeApp, two_organisations: Gateway, ours: Realm, neighbour: Realm) -> None:
    key = BACKEND_KEYS["ES384"]
    assert app(ours.signed_token(key, "system/*.rs"), sees=EVERYBODY, at=two_organisations).get("/Patient/pat-a").status_code == 200
    refused(app(neighbour.signed_token(key, "system/*.rs"), at=two_organisations).get("/Patient/pat-a"), 403, "client-not-allowed")


def test_a_certification_is_the_most_that_its_client_gets(app: MakeApp, gateway_of: Any, ours: Realm, certified: dict[str, Any]) -> None:
    at = gateway_of(udap={**certified, "required": True})
    backend = app(ours.signed_token(BACKEND_KEYS["ES384"], "system/*.cruds"), sees=EVERYBODY, at=at)
    assert backend.get("/Patient/pat-a").status_code == 200
    refused(backend.get("/Observation"), 403, "insufficient-scope")
    refused(app(ours.service_token("system/*.rs"), at=at).get("/Patient/pat-a"), 403, "client-not-certified")
    refused(app(ours.user_token("amy", "patient/*.rs"), at=at).get("/Patient/pat-a"), 403, "client-not-certified")
