"""Boundaries in words, for explanations. They name only ids that the token itself carries."""

from __future__ import annotations

from smart_gateway.boundary.model import Boundary, Region


def describe(boundary: Boundary) -> str:
    """``in Patient/123 with category=laboratory``; several regions joined by ``or``."""
    if boundary.is_everything:
        return "everything"
    if boundary.is_nothing:
        return "nothing"
    return " or ".join(_region(region) for region in boundary.regions)


def check_sentence(boundary: Boundary) -> str:
    """``is in Patient/123 ...``, to follow a subject."""
    return f"is {describe(boundary)}"


def _region(region: Region) -> str:
    owners = [" or ".join(f"{c.type}/{id}" for id in c.ids) for c in region.compartments]
    parts = ["in " + " and in ".join(owners)] if owners else []
    parts += ["with " + " and ".join(f.text for f in region.filters)] if region.filters else []
    parts += ["with " + " and ".join(limit.text for limit in region.labels)] if region.labels else []
    return " ".join(parts) or "of the type, any of it"
