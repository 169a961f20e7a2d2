"""Paging links: sealed for one token, opened by the shell, judged by the rules of the answer that they go on (semantics 4)."""

from __future__ import annotations

from smart_gateway.boundary.model import Boundary
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import CheckHistory, CheckSearchset, Decision, OpenPage, Page, Permit, Plan
from smart_gateway.policy.reading import require_judged_media
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

_CHECK = "the link was given to this token; every resource in the answer is one that the token may search or read"


def plan_page(request: FhirRequest, access: Access) -> Decision:
    """The link is to be opened; what it holds is planned by ``plan_opened``."""
    require_judged_media(request)
    grounds = access.grounds(request.type, Permission.SEARCH) if request.type is not None else ()
    return Permit(Plan(OpenPage(request.type), checks=(_CHECK,)), grounds)


def plan_opened(page: Page, access: Access) -> Plan:
    """The plan for an opened page. Boundaries are what the token has now: none of them is sealed."""
    if page.history:
        return Plan(CheckHistory(page.type, page.id, _history_boundary(page, access)), page.upstream)
    boundary = access.boundary(page.type, Permission.SEARCH) if page.type is not None else None
    rule = CheckSearchset(page.type, boundary, page.exact, drop_elements=page.drop_elements, types=page.types)
    return Plan(rule, page.upstream)


def _history_boundary(page: Page, access: Access) -> Boundary | None:
    if page.type is None:
        return None
    return access.boundary(page.type, Permission.SEARCH if page.id is None else Permission.READ)
