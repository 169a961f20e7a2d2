"""Reads end to end: fetched, checked, and only then sent (semantics 5)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.model import PublicInteraction
from tests.support.asgi import FHIR, PUBLIC, UPSTREAM, Front, Reply, ScriptedUpstream, code_of, observation, outcome
from tests.support.deciding import policy

BOUNDED = "patient/Observation.rs"
UNBOUNDED = "system/*.cruds"


async def test_a_resource_inside_leaves_byte_for_byte() -> None:
    raw = b'{"resourceType":"Observation","id":"o1","valueQuantity":{"value":72.50},"subject":{"reference":"Patient/123"}}'
    upstream = ScriptedUpstream()
    headers = {"ETag": 'W/"3"', "Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT", "X-Powered-By": "HAPI", "Set-Cookie": "a=b"}
    upstream.replies["GET /Observation/o1"] = Reply(200, raw, headers)
    response = await Front(upstream, BOUNDED).get("/Observation/o1")
    assert (response.status_code, response.content) == (200, raw)
    assert response.headers["etag"] == 'W/"3"'
    assert response.headers["last-modified"] == "Sat, 21 Nov 2026 10:00:00 GMT"
    assert response.headers["cache-control"] == "private, no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-length"] == str(len(raw))
    assert not {"x-powered-by", "set-cookie"} & set(response.headers)


async def test_the_upstream_is_asked_for_json_without_encoding_and_without_the_clients_conditions() -> None:
    upstream = ScriptedUpstream(observation())
    headers = {"If-None-Match": 'W/"9"', "If-Modified-Since": "Sat, 21 Nov 2026 10:00:00 GMT", "Accept": "*/*", "Accept-Encoding": "gzip"}
    await Front(upstream, BOUNDED).get("/Observation/o1?_pretty=true&_format=json", headers=headers)
    (asked,) = upstream.asked
    assert asked.query == []
    assert asked.header("accept") == FHIR
    assert asked.header("accept-encoding") == "identity"
    assert asked.header("if-none-match") is None
    assert asked.header("if-modified-since") is None
    assert asked.header("authorization") is None


def face(response: httpx.Response) -> tuple[int, dict[str, str], Any]:
    """All that a client sees, without the request's own name."""
    headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
    return response.status_code, headers, response.text.replace(response.headers["x-request-id"], "ID")


@pytest.mark.parametrize("status", [404, 403])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_absent_deleted_and_outside_have_one_face(status: int, method: str) -> None:
    upstream = ScriptedUpstream(observation("theirs", "999"), observation("nobodys", subject={"display": "x"}))
    upstream.replies["GET /Observation/deleted"] = Reply(410, outcome("deleted"), {"ETag": 'W/"2"', "Last-Modified": "x"})
    front = Front(upstream, BOUNDED, policy=policy(absent_and_forbidden=status))
    faces = [face(await front.request(method, f"/Observation/{id}")) for id in ("theirs", "nobodys", "deleted", "never")]
    assert faces[0][0] == status
    assert all(other == faces[0] for other in faces)


async def test_another_patient_is_not_even_asked_for_but_looks_the_same() -> None:
    upstream = ScriptedUpstream({"resourceType": "Patient", "id": "999"})
    front = Front(upstream, "patient/Patient.r")
    assert (await front.get("/Patient/999")).status_code == 404
    assert upstream.asked == []


async def test_head_is_a_get_without_its_body() -> None:
    upstream = ScriptedUpstream(observation())
    response = await Front(upstream, BOUNDED).request("HEAD", "/Observation/o1")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) == len(json.dumps(observation()))
    assert upstream.asked[0].method == "GET"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": 'W/"3"'}, 304),
        ({"If-None-Match": '"3"'}, 304),
        ({"If-None-Match": 'W/"1", W/"3"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": 'W/"2"'}, 200),
        ({"If-Modified-Since": "Sat, 21 Nov 2026 10:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Sun, 22 Nov 2026 09:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Sat, 21 Nov 2026 09:00:00 GMT"}, 200),
        ({"If-Modified-Since": "Sat, 31 Foo 2026 99:00:00 GMT"}, 200),
        ({"If-Modified-Since": "Mon, 30 Feb 2026 10:00:00 GMT"}, 200),
        ({"If-Modified-Since": "2026-11-22"}, 200),
        ({"If-None-Match": 'W/"2"', "If-Modified-Since": "Sat, 21 Nov 2026 10:00:00 GMT"}, 200),
    ],
)
async def test_conditions_are_compared_here_when_the_answer_is_checked(headers: dict[str, str], status: int) -> None:
    upstream = ScriptedUpstream()
    reply = Reply(200, observation(), {"ETag": 'W/"3"', "Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"})
    upstream.replies["GET /Observation/o1"] = reply
    response = await Front(upstream, BOUNDED).get("/Observation/o1", headers=headers)
    assert response.status_code == status
    assert response.headers["etag"] == 'W/"3"'
    assert bool(response.content) == (status == 200)


