"""What needs no token: the discovery documents, and preflights of browser apps (semantics 11)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.asgi import FHIR, PUBLIC, UPSTREAM, FakeDiscovery, Front, Reply, ScriptedUpstream, observation, outcome

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
