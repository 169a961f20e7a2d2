"""Operations that the policy opens, to the end: what of their answers leaves (semantics 8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.policy.model import OpenedOperation, OperationAnswer
from tests.support.asgi import Front, Reply, ScriptedUpstream, code_of, observation
from tests.support.deciding import policy

PATIENT = {"resourceType": "Patient", "id": "123"}
CANARY = observation("theirs", patient="other", note=[{"text": "canary"}])
MINE = observation("mine")
HEADERS = {"content-type": "application/fhir+json"}


def front(answer: Any, mode: OperationAnswer = OperationAnswer.FILTER, status: int = 200) -> tuple[Front, ScriptedUpstream]:
    upstream = ScriptedUpstream(PATIENT, MINE, CANARY)
    upstream.replies["GET /Patient/$my-op"] = upstream.replies["POST /Patient/$my-op"] = Reply(status, answer)
    upstream.replies["GET /Patient/123/$my-op"] = upstream.replies["GET /Observation/theirs/$my-op"] = Reply(status, answer)
    rule = OpenedOperation(
        "$my-op",
        frozenset({"type", "instance"}),
        frozenset({"GET", "HEAD", "POST"}),
        plain=frozenset({"__my-op"}),
        parameters={"patient": True, "resource": True, "subject": True, "code": False},
        answer=mode,
    )
    return Front(upstream, "patient/*.cruds __my-op", policy=policy(operations=(rule,))), upstream


def bundle(type: str, *resources: dict[str, Any]) -> dict[str, Any]:
    entries = [{"fullUrl": f"http://127.0.0.1:8090/fhir/{r['resourceType']}/{r.get('id')}", "resource": r} for r in resources]
    return {"resourceType": "Bundle", "type": type, "total": len(entries), "entry": entries}


def parameters(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "return", "resource": resource} for resource in resources]}


@pytest.mark.parametrize("type", ["searchset", "collection", "history", "document"])
async def test_filter_takes_entries_out_of_bundles(type: str) -> None:
    gateway, _ = front(bundle(type, MINE, CANARY, {"resourceType": "Patient", "name": [{"text": "canary"}]}))
    answer = await gateway.get("/Patient/$my-op")
    assert answer.status_code == 200
    assert "canary" not in answer.text
    assert "127.0.0.1" not in answer.text
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["mine"]
    assert "total" not in answer.json()
    assert gateway.event.removed == 2


@pytest.mark.parametrize("type", ["searchset", "collection"])
async def test_refuse_refuses_a_bundle_with_anything_outside(type: str) -> None:
    gateway, _ = front(bundle(type, MINE, CANARY), OperationAnswer.REFUSE)
    answer = await gateway.get("/Patient/$my-op")
    assert (answer.status_code, code_of(answer)) == (403, "outside-boundary")
    assert "canary" not in answer.text
    gateway, _ = front(bundle(type, MINE), OperationAnswer.REFUSE)
    assert (await gateway.get("/Patient/$my-op")).json()["entry"][0]["resource"]["id"] == "mine"


@pytest.mark.parametrize("mode", [OperationAnswer.FILTER, OperationAnswer.REFUSE])
@pytest.mark.parametrize(
    ("said", "status"),
    [
        (MINE, 200),
        (CANARY, 403),
        (parameters(MINE), 200),
        (parameters(MINE, CANARY), 403),
        (parameters(bundle("collection", CANARY)), 403),
        ({"resourceType": "Parameters", "parameter": [{"name": "x", "part": [{"name": "y", "resource": CANARY}]}]}, 403),
        ({"resourceType": "Parameters", "parameter": [{"name": "x", "valueExtension": {"x": CANARY}}]}, 403),
        ({**MINE, "contained": [CANARY]}, 403),
        ({"resourceType": "Patient", "name": [{"text": "canary"}]}, 403),
        ({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid", "diagnostics": "canary"}]}, 200),
        ({"resourceType": "Whatever", "text": "canary"}, 502),
        ({"text": "canary"}, 502),
    ],
)
async def test_what_cannot_be_cut_leaves_whole_or_not_at_all(said: dict[str, Any], status: int, mode: OperationAnswer) -> None:
    gateway, _ = front(said, mode)
    answer = await gateway.get("/Patient/$my-op")
    assert answer.status_code == status, answer.text
    assert "canary" not in answer.text


async def test_none_looks_at_nothing() -> None:
    gateway, _ = front(bundle("collection", CANARY), OperationAnswer.NONE)
    assert "canary" in (await gateway.get("/Patient/$my-op")).text


@pytest.mark.parametrize("mode", list(OperationAnswer))
async def test_what_is_named_must_be_inside_whatever_the_answer(mode: OperationAnswer) -> None:
    for target in (
        "/Observation/theirs/$my-op",
        "/Patient/$my-op?subject=Observation/theirs",
        "/Patient/$my-op?subject=Observation/absent",
    ):
        gateway, upstream = front(bundle("collection"), mode)
        assert (await gateway.get(target)).status_code == 404
        assert not [asked for asked in upstream.asked if "$my-op" in asked.path]
    gateway, _ = front(bundle("collection"), mode)
    assert (await gateway.get("/Patient/$my-op?subject=Observation/mine&patient=123")).status_code == 200


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"name": "patient", "valueReference": {"reference": "Patient/123"}}, 200),
        ({"name": "patient", "valueString": "123"}, 200),
        ({"name": "patient", "valueReference": {"reference": "Patient/other"}}, 404),
        ({"name": "patient", "valueReference": {"identifier": {"value": "x"}}}, 400),
        ({"name": "patient", "part": [{"name": "x", "valueString": "other"}]}, 400),
        ({"name": "resource", "resource": MINE}, 200),
        ({"name": "resource", "resource": CANARY}, 403),
        ({"name": "resource", "resource": {"resourceType": "Nothing"}}, 400),
        ({"name": "code", "resource": MINE}, 400),
        ({"name": "code", "part": [{"name": "x", "resource": CANARY}]}, 400),
        ({"name": "code", "valueCoding": {"code": "x"}}, 200),
        ({"name": "other", "valueString": "x"}, 400),
    ],
)
async def test_bodies_are_judged_part_by_part(given: dict[str, Any], status: int) -> None:
    gateway, upstream = front(bundle("collection"))
    body = {"resourceType": "Parameters", "parameter": [given]}
    answer = await gateway.request("POST", "/Patient/$my-op", content=json.dumps(body), headers=HEADERS)
    assert answer.status_code == status, answer.text
    sent = [asked for asked in upstream.asked if "$my-op" in asked.path]
    assert [json.loads(asked.body) for asked in sent] == ([body] if status == 200 else [])


async def test_the_words_of_a_failing_server_stay() -> None:
    for mode in OperationAnswer:
        gateway, _ = front({"resourceType": "OperationOutcome", "issue": [{"diagnostics": "canary"}]}, mode, status=422)
        answer = await gateway.get("/Patient/$my-op")
        assert answer.status_code >= 400
        assert "canary" not in answer.text


async def test_in_a_batch_too() -> None:
    gateway, upstream = front(bundle("collection"))
    entries = [{"request": {"method": "GET", "url": "Observation/theirs/$my-op"}}, {"request": {"method": "GET", "url": "Patient/$other"}}]
    batch = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
    answer = await gateway.request("POST", "", content=batch, headers=HEADERS)
    assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["404", "403"]
    assert not [asked for asked in upstream.asked if "$" in asked.path]
