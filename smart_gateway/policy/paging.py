"""Paging links: sealed for one token, opened by the shell, judged by the rules of the answer that they go on (semantics 4)."""

from __future__ import annotations

from smart_gateway.boundary.fingerprint import fingerprint
from smart_gateway.boundary.model import Boundary
from smart_gateway.errors import PageRefused
from smart_gateway.policy.access import Access
from smart_gateway.policy.extents import extent
from smart_gateway.policy.pages import Page, PageBranch, UnionPage
from smart_gateway.policy.plan import (
    Branch,
    CheckHistory,
    CheckSearchset,
    CheckUnion,
    Decision,
    OpenPage,
    Permit,
    Plan,
)
from smart_gateway.policy.reading import require_judged_media
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

_CHECK = "the link was given to this token; every resource in the answer is one that the token may search or read"


def plan_page(request: FhirRequest, access: Access) -> Decision:
    """The link is to be opened; what it holds is planned by ``plan_opened``."""
    require_judged_media(request)
    grounds = access.grounds(request.type, Permission.SEARCH) if request.type is not None else ()
    return Permit(Plan(OpenPage(request.type), checks=(_CHECK,)), grounds)


def plan_opened(page: Page | UnionPage, access: Access) -> Plan:
    """The plan for an opened page. Boundaries are what the token has now: none of them is sealed.

    Raises PageRefused where a policy that came since leaves nothing of it.
    """
    if isinstance(page, UnionPage):
        branches = tuple(_branch(part, access) for part in page.branches if not access.boundary(part.type, Permission.SEARCH).is_nothing)
        if not branches:
            raise _nothing_left()
        return Plan(CheckUnion(branches, page.type, page.count, page.sort))
    if page.history:
        return Plan(CheckHistory(page.type, page.id, _history_boundary(page, access)), page.upstream)
    boundary = access.boundary(page.type, Permission.SEARCH) if page.type is not None else None
    if boundary is not None and boundary.is_nothing:
        raise _nothing_left()
    # What a query can return says nothing of a boundary that it was not narrowed to.
    _require_extent(page, access)
    exact = page.exact and boundary is not None and fingerprint(boundary) == page.fingerprint
    rule = CheckSearchset(page.type, boundary, exact, False, page.drop_elements, page.includes, page.extent)
    return Plan(rule, page.upstream)


def _require_extent(page: Page | PageBranch, access: Access) -> None:
    """Parts of resources are enough for the checks that they were asked for, perhaps not for others: an element by which something is
    outside, or the label by which it is hidden, may be one that is not there."""
    if page.extent and page.type is not None and page.extent != extent(page.type, page.includes, access):
        text = "What this token may see is not what it was when this paging link was made: search again."
        raise PageRefused(text, expression="http._page")


def _branch(part: PageBranch, access: Access) -> Branch:
    _require_extent(part, access)
    boundary = access.boundary(part.type, Permission.SEARCH)
    rule = CheckSearchset(part.type, boundary, False, False, part.drop_elements, part.includes, extent=part.extent)
    return Branch(part.upstream, rule, part.unless, part.skip)


def _history_boundary(page: Page, access: Access) -> Boundary | None:
    if page.type is None:
        return None
    return access.boundary(page.type, Permission.SEARCH if page.id is None else Permission.READ)


def _nothing_left() -> PageRefused:
    return PageRefused("This token may no longer search what the paging link goes on.", expression="http._page")
