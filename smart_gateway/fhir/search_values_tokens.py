"""Token values: ``code``, ``system|code``, ``|code``, ``system|``. Spec: FHIR R4 search, "token"."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.fhir.search_values_syntax import ValueSyntaxError, split_at, unescape


@dataclass(frozen=True, slots=True)
class TokenValue:
    """``system`` None: any system; empty: no system at all. ``code`` None: any code of the system."""

    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class TypedIdentifier:
    """The value of ``:of-type``: an Identifier with this type coding and this value."""

    system: str
    code: str
    value: str


def parse_token(text: str) -> TokenValue:
    """Raises ValueSyntaxError."""
    parts = [unescape(part) for part in split_at(text, "|")]
    if len(parts) > 2:
        raise ValueSyntaxError("a token has one | at most")
    system = parts[0] if len(parts) == 2 else None
    code = parts[-1] or None
    if not system and code is None:
        raise ValueSyntaxError("a token needs a system or a code")
    return TokenValue(system, code)


def parse_typed_identifier(text: str) -> TypedIdentifier:
    """``system|code|value``, all three present. Raises ValueSyntaxError."""
    parts = [unescape(part) for part in split_at(text, "|")]
    if len(parts) != 3 or not all(parts):
        raise ValueSyntaxError("the modifier :of-type needs system|code|value")
    return TypedIdentifier(*parts)
