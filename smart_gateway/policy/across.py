"""The plan for a search over several types: the base's ``_search``, and ``[compartment]/[id]/*`` (semantics 4)."""

from __future__ import annotations

from smart_gateway.errors import NotSupported
from smart_gateway.policy.access import Access
from smart_gateway.policy.localising import local_pairs
from smart_gateway.policy.plan import Decision, Denial, Deny, Permit, Plan, Stream, UpstreamRequest
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

_FOREIGN_PAGE = Denial("foreign-page", "This paging link was not given by this gateway to this token.")


def plan_search_across(request: FhirRequest, access: Access) -> Decision:
    """Open to tokens without any bound (the upstream's own paging links come here); for others not judged yet."""
    if request.compartment is None and access.unlimited(Permission.SEARCH):
        return Permit(Plan(Stream(), UpstreamRequest("GET", (), local_pairs(request, access.policy))))
    if any(parameter.name.startswith("_getpages") for parameter in request.parameters):
        return Deny(403, (_FOREIGN_PAGE,))
    raise NotSupported("A search over all types is not supported under a bounded token by this version.")
