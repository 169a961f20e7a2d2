"""Search values: what can be decided in memory, and what cannot.

A filter that cannot be decided grants nothing; ``undecidable`` says why, in the words that the log and ``scopes`` show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from smart_gateway.fhir.search_values_dates import parse_date
from smart_gateway.fhir.search_values_numbers import parse_number, parse_quantity
from smart_gateway.fhir.search_values_references import ReferenceValue, parse_reference_value
from smart_gateway.fhir.search_values_syntax import ValueSyntaxError, escape, split_at, split_values, unescape
from smart_gateway.fhir.search_values_tokens import parse_token, parse_typed_identifier
from smart_gateway.fhir.value_sets import NO_VALUE_SETS, ValueSets
from smart_gateway.fhir.vocabulary import Component, ParameterKind, SearchParameter

__all__ = [
    "ValueSyntaxError",
    "component_parameter",
    "escape",
    "is_type",
    "names_value_sets",
    "read_reference",
    "split_at",
    "split_values",
    "undecidable",
    "unescape",
]

_MODIFIERS: Mapping[ParameterKind, frozenset[str]] = {
    ParameterKind.TOKEN: frozenset({"not", "text", "of-type", "in", "not-in"}),
    ParameterKind.REFERENCE: frozenset({"identifier"}),  # and a type
    ParameterKind.STRING: frozenset({"exact", "contains"}),
    ParameterKind.URI: frozenset({"above", "below"}),
}
_CODED = frozenset({"Coding", "CodeableConcept", "CodeableReference", "Identifier"})
_CONCEPTS = frozenset({"Coding", "CodeableConcept", "CodeableReference"})
_NEEDS_TYPE = {
    "text": _CODED,
    "of-type": frozenset({"Identifier"}),
    "identifier": frozenset({"Reference", "CodeableReference"}),
    "in": _CONCEPTS,
    "not-in": _CONCEPTS,
}
_Reader = Callable[[SearchParameter, str | None, str], None]
_TYPE = re.compile(r"[A-Z][A-Za-z]+")


def is_type(modifier: str | None) -> bool:
    """Whether a modifier is a resource type, as in ``subject:Patient``."""
    return modifier is not None and _TYPE.fullmatch(modifier) is not None


def undecidable(
    parameter: SearchParameter, modifier: str | None, values: tuple[str, ...], value_sets: ValueSets = NO_VALUE_SETS
) -> str | None:
    """Why ``parameter:modifier=values`` cannot be decided in memory, as one sentence; None where it can.

    ``values`` are FHIR-escaped and split at unescaped commas. ``value_sets`` are those whose codes are known.
    """
    reason = _unsupported(parameter, modifier)
    if reason is None and names_value_sets(parameter, modifier):
        unknown = [value for value in values if value_sets.together([unescape(value)]) is None]
        reason = f"The value set {unknown[0]}, which {_key(parameter, modifier)} names, is not known here." if unknown else None
    if reason is not None:
        return reason
    try:
        for value in values:
            _read(parameter, modifier, value)
    except ValueSyntaxError as unreadable:
        return f"The value of {_key(parameter, modifier)} cannot be decided: {unreadable}."
    return None if values else f"{_key(parameter, modifier)} has no value."


def names_value_sets(parameter: SearchParameter, modifier: str | None) -> bool:
    """Whether the values are canonicals of value sets."""
    return parameter.kind is ParameterKind.TOKEN and modifier in {"in", "not-in"}


def read_reference(parameter: SearchParameter, type: str | None, value: str) -> ReferenceValue:
    """A value of a reference parameter; ``type`` is the modifier ``:Type``. Raises ValueSyntaxError.

    A bare id counts only where it means one type: the only one that the elements can refer to, or the one that the parameter is
    named after (``patient``). Elsewhere the specification calls it ambiguous, and several resources may have that id.
    """
    restricted = all(path.targets for path in parameter.paths)
    targets = frozenset[str]().union(*(path.targets for path in parameter.paths)) if restricted else parameter.targets
    namesakes = {target for target in targets if target.lower() == parameter.code}
    meant = next(iter(namesakes or targets)) if namesakes or len(targets) == 1 else None
    return parse_reference_value(value, targets, type, meant)


def component_parameter(composite: SearchParameter, component: Component) -> SearchParameter:
    """One part of a composite as a parameter of its own, relative to the composite's elements."""
    targets = frozenset[str]().union(*(path.targets for path in component.paths))
    return SearchParameter(composite.code, component.kind, targets, component.paths)


