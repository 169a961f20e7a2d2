"""A dry run decides for the log, and changes nothing of the traffic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

from smart_gateway.request.limits import Limits
from tests.support.asgi import FHIR, PUBLIC, UPSTREAM, Front, Reply, ScriptedUpstream, observation, searchset

SCOPE = "patient/Observation.rs"


def rehearsing(upstream: ScriptedUpstream) -> Front:
    return Front(upstream, SCOPE, dry_run=True)


async def test_what_would_be_refused_goes_on_and_is_logged_as_refused() -> None:
    upstream = ScriptedUpstream(observation(patient="999"), {"resourceType": "Patient", "id": "999"})
    front = rehearsing(upstream)
    headers = {"If-None-Match": 'W/"1"', "Accept": "application/fhir+json"}
    for target, token, outcome, code in (
        ("/Patient/999", "t", "deny", "insufficient-scope"),
        ("/Patient/999", None, "deny", "token-missing"),
        ("/Observation/o1", "t", "permit", None),
    ):
        assert (await front.get(target, token=token, headers=headers)).status_code == 200
        event = front.log.events.pop()
        assert (event.outcome, event.code, event.status, event.dry_run) == (outcome, code, 200, True)
        asked = upstream.asked.pop()
        assert (asked.header("if-none-match"), asked.header("authorization")) == ('W/"1"', None)


async def test_searches_go_on_with_the_clients_own_parameters() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation"] = Reply(200, searchset(observation(patient="999")))
    upstream.replies["POST /Observation/_search"] = upstream.replies["GET /Observation"]
    front = rehearsing(upstream)
    found = await front.get("/Observation?patient=999&_sort=-date")
    assert found.json()["entry"][0]["fullUrl"] == f"{PUBLIC}/Observation/o1"
    assert upstream.asked.pop().query == [("patient", "999"), ("_sort", "-date")]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await front.request("POST", "/Observation/_search", content="patient=999", headers=form)).status_code == 200
    assert parse_qsl(upstream.asked.pop().body.decode()) == [("patient", "999")]
    assert [event.code for event in front.log.events] == ["foreign-patient", "foreign-patient"]


async def test_bodies_go_on_as_they_came() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["POST /Observation"] = Reply(201, b"", {"Location": f"{UPSTREAM}/Observation/n/_history/1"})
    front = rehearsing(upstream)
    response = await front.request("POST", "/Observation", content=b'{"odd":1}', headers={"Content-Type": FHIR, "X-Cascade": "delete"})
    assert (response.status_code, response.headers["location"]) == (201, f"{PUBLIC}/Observation/n/_history/1")
    asked = upstream.asked.pop()
    assert (asked.body, asked.header("content-type"), asked.header("x-cascade")) == (b'{"odd":1}', FHIR, None)
    assert front.event.outcome == "deny"
    assert (await front.request("POST", "/Observation", content=b"x")).status_code == 415


async def test_half_a_body_never_goes_on_as_the_whole() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 600

    upstream = ScriptedUpstream()
    for target, type in (("", FHIR), ("/Patient/123/$validate", FHIR), ("/Observation/_search", "application/x-www-form-urlencoded")):
        front = Front(upstream, "patient/*.cruds", dry_run=True, limits=Limits(body=1000))
        answer = await front.request("POST", target, content=parts(), headers={"Content-Type": type})
        assert (answer.status_code, front.event.code) == (413, "body-too-large")
    assert upstream.asked == []


async def test_operations_and_links_go_on_as_they_came() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["POST /Patient/123/$everything"] = upstream.replies["GET /Patient"] = Reply(200, searchset())
    for token in ("t", None):
        front = Front(upstream, "patient/*.rs", dry_run=True)
        assert (await front.request("POST", "/Patient/123/$everything", token=token)).status_code == 200
        assert (upstream.asked[-1].body, upstream.asked[-1].header("content-type")) == (b"", None)
        assert (await front.get("/Patient?_page=abc", token=token)).status_code == 200
        assert upstream.asked[-1].query == [("_page", "abc")]


async def test_what_cannot_be_parsed_is_refused_even_then() -> None:
    upstream = ScriptedUpstream()
    front = rehearsing(upstream)
    for target in ("/Observation/../admin", "/Observation//o1", "/actuator/health", "https://fhir.example.org/other/Patient/1"):
        assert (await front.get(target)).status_code in {400, 404}
    assert upstream.asked == []


async def test_the_public_documents_are_ours_even_then() -> None:
    response = await rehearsing(ScriptedUpstream()).get("/.well-known/smart-configuration")
    assert response.status_code == 200
