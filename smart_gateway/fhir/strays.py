"""Strays: references of a resource to be written that name another compartment owner, or cannot be shown not to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.fhir.references import Bases, is_id, parse_reference

STRUCTURES = "http://hl7.org/fhir/StructureDefinition/"
_CONDITIONAL = re.compile(r"([A-Za-z]+)\?[^\s]+")
_ELSEWHERE = re.compile(r"https?://[^\s?#%|;\\]+")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose references are the caller's own: ``type`` with one of ``ids``, named by way of ``bases``; ``types`` are the release's."""

    type: str
    ids: Collection[str]
    bases: Bases
    types: frozenset[str]


def is_stray(value: Any, owner: Owner, resource: Mapping[str, Any]) -> bool:
    """Whether a membership element's ``value`` names another owner, or what it names cannot be told.

    What has the wrong JSON shape is a stray, since a lenient server may still read it. Display alone names nobody.
    Spec: semantics 6.
    """
    if not isinstance(value, Mapping):
        return True
    text, said = value.get("reference"), value.get("type")
    if said is not None:
        said = said.removeprefix(STRUCTURES) if isinstance(said, str) else ""
        if said not in owner.types:
            return True
    if text is None:
        return value.get("identifier") is not None and said in {None, owner.type}
    if not isinstance(text, str):
        return True
    own = parse_reference(text, owner.bases)
    if own is not None and own.type == owner.type:
        return own.id not in owner.ids or said not in {None, owner.type}
    named = own.type if own is not None else _type_named(text, owner, resource)
    return named not in owner.types or owner.type in {named, said}


def values_at(value: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """The values at the end of the member ``names`` below ``value``, arrays item by item; and everything on the way that is not the
    object, or array of objects, that it should be."""
    if not names or not isinstance(value, Mapping):
        yield value
        return
    below = value.get(names[0])
    for item in below if isinstance(below, list) else [below]:
        if item is not None:
            yield from values_at(item, names[1:])


def _type_named(text: str, owner: Owner, resource: Mapping[str, Any]) -> str | None:
    """The type that a reference names which is no literal one of this server; None where it does not say without doubt."""
    if text.startswith("#"):
        return _contained_type(text[1:], resource.get("contained"))
    if match := _CONDITIONAL.fullmatch(text):
        return match[1]
    return _foreign_type(text, owner.type) if _ELSEWHERE.fullmatch(text) else None


def _contained_type(id: str, contained: Any) -> str | None:
    """The one type of the contained resources with ``id``, which some servers also take with its ``#``."""
    resources = contained if isinstance(contained, list) else [contained]
    found = [item.get("resourceType") for item in resources if isinstance(item, Mapping) and item.get("id") in (id, f"#{id}")]
    return found[0] if found and isinstance(found[0], str) and found.count(found[0]) == len(found) else None


def _foreign_type(text: str, owner: str) -> str | None:
    """``Type`` of another server's ``.../Type/id`` or ``.../Type/id/_history/version``, unless the owner's type is anywhere in it."""
    segments = text.partition("://")[2].split("/")
    if segments[-2:-1] == ["_history"]:
        segments = segments[:-2]
    plain = all(segment not in {"", ".", ".."} and segment.casefold() != owner.casefold() for segment in segments)
    return segments[-2] if plain and len(segments) > 2 and is_id(segments[-1]) else None
