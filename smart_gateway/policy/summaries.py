"""What each ``_summary`` hides from a check."""

from __future__ import annotations

from collections.abc import Mapping

# The members that stay for sure under each value; None: everything but the narrative. Spec: FHIR R4 search.html, Summary.
_STAYS: Mapping[str, frozenset[str] | None] = {
    "false": None,
    "data": None,
    "true": frozenset({"resourceType", "id", "meta"}),
    "text": frozenset({"resourceType", "id", "meta"}),
    "count": frozenset(),
}


def is_summary(value: str) -> bool:
    """Whether ``value`` is one of ``_summary``'s codes."""
    return value in _STAYS


def hides_check(value: str, members: frozenset[str] | None) -> bool:
    """Whether ``_summary=value`` may hide one of ``members`` (None: all of them are needed). Unknown values hide all."""
    stays = _STAYS.get(value, frozenset())
    if stays is None:
        return False
    return members is None or not members <= stays
