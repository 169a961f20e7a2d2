"""Scopes that are filtered by value sets: ``:in`` and ``:not-in`` (semantics 3, 4)."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.boundary.verdict import INSIDE
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.value_sets import ValueSet, ValueSets
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import Policy
from smart_gateway.policy.plan import CheckSearchset
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, permitted, policy, principal, sent

LABS, MANY, LOINC = "http://example.org/labs", "http://example.org/many", "http://loinc.org"
SETS = [
    ValueSet(LABS, "1", frozenset({(LOINC, "2339-0"), (LOINC, "A|1")})),
    ValueSet(MANY, None, frozenset((LOINC, str(number)) for number in range(51))),
]
UNDER = policy(value_sets=ValueSets.of(SETS))


def observation(*codings: tuple[str | None, str | None], **members: Any) -> dict[str, Any]:
    coding = [{name: value for name, value in (("system", system), ("code", code)) if value is not None} for system, code in codings]
    subject = {"reference": "Patient/123"}
    return {"resourceType": "Observation", "id": "o", "subject": subject, "code": {"coding": coding}, **members}


def admits(filter: str, resource: dict[str, Any], under: Policy = UNDER) -> bool:
    boundary = Access(principal(f"patient/Observation.rs?{filter}"), under).boundary("Observation", Permission.READ)
    return under.matcher.admits(boundary, resource, "Observation") is INSIDE


@pytest.mark.parametrize(
    ("codings", "member", "stranger"),
    [
        ([(LOINC, "2339-0")], True, False),
        ([(LOINC, "A|1")], True, False),
        ([("http://other", "x"), (LOINC, "2339-0")], True, False),
        ([(LOINC, "8867-4")], False, True),
        ([("http://other", "2339-0")], False, True),
        ([], False, True),  # by text only, or not at all: not in the set
        ([(None, "2339-0")], False, False),  # of which system? neither can be shown
        ([(LOINC, "a|1")], False, False),  # whether case counts is each code system's own affair
        ([(LOINC, "8867-4"), (None, "2339-0")], False, False),
        ([(LOINC, None)], False, True),
    ],
)
def test_membership_is_decided_in_memory(codings: list[tuple[str | None, str | None]], member: bool, stranger: bool) -> None:
    for name in (LABS, f"{LABS}\\|1", f"{LABS},{MANY}"):
        assert admits(f"code:in={name}", observation(*codings)) is member
        assert admits(f"code:not-in={name}", observation(*codings)) is stranger


def test_what_has_the_wrong_shape_is_neither_in_nor_out() -> None:
    for code in ("2339-0", {"coding": "2339-0"}, {"coding": [5]}):
        for filter in (f"code:in={LABS}", f"code:not-in={LABS}"):
            assert not admits(filter, {**observation(), "code": code})


@pytest.mark.parametrize("modifier", ["in", "not-in"])
@pytest.mark.parametrize(
    "value", ["http://example.org/unknown", f"{LABS}\\|2", f"{LABS},http://example.org/unknown", "", f"{LABS},", f"{LABS} "]
)
def test_a_set_that_is_not_known_grants_nothing(modifier: str, value: str) -> None:
    decision = decide("GET", "/Observation", f"patient/Observation.rs?code:{modifier}={value.replace(' ', '%20')}", under=UNDER)
    assert denied(decision).causes[0].code == "insufficient-scope"


@pytest.mark.parametrize("filter", ["status:in", "_id:not-in", "date:in", "subject:in", "value-string:in", "identifier:in"])
def test_only_codes_of_a_system_are_in_a_set(filter: str) -> None:
    assert denied(decide("GET", "/Observation", f"patient/Observation.rs?{filter}={LABS}", under=UNDER)).status == 403


def exact(under: Policy, scope: str) -> bool:
    rule = permitted(decide("GET", "/Observation", scope, under=under)).answer
    assert isinstance(rule, CheckSearchset)
    return rule.exact


def test_few_codes_are_asked_for_one_by_one() -> None:
    scope = f"patient/Observation.rs?code:in={LABS}"
    assert sent(decide("GET", "/Observation", scope, under=UNDER)) == (
        "GET /Observation?patient=Patient/123&code=http%3A//loinc.org%7C2339-0,http%3A//loinc.org%7CA%5C%7C1"
    ).replace("%3A", ":").replace("http%3A", "http:")
    assert not exact(UNDER, scope)


def test_lastn_is_narrowed_by_the_codes_as_a_search_is() -> None:
    scope = f"patient/Observation.rs?code:in={LABS}"
    searched, latest = (sent(decide("GET", f"/Observation{path}", scope, under=UNDER)) for path in ("", "/$lastn"))
    assert latest == searched.replace("/Observation?", "/Observation/$lastn?")


def test_many_are_named_to_a_server_that_has_them_and_left_to_the_check_elsewhere() -> None:
    scope = f"patient/Observation.rs?code:in={MANY}"
    assert sent(decide("GET", "/Observation", scope, under=UNDER)) == "GET /Observation?patient=Patient/123"
    there = policy(value_sets=ValueSets.of(SETS, frozenset({MANY})))
    assert sent(decide("GET", "/Observation", scope, under=there)).endswith(f"&code:in={MANY}")
    for under in (UNDER, there):
        assert not exact(under, scope)


def test_without_the_rest_of_the_world_nothing_is_out() -> None:
    scope = f"patient/Observation.rs?code:not-in={LABS}"
    assert sent(decide("GET", "/Observation", scope, under=UNDER)) == "GET /Observation?patient=Patient/123"
    assert not exact(UNDER, scope)


@pytest.mark.parametrize("release", list(Release))
def test_every_release_decides_alike(release: Release) -> None:
    under = policy(release, value_sets=ValueSets.of(SETS))
    assert admits(f"code:in={LABS}", observation((LOINC, "2339-0")), under)
    assert not admits(f"code:in={LABS}", observation((LOINC, "8867-4")), under)


def test_a_write_is_bounded_by_the_set_too() -> None:
    headers = {"Content-Type": "application/fhir+json"}
    plan = permitted(decide("POST", "/Observation", f"patient/Observation.c?code:in={LABS}", under=UNDER, headers=headers))
    assert plan.body is not None
    assert not UNDER.matcher.objections_to_write(plan.body.boundary, observation((LOINC, "2339-0")), "Observation")
    assert UNDER.matcher.objections_to_write(plan.body.boundary, observation((LOINC, "8867-4")), "Observation")
