"""A boundary in few characters: the same for the same bounds on every replica, whatever order scopes and lists came in."""

from __future__ import annotations

import hashlib

from smart_gateway.boundary.model import Boundary, Region


def fingerprint(boundary: Boundary) -> str:
    """Sixteen characters of a hash of all regions; ``*`` for EVERYTHING."""
    if boundary.is_everything:
        return "*"
    said = sorted(map(_said, boundary.regions))
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _said(region: Region) -> str:
    compartments = [(compartment.type, sorted(compartment.ids)) for compartment in region.compartments]
    filters = [(filter.key, sorted(filter.values)) for filter in region.filters]
    return repr((sorted(compartments), sorted(filters), sorted(region.labels)))
