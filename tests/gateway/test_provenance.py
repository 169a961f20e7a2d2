"""Provenance and AuditEvent are written about what lies inside: it is fetched before anything is sent. Spec: semantics 3 and 6."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.asgi import FHIR, UPSTREAM, Asked, Front, Reply, ScriptedUpstream, code_of, observation

SENT = {"Content-Type": FHIR}
ALL = "patient/*.cruds"
MINE, THEIRS = observation("mine"), observation("theirs", "999")
SHARED = {"resourceType": "Practitioner", "id": "shared"}


def provenance(*targets: str, entity: str | None = None, **members: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "Provenance", "target": [{"reference": target} for target in targets], **members}
    return made | ({"entity": [{"role": "source", "what": {"reference": entity}}]} if entity is not None else {})


def audit(what: str, who: str = "Patient/123") -> dict[str, Any]:
    return {"resourceType": "AuditEvent", "agent": [{"who": {"reference": who}}], "entity": [{"what": {"reference": what}}]}


def server(*stored: dict[str, Any]) -> ScriptedUpstream:
    made = ScriptedUpstream(MINE, THEIRS, SHARED, *stored)

    def written(asked: Asked) -> Reply:
        type = asked.path.split("/")[1]
        return Reply(201, {**json.loads(asked.body), "id": "new"}, {"Location": f"{UPSTREAM}/{type}/new/_history/1"})

    made.replies |= {"POST /Provenance": written, "POST /AuditEvent": written, "PUT /Provenance/p": written}
    made.replies["DELETE /Provenance/p"] = Reply(204)
    return made


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (provenance("Observation/mine"), 201),
        (provenance("Observation/mine", "Patient/123"), 201),
        (provenance(f"{UPSTREAM}/Observation/mine/_history/3"), 201),
        (provenance("Observation/mine", entity="Practitioner/shared"), 201),
        (provenance("Observation/theirs"), 403),
        (provenance("Observation/never-was"), 403),
        (provenance("Observation/mine", "Observation/theirs"), 403),
        (provenance("Patient/123", "Observation/theirs"), 403),
        (provenance("Patient/123", "Patient/999"), 403),
        (provenance("Observation/mine", entity="Observation/theirs"), 403),
        (provenance("Practitioner/shared"), 403),  # readable, and in nobody's compartment: that places nothing
        (provenance("Observation/mine", "Practitioner/shared"), 403),
        (provenance(), 403),
        (provenance(*[f"Observation/{number}" for number in range(51)]), 403),
        (audit("Observation/mine"), 201),
        (audit("Practitioner/shared"), 201),
        (audit("Observation/theirs"), 403),
        (audit("Observation/never-was"), 403),
        (audit("Observation/mine", "Practitioner/shared"), 403),  # not by the definition
    ],
)
async def test_what_it_is_about_is_inside(body: dict[str, Any], status: int) -> None:
    upstream = server()
    response = await Front(upstream, ALL).request("POST", f"/{body['resourceType']}", json=body, headers=SENT)
    assert response.status_code == status, response.text
    assert [asked.method for asked in upstream.asked].count("POST") == (status == 201)
    if status == 403:
        assert code_of(response) == "outside-boundary"


async def test_outside_and_absent_are_told_alike() -> None:
    answers = []
    for target in ("Observation/theirs", "Observation/never-was"):
        response = await Front(server(), ALL).request("POST", "/Provenance", json=provenance(target), headers=SENT)
        answers.append((response.status_code, response.content))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(("target", "statuses"), [("Observation/mine", (201, 204)), ("Observation/theirs", (404, 404))])
async def test_a_stored_one_is_judged_by_what_it_is_about(target: str, statuses: tuple[int, int]) -> None:
    front = Front(server(provenance(target, id="p", meta={"versionId": "1"})), ALL)
    put = await front.request("PUT", "/Provenance/p", json=provenance("Observation/mine", id="p"), headers=SENT)
    deleted = await front.request("DELETE", "/Provenance/p")
    assert (put.status_code, deleted.status_code) == statuses


async def test_what_it_is_about_must_be_readable() -> None:
    upstream = server()
    response = await Front(upstream, "patient/Provenance.c").request(
        "POST", "/Provenance", json=provenance("Observation/mine"), headers=SENT
    )
    assert (response.status_code, upstream.asked) == (403, [])


@pytest.mark.parametrize("odd", ['[{"text": "a", "text": "b"}]', "1e999", "[" * 90 + "]" * 90, '"\\ud800"'])
async def test_what_it_is_about_is_read_without_doubt_or_is_not_there(odd: str) -> None:
    upstream = server(provenance("Observation/mine", id="p", meta={"versionId": "1"}))
    upstream.replies["GET /Observation/mine"] = Reply(200, (json.dumps(MINE)[:-1] + f', "note": {odd}}}').encode())
    front = Front(upstream, ALL)
    assert (await front.get("/Provenance/p")).status_code == 404
    assert (await front.request("POST", "/AuditEvent", json=audit("Observation/mine"), headers=SENT)).status_code == 403
