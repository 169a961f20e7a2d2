"""Writes end to end: body and stored resource lie inside, nothing changes in between, the answer says no more than may be read."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from smart_gateway.request.limits import Limits
from tests.support.asgi import FHIR, PUBLIC, UPSTREAM, Asked, Front, Reply, ScriptedUpstream, code_of, observation, outcome
from tests.support.deciding import policy

SENT = {"Content-Type": FHIR}
WRITES = "patient/Observation.cud"
ALL = "patient/Observation.cruds"
POWERS = (
    "X-Request-Partition-IDs X-Cascade X-Rewrite-History X-Security-Context X-Upsert-Existence-Check Content-Location "
    "X-HTTP-Method-Override X_Cascade If_Match If.Match X-Forwarded-Host Forwarded Cookie Authorization_ X-Unknown"
)
PASSED = "host x-request-id accept-encoding x-forwarded-for user-agent accept content-type content-length if-match"


def created(asked: Asked) -> Reply:
    body = {**json.loads(asked.body), "id": "new"}
    return Reply(201, body, {"Location": f"{UPSTREAM}/Observation/new/_history/1", "ETag": 'W/"1"', "X-Hapi": "y"})


def upstream_for_writes(*stored: dict[str, Any]) -> ScriptedUpstream:
    upstream = ScriptedUpstream(*(stored or (observation(),)))
    upstream.replies["POST /Observation"] = created
    upstream.replies["PUT /Observation/o1"] = lambda asked: Reply(200, json.loads(asked.body), {"ETag": 'W/"4"'})
    upstream.replies["DELETE /Observation/o1"] = Reply(200, outcome("gone: secret"))
    return upstream


async def test_create_without_read_answers_status_location_and_etag_only() -> None:
    upstream = upstream_for_writes()
    headers = {**SENT, "Prefer": "return=representation"}
    response = await Front(upstream, WRITES).request("POST", "/Observation", json=observation(), headers=headers)
    assert (response.status_code, response.content) == (201, b"")
    assert response.headers["location"] == f"{PUBLIC}/Observation/new/_history/1"
    assert response.headers["etag"] == 'W/"1"'
    assert "content-type" not in response.headers
    (asked,) = upstream.asked
    assert asked.header("prefer") == "return=minimal"
    assert asked.header("content-type") == FHIR
    assert json.loads(asked.body) == observation()


async def test_create_with_read_gives_the_resource_back() -> None:
    response = await Front(upstream_for_writes(), ALL).request("POST", "/Observation", json=observation(), headers=SENT)
    assert response.status_code == 201
    assert response.json()["id"] == "new"
    minimal = await Front(upstream_for_writes(), ALL).request(
        "POST", "/Observation", json=observation(), headers={**SENT, "Prefer": "return=minimal"}
    )
    assert minimal.content == b""


@pytest.mark.parametrize(
    "answer",
    [
        observation("new", "999"),
        observation("other"),
        outcome("stored, by the way Patient/999 has HIV"),
        b"not json",
        {"resourceType": "Bundle", "entry": []},
    ],
    ids=["outside", "another", "outcome", "no JSON", "bundle"],
)
async def test_whatever_else_the_upstream_gives_back_does_not_leave(answer: Any) -> None:
    upstream = upstream_for_writes()
    upstream.replies["POST /Observation"] = Reply(201, answer, {"Location": f"{UPSTREAM}/Observation/new/_history/1"})
    response = await Front(upstream, ALL).request("POST", "/Observation", json=observation(), headers=SENT)
    assert (response.status_code, response.content) == (201, b"")


@pytest.mark.parametrize("location", ["http://10.0.0.7/fhir/Observation/x", f"{UPSTREAM}/Patient/999", "nonsense", ""])
async def test_a_location_of_something_else_does_not_leave(location: str) -> None:
    upstream = upstream_for_writes()
    upstream.replies["POST /Observation"] = Reply(201, b"", {"Location": location})
    response = await Front(upstream, ALL).request("POST", "/Observation", json=observation(), headers=SENT)
    assert response.status_code == 201
    assert "location" not in response.headers


async def test_a_body_outside_is_refused_and_nothing_is_sent() -> None:
    upstream = upstream_for_writes()
    front = Front(upstream, ALL)
    response = await front.request("POST", "/Observation", json=observation(patient="999"), headers=SENT)
    assert (response.status_code, code_of(response)) == (403, "outside-boundary")
    assert "999" not in response.text
    assert upstream.asked == []
    assert (front.event.outcome, front.event.code) == ("deny", "outside-boundary")


async def test_update_is_bound_to_the_version_that_was_judged() -> None:
    upstream = upstream_for_writes()
    body = observation(status="amended")
    response = await Front(upstream, ALL).request("PUT", "/Observation/o1", json=body, headers={**SENT, "If-Match": 'W/"3"'})
    assert (response.status_code, response.json()["status"]) == (200, "amended")
    assert [asked.line for asked in upstream.asked] == ["GET /Observation/o1", "PUT /Observation/o1"]
    assert upstream.asked[1].header("if-match") == 'W/"3"'
    assert upstream.asked[1].header("if-none-match") is None


async def test_delete_is_bound_too_and_its_outcome_stays() -> None:
    upstream = upstream_for_writes()
    response = await Front(upstream, ALL).request("DELETE", "/Observation/o1")
    assert (response.status_code, response.content) == (200, b"")
    assert upstream.asked[1].header("if-match") == 'W/"3"'


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_the_stored_resource_decides_not_the_body(method: str) -> None:
    upstream = upstream_for_writes(observation(patient="999"))
    options = {"json": observation(), "headers": SENT} if method == "PUT" else {}
    response = await Front(upstream, ALL).request(method, "/Observation/o1", **options)
    assert (response.status_code, code_of(response)) == (404, "not-found")
    assert [asked.method for asked in upstream.asked] == ["GET"]


@pytest.mark.parametrize("status", [404, 410])
async def test_nothing_stored_looks_like_something_outside(status: int) -> None:
    upstream = upstream_for_writes()
    upstream.replies["GET /Observation/o1"] = Reply(status, outcome("secret"))
    response = await Front(upstream, ALL).request("PUT", "/Observation/o1", json=observation(), headers=SENT)
    assert (response.status_code, code_of(response)) == (404, "not-found")
    assert len(upstream.asked) == 1


async def test_a_free_id_is_created_only_where_the_policy_says_so() -> None:
    upstream = upstream_for_writes()
    upstream.replies["GET /Observation/o1"] = Reply(404, outcome("none"))
    upstream.replies["PUT /Observation/o1"] = Reply(201, b"", {"Location": f"{UPSTREAM}/Observation/o1/_history/1"})
    front = Front(upstream, ALL, policy=policy(update_as_create="always"))
    response = await front.request("PUT", "/Observation/o1", json=observation(), headers=SENT)
    assert response.status_code == 201
    assert upstream.asked[1].header("if-none-match") == "*"
    assert upstream.asked[1].header("if-match") is None
    matched = await front.request("PUT", "/Observation/o1", json=observation(), headers={**SENT, "If-Match": 'W/"1"'})
    assert matched.status_code == 412
    upstream.replies["GET /Observation/o1"] = Reply(410, outcome("deleted"))
    resurrected = await front.request("PUT", "/Observation/o1", json=observation(), headers=SENT)
    assert resurrected.status_code == 404


async def test_the_clients_own_if_match_counts() -> None:
    upstream = upstream_for_writes()
    front = Front(upstream, ALL)
    stale = await front.request("PUT", "/Observation/o1", json=observation(), headers={**SENT, "If-Match": 'W/"2"'})
    assert (stale.status_code, code_of(stale)) == (412, "precondition-failed")
    assert [asked.method for asked in upstream.asked] == ["GET"]
    outside = Front(upstream_for_writes(observation(patient="999")), ALL)
    hidden = await outside.request("PUT", "/Observation/o1", json=observation(), headers={**SENT, "If-Match": 'W/"2"'})
    assert hidden.status_code == 404
    whatever = await front.request("PUT", "/Observation/o1", json=observation(), headers={**SENT, "If-Match": "*"})
    assert whatever.status_code == 200


@pytest.mark.parametrize("status", [409, 412])
async def test_a_change_in_between_is_412(status: int) -> None:
    upstream = upstream_for_writes()
    upstream.replies["PUT /Observation/o1"] = Reply(status, outcome("secret: version 5 by Practitioner/7"))
    response = await Front(upstream, ALL).request("PUT", "/Observation/o1", json=observation(), headers=SENT)
    assert response.status_code == 412
    assert "secret" not in response.text


@pytest.mark.parametrize(
    ("stored", "headers"),
    [
        (observation(meta={}), {}),
        (observation(meta={"versionId": "3"}), {"ETag": 'W/"4"'}),
        (observation(meta={"versionId": 3}), {"ETag": "nonsense"}),
    ],
    ids=["no version", "two versions", "no readable version"],
)
async def test_without_one_version_nothing_is_changed(stored: dict[str, Any], headers: dict[str, str]) -> None:
    upstream = upstream_for_writes()
    upstream.replies["GET /Observation/o1"] = Reply(200, stored, headers)
    response = await Front(upstream, ALL).request("PUT", "/Observation/o1", json=observation(), headers=SENT)
    assert response.status_code == 502
    assert len(upstream.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, observation("o2")),
        Reply(200, {"resourceType": "Patient", "id": "o1"}),
        Reply(200, b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/999"},"subject":{"reference":"Patient/123"}}'),
        Reply(200, b"[]"),
        Reply(200, observation(), type="application/fhir+xml"),
        Reply(200, observation(), {"Content-Encoding": "gzip"}),
        Reply(500, outcome("secret")),
        Reply(302, b"", {"Location": "http://10.0.0.7/"}),
    ],
    ids=["another id", "another type", "doubled key", "no object", "XML", "encoded", "error", "redirect"],
)
async def test_a_stored_resource_that_cannot_be_judged_is_502(reply: Reply) -> None:
    upstream = upstream_for_writes()
    upstream.replies["GET /Observation/o1"] = reply
    response = await Front(upstream, ALL).request("PUT", "/Observation/o1", json=observation(), headers=SENT)
    assert response.status_code == 502
    assert [asked.method for asked in upstream.asked] == ["GET"]


async def test_bodies_are_sent_as_they_came_but_without_encoding() -> None:
    raw = b'{"resourceType": "Observation",  "valueQuantity": {"value": 72.50}, "subject": {"reference": "Patient/123"}}'
    for content, headers in ((raw, {}), (gzip.compress(raw), {"Content-Encoding": "gzip"})):
        upstream = upstream_for_writes()
        response = await Front(upstream, ALL).request("POST", "/Observation", content=content, headers={**SENT, **headers})
        assert response.status_code == 201
        assert upstream.asked[0].body == raw
        assert upstream.asked[0].header("content-encoding") is None


async def test_headers_with_power_never_pass() -> None:
    upstream = upstream_for_writes()
    powers = dict.fromkeys(POWERS.split(), "x")
    await Front(upstream, ALL).request("PUT", "/Observation/o1", json=observation(), headers={**SENT, **powers})
    for asked in upstream.asked:
        names = {name for name, _ in asked.headers}
        assert names <= set(PASSED.split())


async def test_without_a_bound_the_type_is_still_read_and_conditions_are_the_clients() -> None:
    upstream = upstream_for_writes()
    front = Front(upstream, "system/*.cruds")
    wrong = await front.request("PUT", "/Observation/o1", json={"resourceType": "Patient", "id": "o1"}, headers=SENT)
    assert (wrong.status_code, code_of(wrong)) == (400, "type-mismatch")
    right = await front.request("PUT", "/Observation/o1", json=observation(), headers={**SENT, "If-Match": 'W/"9"'})
    assert right.status_code == 200
    assert [(asked.line, asked.header("if-match")) for asked in upstream.asked] == [("PUT /Observation/o1", 'W/"9"')]


async def test_raw_content_streams_up_without_a_bound() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["POST /Binary"] = Reply(201, b"", {"Location": f"{UPSTREAM}/Binary/b1/_history/1"})
    front = Front(upstream, "system/*.cruds")
    response = await front.request("POST", "/Binary", content=b"%PDF", headers={"Content-Type": "application/pdf"})
    assert (response.status_code, response.headers["location"]) == (201, f"{PUBLIC}/Binary/b1/_history/1")
    (asked,) = upstream.asked
    assert (asked.body, asked.header("content-type"), asked.header("content-length")) == (b"%PDF", "application/pdf", "4")
    front.reload(limits=Limits(body=3))
    assert (await front.request("POST", "/Binary", content=b"%PDF", headers={"Content-Type": "application/pdf"})).status_code == 413
