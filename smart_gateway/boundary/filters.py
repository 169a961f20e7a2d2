"""Filters as predicates: one search-parameter constraint, compiled once, asked of many resources.

``:not`` and ``:not-in`` follow FHIR: they hold where the element is absent, so a scope with one admits resources that lack the element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smart_gateway.boundary.certainty import Test, any_of
from smart_gateway.boundary.dates import date_test
from smart_gateway.boundary.numbers import number_test, quantity_test
from smart_gateway.boundary.references import reference_test
from smart_gateway.boundary.shapes import has_value, is_well_shaped
from smart_gateway.boundary.strings import string_test
from smart_gateway.boundary.tokens import identifier_test, member_test, text_test, token_test, typed_identifier_test
from smart_gateway.boundary.uris import uri_test
from smart_gateway.fhir.elements import elements
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.search_values import (
    component_parameter,
    is_type,
    names_value_sets,
    read_reference,
    split_at,
    split_values,
    undecidable,
    unescape,
)
from smart_gateway.fhir.search_values_dates import parse_date
from smart_gateway.fhir.search_values_numbers import parse_number, parse_quantity
from smart_gateway.fhir.search_values_tokens import parse_token, parse_typed_identifier
from smart_gateway.fhir.value_sets import NO_VALUE_SETS, ValueSets
from smart_gateway.fhir.vocabulary import ParameterKind, SearchParameter

__all__ = ["Predicate", "compile_filter", "satisfies", "split_values", "undecidable"]

Predicate = Callable[[Mapping[str, Any]], bool]


def satisfies(resource: Mapping[str, Any], parameter: SearchParameter, modifier: str | None, values: tuple[str, ...], bases: Bases) -> bool:
    """Whether ``resource`` certainly satisfies ``parameter:modifier=values``; never where that cannot be decided."""
    return compile_filter(parameter, modifier, values, bases)(resource)


def compile_filter(
    parameter: SearchParameter, modifier: str | None, values: tuple[str, ...], bases: Bases, value_sets: ValueSets = NO_VALUE_SETS
) -> Predicate:
    """The predicate of one filter; ``values`` are FHIR-escaped alternatives."""
    if undecidable(parameter, modifier, values, value_sets) is not None:
        return _never
    if modifier == "missing":
        return _presence(parameter, frozenset(values))
    if parameter.kind is ParameterKind.COMPOSITE:
        return _composite(parameter, values, bases)
    if names_value_sets(parameter, modifier):
        test = member_test(value_sets.together(map(unescape, values)) or ())
    else:
        test = _test(parameter, modifier, values, bases)
    paths = parameter.paths
    if modifier in {"not", "not-in"}:
        return lambda resource: is_well_shaped(resource, paths) and any_of(map(test, elements(resource, paths))) is False
    return lambda resource: any(test(element) for element in elements(resource, paths))


def _never(_resource: Mapping[str, Any]) -> bool:
    return False


def _presence(parameter: SearchParameter, values: frozenset[str]) -> Predicate:
    """``:missing``: present means a value that can be searched; what is there but cannot is neither present nor missing."""

    def holds(resource: Mapping[str, Any]) -> bool:
        found = list(elements(resource, parameter.paths))
        if not found:
            return "true" in values and is_well_shaped(resource, parameter.paths)
        return "false" in values and any(has_value(element) for element in found)

    return holds


def _test(parameter: SearchParameter, modifier: str | None, values: tuple[str, ...], bases: Bases) -> Test:
    match parameter.kind:
        case ParameterKind.TOKEN:
            return _token(modifier, values)
        case ParameterKind.REFERENCE:
            return _reference(parameter, modifier, values, bases)
        case ParameterKind.STRING:
            return string_test(modifier, [unescape(value) for value in values])
        case ParameterKind.URI:
            return uri_test(modifier, [unescape(value) for value in values])
        case ParameterKind.DATE:
            return date_test([parse_date(value) for value in values])
        case ParameterKind.NUMBER:
            return number_test([parse_number(value) for value in values])
        case ParameterKind.QUANTITY:
            return quantity_test([parse_quantity(value) for value in values])
        case ParameterKind.COMPOSITE | ParameterKind.SPECIAL:
            raise ValueError("no test of single elements")  # INVARIANT: compile_filter has turned aside


def _token(modifier: str | None, values: tuple[str, ...]) -> Test:
    if modifier == "of-type":
        return typed_identifier_test([parse_typed_identifier(value) for value in values])
    if modifier == "text":
        return text_test([unescape(value) for value in values])
    return token_test([parse_token(value) for value in values])


def _reference(parameter: SearchParameter, modifier: str | None, values: tuple[str, ...], bases: Bases) -> Test:
    if modifier == "identifier":
        return identifier_test([parse_token(value) for value in values])
    type = modifier if is_type(modifier) else None
    return reference_test([read_reference(parameter, type, value) for value in values], bases)


def _composite(parameter: SearchParameter, values: tuple[str, ...], bases: Bases) -> Predicate:
    """All parts must hold within one and the same element (a part of HL7's ``%resource``: anywhere in the resource)."""
    alternatives = [_parts(parameter, value, bases) for value in values]

    def holds(resource: Mapping[str, Any]) -> bool:
        groups = [element.value for element in elements(resource, parameter.paths) if isinstance(element.value, Mapping)]
        return any(all(part(resource if whole else group) for whole, part in parts) for group in groups for parts in alternatives)

    return holds


def _parts(parameter: SearchParameter, value: str, bases: Bases) -> list[tuple[bool, Predicate]]:
    return [
        (component.of_resource, compile_filter(component_parameter(parameter, component), None, (part,), bases))
        for component, part in zip(parameter.components, split_at(value, "$"), strict=True)
    ]