async def test_a_condition_tells_nothing_about_what_is_outside() -> None:
    upstream = ScriptedUpstream(observation("theirs", "999"))
    response = await Front(upstream, BOUNDED).get("/Observation/theirs", headers={"If-None-Match": "*"})
    assert response.status_code == 404


async def test_without_a_bound_conditions_go_up_and_304_comes_back() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation/o1"] = Reply(304, b"", {"ETag": 'W/"3"'}, type=None)
    response = await Front(upstream, UNBOUNDED).get("/Observation/o1", headers={"If-None-Match": 'W/"3"'})
    assert (response.status_code, response.headers["etag"]) == (304, 'W/"3"')
    assert upstream.asked[0].header("if-none-match") == 'W/"3"'


@pytest.mark.parametrize("status", [300, 302, 303, 307])
async def test_without_a_bound_no_other_redirection_comes_back(status: int) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation/o1"] = Reply(status, b"", {"Location": "http://10.0.0.7/secret"}, type=None)
    response = await Front(upstream, UNBOUNDED).get("/Observation/o1", headers={"If-None-Match": 'W/"3"'})
    assert (response.status_code, code_of(response)) == (502, "upstream-error")
    assert "10.0.0.7" not in f"{response.headers} {response.text}"


async def test_without_a_bound_media_and_errors_pass_in_the_public_base() -> None:
    upstream = ScriptedUpstream()
    body = f'<Patient xmlns="http://hl7.org/fhir"><link value="{UPSTREAM}/Patient/2"/></Patient>'.encode()
    upstream.replies["GET /Patient/1"] = Reply(
        200, body, {"Content-Location": f"{UPSTREAM}/Patient/1/_history/2"}, type="application/fhir+xml"
    )
    upstream.replies["GET /Patient/2"] = Reply(422, outcome(f"see {UPSTREAM}/x"), {"X-Stack": "y"})
    front = Front(upstream, UNBOUNDED)
    found = await front.get("/Patient/1", headers={"Accept": "application/fhir+xml"})
    assert upstream.asked[0].header("accept") == "application/fhir+xml"
    assert found.headers["content-location"] == f"{PUBLIC}/Patient/1/_history/2"
    assert found.content == body.replace(UPSTREAM.encode(), PUBLIC.encode())
    failed = await front.get("/Patient/2")
    assert failed.status_code == 422
    assert "x-stack" not in failed.headers


@pytest.mark.parametrize(("status", "shown"), [(400, 400), (404, 404), (409, 412), (410, 404), (422, 422), (429, 429), (501, 502)])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_what_the_upstream_says_of_a_failure_is_for_who_sees_everything(method: str, status: int, shown: int) -> None:
    """A delete that a server refuses names what refers to the resource, of whatever type and patient."""
    upstream = ScriptedUpstream()
    upstream.replies[f"{method} /Observation/1"] = Reply(
        status, outcome("referred to by Provenance/secret"), {"Location": f"{UPSTREAM}/secret"}
    )
    one_type = Front(upstream, "user/Observation.rd", claims={"fhir_user": "Practitioner/1"})
    refused = await one_type.request(method, "/Observation/1")
    assert refused.status_code == shown
    assert "secret" not in refused.text + str(refused.headers)
    assert len(one_type.log.events) == 1
    assert "secret" in (await Front(upstream, UNBOUNDED).request(method, "/Observation/1")).text


