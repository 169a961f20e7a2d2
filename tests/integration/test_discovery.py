"""What clients are told of the way to a token, from real Keycloak's own documents (semantics 11), held to SMART 2.2's table."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.integration.app import App, MakeApp
from tests.integration.servers import realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.keycloak import Keycloak
from tests.support.smart_configuration import assert_conforms

LAUNCHES = ["launch-standalone", "context-standalone-patient", "client-public"]


def said(keycloak: Keycloak, name: str = "smart") -> dict[str, Any]:
    """Keycloak's own discovery document."""
    document: dict[str, Any] = httpx.get(f"{keycloak.origin}/realms/{name}/.well-known/openid-configuration").json()
    return document


@pytest.fixture(scope="module")
def second(keycloak: Keycloak) -> str:
    """The issuer of another realm."""
    return keycloak.import_realm({**json.loads(realm.realm()), "realm": "second"})


@pytest.fixture(scope="module")
def declaring(gateways: StartGateway, settings: dict[str, Any]) -> Gateway:
    """A gateway whose operator says what Keycloak's documents cannot."""
    declared = {
        "capabilities": LAUNCHES,
        "management_endpoint": "https://idp.example.org/apps",
        "scopes_supported": ["launch/patient", "patient/*.rs"],
    }
    return gateways({**settings, "server": {"smart_configuration": declared, "cors": {"origins": ["https://app.example"]}}})


@pytest.fixture(scope="module")
def several(gateways: StartGateway, settings: dict[str, Any], second: str) -> Gateway:
    """A gateway of two issuers that describes the second."""
    other = {"issuer": second, "audiences": [realm.AUDIENCE]}
    return gateways({**settings, "issuers": [*settings["issuers"], other], "server": {"smart_configuration": {"issuer": second}}})


def smart(app: App) -> dict[str, Any]:
    answer = app.get("/.well-known/smart-configuration")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    document: dict[str, Any] = answer.json()
    assert_conforms(document)
    return document


def oauth_uris(app: App) -> dict[str, str]:
    (extension,) = app.get("/metadata").json()["rest"][0]["security"]["extension"]
    assert extension["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    return {uri["url"]: uri["valueUri"] for uri in extension["extension"]}


def test_the_smart_configuration_of_keycloak_conforms(app: MakeApp, keycloak: Keycloak) -> None:
    document, own = smart(app(None)), said(keycloak)
    same = ("issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "introspection_endpoint", "revocation_endpoint")
    assert {name: document[name] for name in same} == {name: own[name] for name in same}
    assert set(document["scopes_supported"]) == set(own["scopes_supported"])
    assert "implicit" in own["grant_types_supported"]
    assert document["grant_types_supported"] == ["authorization_code", "client_credentials"]
    assert "plain" in own["code_challenge_methods_supported"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert set(document["capabilities"]) == {
        "permission-v1",
        "permission-v2",
        "permission-patient",
        "permission-user",
        "permission-offline",
        "client-confidential-symmetric",
        "client-confidential-asymmetric",
        "sso-openid-connect",
    }


def test_what_the_operator_declares_stands_beside_and_over_it(app: MakeApp, declaring: Gateway, keycloak: Keycloak) -> None:
    document = smart(app(None, at=declaring))
    assert set(LAUNCHES) <= set(document["capabilities"])
    assert document["management_endpoint"] == "https://idp.example.org/apps"
    assert document["scopes_supported"] == ["launch/patient", "patient/*.rs"]
    assert "sso-openid-connect" not in document["capabilities"]  # openid and fhirUser are not among the declared scopes
    assert "issuer" not in document
    assert document["token_endpoint"] == said(keycloak)["token_endpoint"]


def test_the_capability_statement_names_the_endpoints(app: MakeApp, declaring: Gateway, keycloak: Keycloak) -> None:
    own = said(keycloak)
    expected = {
        "authorize": own["authorization_endpoint"],
        "token": own["token_endpoint"],
        "register": own["registration_endpoint"],
        "introspect": own["introspection_endpoint"],
        "revoke": own["revocation_endpoint"],
    }
    assert oauth_uris(app(None)) == expected
    assert oauth_uris(app(None, at=declaring)) == {**expected, "manage": "https://idp.example.org/apps"}
    assert "cors" not in app(None).get("/metadata").json()["rest"][0]["security"]
    assert app(None, at=declaring).get("/metadata").json()["rest"][0]["security"]["cors"] is True


def test_of_two_issuers_one_is_described_both_are_named_and_tokens_of_both_count(
    app: MakeApp, several: Gateway, keycloak: Keycloak, second: str
) -> None:
    anybody = app(None, at=several)
    assert smart(anybody)["issuer"] == second
    assert oauth_uris(anybody)["token"] == said(keycloak, "second")["token_endpoint"]
    url = anybody.get("/Patient").headers["www-authenticate"].split('resource_metadata="')[1].split('"')[0]
    document = httpx.get(url).json()
    assert document["resource"] == several.base
    assert document["authorization_servers"] == [keycloak.issuer, second]
    assert document["authorization_details_types_supported"] == ["smart_on_fhir"]
    other = httpx.post(
        f"{second}/protocol/openid-connect/token",
        data={
            "grant_type": "password",
            "client_id": realm.APP,
            "username": "amy",
            "password": "amy-test-only",
            "scope": "openid launch/patient patient/*.rs",
        },
    ).json()["access_token"]
    for token in (other, keycloak.user_token("amy", "patient/*.rs")):
        assert app(token, sees="a", at=several).get("/Patient/pat-a").status_code == 200


def test_the_path_of_rfc_9728_stands_between_host_and_base(app: MakeApp, gateway: Gateway) -> None:
    origin, _, path = gateway.base.rpartition("/")
    assert httpx.get(f"{origin}/.well-known/oauth-protected-resource/{path}").json()["resource"] == gateway.base
    assert httpx.get(f"{origin}/.well-known/oauth-protected-resource").status_code == 404
    assert httpx.get(f"{origin}/.well-known/smart-configuration").status_code == 404
