"""The page of a union, from pages that were judged: who gives a resource, in which order, and what is left."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.answers.confine import judge_searchset
from smart_gateway.answers.judging import Pending
from smart_gateway.answers.merging import BranchPage, Merging
from smart_gateway.boundary.model import Filter
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import Branch, CheckSearchset, CheckUnion, SortKey, UpstreamRequest
from smart_gateway.scopes.permissions import Permission
from tests.answers.conftest import access, compact, observation, searchset

NEXT = UpstreamRequest("GET", (), (("_getpages", "x"),))
BY_SUBJECT = Filter("subject", None, ("Patient/123",))


def branch(found: Access, by: str = "subject", unless: tuple[Filter, ...] = (), skip: int = 0, drop: tuple[str, ...] = ()) -> Branch:
    rule = CheckSearchset("Observation", found.boundary("Observation", Permission.SEARCH), False, drop_elements=drop)
    return Branch(UpstreamRequest("GET", ("Observation",), ((by, "Patient/123"),)), rule, unless, skip)


def page(found: Access, of: Branch, *resources: dict[str, Any], onward: UpstreamRequest | None = None) -> tuple[Branch, BranchPage]:
    judged = judge_searchset(compact(searchset(*resources)), of.rule, found, {})
    assert not isinstance(judged, Pending)
    return of, BranchPage(judged, onward)


def given(merging: Merging, *, whole: bool = False) -> dict[str, Any]:
    bundle: dict[str, Any] = json.loads(merging.body([], whole=whole))
    return bundle


def ids(merging: Merging) -> list[str]:
    return [entry["resource"]["id"] for entry in given(merging).get("entry", [])]


@pytest.fixture
def anna() -> Access:
    return access("patient/Observation.rs")


def both(id: str) -> dict[str, Any]:
    return observation(id, performer=[{"reference": "Patient/123"}])


def performed(id: str, **members: Any) -> dict[str, Any]:
    return observation(id, "456", performer=[{"reference": "Patient/123"}], **members)


@pytest.mark.parametrize("subject", ["Patient/123", "https://fhir.example.org/fhir/Patient/123", "http://127.0.0.1:8090/fhir/Patient/123"])
def test_the_first_branch_that_selects_a_resource_gives_it(anna: Access, subject: str) -> None:
    """The second branch alone: what the first finds is none of its business, whatever page that is on."""
    merging = Merging(CheckUnion((), "Observation"), anna)
    second = branch(anna, "performer", (BY_SUBJECT,))
    left = merging.add([page(anna, second, {**both("o"), "subject": {"reference": subject}}, performed("p"))])
    assert (ids(merging), left) == (["p"], [])


def test_nothing_is_given_twice_on_one_page(anna: Access) -> None:
    merging = Merging(CheckUnion((), "Observation"), anna)
    merging.add([page(anna, branch(anna), both("o"), both("o")), page(anna, branch(anna, "performer"), both("o"))])
    assert ids(merging) == ["o"]
    assert given(merging, whole=True)["total"] == 1


def test_what_is_outside_is_never_given_and_counts_no_room(anna: Access) -> None:
    merging = Merging(CheckUnion((), "Observation", count=2), anna)
    first = branch(anna)
    left = merging.add(
        [page(anna, first, observation("x", "456"), observation("a"), observation("y", "789"), observation("b"), observation("c"))]
    )
    assert ids(merging) == ["a", "b"]
    assert left == [branch(anna, skip=4)]


def test_a_page_goes_on_where_the_last_one_stopped(anna: Access) -> None:
    merging = Merging(CheckUnion((), "Observation", count=2), anna)
    rest = [observation(id) for id in "abcd"]
    left = merging.add([page(anna, branch(anna, skip=1), *rest, onward=NEXT)])
    assert ids(merging) == ["b", "c"]
    assert left == [branch(anna, skip=3)]
    again = Merging(CheckUnion((), "Observation", count=2), anna)
    (last,) = again.add([page(anna, left[0], *rest, onward=NEXT)])
    assert ids(again) == ["d"]
    assert (last.upstream, last.skip) == (NEXT, 0)


def dated(id: str, date: str | None, **members: Any) -> dict[str, Any]:
    return observation(id, **({"effectiveDateTime": date} if date is not None else {}), **members)


@pytest.mark.parametrize(
    ("descending", "first", "second", "expected"),
    [
        (False, ["2024-01", "2024-03"], ["2024-02", "2024-04"], ["a0", "b0", "a1", "b1"]),
        (True, ["2024-03", "2024-01"], ["2024-04", "2024-02"], ["b0", "a0", "b1", "a1"]),
        (False, ["2024-01-01T10:00:00+02:00"], ["2024-01-01T09:00:00Z"], ["a0", "b0"]),
        (True, ["2024-01-01T10:00:00+02:00"], ["2024-01-01T09:00:00Z"], ["b0", "a0"]),
        (False, ["2024", None], ["2023", "2025"], ["b0", "a0", "b1", "a1"]),
        (True, ["2024", None], ["2025", "2023"], ["b0", "a0", "b1", "a1"]),
        (False, ["nonsense"], ["2023"], ["b0", "a0"]),
        (False, ["2024"], ["2024"], ["a0", "b0"]),
    ],
)
def test_branches_are_merged_by_date(anna: Access, descending: bool, first: list[Any], second: list[Any], expected: list[str]) -> None:
    merging = Merging(CheckUnion((), "Observation", sort=(SortKey("date", descending),)), anna)
    pages = [
        page(anna, branch(anna), *(dated(f"{name}{n}", date) for n, date in enumerate(dates)))
        for name, dates in (("a", first), ("b", second))
    ]
    assert merging.add(pages) == []
    assert ids(merging) == expected


def test_a_period_and_a_timing_are_ordered_by_when_they_begin(anna: Access) -> None:
    merging = Merging(CheckUnion((), "Observation", sort=(SortKey("date"),)), anna)
    period = observation("period", effectivePeriod={"start": "2024-02-01", "end": "2025-01-01"})
    timing = observation("timing", effectiveTiming={"event": ["2024-03-01", "2024-05-01"]})
    merging.add(
        [page(anna, branch(anna), timing), page(anna, branch(anna), period), page(anna, branch(anna), dated("point", "2024-02-15"))]
    )
    assert ids(merging) == ["period", "point", "timing"]


def test_an_order_waits_for_what_is_not_here(anna: Access) -> None:
    """The next page of the first branch may hold what comes before the rest of the second."""
    merging = Merging(CheckUnion((), "Observation", sort=(SortKey("date"),)), anna)
    pages = [
        page(anna, branch(anna), dated("a", "2024-01"), onward=NEXT),
        page(anna, branch(anna, "performer"), dated("b", "2024-02")),
    ]
    first, second = merging.add(pages)
    assert ids(merging) == ["a"]
    assert (first.upstream, first.skip) == (NEXT, 0)
    assert second == branch(anna, "performer")


def test_without_an_order_nothing_waits(anna: Access) -> None:
    merging = Merging(CheckUnion((), "Observation"), anna)
    left = merging.add([page(anna, branch(anna), observation("a"), onward=NEXT), page(anna, branch(anna), observation("b"))])
    assert ids(merging) == ["a", "b"]
    assert [one.upstream for one in left] == [NEXT]


def test_elements_that_were_added_go_again(anna: Access) -> None:
    merging = Merging(CheckUnion((), "Observation"), anna)
    merging.add([page(anna, branch(anna, drop=("subject", "status")), observation("a"))])
    (entry,) = given(merging)["entry"]
    assert entry["resource"].keys() == {"resourceType", "id", "category", "code"}


def test_the_room_has_a_limit(anna: Access) -> None:
    assert Merging(CheckUnion((), "Observation"), anna).room == 50
    assert Merging(CheckUnion((), "Observation", count=3), anna).room == 3
    assert Merging(CheckUnion((), "Observation", count=99999), anna).room == 1000
