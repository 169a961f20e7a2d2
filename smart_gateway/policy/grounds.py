"""Why a decision fell as it did: every scope and rule that was looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ground:
    """One rule and what it did: ``source`` is scope, permission, client or public; ``result`` is grants, limits, ignored or denies."""

    source: str
    rule: str
    result: str
    text: str
