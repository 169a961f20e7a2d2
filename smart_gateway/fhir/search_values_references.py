"""Reference values: ``Type/id``, a bare id, an absolute URL, a canonical. Spec: FHIR R4 search, "reference"."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

from smart_gateway.fhir.references import is_id
from smart_gateway.fhir.search_values_syntax import ValueSyntaxError, unescape

_TYPED = re.compile(r"([A-Z][A-Za-z]{1,63})/([^/]+)")
_ABSOLUTE = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]*://|urn:).+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """Either ``type`` and ``id``, or ``url``: an absolute URL as written."""

    type: str = ""
    id: str = ""
    url: str | None = None


def parse_reference_value(text: str, targets: Set[str], type: str | None, meant: str | None) -> ReferenceValue:
    """``type`` is the modifier ``:Type``; ``targets`` the types that the parameter can refer to (empty: any); ``meant`` the one
    that a bare id means, if it means one. Raises ValueSyntaxError."""
    value = unescape(text)
    if _ABSOLUTE.fullmatch(value):
        if type is not None:
            raise ValueSyntaxError(f"the modifier :{type} goes with an id, not with a URL")
        return ReferenceValue(url=value)
    match = _TYPED.fullmatch(value)
    named, id = (match[1], match[2]) if match else (type or meant, value)
    if not is_id(id) or id in {".", ".."}:
        raise ValueSyntaxError("a reference is written Type/id or as an absolute URL, without a version")
    if named is None:
        raise ValueSyntaxError("a bare id may mean several types; write Type/id")
    if type is not None and named != type:
        raise ValueSyntaxError(f"the modifier :{type} contradicts {named}/")
    if targets and named not in targets:
        raise ValueSyntaxError(f"it never refers to {named}")
    return ReferenceValue(named, id)
