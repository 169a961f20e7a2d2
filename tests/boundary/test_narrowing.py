"""Boundaries said as search parameters."""

from __future__ import annotations

import pytest

from smart_gateway.boundary.describing import smallest_scope
from smart_gateway.boundary.model import NOTHING, Boundary, Compartment, Filter, Region, everything
from smart_gateway.boundary.narrowing import Narrower
from smart_gateway.fhir.releases import Release
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, Syntax
from tests.support.deciding import policy, vocabulary

A, B = Compartment("Patient", ("a",)), Compartment("Patient", ("b",))
LAB, VITAL = Filter("category", None, ("laboratory",)), Filter("category", None, ("vital-signs",))
NOT_LAB, NOT_VITAL = Filter("category", "not", ("laboratory",)), Filter("category", "not", ("vital-signs",))


def narrower(release: Release = Release.R4) -> Narrower:
    known = vocabulary(release)
    return Narrower(known, policy(release).rules, lambda type, code: known.parameter(type, code) is not None)


def test_everything_needs_nothing_and_nothing_is_no_query() -> None:
    assert narrower().narrow(everything(), "Observation").parameters == ()
    assert narrower().narrow(everything(), "Observation").exact
    with pytest.raises(ValueError, match="NOTHING"):
        narrower().narrow(NOTHING, "Observation")


@pytest.mark.parametrize(
    ("regions", "parameters", "exact"),
    [
        ([Region()], (), True),
        ([Region((A,))], (("patient", "Patient/a"),), True),
        ([Region((Compartment("Patient", ("a", "b")),))], (("patient", "Patient/a,Patient/b"),), True),
        ([Region((A,)), Region((B,))], (("patient", "Patient/a,Patient/b"),), True),
        ([Region((A,), (LAB,)), Region((A,), (VITAL,))], (("patient", "Patient/a"), ("category", "laboratory,vital-signs")), True),
        (
            [Region((A,), (LAB,)), Region((B,), (VITAL,))],
            (("patient", "Patient/a,Patient/b"), ("category", "laboratory,vital-signs")),
            False,
        ),
        ([Region((A,), (LAB,)), Region((B,), (LAB,))], (("category", "laboratory"), ("patient", "Patient/a,Patient/b")), True),
        # ":not=a,b" asks for neither: an OR of exclusions cannot be said
        ([Region((A,), (NOT_LAB,)), Region((A,), (NOT_VITAL,))], (("patient", "Patient/a"),), False),
        ([Region((A,), (NOT_LAB,))], (("patient", "Patient/a"), ("category:not", "laboratory")), False),
        ([Region((A,), (LAB, VITAL))], (("patient", "Patient/a"), ("category", "laboratory"), ("category", "vital-signs")), True),
        ([Region((A,), (LAB,)), Region((A,), (Filter("code", None, ("1",)),))], (("patient", "Patient/a"),), False),
        ([Region((A, Compartment("Encounter", ("e",))))], (("patient", "Patient/a"), ("encounter", "Encounter/e")), True),
        ([Region((A,)), Region((Compartment("Encounter", ("e",)),))], (), False),
    ],
)
def test_narrowing(regions: list[Region], parameters: tuple[tuple[str, str], ...], exact: bool) -> None:
    found = narrower().narrow(Boundary.of(regions), "Observation")
    assert (found.parameters, found.exact) == (parameters, exact)


def test_strings_and_dates_are_compared_by_each_server_in_its_own_way() -> None:
    named = Boundary.of([Region(filters=(Filter("name", None, ("smith",)),))])
    assert not narrower().narrow(named, "Practitioner").exact
    dated = Boundary.of([Region(filters=(Filter("date", None, ("ge2020",)),))])
    assert not narrower().narrow(dated, "Observation").exact


