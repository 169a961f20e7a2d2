"""Elements: the values that compiled paths find in a resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.fhir.vocabulary import ElementPath, SearchParameter, Step


@dataclass(frozen=True, slots=True)
class Element:
    """A value as it is in JSON, with the FHIR type that its place has and the target types that count there (empty: all).

    The value is whatever the JSON has there but null and an array: whoever reads it checks that it is of ``type``.
    """

    type: str
    value: Any
    targets: frozenset[str]


def elements(resource: Mapping[str, Any], paths: tuple[ElementPath, ...]) -> Iterator[Element]:
    """The elements of ``resource`` (or of an element of it) along ``paths``: arrays item by item, nulls left out.

    Where a step meets anything but an object, or an array of them, nothing is found; no JSON makes this raise.
    """
    found: list[Element] = []
    for path in paths:
        values: list[Any] = [resource]
        for step in path.steps:
            values = _below(values, step)
        for value in values:
            found.append(Element(path.type, value, path.targets))
    return iter(found)


def top_members(parameter: SearchParameter) -> frozenset[str]:
    """The top-level JSON members that evaluating ``parameter`` looks at."""
    paths = list(parameter.paths)
    for component in parameter.components:
        if component.of_resource or any(not path.steps for path in parameter.paths):
            paths.extend(component.paths)
    return frozenset(path.steps[0].name for path in paths if path.steps)


def _below(values: list[Any], step: Step) -> list[Any]:
    """What is one step below ``values``."""
    found: list[Any] = []
    for value in values:
        if type(value) is not dict and not isinstance(value, Mapping):
            continue
        below = value.get(step.name)
        if isinstance(below, list):
            found += [item for item in below if item is not None and not isinstance(item, list)]
        elif below is not None:
            found.append(below)
    if step.where is None:
        return found
    member, text = step.where
    return [item for item in found if isinstance(item, Mapping) and item.get(member) == text]
