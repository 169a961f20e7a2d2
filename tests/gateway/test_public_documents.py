"""What needs no token: the discovery documents, and preflights of browser apps (semantics 11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from smart_gateway.answers.smart_configuration import Declared
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.refreshing import Freshness
from smart_gateway.tokens.verifier import Verifier
from tests.support.asgi import (
    FHIR,
    ISSUER_DOCUMENT,
    NOW,
    PUBLIC,
    UPSTREAM,
    FakeDiscovery,
    Front,
    Reply,
    ScriptedUpstream,
    observation,
    outcome,
)
from tests.support.deciding import BASES
from tests.support.issuer import ISSUER, MemoryTransport, ScriptedIssuer
from tests.support.smart_configuration import assert_conforms

STATEMENT: dict[str, Any] = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "fhirVersion": "4.0.1",
    "implementation": {"description": "HAPI", "url": UPSTREAM},
    "rest": [{"mode": "server", "resource": [{"type": "Patient", "interaction": [{"code": "read"}]}]}],
}


def front(statement: Any = STATEMENT, **choices: Any) -> Front:
    upstream = ScriptedUpstream(observation())
    upstream.replies["GET /metadata"] = statement if isinstance(statement, Reply) else Reply(200, statement)
    return Front(upstream, "patient/Observation.r", **choices)


@pytest.mark.parametrize("token", [None, "t", "broken"])
async def test_metadata_is_the_upstreams_in_our_name_whatever_token_comes(token: str | None) -> None:
    response = await front().get("/metadata?mode=full", token=token)
    statement = response.json()
    assert response.status_code == 200
    assert statement["implementation"]["url"] == PUBLIC
    assert statement["rest"][0]["security"]["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    assert "cache-control" not in response.headers
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/metadata?mode=terminology", {}, 400),
        ("/metadata?mode=full&mode=full", {}, 400),
        ("/metadata?mode=normative", {}, 200),
        ("/metadata?_summary=true", {}, 400),
        ("/metadata", {"Accept": "application/fhir+xml"}, 406),
        ("/metadata?_format=json&_pretty=true", {}, 200),
    ],
)
async def test_metadata_takes_little(target: str, headers: dict[str, str], status: int) -> None:
    assert (await front().get(target, token=None, headers=headers)).status_code == status


@pytest.mark.parametrize(
    "reply", [Reply(404, outcome("secret")), Reply(200, observation()), Reply(200, b"{"), Reply(200, STATEMENT, type="text/html")]
)
async def test_a_statement_that_is_none_is_502(reply: Reply) -> None:
    response = await front(reply).get("/metadata", token=None)
    assert response.status_code == 502
    assert "secret" not in response.text


async def test_smart_configuration_needs_the_issuer_the_others_do_not() -> None:
    known = await front().get("/.well-known/smart-configuration", token=None)
    assert known.headers["content-type"] == "application/json"
    assert known.json()["token_endpoint"] == "https://idp.example.org/token"
    down = front(discovery=FakeDiscovery(None))
    assert (await down.get("/.well-known/smart-configuration", token=None)).status_code == 503
    assert (await down.get("/metadata", token=None)).status_code == 200
    resource = await down.get("https://fhir.example.org/.well-known/oauth-protected-resource/fhir", token=None)
    assert resource.json()["authorization_servers"] == ["https://idp.example.org"]


async def test_smart_configuration_conforms_for_any_accept_header_and_without_a_token() -> None:
    for accept in ("application/fhir+xml", "text/html", "*/*", "application/json"):
        response = await front().get("/.well-known/smart-configuration", token=None, headers={"Accept": accept})
        assert response.headers["content-type"] == "application/json"
        assert_conforms(response.json())


async def test_what_is_declared_serves_while_the_issuer_cannot_be_asked() -> None:
    members = {"token_endpoint": "https://idp.example.org/declared", "scopes_supported": ["launch/patient"]}
    for discovery, endpoint in ((FakeDiscovery(None), None), (FakeDiscovery(ISSUER_DOCUMENT), "https://idp.example.org/auth")):
        declaring = front(discovery=discovery, declared=Declared(members, ("context-standalone-patient",)))
        document = (await declaring.get("/.well-known/smart-configuration", token=None)).json()
        assert document["token_endpoint"] == "https://idp.example.org/declared"
        assert document.get("authorization_endpoint") == endpoint
        assert "context-standalone-patient" in document["capabilities"]
        assert_conforms(document)
        resource = await declaring.get("https://fhir.example.org/.well-known/oauth-protected-resource/fhir", token=None)
        assert resource.json()["scopes_supported"] == ["launch/patient"]


async def test_an_issuer_without_a_token_endpoint_is_503_not_half_a_document() -> None:
    silent = front(discovery=FakeDiscovery({"issuer": "https://idp.example.org"}))
    assert (await silent.get("/.well-known/smart-configuration", token=None)).status_code == 503
    assert (await silent.get("/metadata", token=None)).status_code == 200


class TwoIssuers:
    async def document(self, issuer: str) -> Mapping[str, Any]:
        return {"issuer": issuer, "authorization_endpoint": f"{issuer}/auth", "token_endpoint": f"{issuer}/token"}


@pytest.mark.parametrize(("described", "named"), [(None, "https://a.example"), ("https://b.example", "https://b.example")])
async def test_of_several_issuers_one_is_described_and_all_are_named(described: str | None, named: str) -> None:
    several = front(discovery=TwoIssuers(), issuers=("https://a.example", "https://b.example"), described_issuer=described)
    document = (await several.get("/.well-known/smart-configuration", token=None)).json()
    assert document["token_endpoint"] == f"{named}/token"
    (extension,) = (await several.get("/metadata", token=None)).json()["rest"][0]["security"]["extension"]
    assert {"url": "token", "valueUri": f"{named}/token"} in extension["extension"]
    resource = await several.get("https://fhir.example.org/.well-known/oauth-protected-resource/fhir", token=None)
    assert resource.json()["authorization_servers"] == ["https://a.example", "https://b.example"]


async def test_discovery_is_fetched_once_and_serves_through_an_outage() -> None:
    issuer, clock = ScriptedIssuer(), [NOW]
    transport = MemoryTransport(issuer)
    verifier = Verifier([IssuerConfig(ISSUER, (PUBLIC,))], BASES, transport, clock=lambda: clock[0], freshness=Freshness(ttl=60, stale=600))
    gateway = front(discovery=verifier, issuers=(ISSUER,))
    wanted = "/.well-known/smart-configuration"
    first = (await gateway.get(wanted, token=None)).json()
    await gateway.get(wanted, token=None)
    await gateway.get("/metadata", token=None)
    assert transport.count(issuer.discovery_uri) == 1
    transport.down, clock[0] = True, NOW + 120
    assert (await gateway.get(wanted, token=None)).json() == first
    clock[0] = NOW + 700
    assert (await gateway.get(wanted, token=None)).status_code == 503
    await verifier.aclose()


async def test_a_document_of_another_issuer_is_never_published() -> None:
    issuer = ScriptedIssuer()
    transport = MemoryTransport(issuer)
    transport.answers[issuer.discovery_uri] = {**issuer.discovery(), "issuer": "https://evil.example"}
    verifier = Verifier([IssuerConfig(ISSUER, (PUBLIC,))], BASES, transport)
    response = await front(discovery=verifier, issuers=(ISSUER,)).get("/.well-known/smart-configuration", token=None)
    assert response.status_code == 503
    await verifier.aclose()


async def test_the_statement_says_that_browser_apps_may_call() -> None:
    for origins in (frozenset(), frozenset({ORIGIN})):
        statement = (await front(cors_origins=origins).get("/metadata", token=None)).json()
        assert statement["rest"][0]["security"].get("cors", False) is bool(origins)


ORIGIN = "https://app.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}


async def test_preflights_of_configured_origins_are_answered_without_a_token() -> None:
    allowed = front(cors_origins=frozenset({ORIGIN}))
    response = await allowed.request("OPTIONS", "/Observation", token=None, headers=PREFLIGHT)
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert "Authorization" in response.headers["access-control-allow-headers"]
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in response.headers
    assert allowed.event.outcome == "permit"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.evil", "HTTPS://APP.EXAMPLE"])
async def test_no_other_origin_is_let_in(origin: str) -> None:
    allowed = front(cors_origins=frozenset({ORIGIN}))
    headers = {**PREFLIGHT, "Origin": origin}
    response = await allowed.request("OPTIONS", "/Observation", token=None, headers=headers)
    assert response.status_code == 405
    assert "access-control-allow-origin" not in response.headers
    read = await allowed.get("/Observation/o1", headers={"Origin": origin})
    assert "access-control-allow-origin" not in read.headers
    assert read.headers["vary"] == "Origin"


async def test_answers_and_refusals_can_be_read_by_configured_origins() -> None:
    allowed = front(cors_origins=frozenset({ORIGIN}))
    for token, status in (("t", 200), (None, 401)):
        response = await allowed.get("/Observation/o1", token=token, headers={"Origin": ORIGIN})
        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert {"WWW-Authenticate", "ETag", "Location", "Content-Location"} <= set(
            response.headers["access-control-expose-headers"].split(", ")
        )


async def test_without_configured_origins_nothing_is_said_of_them() -> None:
    response = await front().get("/Observation/o1", headers={"Origin": ORIGIN})
    assert not [name for name in response.headers if name.startswith("access-control") or name == "vary"]
    assert (await front().request("OPTIONS", "/Observation", token=None, headers=PREFLIGHT)).status_code == 405
    assert response.headers["content-type"].startswith(FHIR)
