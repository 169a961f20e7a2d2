"""What tells one version of a resource from another: its id, as an entity tag too, and the instant at which it came to be."""

from __future__ import annotations

import re
from typing import TypeGuard

_TAG = re.compile(r'(?:W/)?"([A-Za-z0-9\-.]{1,64})"')
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})")


def version_of_tag(tag: str) -> str | None:
    """The version id in an entity tag, weak or strong; None where it holds no FHIR id. Spec: FHIR R4 http.html 3.1.0.5."""
    match = _TAG.fullmatch(tag)
    return None if match is None else match[1]


def is_instant(value: object) -> TypeGuard[str]:
    """Whether a decoded JSON value is written as an instant: to the second and with a zone. Spec: FHIR R4 datatypes, instant."""
    return isinstance(value, str) and _INSTANT.fullmatch(value) is not None
