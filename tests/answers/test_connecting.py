"""Includes of matches that may not leave: they would tell of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.asgi import DisobedientUpstream, Front, Reply, observation, searchset

SCOPE = "patient/Observation.rs?status=final patient/Observation.rs?category=laboratory patient/Practitioner.rs patient/Encounter.rs"


def include(resource: dict[str, Any]) -> dict[str, Any]:
    return {"resource": resource, "search": {"mode": "include"}}


def performed(id: str, by: str, **members: Any) -> dict[str, Any]:
    return observation(id, performer=[{"reference": f"Practitioner/{by}"}], **members)


@pytest.mark.parametrize(
    ("matches", "included", "left"),
    [
        # all matches stay: so does all that came along
        ([performed("a", "p")], ["p", "q"], ["p", "q"]),
        # the match that named q goes, and q with it
        ([performed("a", "p"), performed("b", "q", status="draft")], ["p", "q"], ["p"]),
        ([performed("b", "q", status="draft")], ["q"], []),
        # named by both
        ([performed("a", "q"), performed("b", "q", status="draft")], ["q"], ["q"]),
        ([performed("a", "q/_history/4"), performed("b", "q", status="draft")], ["q"], ["q"]),
    ],
)
async def test_an_include_goes_with_the_only_match_that_named_it(matches: list[Any], included: list[str], left: list[str]) -> None:
    bundle = searchset(*matches)
    bundle["entry"] += [include({"resourceType": "Practitioner", "id": id}) for id in included]

    answer = await Front(DisobedientUpstream(Reply(200, bundle)), SCOPE).get("/Observation?_include=Observation:performer")
    resources = [entry["resource"] for entry in answer.json().get("entry", [])]
    assert [r["id"] for r in resources if r["resourceType"] == "Practitioner"] == left
    assert {r["id"] for r in resources if r["resourceType"] == "Observation"} == {m["id"] for m in matches if m["status"] == "final"}


async def test_the_patient_of_all_keeps_nobody() -> None:
    """Both encounters name the patient, and one of them came with the match that goes."""
    subject = {"reference": "Patient/123"}
    encounters = [{"resourceType": "Encounter", "id": id, "subject": subject} for id in ("e", "f")]
    bundle = searchset(observation("a", encounter={"reference": "Encounter/e"}), observation("b", status="draft"))
    bundle["entry"] += [include(r) for r in ({"resourceType": "Patient", "id": "123"}, *encounters)]
    answer = await Front(DisobedientUpstream(Reply(200, bundle)), f"{SCOPE} patient/Patient.rs").get("/Observation?_include=*")
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["a", "123", "e"]


async def test_what_refers_to_a_match_stays_and_what_came_by_way_of_others_goes() -> None:
    encounter = {"resourceType": "Encounter", "id": "e", "subject": {"reference": "Patient/123"}}
    reverse = observation("member", encounter={"reference": "Encounter/e"}, hasMember=[{"reference": "Observation/a"}])
    bundle = searchset(observation("a"), observation("b", status="draft"))
    bundle["entry"] += [include(encounter), include(reverse)]

    answer = await Front(DisobedientUpstream(Reply(200, bundle)), SCOPE).get(
        "/Observation?_revinclude=Observation:has-member&_include:iterate=Observation:encounter"
    )
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["a", "member"]
