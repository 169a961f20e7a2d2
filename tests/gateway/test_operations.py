"""Operations end to end: the instance is judged before, the answer after, and an upstream that disobeys tells nothing."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.support.asgi import FHIR, PUBLIC, UPSTREAM, DisobedientUpstream, Front, Reply, ScriptedUpstream, code_of, observation, searchset

ALL = "patient/*.cruds"
OPEN = "system/*.cruds"
PATIENT = {"resourceType": "Patient", "id": "123", "meta": {"versionId": "1", "tag": [{"code": "own"}]}, "gender": "female"}
BEA = {"resourceType": "Patient", "id": "999", "name": [{"family": "canary"}]}
FOREIGN = observation("o9", "999", note=[{"text": "canary"}])
EVERY = "/Patient/123/$everything"
JSON = {"Content-Type": FHIR}


def upstream_with(line: str, body: Any, *stored: dict[str, Any]) -> ScriptedUpstream:
    upstream = ScriptedUpstream(PATIENT, observation(), BEA, FOREIGN, *stored)
    upstream.replies[line] = body if isinstance(body, Reply) else Reply(200, body)
    return upstream


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.text
    return [entry["resource"]["id"] for entry in response.json().get("entry", [])]


@pytest.mark.parametrize(("method", "content"), [("GET", None), ("POST", None), ("POST", b'{"resourceType":"Parameters"}')])
async def test_everything_of_ones_own(method: str, content: bytes | None) -> None:
    upstream = upstream_with(f"{method} {EVERY}", searchset(PATIENT, observation(), BEA, FOREIGN))
    response = await Front(upstream, ALL).request(method, EVERY, content=content, headers=JSON if content else {})
    assert ids(response) == ["123", "o1"]
    assert response.json()["link"] == [{"relation": "self", "url": f"{PUBLIC}{EVERY}"}]
    assert "total" not in response.json()
    assert [asked.line for asked in upstream.asked] == ["GET /Patient/123", f"{method} {EVERY}"]
    last = upstream.asked[1]
    assert json.loads(last.body or b"{}") == ({"resourceType": "Parameters"} if method == "POST" else {})
    assert last.header("content-type") == (FHIR if method == "POST" else None)
    assert last.header("if-match") is None


async def test_another_patient_and_no_patient_are_the_same() -> None:
    upstream = upstream_with("GET /Patient/999/$everything", searchset(BEA))
    answers = [await Front(upstream, ALL).get(f"/Patient/{id}/$everything") for id in ("999", "998")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert upstream.asked == []
    one, other = ({k: v for k, v in a.json()["issue"][0].items() if k != "diagnostics"} for a in answers)
    assert one == other


@pytest.mark.parametrize("gender", ["female", "male"])
async def test_the_stored_patient_decides_where_the_id_does_not(gender: str) -> None:
    upstream = upstream_with(f"GET {EVERY}", searchset(PATIENT, BEA))
    front = Front(upstream, f"user/Patient.r?gender={gender}", claims={"fhir_user": "Practitioner/1"})
    response = await front.get(EVERY)
    if gender == "female":
        assert ids(response) == ["123"]
    else:
        assert response.status_code == 404
        assert [asked.line for asked in upstream.asked] == ["GET /Patient/123"]


async def test_a_record_is_paged_by_sealed_links() -> None:
    upstream = upstream_with(f"GET {EVERY}", searchset(PATIENT, link=[{"relation": "next", "url": f"{UPSTREAM}?_getpages=abc"}]))
    more = [{"relation": "next", "url": f"{UPSTREAM}{EVERY}?page=3"}, {"relation": "previous", "url": f"{UPSTREAM}?_getpages=abc"}]
    upstream.replies["GET "] = Reply(200, searchset(observation(), FOREIGN, BEA, link=more))
    front = Front(upstream, "patient/Patient.r patient/Observation.r")
    links = {link["relation"]: link["url"] for link in (await front.get(EVERY)).json()["link"]}
    assert links["next"].startswith(f"{PUBLIC}?_page=")
    page = await front.get(links["next"])
    assert ids(page) == ["o1"]
    assert upstream.asked[-1].query == [("_getpages", "abc")]
    assert "canary" not in page.text
    stranger = Front(upstream, "patient/Patient.r patient/Observation.r", claims={"patient": "999"})
    assert (await stranger.get(links["next"])).status_code == 403


ASKS = [
    ("GET", EVERY, None),
    ("POST", EVERY, {"resourceType": "Parameters"}),
    ("GET", "/Encounter/e1/$everything", None),
    ("GET", "/DocumentReference/$docref?patient=123", None),
    ("GET", "/Observation/$lastn?max=1", None),
    ("GET", "/Observation/o1/$meta", None),
    ("POST", "/Observation/$validate", observation()),
    ("GET", "/Observation/o1/$validate", None),
    ("GET", "/ValueSet/$expand?url=x", None),
    ("GET", "/CodeSystem/$lookup?system=x&code=y", None),
    ("POST", "/ValueSet/$validate-code?url=x&code=y", None),
]
LIES = [
    Reply(200, BEA),
    Reply(200, FOREIGN),
    Reply(200, searchset(BEA, FOREIGN)),
    Reply(200, {**searchset(BEA), "type": "collection"}),
    Reply(200, {"resourceType": "Parameters", "parameter": [{"name": "return", "resource": BEA}]}),
    Reply(200, {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": searchset(BEA)}]}),
    Reply(200, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid", "diagnostics": "canary"}]}),
    Reply(422, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid", "diagnostics": "canary"}]}),
    Reply(200, b"<Patient>canary</Patient>", type="application/fhir+xml"),
    Reply(200, b"canary", type="text/plain"),
    Reply(202, b"", {"Content-Location": f"{UPSTREAM}/canary"}),
    Reply(302, b"canary", {"Location": f"{UPSTREAM}/canary"}),
    Reply(500, b"canary"),
    Reply(200, b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Patient","id":"123","id":"canary"}}]}'),
]


@pytest.mark.parametrize(("method", "target", "body"), ASKS)
@pytest.mark.parametrize("lie", LIES)
async def test_a_disobedient_upstream_tells_nothing(method: str, target: str, body: Any, lie: Reply) -> None:
    for upstream in (DisobedientUpstream(lie), ScriptedUpstream(PATIENT, observation(), {"resourceType": "Encounter", "id": "e1"})):
        if not isinstance(upstream, DisobedientUpstream):
            upstream.replies[f"{method} {target.partition('?')[0]}"] = lie
        response = await Front(upstream, ALL).request(method, target, json=body, headers=JSON if body else {})
        assert "canary" not in response.text + str(response.headers)
        assert "999" not in response.text


async def test_meta() -> None:
    upstream = upstream_with("GET /x", {})
    front = Front(upstream, "patient/*.r")
    for method in ("GET", "POST"):
        answer = await front.request(method, "/Patient/123/$meta")
        assert answer.json() == {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": PATIENT["meta"]}]}
    assert {asked.line for asked in upstream.asked} == {"GET /Patient/123"}
    assert (await front.get("/Observation/o9/$meta")).status_code == 404


OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [{"severity": "error", "code": "invalid", "diagnostics": "secret", "expression": ["Observation.status"]}],
}


async def test_validate_sends_the_body_as_it_came() -> None:
    upstream = upstream_with("POST /Observation/$validate", OUTCOME)
    content = json.dumps({**observation(), "valueQuantity": {"value": 1}}).replace('"value": 1', '"value": 1.50').encode()
    sent = gzip.compress(content)
    answer = await Front(upstream, ALL).request(
        "POST", "/Observation/$validate?mode=create", content=sent, headers={**JSON, "Content-Encoding": "gzip"}
    )
    (issue,) = answer.json()["issue"]
    assert (answer.status_code, issue["code"], issue["expression"]) == (200, "invalid", ["Observation.status"])
    assert "secret" not in answer.text
    (asked,) = upstream.asked
    assert (asked.body, asked.query, asked.header("content-encoding")) == (content, [("mode", "create")], None)


async def test_validate_on_an_instance_looks_at_it_first() -> None:
    upstream = upstream_with("POST /Observation/o1/$validate", OUTCOME)
    upstream.replies["POST /Observation/o9/$validate"] = Reply(200, OUTCOME)
    front = Front(upstream, "patient/Observation.u")
    good = {**observation(), "resourceType": "Observation"}
    assert (await front.request("POST", "/Observation/o1/$validate", json=good, headers=JSON)).status_code == 200
    assert [asked.line for asked in upstream.asked] == ["GET /Observation/o1", "POST /Observation/o1/$validate"]
    upstream.asked.clear()
    foreign = await front.request("POST", "/Observation/o9/$validate", json={**good, "id": "o9"}, headers=JSON)
    missing = await front.request("POST", "/Observation/o8/$validate", json={**good, "id": "o8"}, headers=JSON)
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert [asked.line for asked in upstream.asked] == ["GET /Observation/o9", "GET /Observation/o8"]


async def test_nobody_elses_resource_is_validated() -> None:
    upstream = upstream_with("POST /Observation/$validate", OUTCOME)
    answer = await Front(upstream, ALL).request("POST", "/Observation/$validate", json=FOREIGN, headers=JSON)
    assert (answer.status_code, code_of(answer)) == (403, "outside-boundary")
    assert upstream.asked == []


async def test_docref_and_lastn_answer_searchsets_of_their_type() -> None:
    document = {"resourceType": "DocumentReference", "id": "d1", "status": "current", "subject": {"reference": "Patient/123"}}
    foreign = {**document, "id": "d9", "subject": {"reference": "Patient/999"}}
    upstream = upstream_with("GET /DocumentReference/$docref", searchset(document, foreign))
    upstream.replies["GET /Observation/$lastn"] = Reply(200, searchset(observation(), FOREIGN))
    front = Front(upstream, "patient/DocumentReference.s patient/Observation.s")
    assert ids(await front.get("/DocumentReference/$docref?patient=Patient/123")) == ["d1"]
    assert upstream.asked[-1].query == [("patient", "123")]
    assert ids(await front.get("/Observation/$lastn?code=x")) == ["o1"]
    assert upstream.asked[-1].query == [("code", "x"), ("patient", "Patient/123")]
    assert code_of(await front.get("/DocumentReference/$docref?patient=999")) == "foreign-patient"


async def test_without_bounds_the_answer_and_the_body_pass() -> None:
    upstream = upstream_with("POST /Patient/999/$everything", {**searchset(BEA, FOREIGN), "type": "collection"})
    content = b'{"resourceType":"Parameters", "parameter":[{"name":"_filter","valueString":"x"}]}'
    answer = await Front(upstream, OPEN).request("POST", "/Patient/999/$everything?_pretty=true", content=content, headers=JSON)
    assert (answer.status_code, len(answer.json()["entry"])) == (200, 2)
    (asked,) = upstream.asked
    assert (asked.body, asked.query, asked.header("content-type")) == (content, [("_pretty", "true")], FHIR)


@pytest.mark.parametrize("scope", [ALL, "patient/*.rs", "system/*.rs"])
async def test_what_is_given_to_terminology_goes_as_it_came(scope: str) -> None:
    upstream = upstream_with("POST /ValueSet/$expand", {"resourceType": "ValueSet", "expansion": {"contains": [{"code": "x"}]}})
    value_set = b'{"resourceType": "ValueSet", "compose": {"include": [{"system": "y"}]}}'
    for content in (value_set, b'{"resourceType":"Parameters","parameter":[{"name":"valueSet","resource":%s}]}' % value_set):
        answer = await Front(upstream, scope).request("POST", "/ValueSet/$expand?count=5", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["expansion"]["contains"]) == (200, [{"code": "x"}])
        assert (upstream.asked[-1].body, upstream.asked[-1].query) == (content, [("count", "5")])


async def test_what_is_not_listed_reaches_no_upstream() -> None:
    upstream = ScriptedUpstream()
    unlisted = [("POST", "/$graphql"), ("POST", "/Patient/123/$expunge"), ("GET", "/$reindex"), ("POST", "/$process-message")]
    for scope in (ALL, OPEN):
        for method, target in unlisted:
            answer = await Front(upstream, scope).request(method, target)
            assert (answer.status_code, code_of(answer)) == (403, "operation-not-opened")
    assert upstream.asked == []


async def test_operations_in_a_batch_are_judged_alike() -> None:
    upstream = ScriptedUpstream(PATIENT, BEA)
    seen: list[Any] = []

    def batch(asked: Any) -> Reply:
        entries = json.loads(asked.body)["entry"]
        seen.extend(entries)
        found = [{"response": {"status": "200"}, "resource": searchset(PATIENT, BEA)} for _ in entries]
        return Reply(200, {"resourceType": "Bundle", "type": "batch-response", "entry": found})

    upstream.replies["POST "] = batch
    upstream.replies["POST /Observation/$validate"] = Reply(200, OUTCOME)
    asks: list[tuple[str, str, Any]] = [
        ("GET", "Patient/123/$everything", None),
        ("GET", "Patient/999/$everything", None),
        ("POST", "Observation/$validate", observation()),
        ("POST", "Observation/$validate", FOREIGN),
        ("GET", "Patient/123/$graphql", None),
    ]
    entries = [{"request": {"method": m, "url": u}, **({"resource": r} if r else {})} for m, u, r in asks]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answer = await Front(upstream, ALL).request("POST", "", json=bundle, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["200", "404", "200", "403", "403"]
    assert [e["request"]["url"] for e in seen] == ["Patient/123/$everything"]
    assert [asked.line for asked in upstream.asked].count("POST /Observation/$validate") == 1
    assert "canary" not in answer.text
    assert "secret" not in answer.text
