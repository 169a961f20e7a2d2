"""From a scope string to what it says. Linear in the string's length; never raises on any text.

Choices where SMART's grammar is silent, each the safer reading:

- Characters are those of RFC 6749 scope tokens (printable ASCII without the double quote) and the backslash, because FHIR
  escapes by it. Anything else is written percent-encoded, in parameter names and values only.
- Percent-encoding is decoded once, strictly, as UTF-8; what decodes to a control character is malformed. ``+`` is a plus.
- ``?`` needs at least one ``param=value``; an empty item, name or value is malformed, for servers ignore such an item and
  ignoring a filter would widen the scope. A second bare ``?`` is malformed.
- v1 scopes have no parameters: ``.read?category=x`` is malformed, neither filtered nor unfiltered.
"""

from __future__ import annotations

import re
import unicodedata

from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, MalformedScope, PlainScope, ResourceScope, Scope, ScopeKind, Syntax

URI_PREFIX = "http://smarthealthit.org/fhir/scopes/"
OPENID_PREFIX = "http://openid.net/specs/openid-connect-core-1_0#"

_V1 = {"read": "rs", "*": "cruds"}
_PLAIN = {
    "launch": ScopeKind.CONTEXT,
    "openid": ScopeKind.IDENTITY,
    "fhirUser": ScopeKind.IDENTITY,
    "profile": ScopeKind.IDENTITY,
    "offline_access": ScopeKind.REFRESH,
    "online_access": ScopeKind.REFRESH,
}
# What a reader would take for a FHIR scope: also in the wrong case, behind stray characters or with a look-alike slash.
_LIKE_RESOURCE = re.compile(r"\W*(?:patient|user|system)/", re.IGNORECASE)
_LIKE_LENGTH = 64
_FOREIGN = re.compile(r"[^\x21\x23-\x7e]")
_TYPE = re.compile(r"[A-Za-z]+|\*")
_PARAMETER = re.compile(r"[A-Za-z0-9_\-.]+(?::[A-Za-z0-9_\-.:]+)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _MalformedError(ValueError):
    """Carries the reason, one sentence; never leaves this module."""


def parse_scope(text: str, *, v1_write: str = "cud") -> Scope:
    """What ``text`` says; ``v1_write`` holds the letters of a v1 ``.write`` (``cud`` or ``cu``).

    Spec: SMART App Launch 2.2, "FHIR Resource Scope Syntax" and "URI representation of scopes"; semantics 3.
    """
    body = text.removeprefix(URI_PREFIX)
    if not body:
        return MalformedScope(text, "The scope is empty.")
    if not _LIKE_RESOURCE.match(unicodedata.normalize("NFKC", body[:_LIKE_LENGTH])):
        return PlainScope(_plain_kind(body), text)
    try:
        return _resource_scope(body, text, v1_write)
    except _MalformedError as reason:
        return MalformedScope(text, str(reason))


def _plain_kind(body: str) -> ScopeKind:
    if body.startswith("launch/") and len(body) > len("launch/"):
        return ScopeKind.CONTEXT
    return _PLAIN.get(body.removeprefix(OPENID_PREFIX), ScopeKind.EXTENSION)


def _resource_scope(body: str, text: str, v1_write: str) -> ResourceScope:
    foreign = _FOREIGN.search(body)
    if foreign is not None:
        raise _MalformedError(f"The character U+{ord(foreign[0]):04X} does not belong into a scope; write it percent-encoded in a value.")
    context, _, rest = body.partition("/")
    target, mark, query = rest.partition("?")
    type, _, suffix = target.partition(".")
    if context not in set(Context):
        raise _MalformedError("The context is one of patient, user and system, in lower case.")
    if not _TYPE.fullmatch(type):
        raise _MalformedError("Between the slash and the dot stands a resource type or *.")
    permissions, syntax = _permissions(suffix, v1_write)
    if mark and syntax is Syntax.V1:
        raise _MalformedError("A v1 scope (.read, .write, .*) takes no search parameters.")
    return ResourceScope(Context(context), type, permissions, _params(query) if mark else (), syntax, text)


def _permissions(suffix: str, v1_write: str) -> tuple[Permission, Syntax]:
    letters = v1_write if suffix == "write" else _V1.get(suffix)
    syntax = Syntax.V2 if letters is None else Syntax.V1
    permissions = Permission.of(suffix if letters is None else letters)
    if permissions is None:
        raise _MalformedError("After the dot stand letters of cruds, at least one, in this order and none twice, or read, write or *.")
    return permissions, syntax


def _params(query: str) -> tuple[tuple[str, str], ...]:
    if "?" in query:
        raise _MalformedError("A second ? is ambiguous; write it as %3F.")
    return tuple(_param(item) for item in query.split("&"))


def _param(item: str) -> tuple[str, str]:
    raw_name, equals, raw_value = item.partition("=")
    if not equals or not raw_name or not raw_value:
        raise _MalformedError("After the ? stand items param=value joined by &, without an empty item, name or value.")
    name, value = _decode(raw_name), _decode(raw_value)
    if not _PARAMETER.fullmatch(name):
        raise _MalformedError("A search parameter's name holds only letters, digits and _ - . with its modifier after a colon.")
    return name, value


def _decode(text: str) -> str:
    """Percent-decoded once. Spec: RFC 3986 section 2.1."""
    if "%" not in text:
        return text
    parts = text.split("%")
    data = bytearray(parts[0].encode())
    for part in parts[1:]:
        if not re.match(r"[0-9A-Fa-f]{2}", part):
            raise _MalformedError("A % is not followed by two hexadecimal digits.")
        data.append(int(part[:2], 16))
        data += part[2:].encode()
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        raise _MalformedError("The percent-encoded bytes are not UTF-8.") from None
    if _CONTROL.search(decoded):
        raise _MalformedError("A control character is percent-encoded in a parameter.")
    return decoded