async def test_a_location_elsewhere_does_not_leave() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Patient/1"] = Reply(200, {"resourceType": "Patient"}, {"Content-Location": "http://10.0.0.7/internal"})
    assert "content-location" not in (await Front(upstream, UNBOUNDED).get("/Patient/1")).headers


async def test_media_types_that_are_none_of_fhirs_are_406() -> None:
    front = Front(ScriptedUpstream(observation()), UNBOUNDED)
    assert (await front.get("/Observation/o1", headers={"Accept": "text/html"})).status_code == 406
    bounded = Front(ScriptedUpstream(observation()), BOUNDED)
    assert (await bounded.get("/Observation/o1", headers={"Accept": "application/fhir+xml"})).status_code == 406


async def test_raw_content_is_sandboxed() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Binary/b1"] = Reply(200, b"<script>", type="text/html")
    response = await Front(upstream, UNBOUNDED).get("/Binary/b1", headers={"Accept": "text/html"})
    assert (response.status_code, response.content) == (200, b"<script>")
    assert response.headers["content-security-policy"] == "sandbox"
    assert response.headers["content-length"] == "8"


@pytest.mark.parametrize("type", ["application/xml", "text/xml", "application/fhir+xml", FHIR, "application/json"])
@pytest.mark.parametrize("target", ["/Binary/b1", "/Binary/b1/_history/1"])
async def test_content_that_calls_itself_a_resource_is_sandboxed_too(target: str, type: str) -> None:
    script = b"<html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>"
    upstream = ScriptedUpstream()
    upstream.replies[f"GET {target}"] = Reply(200, script, type=type)
    for accept in ("text/plain", "application/fhir+xml", FHIR):
        response = await Front(upstream, UNBOUNDED).get(target, headers={"Accept": accept})
        assert (response.status_code, response.content) == (200, script)
        assert response.headers["content-security-policy"] == "sandbox"


async def test_vread_checks_the_version_that_came() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation/o1/_history/3"] = Reply(200, observation())
    upstream.replies["GET /Observation/o1/_history/2"] = Reply(200, observation(patient="999", meta={"versionId": "2"}))
    upstream.replies["GET /Observation/o1/_history/1"] = Reply(200, observation())
    front = Front(upstream, BOUNDED)
    assert (await front.get("/Observation/o1/_history/3")).status_code == 200
    assert (await front.get("/Observation/o1/_history/2")).status_code == 404
    assert (await front.get("/Observation/o1/_history/1")).status_code == 502


async def test_provenance_is_fetched_as_far_as_its_targets() -> None:
    def provenance(id: str, *targets: str) -> dict[str, Any]:
        return {"resourceType": "Provenance", "id": id, "target": [{"reference": target} for target in targets]}

    upstream = ScriptedUpstream(
        observation("o1"),
        observation("theirs", "999"),
        provenance("good", "Observation/o1"),
        provenance("mixed", "Observation/o1", "Observation/theirs"),
        provenance("gone", "Observation/never"),
        provenance("many", *(f"Observation/x{i}" for i in range(60))),
    )
    front = Front(upstream, "patient/Observation.rs patient/Provenance.rs")
    assert (await front.get("/Provenance/good")).status_code == 200
    assert [asked.line for asked in upstream.asked] == ["GET /Provenance/good", "GET /Observation/o1"]
    assert (await front.get("/Provenance/mixed")).status_code == 404
    assert (await front.get("/Provenance/gone")).status_code == 404
    upstream.asked.clear()
    assert (await front.get("/Provenance/many")).status_code == 404
    assert len(upstream.asked) <= 51


async def test_public_interactions_need_no_token_and_count_as_bounded() -> None:
    upstream = ScriptedUpstream({"resourceType": "ValueSet", "id": "v1"})
    front = Front(upstream, None, policy=policy(public=(PublicInteraction(Interaction.READ, "ValueSet"),)))
    assert (await front.get("/ValueSet/v1", token=None)).status_code == 200
    refused = await front.get("/CodeSystem/c1", token=None)
    assert (refused.status_code, code_of(refused)) == (401, "token-missing")
    assert (await front.get("/ValueSet/v1", token="stranger")).status_code == 401
