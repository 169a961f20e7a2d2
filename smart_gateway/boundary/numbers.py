"""Whether elements satisfy number and quantity values. Spec: FHIR R4 search, "number" and "quantity".

Elements are exact: the digits of a resource's value say nothing about its precision. Units are compared as written, never
converted. A quantity with a comparator (``<5``) is uncertain.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from smart_gateway.boundary.certainty import Test, any_of
from smart_gateway.fhir.elements import Element
from smart_gateway.fhir.search_values_numbers import NumberValue, QuantityValue
from smart_gateway.fhir.search_values_prefixes import Prefix

_Span = tuple[Decimal, Decimal]  # closed; an open end is infinite
_OPEN = Decimal("Infinity")
_QUANTITIES = frozenset({"Quantity", "SimpleQuantity", "Age", "Duration", "Count", "Distance"})
_NUMBERS = frozenset({"decimal", "integer", "unsignedInt", "positiveInt", "integer64"})
_CURRENCY = "urn:iso:std:iso:4217"


def number_test(values: Iterable[NumberValue]) -> Test:
    """The test of a number parameter."""
    wanted = tuple(values)

    def test(element: Element) -> bool | None:
        span = _number_span(element)
        return None if span is None else any(_compare(value, span) for value in wanted)

    return test


def quantity_test(values: Iterable[QuantityValue]) -> Test:
    """The test of a quantity parameter."""
    wanted = tuple(values)

    def test(element: Element) -> bool | None:
        return any_of(_satisfies(value, element) for value in wanted)

    return test


def _compare(value: NumberValue, span: _Span) -> bool:
    low, high = span
    match value.prefix:
        case Prefix.EQ:
            return value.low <= low and high < value.high
        case Prefix.NE:
            return not (value.low <= low and high < value.high)
        case Prefix.GT:
            return high > value.high
        case Prefix.LT:
            return low < value.low
        case Prefix.GE:
            return high >= value.high
        case Prefix.LE:
            return low <= value.low
        case Prefix.SA:
            return low > value.high
        case Prefix.EB:
            return high < value.low


def _satisfies(value: QuantityValue, element: Element) -> bool | None:
    span = _quantity_span(element, value)
    return span if not isinstance(span, tuple) else _compare(value.number, span)


def _number_span(element: Element) -> _Span | None:
    if element.type in _NUMBERS:
        number = _decimal(element.value)
        return None if number is None else (number, number)
    span = _quantity_span(element, None) if element.type == "Range" else None
    return span if isinstance(span, tuple) else None


def _quantity_span(element: Element, value: QuantityValue | None) -> _Span | bool | None:
    """What the element spans; False where its unit is another one; None where it cannot be judged."""
    held = element.value
    if not isinstance(held, dict):
        return None
    if element.type in _QUANTITIES:
        return _point(held, value)
    if element.type == "Money":
        return _point({"value": held.get("value"), "code": held.get("currency"), "system": _CURRENCY}, value)
    return _range(held, value) if element.type == "Range" else None


def _point(quantity: Any, value: QuantityValue | None) -> _Span | bool | None:
    if not isinstance(quantity, dict) or "comparator" in quantity:
        return None
    if value is not None and not _same_unit(quantity, value):
        return False
    number = _decimal(quantity.get("value"))
    return None if number is None else (number, number)


def _range(held: dict[str, Any], value: QuantityValue | None) -> _Span | bool | None:
    ends = [_point(held[end], value) if end in held else (-_OPEN, _OPEN) for end in ("low", "high")]
    if not ("low" in held or "high" in held) or None in ends:
        return None
    low, high = ends
    if not isinstance(low, tuple) or not isinstance(high, tuple):
        return False
    return (low[0], high[1]) if low[0] <= high[1] else None


def _same_unit(quantity: dict[str, Any], value: QuantityValue) -> bool:
    if value.code is None:
        return True
    if value.system is None:
        return value.code in (quantity.get("code"), quantity.get("unit"))
    return quantity.get("system") == value.system and quantity.get("code") == value.code


def _decimal(value: Any) -> Decimal | None:
    """A JSON number as it was written, as far as decoding kept it; no boolean, no string, nothing infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return number if number.is_finite() else None