def _key(parameter: SearchParameter, modifier: str | None) -> str:
    return parameter.code if modifier is None else f"{parameter.code}:{modifier}"


def _unsupported(parameter: SearchParameter, modifier: str | None) -> str | None:
    parts = [component_parameter(parameter, component) for component in parameter.components]
    composite = parameter.kind is ParameterKind.COMPOSITE
    if parameter.kind is ParameterKind.SPECIAL or not all(p.evaluable for p in (parameter, *parts)) or composite != bool(parts):
        return f"The search parameter {parameter.code} cannot be evaluated in memory."
    if modifier is None or modifier == "missing":
        return None
    if parameter.kind is ParameterKind.REFERENCE and is_type(modifier):
        known = not parameter.targets or modifier in parameter.targets
        return None if known else f"{parameter.code} never refers to {modifier}, as its modifier :{modifier} says."
    if modifier not in _MODIFIERS.get(parameter.kind, frozenset()):
        return f"The modifier :{modifier} of {parameter.code} cannot be decided in memory."
    needed = _NEEDS_TYPE.get(modifier)
    if needed is not None and needed.isdisjoint(path.type for path in parameter.paths):
        return f"The modifier :{modifier} does not fit the elements of {parameter.code}."
    return None


def _read(parameter: SearchParameter, modifier: str | None, value: str) -> None:
    """Reads the value as its matcher will. Raises ValueSyntaxError."""
    if not value:
        raise ValueSyntaxError("an alternative is empty")
    if modifier == "missing":
        if value not in {"true", "false"}:
            raise ValueSyntaxError("the modifier :missing takes true or false")
        return
    _READERS[parameter.kind](parameter, modifier, value)


def _read_token(parameter: SearchParameter, modifier: str | None, value: str) -> None:
    if modifier == "of-type":
        parse_typed_identifier(value)
    elif names_value_sets(parameter, modifier):
        unescape(value)
    elif modifier == "text":
        _read_string(parameter, modifier, value)
    elif parse_token(value).system is not None and _CODED.isdisjoint(path.type for path in parameter.paths):
        raise ValueSyntaxError("its elements carry no system of their own; write the code alone")


def _read_reference(parameter: SearchParameter, modifier: str | None, value: str) -> None:
    if modifier == "identifier":
        parse_token(value)
    else:
        read_reference(parameter, modifier, value)


def _read_string(parameter: SearchParameter, modifier: str | None, value: str) -> None:
    del parameter
    if modifier != "exact" and not any(char.isalnum() for char in unescape(value)):
        raise ValueSyntaxError("it holds no letter or digit")


def _read_composite(parameter: SearchParameter, modifier: str | None, value: str) -> None:
    del modifier
    parts = split_at(value, "$")
    if len(parts) != len(parameter.components):
        raise ValueSyntaxError(f"it needs {len(parameter.components)} parts joined by $")
    for component, part in zip(parameter.components, parts, strict=True):
        _read(component_parameter(parameter, component), None, part)


def _read_uri(parameter: SearchParameter, modifier: str | None, value: str) -> None:
    del parameter
    if modifier is not None and not re.match(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/]", unescape(value)):
        raise ValueSyntaxError(f"the modifier :{modifier} needs a URL with a path")
    unescape(value)


def _reads(parse: Callable[[str], object]) -> _Reader:
    def read(parameter: SearchParameter, modifier: str | None, value: str) -> None:
        del parameter, modifier
        parse(value)

    return read


_READERS: Mapping[ParameterKind, _Reader] = {
    ParameterKind.TOKEN: _read_token,
    ParameterKind.REFERENCE: _read_reference,
    ParameterKind.STRING: _read_string,
    ParameterKind.COMPOSITE: _read_composite,
    ParameterKind.URI: _read_uri,
    ParameterKind.DATE: _reads(parse_date),
    ParameterKind.NUMBER: _reads(parse_number),
    ParameterKind.QUANTITY: _reads(parse_quantity),
}
