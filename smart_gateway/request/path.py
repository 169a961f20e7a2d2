"""The path grammar: which interaction's place a path names, if it names one without doubt.

Spec: FHIR R4 http.html 3.1.0.1 (summary of the REST grammar), compartmentdefinition.html; semantics 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

from smart_gateway.errors import RequestError, UnknownPath, UnknownType
from smart_gateway.fhir.references import Reference, is_id

WELL_KNOWN = ".well-known"
PROTECTED_RESOURCE = "oauth-protected-resource"
# Where the sealed URLs of Bulk Data exports lead to (semantics 8).
EXPORT_STATUS = "$export-poll-status"
EXPORT_FILE = "$export-file"

_PLAIN = re.compile(r"[A-Za-z0-9\-._~$*/]+")
# "%24" is the one encoding let through: many clients write "$everything" so.
_CLEAN = re.compile(r"(?:/(?!\.\.?(?:/|$))(?:[A-Za-z0-9\-._~$*]|%24)+)+/?")
_OPERATION = re.compile(r"\$[A-Za-z0-9.\-]+")
_TYPE_NAME = re.compile(r"[A-Z][A-Za-z]{1,63}")
_LITERALS = frozenset({"metadata", "_history", "_search"})


class Place(Enum):
    """The forms of the path grammar."""

    BASE = auto()
    METADATA = auto()
    SMART_CONFIGURATION = auto()
    PROTECTED_RESOURCE = auto()
    SYSTEM_HISTORY = auto()
    SYSTEM_SEARCH = auto()
    TYPE = auto()
    TYPE_HISTORY = auto()
    TYPE_SEARCH = auto()
    INSTANCE = auto()
    INSTANCE_HISTORY = auto()
    VERSION = auto()
    COMPARTMENT = auto()
    COMPARTMENT_SEARCH = auto()
    OPERATION = auto()
    EXPORT_STATUS = auto()
    EXPORT_FILE = auto()

    __hash__ = object.__hash__  # each member is one object; Enum's own hash is a call into Python


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names; the members are those of ``FhirRequest``."""

    place: Place
    type: str | None = None
    id: str | None = None
    version: str | None = None
    compartment: Reference | None = None
    operation: str | None = None


class PathGrammar:
    """The grammar over one release's types, below one public base path.

    ``base_path`` is the path of the public URL, without a trailing slash: ``/fhir``, or ``""`` at the root of a host.
    """

    def __init__(self, types: Iterable[str], compartments: Iterable[str], base_path: str) -> None:
        self._base = base_path.rstrip("/")
        self._types = frozenset(types)
        self._compartments = frozenset(compartments)
        self._folded = {name.casefold(): name for name in (*self._types, *_LITERALS)}
        # Spec: RFC 9728 section 3.1: the well-known part stands between the host and the path of the resource.
        self._protected_resource = f"/{WELL_KNOWN}/{PROTECTED_RESOURCE}{self._base}"
        self._rules: dict[int, Callable[..., Target | None]] = {1: self._one, 2: self._two, 3: self._three, 4: self._four}

    def parse(self, raw_path: bytes) -> Target:
        """What ``raw_path``, the path as it came, names.

        Raises UnknownPath, UnknownType, and RequestError (400) for what semantics 1 refuses in a path.
        """
        path = _clean(raw_path)
        if path == self._protected_resource:
            return Target(Place.PROTECTED_RESOURCE)
        below = path[len(self._base) :] if path.startswith(self._base) else None
        if below is None or below[:1] not in {"", "/"}:
            raise UnknownPath("The path is not below the FHIR base URL of this gateway.")
        if below in {"", "/"}:
            return Target(Place.BASE)
        segments = below[1:].split("/")
        if segments[-1] == "":
            raise _fault("The path ends with a slash.", "empty-segment")
        rule = self._rules.get(len(segments))
        target = rule(*segments) if rule is not None else None
        if target is None:
            raise UnknownPath("The path is not one of FHIR's REST interface.")
        return target

    def _one(self, name: str) -> Target:
        if name in self._types:
            return Target(Place.TYPE, name)
        if name.startswith("$"):
            return Target(_EXPORTS.get(name, Place.OPERATION), operation=_operation(name))
        place = _SYSTEM.get(name)
        return Target(place) if place is not None else Target(Place.TYPE, self._type(name))

    def _two(self, first: str, second: str) -> Target | None:
        if first == WELL_KNOWN:
            place = _DISCOVERY.get(second)
            return Target(place) if place is not None else None
        type = self._type(first)
        if second.startswith("$"):
            return Target(Place.OPERATION, type, operation=_operation(second))
        place = _TYPE_LEVEL.get(second)
        return Target(place, type) if place is not None else Target(Place.INSTANCE, type, _id(second))

    def _three(self, first: str, second: str, third: str) -> Target | None:
        type, id = self._type(first), _id(second)
        if third == "_history":
            return Target(Place.INSTANCE_HISTORY, type, id)
        if third.startswith("$"):
            return Target(Place.OPERATION, type, id, operation=_operation(third))
        if type not in self._compartments:
            return None
        if third == "_search":
            return Target(Place.COMPARTMENT_SEARCH, compartment=Reference(type, id))
        return Target(Place.COMPARTMENT, self._searched(third), compartment=Reference(type, id))

    def _four(self, first: str, second: str, third: str, fourth: str) -> Target | None:
        type, id = self._type(first), _id(second)
        if third == "_history":
            return Target(Place.VERSION, type, id, _id(fourth))
        if fourth == "_search" and type in self._compartments:
            return Target(Place.COMPARTMENT_SEARCH, self._searched(third), compartment=Reference(type, id))
        return None

    def _searched(self, name: str) -> str | None:
        """The type that a compartment search names; ``*`` is all of them."""
        return None if name == "*" else self._type(name)

    def _type(self, name: str) -> str:
        if name in self._types:
            return name
        near = self._folded.get(name.casefold())
        if near is not None and near != name:
            raise _fault(f"FHIR paths are case-sensitive: {near} is meant, it seems.", "wrong-case")
        if _TYPE_NAME.fullmatch(name) is not None:
            raise UnknownType(f"{name} is no resource type of this FHIR release.")
        raise UnknownPath("The path is not one of FHIR's REST interface.")


