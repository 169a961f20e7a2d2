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
    searches = _patched_searches if type == "Parameters" else _searches
    places = [name for name, value in resource.items() if any(not _may_search(text, access) for text in searches(value, access))]
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


def _searches(value: Any, _access: Access) -> Iterator[str]:
    """The references below ``value`` that are searches."""
    return (text for name, text in _texts(value) if name == "reference" and "?" in text)


def _patched_searches(value: Any, access: Access) -> Iterator[str]:
    """The same of Parameters, which may be a FHIRPath Patch: it could put any value in the place of a reference's text. Of these not
    ``Is it so?``, nor every URL with a query. Spec: FHIR R4 fhirpatch.html."""
    types = tuple(access.policy.vocabulary.types)
    for name, text in _texts(value):
        head, mark, _ = text.partition("?")
        head = head.replace("/", "").strip()  # as forgivingly as servers read it
        if mark and (name == "reference" or (name.startswith("value") and " " not in head and head.endswith(types))):
            yield text


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every text below ``value``, and the name of its member."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str):
                yield name, inner
            else:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


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
