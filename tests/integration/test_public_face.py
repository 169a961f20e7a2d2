"""What needs no token: the CapabilityStatement and the two discovery documents (semantics 11); and the management listener."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.app import App, MakeApp, refused
from tests.integration.servers.gateway import Gateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.keycloak import Keycloak


@pytest.fixture
def anybody(app: MakeApp) -> App:
    return app(None)


def test_the_capability_statement_is_the_upstreams_with_our_security_and_urls(anybody: App, gateway: Gateway, hapi: Hapi) -> None:
    answer = anybody.get("/metadata")
    statement = answer.json()
    assert (answer.status_code, statement["resourceType"], statement["fhirVersion"]) == (200, "CapabilityStatement", "4.0.1")
    assert hapi.base not in answer.text
    assert statement["implementation"]["url"] == gateway.base
    security = statement["rest"][0]["security"]
    codes = [coding["code"] for service in security["service"] for coding in service["coding"]]
    assert codes == ["SMART-on-FHIR"]


def test_the_smart_configuration_is_the_issuers_and_the_gateways(anybody: App, keycloak: Keycloak) -> None:
    answer = anybody.get("/.well-known/smart-configuration")
    document = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert document["issuer"] == keycloak.issuer
    assert document["token_endpoint"].startswith(keycloak.issuer)
    assert {"permission-patient", "permission-user", "permission-v1", "permission-v2"} <= set(document["capabilities"])
    assert "S256" in document["code_challenge_methods_supported"]


def test_the_protected_resource_document_names_the_issuer(anybody: App, gateway: Gateway, keycloak: Keycloak) -> None:
    challenge = anybody.get("/Patient").headers["www-authenticate"]
    url = challenge.split('resource_metadata="')[1].split('"')[0]
    document = httpx.get(url).json()
    assert document["resource"] == gateway.base
    assert document["authorization_servers"] == [keycloak.issuer]


@pytest.mark.parametrize("query", ["mode=full", "_format=json", "_pretty=true"])
def test_metadata_takes_these(anybody: App, query: str) -> None:
    assert anybody.get(f"/metadata?{query}").status_code == 200


@pytest.mark.parametrize("query", ["_elements=rest", "_id=1", "mode=full&patient=pat-a", "_summary=true"])
def test_metadata_takes_nothing_else(anybody: App, query: str) -> None:
    refused(anybody.get(f"/metadata?{query}"), 400)


@pytest.mark.parametrize("target", ["/Patient", "/Patient/pat-a", "/ValueSet", "/Patient?_id=pat-a", "/Patient/pat-a/Observation"])
def test_everything_else_needs_a_token(anybody: App, target: str) -> None:
    refused(anybody.get(target), 401, "token-missing")


def test_the_management_listener_has_health_and_nothing_else(gateway: Gateway) -> None:
    assert httpx.get(f"{gateway.management}/livez").status_code == 200
    assert httpx.get(f"{gateway.management}/readyz").status_code == 200
    assert httpx.get(f"{gateway.management}/fhir/metadata").status_code == 404
    assert httpx.get(f"{gateway.management}/fhir/Patient/pat-a").status_code == 404