@pytest.mark.parametrize(
    ("release", "type", "parameter"),
    [
        (Release.R4, "Observation", "patient"),
        (Release.R4, "Condition", "patient"),
        (Release.R4, "Patient", "_id"),
        (Release.R4, "Coverage", "patient"),
        (Release.R4, "Schedule", "actor"),
        (Release.R4, "Group", "member"),
        (Release.R4, "Device", "patient"),
        (Release.R4, "ResearchSubject", "patient"),
        (Release.R5, "Observation", "patient"),
        (Release.R5, "Task", "patient"),
        (Release.R5, "Device", None),
        (Release.R4, "Organization", None),
    ],
)
def test_the_preferred_inclusion_parameter(release: Release, type: str, parameter: str | None) -> None:
    assert narrower(release).compartment_parameter("Patient", type) == parameter


@pytest.mark.parametrize(
    ("permission", "syntax", "text"),
    [
        (Permission.READ, Syntax.V2, "patient/Observation.r"),
        (Permission.SEARCH, Syntax.V2, "patient/Observation.s"),
        (Permission.READ, Syntax.V1, "patient/Observation.read"),
        (Permission.SEARCH, Syntax.V1, "patient/Observation.read"),
        (Permission.DELETE, Syntax.V1, "patient/Observation.write"),
    ],
)
def test_the_smallest_scope_reads_back_as_itself(permission: Permission, syntax: Syntax, text: str) -> None:
    scope = smallest_scope(Context.PATIENT, "Observation", permission, syntax)
    assert scope.text == text
    assert parse_scope(text) == scope


def test_a_filtered_scope_reads_back_too() -> None:
    scope = smallest_scope(Context.USER, "Observation", Permission.READ, Syntax.V1, (("category", "laboratory"), ("code", "1")))
    assert scope.text == "user/Observation.r?category=laboratory&code=1"
    assert parse_scope(scope.text) == scope


def test_a_filter_of_any_characters_fits_into_a_header() -> None:
    scope = smallest_scope(Context.USER, "Observation", Permission.READ, Syntax.V2, (("code", 'a "b"&c=d%\\,e'),))
    assert not set('"\\ ') & set(scope.text)
    assert parse_scope(scope.text) == scope


@pytest.mark.parametrize(
    ("type", "expected"),
    [
        ("Observation", [("subject", "Patient/a,Patient/b"), ("performer", "Patient/a,Patient/b")]),
        ("Encounter", [("patient", "Patient/a,Patient/b")]),
        ("Patient", [("_id", "a,b")]),
    ],
)
def test_a_compartment_by_each_of_its_parameters(type: str, expected: list[tuple[str, str]]) -> None:
    both = Compartment("Patient", ("a", "b"))
    ways = narrower().compartment_ways(both, type)
    assert [way.parameters for way in ways] == [(pair,) for pair in expected]
    assert [[(f.key, ",".join(f.values)) for f in way.unless] for way in ways] == [expected[:place] for place in range(len(expected))]
    (preferred,) = narrower().compartment_ways(both, type, preferred=True)
    assert preferred.parameters == ((narrower().compartment_parameter("Patient", type), expected[0][1]),)
    assert preferred.unless == ()


def test_two_compartments_are_asked_for_in_every_combination() -> None:
    region = Region((A, Compartment("Practitioner", ("p",))), (LAB,))
    ways = narrower().narrow_each(Boundary.of([region]), "Condition")
    patient, asserter = ("patient", "Patient/a"), ("asserter", "Patient/a")
    assert [way.parameters for way in ways] == [
        (patient, ("asserter", "Practitioner/p"), ("category", "laboratory")),
        (asserter, ("asserter", "Practitioner/p"), ("category", "laboratory")),
    ]
    assert [way.unless for way in ways] == [(), (Filter("patient", None, ("Patient/a",)),)]


def test_each_way_is_as_exact_as_the_one() -> None:
    for regions in ([Region((A,))], [Region((A,), (NOT_LAB,))], [Region((A,), (LAB,)), Region((B,), (VITAL,))]):
        boundary = Boundary.of(regions)
        assert {way.exact for way in narrower().narrow_each(boundary, "Observation")} == {narrower().narrow(boundary, "Observation").exact}
    assert [way.parameters for way in narrower().narrow_each(everything(), "Observation")] == [()]
    with pytest.raises(ValueError, match="NOTHING"):
        narrower().narrow_each(NOTHING, "Observation")
