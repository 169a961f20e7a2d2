"""Why a decision fell as it did: every scope and rule that was looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ground:
    """One rule and what it did: ``source`` is scope, permission, client, user, labels, break-glass or public; ``result`` is grants, limits,
    lifts, ignored or denies.

    ``place`` is where a rule of the policy is written (``policy.yaml:12:5``), None for what comes with the token or was made in memory.
    """

    source: str
    rule: str
    result: str
    text: str
    place: str | None = None
