"""``related_patient``: the stored RelatedPerson says whose record its user may see."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.policy.model import ConditionalRule, UserBound, UserRule, When
from tests.support.asgi import NOW, Front, Reply, ScriptedUpstream, observation
from tests.support.deciding import policy

USERS = {"RelatedPerson": UserRule(UserBound.RELATED_PATIENT)}
OF_A = observation("o", patient="a")


def related(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "RelatedPerson", "id": "r", "patient": {"reference": "Patient/a"}} | elements


def front(*stored: dict[str, Any], user: str = "RelatedPerson/r", **choices: Any) -> tuple[Front, ScriptedUpstream]:
    upstream = ScriptedUpstream(OF_A, *stored)
    claims = {"fhir_user": user, "patient": choices.pop("patient", None)}
    return Front(upstream, "user/*.rs", policy=policy(users=choices.pop("users", USERS)), claims=claims, **choices), upstream


@pytest.mark.parametrize(
    ("stored", "status"),
    [
        (related(), 200),
        (related(active=True, period={"start": "2025-06-15", "end": "2025-06-15"}), 200),
        (related(period={"start": "2025", "end": "2025-06-15T15:07:00Z"}), 200),
        (related(patient={"reference": "https://fhir.example.org/fhir/Patient/a"}), 200),
        (related(active=False), 403),
        (related(active="false"), 403),
        (related(active=None), 403),
        (related(period={"end": "2025-06-14"}), 403),
        (related(period={"end": "2025-06-15T15:06:00Z"}), 403),
        (related(period={"start": "2025-06-16"}), 403),
        (related(period={"start": "yesterday"}), 403),
        (related(period={"end": 2030}), 403),
        (related(period={"end": "2030", "_end": {"extension": []}}), 403),
        (related(period=[]), 403),
        (related(patient={"reference": "Patient/b"}), 404),
        (related(patient={"reference": "https://elsewhere.example/fhir/Patient/a"}), 403),
        (related(patient={"reference": "Practitioner/a"}), 403),
        (related(patient={"identifier": {"value": "a"}}), 403),
        (related(patient="Patient/a"), 403),
        ({key: value for key, value in related().items() if key != "patient"}, 403),
    ],
)
async def test_only_a_relation_of_today_opens_the_record(stored: dict[str, Any], status: int) -> None:
    gateway, _ = front(stored)
    assert (await gateway.get("/Observation/o")).status_code == status


async def test_an_unknown_related_person_opens_nothing() -> None:
    gateway, _ = front()
    assert (await gateway.get("/Observation/o")).status_code == 403


@pytest.mark.parametrize(("status", "expected"), [(500, 502), (401, 502), (302, 502)])
async def test_what_cannot_be_read_is_no_access(status: int, expected: int) -> None:
    gateway, upstream = front()
    upstream.replies["GET /RelatedPerson/r"] = Reply(status, related())
    assert (await gateway.get("/Observation/o")).status_code == expected


@pytest.mark.parametrize("other", [related(id="s"), {"resourceType": "Patient", "id": "r", "patient": {"reference": "Patient/a"}}])
async def test_another_resource_in_its_place_is_no_access(other: dict[str, Any]) -> None:
    gateway, upstream = front()
    upstream.replies["GET /RelatedPerson/r"] = Reply(200, other)
    assert (await gateway.get("/Observation/o")).status_code == 502


async def test_it_is_read_once_a_minute() -> None:
    now = [NOW]
    gateway, upstream = front(related(), clock=lambda: now[0])
    for _ in range(3):
        assert (await gateway.get("/Observation/o")).status_code == 200
    asked = [one.line for one in upstream.asked if "RelatedPerson" in one.line]
    assert asked == ["GET /RelatedPerson/r"]
    upstream.stored["RelatedPerson/r"] = related(active=False)
    now[0] += 59
    assert (await gateway.get("/Observation/o")).status_code == 200
    now[0] += 2
    assert (await gateway.get("/Observation/o")).status_code == 403


async def test_nobody_else_is_asked_about() -> None:
    gateway, upstream = front(user="Patient/a", users={"Patient": UserRule(UserBound.COMPARTMENT), **USERS})
    assert (await gateway.get("/Observation/o")).status_code == 200
    assert [one.line for one in upstream.asked] == ["GET /Observation/o"]


async def test_the_launch_patient_is_no_way_around() -> None:
    gateway, _ = front(related(patient={"reference": "Patient/b"}), patient="a")
    assert (await gateway.get("/Observation/o")).status_code == 404


async def test_in_a_list_of_rules_too() -> None:
    rules = (ConditionalRule(When(kinds=frozenset({"RelatedPerson"})), USERS["RelatedPerson"]),)
    gateway, _ = front(related(), users=rules)
    assert (await gateway.get("/Observation/o")).status_code == 200
