"""The syntax of search values: separators and FHIR's escapes.

Spec: FHIR R4 search, "Escaping Search Parameters": ``\\,`` ``\\|`` ``\\$`` ``\\\\`` stand for the character itself.
"""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
_SPECIAL = re.compile(r"[\\,|$]")


class ValueSyntaxError(ValueError):
    """A search value whose meaning is not certain; the argument says why in one clause."""


def split_at(text: str, separator: str) -> tuple[str, ...]:
    """The parts of ``text`` between unescaped ``separator`` characters; the parts keep their escapes."""
    if "\\" not in text:
        return tuple(text.split(separator))
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    parts.append(text[start:])
    return tuple(parts)


def split_values(text: str) -> tuple[str, ...]:
    """The alternatives of a search value: its parts between unescaped commas, escapes kept."""
    return split_at(text, ",")


def unescape(text: str) -> str:
    """``text`` without FHIR's escapes. Raises ValueSyntaxError for a backslash before any other character."""
    return _ESCAPED.sub(_unescaped, text) if "\\" in text else text


def escape(text: str) -> str:
    """``text`` so that it stands for itself in a search value."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def _unescaped(match: re.Match[str]) -> str:
    if not match[1] or match[1] not in ",|$\\":
        raise ValueSyntaxError("a backslash stands before something other than , | $ or \\")
    return match[1]
