"""Requests of an attacker through the whole gateway: what reaches the upstream is what was judged, or nothing."""

from __future__ import annotations

import pytest

from tests.support.asgi import FHIR, Conversation, Front, ScriptedUpstream, observation

TOKEN = {"Authorization": "Bearer t"}
STORED = (observation("o1"), observation("theirs", "999"), {"resourceType": "Patient", "id": "999"})


async def ask(method: str, target: str, headers: dict[str, str] | None = None) -> tuple[Conversation, ScriptedUpstream]:
    upstream = ScriptedUpstream(*STORED)
    conversation = Conversation(Front(upstream, "patient/*.cruds").gateway, method, target, {**TOKEN, **(headers or {})})
    await conversation.run()
    return conversation, upstream


@pytest.mark.parametrize(
    "target",
    [
        "/fhir/Observation/../Patient/999",
        "/fhir/Observation/%2e%2e/Patient/999",
        "/fhir/Observation/..%2fPatient%2f999",
        "/fhir/Observation/o1%2f..%2ftheirs",
        "/fhir/Observation%2ftheirs",
        "/fhir//Observation/theirs",
        "/fhir/Observation/o1;x=/theirs",
        "/fhir/Observation/o1\\theirs",
        "/fhir/./Observation/theirs",
        "/fhir/Observation/theirs/",
        "/fhir/Observation/o1%00",
        "/fhir/Observation/o1%0d%0aX: y",
        "/fhir/observation/theirs",
        "/FHIR/Observation/theirs",
        "/fhirx/Observation/theirs",
        "/Observation/theirs",
        "//evil/fhir/Observation/theirs",
        "/fhir/Patient/123/../999",
        "/fhir/Patient/999/Observation/theirs",
        "/fhir/Patient/999/_history",
        "/fhir/$graphql?query={Patient(id:999){id}}",
        "/fhir/Patient/999/$everything",
        "/fhir/$export",
        "/fhir/Observation/$lastn?patient=999",
        "/fhir/Patient/999?_format=json&_format=xml",
        "/fhir/Observation?patient=999",
        "/fhir/Observation?subject=Patient/999",
        "/fhir/Observation?subject:Patient=999",
        "/fhir/Observation?_filter=patient%20eq%20999",
        "/fhir/Observation?_query=all",
        "/fhir/Observation?_has:Provenance:target:_id=x&unknown=1",
        "/fhir/Observation?access_token=t",
    ],
)
async def test_targets_that_reach_for_others(target: str) -> None:
    conversation, upstream = await ask("GET", target)
    assert conversation.status in {400, 403, 404}
    assert upstream.asked == []
    assert b"999" not in conversation.body.replace(b"/999", b"")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "GET ", "POST\r\nX: y", ""])
async def test_methods_that_are_none(method: str) -> None:
    conversation, upstream = await ask(method, "/fhir/Observation/o1")
    assert conversation.status in {400, 405}
    assert upstream.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-HTTP-Method": "DELETE"},
        {"X-Method-Override": "DELETE"},
        {"X-Original-URL": "/fhir/Patient/999"},
        {"X-Rewrite-URL": "/fhir/Patient/999"},
        {"X-Forwarded-Host": "evil", "X-Forwarded-Prefix": "/evil", "Forwarded": "host=evil"},
        {"Host": "evil"},
        {"Range": "bytes=0-"},
        {"TE": "trailers", "Connection": "authorization"},
    ],
)
async def test_headers_do_not_change_what_is_asked(headers: dict[str, str]) -> None:
    conversation, upstream = await ask("GET", "/fhir/Observation/o1", headers=headers)
    assert conversation.status == 200
    (asked,) = upstream.asked
    assert asked.line == "GET /Observation/o1"
    assert asked.header("host") == "fhir.example.org"
    assert "evil" not in str(asked.headers)
    assert not {"range", "te", "connection", "prefer"} & {name for name, _ in asked.headers}


@pytest.mark.parametrize("name", ["authorization", "host", "content-type", "content-length", "if-none-exist", "if-match"])
async def test_doubled_headers_are_refused(name: str) -> None:
    upstream = ScriptedUpstream(*STORED)
    headers = [(b"authorization", b"Bearer t"), (name.encode(), b"1"), (name.encode(), b"2")]
    conversation = Conversation(Front(upstream, "patient/*.cruds").gateway, "PUT", "/fhir/Observation/o1", headers=headers)
    await conversation.run()
    assert conversation.status == 400
    assert upstream.asked == []


async def test_a_body_on_a_read_goes_nowhere() -> None:
    upstream = ScriptedUpstream(*STORED)
    front = Front(upstream, "patient/Observation.r")
    response = await front.request("GET", "/Observation/o1", content=b"patient=999", headers={"Content-Type": FHIR})
    assert response.status_code == 200
    assert upstream.asked[0].body == b""
    assert upstream.asked[0].header("content-type") is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Observation","subject":{"reference":"Patient/123"},"subject":{"reference":"Patient/999"}}',
        b'{"resourceType":"Observation","subject":{"reference":"Patient/999"},"s\\u0075bject":{"reference":"Patient/123"}}',
        b'{"resourceType":"Observation","subject":{"reference":"Patient/123"},"performer":[{"reference":"Patient/999"}]}',
        b'{"resourceType":"Observation","subject":{"reference":"Patient?identifier=x"}}',
        b'{"resourceType":"Observation","subject":{"reference":"#p"},"contained":[{"resourceType":"Patient","id":"p"}]}',
        b'{"resourceType":"Observation","subject":{"reference":"http://evil/fhir/Patient/123"}}',
        b'{"resourceType":"Patient","id":"123"}',
        b'{"resourceType":"Bundle","type":"transaction"}',
        b"\xef\xbb\xbf{}",
        b"[]",
        b"{",
        b"",
        b"[" * 100_000,
    ],
)
async def test_bodies_that_reach_for_others(body: bytes) -> None:
    upstream = ScriptedUpstream(*STORED)
    front = Front(upstream, "patient/Observation.cruds")
    response = await front.request("POST", "/Observation", content=body, headers={"Content-Type": FHIR})
    assert response.status_code in {400, 403}
    assert upstream.asked == []
