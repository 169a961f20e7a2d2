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


async def left(entries: list[Any], target: str, scope: str = SCOPE) -> Any:
    """The answer to a search that finds the first of ``entries`` and includes the others."""
    bundle = searchset(entries[0])
    bundle["entry"] += [include(resource) for resource in entries[1:]]
    answer = (await Front(DisobedientUpstream(Reply(200, bundle)), scope).get(target)).json()
    return [entry["resource"]["id"] for entry in answer["entry"]]


PATIENT = {"reference": "Patient/123"}
ENCOUNTER = {"resourceType": "Encounter", "id": "e", "subject": PATIENT}
MEMBER = observation("member", encounter={"reference": "Encounter/e"}, hasMember=[{"reference": "Observation/a"}])
REVERSE = "/Observation?_revinclude=Observation:has-member&_include:iterate=Observation:encounter"
THEIRS = observation("theirs", "999", hasMember=[{"reference": "Observation/a"}], encounter={"reference": "Encounter/e"})


async def test_what_came_by_way_of_what_stays_stays() -> None:
    bundle = searchset(observation("a"), observation("b", status="draft"))
    bundle["entry"] += [include(ENCOUNTER), include(MEMBER)]
    answer = await Front(DisobedientUpstream(Reply(200, bundle)), SCOPE).get(REVERSE)
    assert [entry["resource"]["id"] for entry in answer.json()["entry"]] == ["a", "e", "member"]


async def test_what_came_by_way_of_somebody_elses_goes() -> None:
    """It would tell that somebody's resource refers to both."""
    assert await left([observation("a"), ENCOUNTER, THEIRS], REVERSE, "patient/*.rs") == ["a"]
    assert await left([observation("a"), ENCOUNTER, MEMBER, THEIRS], REVERSE, "patient/*.rs") == ["a", "e", "member"]


async def test_a_patient_whom_all_name_leads_nowhere_but_where_was_asked() -> None:
    patient = {"resourceType": "Patient", "id": "123"}
    ours = observation("ours")
    theirs = observation("theirs", "999", focus=[PATIENT], derivedFrom=[{"reference": "Observation/ours"}])
    target = "/Patient?_revinclude=Observation:focus&_include:iterate=Observation:derived-from"
    assert await left([patient, theirs, ours], target, "patient/*.rs") == ["123"]
    assert await left([patient, theirs, ours], f"{target}&_revinclude=Observation:patient", "patient/*.rs") == ["123", "ours"]


async def test_a_canonical_leads_to_its_resource() -> None:
    response = {"resourceType": "QuestionnaireResponse", "id": "r", "subject": PATIENT, "questionnaire": "http://x.example/q|1"}
    questionnaire = {"resourceType": "Questionnaire", "id": "q", "url": "http://x.example/q"}
    target = "/QuestionnaireResponse?_include=QuestionnaireResponse:questionnaire&_revinclude:iterate=Observation:focus"
    assert await left([response, questionnaire, THEIRS], target, "patient/*.rs") == ["r", "q"]


@pytest.mark.parametrize("entries", [[], [THEIRS]], ids=["nothing goes", "something goes"])
@pytest.mark.parametrize(
    ("includes", "told"),
    [
        ("_revinclude=Observation:has-member", False),
        ("_include:iterate=Observation:has-member", False),
        ("_revinclude=*", False),
        ("_revinclude=Observation:has-member&_summary=count", True),
        ("_revinclude:iterate=PractitionerRole:practitioner", True),  # of these nothing ever goes
    ],
)
async def test_a_total_does_not_tell_whether_others_refer_to_ours(entries: list[Any], includes: str, told: bool) -> None:
    bundle = searchset(observation("a"))
    bundle["entry"] += [include(resource) for resource in entries] if not told else []
    answer = await Front(DisobedientUpstream(Reply(200, bundle)), "patient/*.rs").get(f"/Observation?{includes}")
    assert ("total" in answer.json()) is told
