"""Patches end to end: what is stored is fetched, patched in memory and judged, and the write carries the version that was judged."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from smart_gateway.fhir.media import JSON_PATCH
from smart_gateway.request.limits import Limits
from tests.support.asgi import FHIR, PUBLIC, UPSTREAM, Asked, Front, Reply, ScriptedUpstream, code_of, observation, outcome

SENT = {"Content-Type": JSON_PATCH}
ALL = "patient/Observation.cruds"
AMEND = {"op": "replace", "path": "/status", "value": "amended"}
TEST = {"op": "test", "path": "/status", "value": "final"}
TAKE = {"op": "replace", "path": "/subject/reference", "value": "Patient/999"}


def upstream_for_patches(stored: dict[str, Any] | None = None) -> ScriptedUpstream:
    upstream = ScriptedUpstream(stored if stored is not None else observation())
    upstream.replies["PATCH /Observation/o1"] = Reply(200, observation(status="amended"), {"ETag": 'W/"4"', "X-Hapi": "y"})
    return upstream


async def patch(front: Front, *operations: dict[str, Any], **headers: str) -> Any:
    content = json.dumps(operations).encode()
    return await front.request("PATCH", "/Observation/o1", content=content, headers={**SENT, **headers})


async def test_a_patch_is_bound_to_the_version_that_was_judged() -> None:
    upstream = upstream_for_patches()
    response = await patch(Front(upstream, ALL), TEST, AMEND)
    assert (response.status_code, response.json()["status"], response.headers["etag"]) == (200, "amended", 'W/"4"')
    assert [asked.line for asked in upstream.asked] == ["GET /Observation/o1", "PATCH /Observation/o1"]
    sent = upstream.asked[1]
    assert (sent.header("if-match"), sent.header("content-type")) == ('W/"3"', JSON_PATCH)
    assert json.loads(sent.body) == [TEST, AMEND]
    assert sent.header("content-length") == str(len(sent.body))


async def test_what_is_sent_was_parsed() -> None:
    upstream = upstream_for_patches()
    content = b' [{"extra": [1], "path":"/valueQuantity", "value": {"value": 72.50}, "op":"add"}]\n'
    response = await Front(upstream, ALL).request("PATCH", "/Observation/o1", content=content, headers=SENT)
    assert response.status_code == 200
    assert upstream.asked[1].body == b'[{"op":"add","path":"/valueQuantity","value":{"value": 72.50}}]'


async def test_a_compressed_patch_is_read_too() -> None:
    upstream = upstream_for_patches()
    content = gzip.compress(json.dumps([AMEND]).encode())
    response = await Front(upstream, ALL).request("PATCH", "/Observation/o1", content=content, headers={**SENT, "Content-Encoding": "gzip"})
    assert response.status_code == 200
    assert json.loads(upstream.asked[1].body) == [AMEND]
    assert upstream.asked[1].header("content-encoding") is None


async def test_a_patch_that_moves_the_resource_out_is_not_sent() -> None:
    upstream = upstream_for_patches()
    front = Front(upstream, ALL)
    response = await patch(front, TAKE)
    assert (response.status_code, code_of(response)) == (403, "outside-boundary")
    assert "999" not in response.text
    assert [asked.method for asked in upstream.asked] == ["GET"]
    assert (front.event.outcome, front.event.code) == ("deny", "outside-boundary")


async def test_without_read_a_test_is_refused_by_its_place_and_scope() -> None:
    upstream = upstream_for_patches()
    response = await patch(Front(upstream, "patient/Observation.u"), AMEND, TEST)
    assert (response.status_code, code_of(response)) == (403, "insufficient-scope")
    assert 'scope="patient/Observation.r"' in response.headers["www-authenticate"]
    issue = response.json()["issue"][0]
    assert issue["expression"] == ["patch[1].op"]
    assert [asked.method for asked in upstream.asked] == ["GET"]


async def test_without_read_the_answer_holds_no_body_and_none_is_asked_for() -> None:
    upstream = upstream_for_patches()
    response = await patch(Front(upstream, "patient/Observation.u"), AMEND, Prefer="return=representation")
    assert (response.status_code, response.content, response.headers["etag"]) == (200, b"", 'W/"4"')
    assert upstream.asked[1].header("prefer") == "return=minimal"
    seeing = upstream_for_patches()
    shown = await patch(Front(seeing, ALL), AMEND, Prefer="return=representation")
    assert shown.json()["status"] == "amended"
    assert seeing.asked[1].header("prefer") == "return=representation"
    assert (await patch(Front(upstream_for_patches(), ALL), AMEND, Prefer="return=minimal")).content == b""


async def test_what_the_upstream_gives_back_is_judged() -> None:
    upstream = upstream_for_patches()
    upstream.replies["PATCH /Observation/o1"] = Reply(200, observation(patient="999"), {"ETag": 'W/"4"'})
    response = await patch(Front(upstream, ALL), AMEND)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("scope", [ALL, "patient/Observation.u"])
async def test_a_foreign_resource_looks_absent_whatever_the_patch(scope: str) -> None:
    absent = ScriptedUpstream()
    foreign = upstream_for_patches(observation(patient="999", status="final"))
    for operations in ((AMEND,), (TEST,), (TAKE,), ({"op": "nonsense"},)):
        hidden = await patch(Front(foreign, scope), *operations, **{"If-Match": 'W/"1"'})
        missing = await patch(Front(absent, scope), *operations, **{"If-Match": 'W/"1"'})
        assert (hidden.status_code, code_of(hidden)) == (404, "not-found")
        assert hidden.json()["issue"] == missing.json()["issue"]
    assert {asked.method for asked in foreign.asked} == {"GET"}


async def test_the_clients_own_if_match_counts() -> None:
    upstream = upstream_for_patches()
    stale = await patch(Front(upstream, ALL), AMEND, **{"If-Match": 'W/"2"'})
    assert (stale.status_code, code_of(stale)) == (412, "precondition-failed")
    assert [asked.method for asked in upstream.asked] == ["GET"]
    assert (await patch(Front(upstream, ALL), AMEND, **{"If-Match": 'W/"3"'})).status_code == 200


@pytest.mark.parametrize("status", [409, 412])
async def test_a_change_in_between_is_412(status: int) -> None:
    upstream = upstream_for_patches()
    upstream.replies["PATCH /Observation/o1"] = Reply(status, outcome("secret"))
    response = await patch(Front(upstream, ALL), AMEND)
    assert (response.status_code, "secret" in response.text) == (412, False)


@pytest.mark.parametrize(
    ("content", "type", "status", "expression"),
    [
        (b"[", JSON_PATCH, 400, None),
        (b"{}", JSON_PATCH, 400, "patch"),
        (b'[{"op":"add","path":"/a"}]', JSON_PATCH, 400, "patch[0].value"),
        (b'[{"op":"remove","path":"/no"}]', JSON_PATCH, 422, "patch[0].path"),
        (b'[{"op":"replace","path":"/id","value":"o2"}]', JSON_PATCH, 400, "Observation.id"),
        (b'[{"op":"add","path":"/a","value":1,"value":2}]', JSON_PATCH, 400, None),
        (b'{"resourceType":"Parameters"}', FHIR, 415, "http.Content-Type"),
        (b"<diff/>", "application/xml-patch+xml", 415, "http.Content-Type"),
        (b"{}", "application/merge-patch+json", 415, "http.Content-Type"),
        (b"[]", "application/json", 415, "http.Content-Type"),
        (b"[]", JSON_PATCH + "; charset=iso-8859-1", 415, "http.Content-Type"),
    ],
)
async def test_what_cannot_be_judged_is_refused(content: bytes, type: str, status: int, expression: str | None) -> None:
    upstream = upstream_for_patches()
    response = await Front(upstream, ALL).request("PATCH", "/Observation/o1", content=content, headers={"Content-Type": type})
    assert response.status_code == status, response.text
    assert response.json()["issue"][0].get("expression") == ([expression] if expression else None)
    assert [asked.method for asked in upstream.asked] == ["GET"]


async def test_a_bomb_is_stopped_before_it_is_sent() -> None:
    upstream = upstream_for_patches()
    copies = [{"op": "copy", "from": "", "path": f"/extension{n}"} for n in range(900)]
    response = await patch(Front(upstream, ALL), *copies)
    assert (response.status_code, code_of(response)) == (422, "patch-limit")
    small = Front(upstream, ALL, limits=Limits(body=100))
    assert (await patch(small, AMEND)).status_code == 422  # the result is a body too
    assert (await patch(small, AMEND, AMEND)).status_code == 413
    assert {asked.method for asked in upstream.asked} == {"GET"}


async def test_without_bounds_a_patch_streams_with_the_clients_condition() -> None:
    upstream = upstream_for_patches()
    front = Front(upstream, "system/*.cruds")
    response = await patch(front, TEST, TAKE, **{"If-Match": 'W/"9"'})
    assert (response.status_code, response.json()["status"]) == (200, "amended")
    (asked,) = upstream.asked
    assert (asked.line, asked.header("if-match"), asked.header("content-type")) == ("PATCH /Observation/o1", 'W/"9"', JSON_PATCH)
    for content in (b"[{]", b'[{"op":"remove","path":"/resourceType"}]', b'[{"op":"replace","path":"/id","value":"x"}]'):
        refused = await front.request("PATCH", "/Observation/o1", content=content, headers=SENT)
        assert refused.status_code == 400
    assert len(upstream.asked) == 1


async def test_without_bounds_other_patches_of_fhir_pass() -> None:
    upstream = upstream_for_patches()
    front = Front(upstream, "system/*.cruds")
    fhirpath, xml = b'{"resourceType":"Parameters","parameter":[]}', b'<diff xmlns="x"><remove sel="a"/></diff>'
    for content, type in ((fhirpath, FHIR), (xml, "application/xml-patch+xml"), (b"<Parameters/>", "application/fhir+xml")):
        response = await front.request("PATCH", "/Observation/o1", content=content, headers={"Content-Type": type})
        assert response.status_code == 200
        assert (upstream.asked[-1].body, upstream.asked[-1].header("content-type")) == (content, type)
    wrong = await front.request("PATCH", "/Observation/o1", content=b'{"resourceType":"Observation"}', headers={"Content-Type": FHIR})
    assert (wrong.status_code, code_of(wrong)) == (400, "type-mismatch")
    merge = await front.request("PATCH", "/Observation/o1", content=b"{}", headers={"Content-Type": "application/merge-patch+json"})
    assert merge.status_code == 415
    assert len(upstream.asked) == 3


async def test_a_location_leaves_in_the_public_base_only() -> None:
    upstream = upstream_for_patches()
    location = f"{UPSTREAM}/Observation/o1/_history/4"
    upstream.replies["PATCH /Observation/o1"] = lambda asked: Reply(200, b"", {"Location": location})
    assert (await patch(Front(upstream, ALL), AMEND)).headers["location"] == f"{PUBLIC}/Observation/o1/_history/4"


async def test_a_change_of_hands_between_check_and_write_meets_the_condition() -> None:
    """A server that honours If-Match: somebody else moves the resource after it was judged."""
    upstream = upstream_for_patches()

    def honour(asked: Asked) -> Reply:
        now = 'W/"4"'  # it was version 3 when it was judged
        return Reply(200, observation(patient="999")) if asked.header("if-match") == now else Reply(412, outcome("secret"))

    upstream.replies["PATCH /Observation/o1"] = honour
    response = await patch(Front(upstream, ALL), AMEND)
    assert response.status_code == 412
