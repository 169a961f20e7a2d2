"""Opened pages are planned by what the token may do now (semantics 4)."""

from __future__ import annotations

import pytest

from smart_gateway.boundary.fingerprint import fingerprint
from smart_gateway.boundary.model import NOTHING, Boundary, Compartment, Filter, Region, everything
from smart_gateway.errors import NotAcceptable, PageRefused
from smart_gateway.policy.access import Access
from smart_gateway.policy.pages import Page, PageBranch, UnionPage
from smart_gateway.policy.paging import plan_opened
from smart_gateway.policy.plan import (
    Branch,
    CheckHistory,
    CheckSearchset,
    CheckUnion,
    OpenPage,
    SortKey,
    UpstreamRequest,
)
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import DEFAULT, decide, denied, permitted, principal

UPSTREAM = UpstreamRequest("GET", (), (("_getpages", "x"),))
LAB = "patient/Observation.rs?category=laboratory"


def access(scope: str) -> Access:
    return Access(principal(scope), DEFAULT)


def test_a_link_is_only_to_be_opened() -> None:
    plan = permitted(decide("GET", "/Observation?_page=abc", "patient/Observation.rs"))
    assert (plan.answer, plan.upstream) == (OpenPage("Observation"), None)
    assert permitted(decide("GET", "/?_page=abc", "patient/Observation.rs")).answer == OpenPage(None)
    assert denied(decide("GET", "/Observation?_page=abc", "patient/Patient.rs")).status == 403
    with pytest.raises(NotAcceptable):
        decide("GET", "/Observation?_page=abc", "patient/Observation.rs", headers={"Accept": "application/fhir+xml"})


def test_a_page_is_as_exact_as_it_was_for_the_same_boundary_only() -> None:
    whole, lab = access("patient/Observation.rs"), access(LAB)
    bound = whole.boundary("Observation", Permission.SEARCH)
    page = Page(UPSTREAM, "Observation", exact=True, drop_elements=("subject",), fingerprint=fingerprint(bound))
    assert plan_opened(page, whole).answer == CheckSearchset("Observation", bound, True, drop_elements=("subject",))
    narrower = plan_opened(page, lab).answer
    assert isinstance(narrower, CheckSearchset)
    assert (narrower.exact, narrower.boundary) == (False, lab.boundary("Observation", Permission.SEARCH))


def test_the_order_of_scopes_leaves_the_fingerprint() -> None:
    one, other = (access(text).boundary("Observation", Permission.SEARCH) for text in (f"{LAB} user/A.r", LAB))
    assert fingerprint(one) == fingerprint(other)
    first, second = f"{LAB} patient/Observation.rs?status=final", f"patient/Observation.rs?status=final {LAB}"
    assert fingerprint(access(first).boundary("Observation", Permission.SEARCH)) == fingerprint(
        access(second).boundary("Observation", Permission.SEARCH)
    )
    assert len({fingerprint(b) for b in (NOTHING, everything(), one)}) == 3


def test_the_order_of_patients_and_values_leaves_the_fingerprint() -> None:
    """Claims and hooks list whom they list in any order."""

    def bound(*ids: str, status: str = "final,amended") -> Boundary:
        filters = (Filter("status", None, tuple(status.split(","))), Filter("category", None, ("laboratory",)))
        return Boundary.of([Region((Compartment("Patient", ids),), filters[:: 1 if ids[0] == "1" else -1])])

    assert fingerprint(bound("1", "2")) == fingerprint(bound("2", "1", status="amended,final"))
    assert len({fingerprint(b) for b in (bound("1", "2"), bound("1"), bound("1", "2", status="final"))}) == 3


@pytest.mark.parametrize("scope", ["patient/Observation.r", "patient/Patient.rs"])
def test_a_page_that_may_not_be_searched_any_more_is_refused(scope: str) -> None:
    branch = PageBranch(UPSTREAM, "Observation")
    for page in (Page(UPSTREAM, "Observation"), UnionPage((branch,), "Observation")):
        with pytest.raises(PageRefused):
            plan_opened(page, access(scope))


def test_a_union_goes_on_with_what_may_still_be_searched() -> None:
    unless = (Filter("subject", None, ("Patient/123",)),)
    branches = (PageBranch(UPSTREAM, "Observation", ("status",), unless, 3), PageBranch(UPSTREAM, "Condition"))
    whole = access(LAB)
    plan = plan_opened(UnionPage(branches, None, 5, (SortKey("_lastUpdated", True),)), whole)
    rule = CheckSearchset("Observation", whole.boundary("Observation", Permission.SEARCH), False, drop_elements=("status",))
    assert plan.answer == CheckUnion((Branch(UPSTREAM, rule, unless, 3),), None, 5, (SortKey("_lastUpdated", True),))
    assert plan.upstream is None


def test_a_history_stays_a_history() -> None:
    whole = access("patient/Observation.rs")
    plan = plan_opened(Page(UPSTREAM, "Observation", "o1", history=True), whole)
    assert plan.answer == CheckHistory("Observation", "o1", whole.boundary("Observation", Permission.READ))
    over_all = plan_opened(Page(UPSTREAM, None, history=True), whole)
    assert over_all.answer == CheckHistory(None, None, None)
