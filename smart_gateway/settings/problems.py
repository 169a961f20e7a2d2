"""One thing that no key shows by itself."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.settings.findings import KeyPath, Severity


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at ``path``; the loader knows where that is written."""

    path: KeyPath
    text: str
    nearest: str | None = None
    severity: Severity = Severity.ERROR


def warning(path: KeyPath, text: str) -> Problem:
    """Something that is allowed and probably not meant."""
    return Problem(path, text, severity=Severity.WARNING)
