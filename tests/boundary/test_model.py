"""The algebra of boundaries."""

from __future__ import annotations

import pytest

from smart_gateway.boundary.model import NOTHING, Boundary, Compartment, Filter, Region, everything

A = Compartment("Patient", ("a",))
AB = Compartment("Patient", ("a", "b"))
ENCOUNTER = Compartment("Encounter", ("e",))
LAB = Filter("category", None, ("laboratory",))
FINAL = Filter("status", None, ("final",))


def of(*regions: Region) -> Boundary:
    return Boundary.of(regions)


def test_a_compartment_names_somebody() -> None:
    with pytest.raises(ValueError, match="without ids"):
        Compartment("Patient", ())


def test_nothing_and_everything_are_not_each_other() -> None:
    assert NOTHING.is_nothing
    assert not NOTHING.is_everything
    assert everything().is_everything
    assert not everything().is_nothing
    assert of() == NOTHING
    assert not of(Region()).is_everything  # the whole type is still a bound


def test_a_region_inside_another_is_dropped() -> None:
    assert of(Region((A,)), Region((A,), (LAB,))) == of(Region((A,)))
    assert of(Region((A,), (LAB,)), Region((A,), (FINAL,))).regions == (Region((A,), (LAB,)), Region((A,), (FINAL,)))


@pytest.mark.parametrize("bound", [NOTHING, everything(), of(Region((A,))), of(Region((A,), (LAB,)), Region((ENCOUNTER,)))])
def test_neutral_and_absorbing(bound: Boundary) -> None:
    assert bound.union(NOTHING) == bound == NOTHING.union(bound)
    assert bound.intersect(everything()) == bound == everything().intersect(bound)
    assert bound.intersect(NOTHING).is_nothing
    assert bound.union(everything()).is_everything
    assert bound.intersect(bound) == bound


def test_intersection_joins_conditions() -> None:
    assert of(Region((A,))).intersect(of(Region(filters=(LAB,)))) == of(Region((A,), (LAB,)))
    assert of(Region((A,))).intersect(of(Region((ENCOUNTER,)))) == of(Region((ENCOUNTER, A)))
    assert of(Region((AB,))).intersect(of(Region((A,)))) == of(Region((A,)))


def test_two_patients_have_nothing_in_common() -> None:
    assert of(Region((A,))).intersect(of(Region((Compartment("Patient", ("b",)),)))).is_nothing


def test_no_computation_on_regions_ends_in_everything() -> None:
    whole = of(Region())
    assert not whole.union(whole).is_everything
    assert not whole.intersect(everything()).is_everything


def test_sources_explain_and_do_not_count() -> None:
    assert Region((A,), sources=("one",)) == Region((A,), sources=("two",))
    met = of(Region((A,), sources=("one",))).intersect(of(Region(filters=(LAB,), sources=("two",))))
    assert met.regions[0].sources == ("one", "two")


def test_filters_as_text() -> None:
    assert Filter("code", "not", ("a", "b")).text == "code:not=a,b"
    assert LAB.key == "category"
