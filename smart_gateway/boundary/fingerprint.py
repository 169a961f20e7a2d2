"""A boundary in few characters: the same for the same bounds on every replica, whatever order the scopes came in."""

from __future__ import annotations

import hashlib

from smart_gateway.boundary.model import Boundary


def fingerprint(boundary: Boundary) -> str:
    """Sixteen characters of a hash of all regions; ``*`` for EVERYTHING."""
    if boundary.is_everything:
        return "*"
    said = sorted(repr((region.compartments, region.filters, region.labels)) for region in boundary.regions)
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
