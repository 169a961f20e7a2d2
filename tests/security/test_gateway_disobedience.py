"""An upstream that ignores what it was asked: nothing of another patient leaves, whatever it answers (semantics 4)."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.support.asgi import FHIR, UPSTREAM, DisobedientUpstream, Front, Reply, observation, outcome, searchset

SECRET = "canary-7f3a"
THEIRS = observation("theirs", "999", note=[{"text": SECRET}])
OURS = observation("o1")


def entry(resource: Any, **members: Any) -> dict[str, Any]:
    return {"fullUrl": f"{UPSTREAM}/Observation/theirs", "resource": resource, **members}


def bundle(*entries: Any, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "searchset", "entry": list(entries), **members}


def entries(resource: str) -> bytes:
    """A searchset of one entry, its resource as written."""
    return f'{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{resource}}}]}}'.encode()


RAW = json.dumps(THEIRS)
OVERRIDE = ',"subject":{"reference":"Patient/123"}}'  # a second subject, and the end
ANSWERS: dict[str, Reply] = {
    "another's": Reply(200, searchset(THEIRS)),
    "another's as an include": Reply(200, bundle(entry(THEIRS, search={"mode": "include"}))),
    "another's as an outcome": Reply(200, bundle(entry(THEIRS, search={"mode": "outcome"}))),
    "an outcome that tells": Reply(200, bundle(entry(outcome(SECRET), search={"mode": "outcome"}))),
    "without a mode": Reply(200, bundle(entry(THEIRS))),
    "of a type without a boundary": Reply(200, bundle(entry({"resourceType": "Patient", "id": "999", "name": [{"text": SECRET}]}))),
    "of no known type": Reply(200, bundle(entry({"resourceType": "Secret", "id": "1", "x": SECRET}))),
    "without an id": Reply(200, bundle(entry({**THEIRS, "id": None}))),
    "within a Bundle": Reply(200, bundle(entry({"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [entry(THEIRS)]}))),
    "within Parameters": Reply(
        200, bundle(entry({"resourceType": "Parameters", "id": "p", "parameter": [{"name": "x", "resource": THEIRS}]}))
    ),
    "a doubled subject": Reply(200, entries(RAW[:-1] + OVERRIDE)),
    "a doubled resource": Reply(200, entries(f'{RAW},"resource":{json.dumps(OURS)}')),
    "doubled entries": Reply(200, entries(RAW)[:-1] + f',"entry":[{{"resource":{json.dumps(OURS)}}}]}}'.encode()),
    "escaped keys": Reply(200, entries(RAW[:-1] + OVERRIDE.replace("subject", "s\\u0075bject"))),
    "XML": Reply(200, f'<Observation><note value="{SECRET}"/></Observation>'.encode(), type="application/fhir+xml"),
    "JSON said to be XML": Reply(200, searchset(THEIRS), type="application/fhir+xml"),
    "HTML": Reply(200, SECRET.encode(), type="text/html"),
    "no type": Reply(200, searchset(THEIRS), type=None),
    "another charset": Reply(200, json.dumps(searchset(THEIRS)).encode("utf-16"), type=f"{FHIR};charset=utf-16"),
    "UTF-7": Reply(200, searchset(THEIRS), type=f"{FHIR};charset=utf-7"),
    "compressed": Reply(200, gzip.compress(json.dumps(searchset(THEIRS)).encode()), {"Content-Encoding": "gzip"}),
    "said to be compressed": Reply(200, searchset(THEIRS), {"Content-Encoding": "br"}),
    "two types": Reply(200, searchset(THEIRS), raw_headers=((b"content-type", b"text/plain"),)),
    "a list of types": Reply(200, searchset(THEIRS), type=f"{FHIR}, text/plain"),
    "a byte order mark": Reply(200, b"\xef\xbb\xbf" + json.dumps(searchset(THEIRS)).encode()),
    "no JSON": Reply(200, SECRET.encode()),
    "half of it": Reply(200, json.dumps(searchset(THEIRS)).encode()[:-2]),
    "two documents": Reply(200, json.dumps(searchset()).encode() + json.dumps(THEIRS).encode()),
    "NaN": Reply(200, b'{"resourceType":"Bundle","type":"searchset","total":NaN,"x":"' + SECRET.encode() + b'"}'),
    "a resource": Reply(200, THEIRS),
    "a history": Reply(200, bundle(entry(THEIRS), type="history")),
    "a batch response": Reply(200, {**bundle(entry(THEIRS)), "type": "batch-response"}),
    "an array": Reply(200, json.dumps([THEIRS]).encode()),
    "deep": Reply(200, b'{"resourceType":"Bundle","type":"searchset","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "an error": Reply(400, outcome(SECRET)),
    "another's with an error": Reply(500, searchset(THEIRS)),
    "created": Reply(201, searchset(THEIRS), {"Location": f"{UPSTREAM}/Patient/{SECRET}"}),
    "accepted": Reply(202, searchset(THEIRS), {"Content-Location": f"{UPSTREAM}/{SECRET}"}),
    "partial": Reply(206, searchset(THEIRS)),
    "a redirect": Reply(302, searchset(THEIRS), {"Location": f"http://10.0.0.7/{SECRET}"}),
    "not modified": Reply(304, b"", {"ETag": f'W/"{SECRET}"'}, type=None),
    "switching": Reply(101, b"", {"Upgrade": SECRET}),
    "a strange status": Reply(999, searchset(THEIRS)),
    "headers that tell": Reply(404, outcome("x"), dict.fromkeys(("X-Note", "Set-Cookie", "ETag", "Link", "Warning"), f'"{SECRET}"')),
}  # fmt: skip

REQUESTS = {
    "search": ("GET", "/Observation?code=x"),
    "post search": ("POST", "/Observation/_search"),
    "count": ("GET", "/Observation?_summary=count"),
    "compartment": ("GET", "/Patient/123/Observation"),
    "read": ("GET", "/Observation/theirs"),
    "read of ours": ("GET", "/Observation/o1"),
    "vread": ("GET", "/Observation/theirs/_history/1"),
    "head": ("HEAD", "/Observation/theirs"),
    "create": ("POST", "/Observation"),
    "update": ("PUT", "/Observation/o1"),
    "delete": ("DELETE", "/Observation/theirs"),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_nothing_of_another_patient_leaves(answer: Reply, request_: tuple[str, str]) -> None:
    method, target = request_
    options: dict[str, Any] = {}
    if target.endswith("_search"):
        options = {"content": b"code=x", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    elif method in {"POST", "PUT"}:
        options = {"json": OURS, "headers": {"Content-Type": FHIR}}
    front = Front(DisobedientUpstream(answer), "patient/Observation.cruds")
    response = await front.request(method, target, **options)
    assert SECRET not in response.text
    assert SECRET not in str(response.headers)
    assert method == "HEAD" or response.status_code < 500 or response.json()["resourceType"] == "OperationOutcome"
    assert response.status_code not in {101, 206, 302, 500, 999}
    assert len(front.log.events) == 1


@pytest.mark.parametrize("answer", ["a redirect", "switching", "a strange status", "compressed", "two types"])
@pytest.mark.parametrize("target", ["/Observation", "/Observation/o1", "/metadata"])
async def test_what_nobody_may_pass_on_is_502_for_unbounded_tokens_too(answer: str, target: str) -> None:
    response = await Front(DisobedientUpstream(ANSWERS[answer]), "system/*.cruds").get(target)
    assert response.status_code == 502
    assert SECRET not in response.text
