"""One rule that two policies have otherwise, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """One rule that is another one now, in words; ``unknown``: what it does could not be told, so that it counts as opening."""

    rule: str
    before: str
    after: str
    opens: bool
    closes: bool
    unknown: bool = False


def listed(values: frozenset[str] | None) -> str:
    """What a rule lists, in words; None is a rule that asks for nothing."""
    return "any" if values is None else ", ".join(sorted(values)) or "none"
