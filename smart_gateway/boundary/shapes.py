"""Whether a resource has the JSON shape that FHIR gives it along some paths: where it has not, absence proves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_gateway.fhir.elements import Element
from smart_gateway.fhir.vocabulary import ElementPath, Step

_TEXTS = frozenset("code string id uri url canonical oid uuid markdown date dateTime instant base64Binary time".split())
_NUMBERS = frozenset({"decimal", "integer", "unsignedInt", "positiveInt", "integer64"})
# What makes an element of these types searchable; the others need any member at all.
_MEMBERS = {
    "Coding": ("code", "system"),
    "Identifier": ("value", "system"),
    "ContactPoint": ("value",),
    "Reference": ("reference",),
    "Quantity": ("value",),
    "Money": ("value",),
    "Period": ("start", "end"),
}


def is_well_shaped(resource: Mapping[str, Any], paths: tuple[ElementPath, ...]) -> bool:
    """Whether every step of ``paths`` meets objects, or arrays of them, and no value at the end is null."""
    return all(_fits(resource, path.steps) for path in paths)


def has_value(element: Element) -> bool:
    """Whether an element holds something of its own type that a search can find."""
    value = element.value
    if element.type == "boolean":
        return isinstance(value, bool)
    if element.type in _TEXTS:
        return isinstance(value, str) and bool(value)
    if element.type in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, Mapping):
        return False
    members = _MEMBERS.get(element.type)
    if members is None:
        return not value.keys() <= {"id", "extension"}
    return any(isinstance(value.get(m), str | int | float) for m in members)


def _fits(value: Any, steps: tuple[Step, ...]) -> bool:
    if not steps:
        return value is not None and not isinstance(value, list)
    if not isinstance(value, Mapping):
        return False
    if steps[0].name not in value:
        return True
    below = value[steps[0].name]
    items = below if isinstance(below, list) else [below]
    return all(_is_told_apart(item, steps[0]) and _fits(item, steps[1:]) for item in items)


def _is_told_apart(item: Any, step: Step) -> bool:
    """Whether it can be said that ``item`` is, or is not, one of those that the step is for."""
    if step.where is None:
        return True
    return isinstance(item, Mapping) and isinstance(item.get(step.where[0], ""), str)
