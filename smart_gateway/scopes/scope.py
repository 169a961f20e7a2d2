"""What one scope string says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smart_gateway.scopes.permissions import Permission


class Context(StrEnum):
    """Whose record a resource scope speaks of."""

    PATIENT = "patient"
    USER = "user"
    SYSTEM = "system"


class Syntax(StrEnum):
    """In which of SMART's two spellings a scope was written."""

    V1 = "v1"
    V2 = "v2"


class ScopeKind(StrEnum):
    """The kinds of scope strings (docs/command-line.md, ``scopes --format json``)."""

    RESOURCE = "resource"
    CONTEXT = "context"
    IDENTITY = "identity"
    REFRESH = "refresh"
    EXTENSION = "extension"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """``context/type.permissions?params``: ``type`` is a resource type or ``*``.

    ``params`` are (name with modifier or chain as written, value as decoded) in order; values keep FHIR's own escapes
    (``\\,``). ``text`` is the string as the token had it.
    """

    context: Context
    type: str
    permissions: Permission
    params: tuple[tuple[str, str], ...]
    syntax: Syntax
    text: str


@dataclass(frozen=True, slots=True)
class PlainScope:
    """A scope that grants no resources by itself: ``openid``, ``launch/patient``, ``__x``, a URI."""

    kind: ScopeKind
    text: str


@dataclass(frozen=True, slots=True)
class MalformedScope:
    """A string that starts like a resource scope but grants nothing; ``reason`` is one sentence."""

    text: str
    reason: str


Scope = ResourceScope | PlainScope | MalformedScope
