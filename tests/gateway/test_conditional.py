"""Conditional writes end to end: the criteria are asked, and what they find is written by its id, or nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.support.asgi import (
    FHIR,
    PUBLIC,
    UPSTREAM,
    Asked,
    DisobedientUpstream,
    Front,
    Reply,
    ScriptedUpstream,
    code_of,
    observation,
    searchset,
)
from tests.support.asgi import outcome as said
from tests.support.deciding import policy

SENT = {"Content-Type": FHIR}
PATCH = {"Content-Type": "application/json-patch+json"}
ALL = "patient/Observation.cruds"
TARGET = "/Observation?identifier=urn:x|1"
SEARCH = "GET /Observation"
FOREIGN = observation("o9", "999", note=[{"text": "secret"}])


def body(**changes: Any) -> dict[str, Any]:
    """An update without an id, as the criteria name the resource."""
    return {key: value for key, value in observation(status="amended", **changes).items() if key not in {"id", "meta"}}


def upstream_that_finds(*found: dict[str, Any], **members: Any) -> ScriptedUpstream:
    upstream = ScriptedUpstream(*found)
    upstream.replies[SEARCH] = Reply(200, searchset(*found, **members))
    upstream.replies["PUT /Observation/o1"] = lambda asked: Reply(200, json.loads(asked.body), {"ETag": 'W/"4"'})
    upstream.replies["PATCH /Observation/o1"] = Reply(200, observation(status="amended"), {"ETag": 'W/"4"'})
    upstream.replies["DELETE /Observation/o1"] = Reply(204, b"", type=None)
    upstream.replies["POST /Observation"] = created
    return upstream


def created(asked: Asked) -> Reply:
    return Reply(201, {**json.loads(asked.body), "id": "new"}, {"Location": f"{UPSTREAM}/Observation/new/_history/1", "ETag": 'W/"1"'})


def lines(upstream: ScriptedUpstream) -> list[str]:
    return [asked.line for asked in upstream.asked]


async def ask(front: Front, method: str, target: str = TARGET, **headers: str) -> Any:
    """One write by criteria with the body that its method has."""
    match method:
        case "PUT":
            return await front.request("PUT", target, json=body(), headers=SENT | headers)
        case "PATCH":
            patch = [{"op": "replace", "path": "/status", "value": "amended"}]
            return await front.request("PATCH", target, content=json.dumps(patch), headers=PATCH | headers)
        case _:
            return await front.request("DELETE", target, headers=headers)


@pytest.mark.parametrize(("method", "status"), [("PUT", 200), ("PATCH", 200), ("DELETE", 204)])
async def test_what_is_found_is_written_by_id_at_the_version_that_was_found(method: str, status: int) -> None:
    upstream = upstream_that_finds(observation())
    response = await ask(Front(upstream, ALL), method)
    assert response.status_code == status, response.text
    assert lines(upstream) == [SEARCH, "GET /Observation/o1", f"{method} /Observation/o1"]
    search, _, write = upstream.asked
    assert search.query == [("identifier", "urn:x|1"), ("patient", "Patient/123"), ("_count", "2")]
    assert search.header("prefer") == "handling=strict"
    assert write.query == []
    assert write.header("if-match") == 'W/"3"'


async def test_an_update_gets_the_id_of_the_match_and_stays_as_it_is_otherwise() -> None:
    upstream = upstream_that_finds(observation())
    raw = b' {"resourceType": "Observation",  "valueQuantity": {"value": 72.50}, "subject": {"reference": "Patient/123"}}'
    response = await Front(upstream, ALL).request("PUT", TARGET, content=raw, headers=SENT)
    assert response.status_code == 200, response.text
    assert upstream.asked[-1].body == b'{"id":"o1",' + raw[2:]


@pytest.mark.parametrize(("id", "status"), [("o1", 200), ("o2", 400), (7, 400)])
async def test_an_id_in_the_body_must_be_that_of_the_match(id: Any, status: int) -> None:
    upstream = upstream_that_finds(observation())
    response = await Front(upstream, ALL).request("PUT", TARGET, json={**body(), "id": id}, headers=SENT)
    assert response.status_code == status
    assert ("PUT /Observation/o1" in lines(upstream)) is (status == 200)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_without_a_match_there_is_nothing_to_change(method: str) -> None:
    upstream = upstream_that_finds()
    response = await ask(Front(upstream, ALL), method)
    assert (response.status_code, code_of(response)) == (404, "not-found")
    assert lines(upstream) == [SEARCH]


async def test_an_update_without_a_match_creates_and_takes_the_criteria_along() -> None:
    upstream = upstream_that_finds()
    response = await ask(Front(upstream, ALL), "PUT")
    assert (response.status_code, response.headers["location"]) == (201, f"{PUBLIC}/Observation/new/_history/1")
    assert lines(upstream) == [SEARCH, "POST /Observation"]
    assert upstream.asked[1].header("if-none-exist") == "identifier=urn:x%7C1&patient=Patient/123"
    assert json.loads(upstream.asked[1].body) == body()


async def test_that_create_needs_its_own_permission() -> None:
    upstream = upstream_that_finds()
    response = await ask(Front(upstream, "patient/Observation.rus"), "PUT")
    assert (response.status_code, code_of(response)) == (403, "insufficient-scope")
    assert lines(upstream) == [SEARCH]


@pytest.mark.parametrize("found", [observation("o2"), FOREIGN])
@pytest.mark.parametrize("scope", [ALL, "system/Observation.cruds"])
async def test_what_came_to_match_in_the_meantime_is_no_success(found: dict[str, Any], scope: str) -> None:
    upstream = upstream_that_finds()
    upstream.replies["POST /Observation"] = Reply(200, found, {"Location": f"{UPSTREAM}/Observation/{found['id']}/_history/3"})
    response = await ask(Front(upstream, scope), "PUT")
    assert (response.status_code, code_of(response)) == (412, "precondition-failed")
    assert found["id"] not in response.text
    assert "location" not in response.headers


@pytest.mark.parametrize(("choice", "status"), [("never", 404), ("uuid_only", 404), ("always", 201)])
async def test_with_an_id_it_is_an_update_that_only_creates(choice: str, status: int) -> None:
    upstream = upstream_that_finds()
    upstream.replies["PUT /Observation/free"] = Reply(201, b"", {"Location": f"{UPSTREAM}/Observation/free/_history/1"})
    front = Front(upstream, ALL, policy=policy(update_as_create=choice))
    response = await front.request("PUT", TARGET, json={**body(), "id": "free"}, headers=SENT)
    assert response.status_code == status
    if status == 201:
        assert upstream.asked[-1].header("if-none-match") == "*"
    else:
        assert lines(upstream) == [SEARCH, "GET /Observation/free"]


@pytest.mark.parametrize(("stored", "status"), [(observation("taken"), 412), (observation("taken", "999"), 404)])
async def test_a_taken_id_is_not_updated_by_criteria_that_do_not_find_it(stored: dict[str, Any], status: int) -> None:
    upstream = upstream_that_finds()
    upstream.stored["Observation/taken"] = stored
    front = Front(upstream, ALL, policy=policy(update_as_create="always"))
    response = await front.request("PUT", TARGET, json={**body(), "id": "taken"}, headers=SENT)
    assert response.status_code == status
    assert lines(upstream) == [SEARCH, "GET /Observation/taken"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "found",
    [
        lambda: searchset(observation(), observation("o2")),
        lambda: searchset(observation(), total=2),
        lambda: searchset(observation(), link=[{"relation": "next", "url": f"{UPSTREAM}?_getpages=1"}]),
    ],
    ids=["two", "a total of two", "a next page"],
)
async def test_more_than_one_match_is_412(method: str, found: Callable[[], dict[str, Any]]) -> None:
    upstream = upstream_that_finds(observation())
    upstream.replies[SEARCH] = Reply(200, found())
    response = await ask(Front(upstream, ALL), method)
    assert (response.status_code, code_of(response)) == (412, "multiple-matches")
    assert "o2" not in response.text
    assert lines(upstream) == [SEARCH]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, searchset(FOREIGN)),
        Reply(200, searchset(observation(), FOREIGN)),
        Reply(200, searchset(total=1)),
        Reply(200, searchset(observation(), total=0)),
        Reply(200, observation()),
        Reply(200, {"resourceType": "Bundle", "type": "history", "entry": []}),
        Reply(200, b"[]"),
        Reply(200, searchset(observation()), type="application/fhir+xml"),
        Reply(500, said("secret")),
        Reply(302, b"", {"Location": "http://10.0.0.7/"}),
    ],
    ids=["foreign", "foreign beside", "none of one", "one of none", "no bundle", "history", "array", "XML", "error", "redirect"],
)
async def test_an_upstream_that_does_not_answer_the_criteria_is_not_written_to(method: str, reply: Reply) -> None:
    upstream = upstream_that_finds(observation())
    upstream.replies[SEARCH] = reply
    response = await ask(Front(upstream, ALL), method)
    assert response.status_code == 502
    assert "secret" not in response.text
    assert [asked.method for asked in upstream.asked] == ["GET"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_what_is_found_must_be_writable_too(method: str) -> None:
    """Found by `s`, outside of what may be written: that looks absent, as by id."""
    upstream = upstream_that_finds(observation())
    scope = "patient/Observation.rs patient/Observation.cud?status=cancelled"
    response = await ask(Front(upstream, scope), method)
    assert (response.status_code, code_of(response)) == (404, "not-found")
    assert lines(upstream) == [SEARCH, "GET /Observation/o1"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_what_moved_after_it_was_found_is_not_written(method: str) -> None:
    upstream = upstream_that_finds(observation())
    upstream.stored["Observation/o1"] = observation(patient="999", meta={"versionId": "4"})
    assert (await ask(Front(upstream, ALL), method)).status_code == 404
    upstream.stored["Observation/o1"] = observation(meta={"versionId": "4"})
    changed = await ask(Front(upstream, ALL), method)
    assert (changed.status_code, code_of(changed)) == (412, "precondition-failed")
    assert {asked.method for asked in upstream.asked} == {"GET"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_what_is_gone_after_it_was_found_is_not_created(method: str) -> None:
    upstream = upstream_that_finds(observation())
    del upstream.stored["Observation/o1"]
    response = await ask(Front(upstream, ALL, policy=policy(update_as_create="always")), method)
    assert response.status_code == 404
    assert {asked.method for asked in upstream.asked} == {"GET"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_the_clients_own_if_match_counts(method: str) -> None:
    upstream = upstream_that_finds(observation())
    stale = await ask(Front(upstream, ALL), method, **{"If-Match": 'W/"2"'})
    assert stale.status_code == 412
    assert {asked.method for asked in upstream.asked} == {"GET"}
    assert (await ask(Front(upstream, ALL), method, **{"If-Match": 'W/"3"'})).status_code in {200, 204}
    nothing = await ask(Front(upstream_that_finds(), ALL), method, **{"If-Match": 'W/"3"'})
    assert nothing.status_code == (412 if method == "PUT" else 404)


@pytest.mark.parametrize("scope", ["system/Observation.cruds", "system/*.cruds patient/*.cruds"])
async def test_with_another_bound_the_version_that_matched_is_still_the_one_that_is_written(scope: str) -> None:
    upstream = upstream_that_finds(observation())
    headers = {"If-Match": 'W/"3"'} if "*" in scope else {}
    response = await ask(Front(upstream, scope), "PUT", **headers)
    assert response.status_code == 200
    assert lines(upstream) == [SEARCH, "PUT /Observation/o1"]
    assert upstream.asked[1].header("if-match") == 'W/"3"'


async def test_without_any_bound_the_upstream_does_it() -> None:
    upstream = upstream_that_finds()
    upstream.replies["DELETE /Observation"] = Reply(200, said("2 deleted"))
    response = await ask(Front(upstream, "system/*.cruds"), "DELETE")
    assert response.status_code == 200
    (asked,) = upstream.asked
    assert (asked.line, asked.query) == ("DELETE /Observation", [("identifier", "urn:x|1")])


@pytest.mark.parametrize("target", ["/Observation", "/Observation?_format=json", "/Observation?_count=1"])
@pytest.mark.parametrize("scope", [ALL, "system/*.cruds"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_without_criteria_the_upstream_is_not_asked(method: str, scope: str, target: str) -> None:
    upstream = upstream_that_finds(observation())
    response = await ask(Front(upstream, scope), method, target)
    assert (response.status_code, code_of(response)) == (412, "no-criteria")
    assert upstream.asked == []


EXIST = {"If-None-Exist": "identifier=urn:x|1"}
HERE = {"Location": f"{UPSTREAM}/Observation/o1/_history/3", "ETag": 'W/"3"'}


async def test_a_create_takes_the_narrowed_criteria_along() -> None:
    upstream = upstream_that_finds()
    response = await Front(upstream, ALL).request("POST", "/Observation", json=body(), headers=SENT | EXIST)
    assert (response.status_code, response.json()["id"]) == (201, "new")
    (asked,) = upstream.asked
    assert dict(parse_qsl(asked.header("if-none-exist") or "")) == {"identifier": "urn:x|1", "patient": "Patient/123"}


@pytest.mark.parametrize(("scope", "shown"), [(ALL, True), ("patient/Observation.cs", False), ("patient/Observation.cuds", False)])
async def test_what_a_create_finds_is_shown_only_to_who_may_read(scope: str, shown: bool) -> None:
    upstream = upstream_that_finds(observation(note=[{"text": "stored"}]))
    upstream.replies["POST /Observation"] = Reply(200, observation(note=[{"text": "stored"}]), HERE)
    response = await Front(upstream, scope).request("POST", "/Observation", json=body(), headers=SENT | EXIST)
    assert (response.status_code, response.headers["location"]) == (200, f"{PUBLIC}/Observation/o1/_history/3")
    assert ("stored" in response.text) is shown
    assert lines(upstream) == ["POST /Observation", "GET /Observation/o1"]


@pytest.mark.parametrize(
    ("headers", "stored"),
    [
        ({"Location": f"{UPSTREAM}/Observation/o9/_history/3", "ETag": 'W/"3"'}, FOREIGN),
        ({"Location": f"{UPSTREAM}/Observation/none/_history/3"}, FOREIGN),
        ({"Location": f"{UPSTREAM}/Patient/999"}, FOREIGN),
        ({"Location": "http://10.0.0.7/Observation/o9"}, FOREIGN),
        ({}, FOREIGN),
    ],
    ids=["foreign", "absent", "another type", "elsewhere", "nothing said"],
)
@pytest.mark.parametrize("scope", [ALL, "patient/Observation.cs"])
async def test_what_a_disobedient_upstream_finds_does_not_leave(headers: dict[str, str], stored: dict[str, Any], scope: str) -> None:
    upstream = upstream_that_finds(stored)
    upstream.replies["POST /Observation"] = Reply(200, stored, headers)
    response = await Front(upstream, scope).request("POST", "/Observation", json=body(), headers=SENT | EXIST)
    assert (response.status_code, code_of(response)) == (502, "upstream-error")
    assert "location" not in response.headers
    assert "etag" not in response.headers
    assert "o9" not in response.text


async def test_several_matches_of_a_create_are_412() -> None:
    upstream = upstream_that_finds()
    upstream.replies["POST /Observation"] = Reply(412, said("o1, o9: secret"))
    response = await Front(upstream, ALL).request("POST", "/Observation", json=body(), headers=SENT | EXIST)
    assert response.status_code == 412
    assert "secret" not in response.text


@pytest.mark.parametrize(
    "reply", [Reply(200, FOREIGN), Reply(200, searchset(FOREIGN)), Reply(201, FOREIGN, {"Location": f"{UPSTREAM}/Observation/o9"})]
)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_one_answer_to_everything(method: str, reply: Reply) -> None:
    response = await ask(Front(DisobedientUpstream(reply), ALL), method)
    assert response.status_code == 502
    assert "o9" not in response.text + str(response.headers)


@pytest.mark.parametrize(
    ("condition", "stored", "status"), [("*", observation(), 412), ("*", observation(patient="999"), 404), ('W/"3"', observation(), 400)]
)
async def test_if_none_match_on_an_update(condition: str, stored: dict[str, Any], status: int) -> None:
    upstream = upstream_that_finds(stored)
    front = Front(upstream, ALL, policy=policy(update_as_create="always"))
    response = await front.request("PUT", "/Observation/o1", json=observation(), headers=SENT | {"If-None-Match": condition})
    assert response.status_code == status
    assert not [asked for asked in upstream.asked if asked.method == "PUT"]


async def test_on_hapi_the_version_stands_where_hapi_looks_for_it() -> None:
    upstream = upstream_that_finds(observation())
    upstream.replies["DELETE /Observation/o1/_history/3"] = Reply(204, b"", type=None)
    front = Front(upstream, ALL, policy=policy(conditions="hapi", update_as_create="always"))
    assert (await front.request("DELETE", "/Observation/o1")).status_code == 204
    assert (await ask(front, "DELETE")).status_code == 204
    upstream.replies["PUT /Observation/free"] = Reply(201, b"", {"Location": f"{UPSTREAM}/Observation/free/_history/1"})
    made = await front.request("PUT", "/Observation/free", json=observation("free"), headers=SENT)
    assert made.status_code == 201
    assert (upstream.asked[-1].header("if-match"), upstream.asked[-1].header("if-none-match")) == ('W/"0"', None)
    assert lines(upstream).count("DELETE /Observation/o1/_history/3") == 2
