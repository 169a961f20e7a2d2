"""Why a request is refused, and what would help: the parts of a ``Deny``."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.scopes.permissions import Permission


@dataclass(frozen=True, slots=True)
class Missing:
    """A permission that no scope of the token gives: the smallest scope that would, in the spelling of the token. ``type`` and
    ``permission`` are None for a scope that opens an operation."""

    scope: str
    type: str | None = None
    permission: Permission | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """One cause of a refusal: a stable machine code, a sentence for people, and where it lies."""

    code: str
    text: str
    expression: str | None = None
