"""The comparison prefixes of date, number and quantity values. Spec: FHIR R4 search, "Prefixes"."""

from __future__ import annotations

import re
from enum import StrEnum

from smart_gateway.fhir.search_values_syntax import ValueSyntaxError


class Prefix(StrEnum):
    """``ap`` is not among them: how near is near is each server's own choice."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    LT = "lt"
    GE = "ge"
    LE = "le"
    SA = "sa"
    EB = "eb"


_LETTERS = re.compile(r"[A-Za-z]{2}")


def split_prefix(text: str) -> tuple[Prefix, str]:
    """The prefix (``eq`` where there is none) and the rest. Raises ValueSyntaxError."""
    match = _LETTERS.match(text)
    if match is None:
        return Prefix.EQ, text
    if match[0] == "ap":
        raise ValueSyntaxError("the prefix ap means something else on each server")
    if match[0] not in set(Prefix):
        raise ValueSyntaxError(f"there is no prefix {match[0]}")
    return Prefix(match[0]), text[2:]


def compare(prefix: Prefix, low: float, high: float, target_low: float, target_high: float) -> bool:
    """Whether a target range stands to the search value's range ``[low, high)`` as ``prefix`` says; an open end is infinite.

    Half-open ranges on both sides. ``ge`` and ``le`` by their definition: above (below), or wholly contained.
    """
    contained = low <= target_low and target_high <= high
    match prefix:
        case Prefix.EQ:
            return contained
        case Prefix.NE:
            return not contained
        case Prefix.GT:
            return target_high > high
        case Prefix.LT:
            return target_low < low
        case Prefix.GE:
            return target_high > high or contained
        case Prefix.LE:
            return target_low < low or contained
        case Prefix.SA:
            return target_low >= high
        case Prefix.EB:
            return target_high <= low
