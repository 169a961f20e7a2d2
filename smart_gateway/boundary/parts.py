"""Judging a resource of which a server sent only a part: when does what is missing, or was put in, say more than it should?"""

from __future__ import annotations

from smart_gateway.boundary import dependent
from smart_gateway.boundary.model import Boundary, Filter, Region

# These can hold where an element is absent; what was left out then looks like what was never there.
_HOLD_WITHOUT = frozenset({"not", "not-in", "missing"})


def admits_by_absence(boundary: Boundary, type: str) -> bool:
    """Whether a resource of ``type`` may be inside because an element is not there: by a negative filter, or where each element that is
    there names another resource to be checked (semantics 3, Provenance and AuditEvent). A part of it then proves nothing."""
    negative = any(filter.modifier in _HOLD_WITHOUT for filter in _filters(boundary))
    return negative or goes_by_labels(boundary) or any(dependent.applies(type, region) for region in boundary.regions)


def goes_by_labels(boundary: Boundary) -> bool:
    """Whether security labels decide: what came without them may have had them."""
    return any(region.labels for region in boundary.regions)


def goes_by_tags(boundary: Boundary) -> bool:
    """Whether tags decide: a part of a resource has one that the resource itself has not. Spec: FHIR R4 search.html, SUBSETTED."""
    return any(filter.parameter == "_tag" for filter in _filters(boundary))


def goes_by_id(region: Region, type: str) -> bool:
    """Whether the id of a resource of ``type`` decides: as the owner of a compartment, or by a filter."""
    owned = any(compartment.type == type for compartment in region.compartments)
    return owned or any(filter.parameter == "_id" for filter in region.filters)


def _filters(boundary: Boundary) -> tuple[Filter, ...]:
    return tuple(filter for region in boundary.regions for filter in region.filters)
