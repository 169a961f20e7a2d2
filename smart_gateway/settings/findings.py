"""What is wrong with a configuration: one value per finding, with the place and the key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

KeyPath = tuple[str | int, ...]


class Severity(StrEnum):
    """``error`` refuses the configuration; ``warning`` is said at start."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a file (or ``$VARIABLE``) and, in a file, line and column, both from 1."""

    source: str
    line: int | None = None
    column: int | None = None

    @property
    def order(self) -> tuple[str, int, int]:
        """By file, then from top to bottom."""
        return self.source, self.line or 0, self.column or 0

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend: ``text`` is a sentence that never holds a secret, ``nearest`` the valid name that was probably meant; ``tenant``
    whose settings it is in, where there are tenants."""

    place: Place
    key: str
    text: str
    nearest: str | None = None
    severity: Severity = Severity.ERROR
    tenant: str | None = None

    def __str__(self) -> str:
        whose = f"tenant {self.tenant}: " if self.tenant is not None else ""
        subject = f"{whose}{self.key}: " if self.key else whose
        guess = f'; did you mean "{self.nearest}"?' if self.nearest else ""
        return f"{self.place}: {self.severity}: {subject}{self.text}{guess}"

    def as_json(self) -> dict[str, str | int | None]:
        """The members of ``check-config --format json``."""
        whose = {"tenant": self.tenant} if self.tenant is not None else {}
        return {
            "severity": str(self.severity),
            "file": self.place.source,
            "line": self.place.line,
            "column": self.place.column,
            "key": self.key,
            "message": self.text,
            "nearest": self.nearest,
            **whose,
        }


def spell_key(path: Sequence[str | int]) -> str:
    """A key path as people write it: ``issuers[0].audiences``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if part.isprintable() else ascii(part))
    return text


def has_errors(findings: Sequence[Finding]) -> bool:
    """Whether any finding refuses the configuration."""
    return any(finding.severity is Severity.ERROR for finding in findings)
