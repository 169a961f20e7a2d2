"""What each ``_summary`` hides from a check (semantics 4)."""

from __future__ import annotations

from enum import Enum

from smart_gateway.boundary.model import Boundary
from smart_gateway.boundary.parts import admits_by_absence, goes_by_tags
from smart_gateway.fhir.bundles import CARRIERS
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.policy.access import Access

_ALWAYS = frozenset({"resourceType", "id", "meta"})


class _Keeps(Enum):
    """How much of a resource a summary keeps. Spec: FHIR R4 search.html, Summary."""

    ALL = "all of it, as it is"
    DATA = "all but the narrative, tagged as a part"
    LISTED = "the elements that the definitions list for it, tagged as a part"
    NOTHING = "no resource at all"


_KEEPS = {"false": _Keeps.ALL, "data": _Keeps.DATA, "true": _Keeps.LISTED, "text": _Keeps.LISTED, "count": _Keeps.NOTHING}


def is_summary(value: str) -> bool:
    """Whether ``value`` is one of ``_summary``'s codes."""
    return value in _KEEPS


def staying(value: str, type: str, vocabulary: Vocabulary) -> frozenset[str] | None:
    """The top-level members of ``type`` that are there for sure under ``_summary=value``; None: all that a check can look at."""
    match _KEEPS.get(value, _Keeps.NOTHING):
        case _Keeps.ALL | _Keeps.DATA:
            return None
        case _Keeps.LISTED:
            return _ALWAYS | vocabulary.summary_members(value, type)
        case _Keeps.NOTHING:
            return frozenset()


def hides_check(value: str, boundary: Boundary, type: str, access: Access) -> bool:
    """Whether what ``_summary=value`` leaves of a resource of ``type`` may be judged by ``boundary`` otherwise than the whole of it.

    Under ``true`` and ``text`` nothing that holds without an element is proven, and the resources that a Bundle carries are
    summaries too. Unknown values hide all.
    """
    if value == "false":
        return False
    if goes_by_tags(boundary):
        return True
    stays = staying(value, type, access.policy.vocabulary)
    if stays is None:
        return False
    fields = access.restrictions.fields
    if value == "text" and fields.hides:  # of what is contained, which is left out, the narrative tells
        return True
    if fields.goes_by_labels(type):  # those of contained resources count, which it leaves out
        return True
    needed = access.matcher.members_read(boundary, type)
    return needed is None or not needed <= stays or type in CARRIERS or admits_by_absence(boundary, type)