_SYSTEM = {"metadata": Place.METADATA, "_history": Place.SYSTEM_HISTORY, "_search": Place.SYSTEM_SEARCH}
_TYPE_LEVEL = {"_history": Place.TYPE_HISTORY, "_search": Place.TYPE_SEARCH}
_EXPORTS = {EXPORT_STATUS: Place.EXPORT_STATUS, EXPORT_FILE: Place.EXPORT_FILE}
_DISCOVERY = {"smart-configuration": Place.SMART_CONFIGURATION, PROTECTED_RESOURCE: Place.PROTECTED_RESOURCE}


def _clean(raw_path: bytes) -> str:
    """The path as text, when it holds nothing that two readers could take differently."""
    path = raw_path.decode("latin-1")
    if _PLAIN.fullmatch(path) is not None and path[0] == "/" and "//" not in path and "/." not in path:
        return path
    if _CLEAN.fullmatch(path) is None and path != "/":
        raise _path_fault(path)
    return path.replace("%24", "$")


def _id(text: str) -> str:
    # Dots alone are an id by FHIR's pattern and a way up by everybody else's.
    if not is_id(text) or (text[0] == "." and not text.strip(".")):
        raise _fault("An id in the path is not 1 to 64 letters, digits, hyphens and dots, or it is dots alone.", "invalid-id")
    return text


def _operation(text: str) -> str:
    if _OPERATION.fullmatch(text) is None:
        raise _fault("An operation name is $ and then letters, digits, hyphens and dots.", "invalid-operation")
    return text


# Looked for in this order; the last one always hits.
_FAULTS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"^(?!/)"), "absolute-target", "The request target must be a path that begins with /, not a URL."),
    (re.compile(r"%(?![0-9A-Fa-f]{2})"), "malformed-encoding", "A percent sign is not followed by two hexadecimal digits."),
    (re.compile(r"%(?:2[FfEe]|5[Cc])"), "encoded-separator", "Slashes, dots and backslashes must not be percent-encoded in the path."),
    (re.compile(r"%(?!24)"), "encoded-path", "Nothing but $ may be percent-encoded in the path."),
    (re.compile(r"[\x00-\x1f\x7f]"), "control-character", "The path holds control characters."),
    (re.compile(r"#"), "fragment", "The request target has a fragment."),
    (re.compile(r"\\"), "backslash", "The path holds a backslash."),
    (re.compile(r";"), "path-parameter", "The path holds a semicolon."),
    (re.compile(r"//"), "empty-segment", "The path has an empty segment."),
    (re.compile(r"/\.\.?(?:/|$)"), "dot-segment", "The path has a dot segment."),
    (re.compile(r""), "path-character", "The path holds characters that no FHIR path has."),
)


def _path_fault(path: str) -> RequestError:
    return next(_fault(text, reason) for pattern, reason, text in _FAULTS if pattern.search(path) is not None)


def _fault(text: str, reason: str) -> RequestError:
    return RequestError(text, reason=reason)
