"""What a body brings along besides itself: searches in the place of references, and whole resources of other types.

Spec: semantics 6 and 7; FHIR R4 http.html 3.1.0.11.3 (conditional references).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smart_gateway.fhir.bundles import standing
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.plan import BodyCheck
from smart_gateway.scopes.permissions import Permission


def denials_of_searches(resource: Mapping[str, Any], type: str, access: Access) -> tuple[Denial, ...]:
    """A reference such as ``Patient?identifier=x`` has the server search, and tells by its answer: it takes the permission to search all
    of the type. Servers resolve it in transactions, and some in any write."""
    if access.unlimited(Permission.SEARCH):
        return ()
    places = [name for name, value in resource.items() if any(not _may_search(text, access) for text in _searches(value))]
    text = "refers to a resource by a search, which this token may not make over all of its type"
    return tuple([Denial("conditional-reference", f"The element {_shown(name)} {text}.", f"{type}.{name}") for name in places])


def denials_of_carried(resource: Mapping[str, Any], check: BodyCheck, access: Access) -> tuple[Denial, ...]:
    """What a Bundle or Parameters brings along must be writable as if it came by itself. One cause for each type."""
    permission = Permission.CREATE if check.id is None else Permission.UPDATE
    if access.unlimited(permission):
        return ()
    types = dict.fromkeys(_type_of(inner) for inner in standing(resource) if not _is_writable(inner, permission, access))
    return tuple(
        [Denial("outside-boundary", f"The {check.type} carries a {type} that this token may not write.", check.type) for type in types]
    )


def _searches(value: Any) -> Iterator[str]:
    """The references below ``value`` that are searches."""
    if isinstance(value, dict):
        text = value.get("reference")
        if isinstance(text, str) and "?" in text:
            yield text
        for inner in value.values():
            yield from _searches(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _searches(inner)


def _may_search(text: str, access: Access) -> bool:
    type = text.partition("?")[0].rpartition("/")[2]
    return type in access.policy.vocabulary.types and access.boundary(type, Permission.SEARCH).is_everything


def _is_writable(inner: Mapping[str, Any], permission: Permission, access: Access) -> bool:
    type = inner["resourceType"]
    if not isinstance(type, str) or type not in access.policy.vocabulary.types:
        return False
    return not access.matcher.objections_to_write(access.boundary(type, permission), inner, type) and not denials_of_searches(
        inner, type, access
    )


def _type_of(inner: Mapping[str, Any]) -> str:
    type = inner["resourceType"]
    return _shown(type) if isinstance(type, str) else "resource"


def _shown(name: str) -> str:
    """A name in words: nothing else that a body says comes back."""
    return name if name.isascii() and name.isalnum() and len(name) <= 64 else "(unnamed)"
