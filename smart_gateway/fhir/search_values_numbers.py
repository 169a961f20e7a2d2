"""Number and quantity values. Spec: FHIR R4 search, "number" and "quantity"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal

from smart_gateway.fhir.search_values_prefixes import Prefix, split_prefix
from smart_gateway.fhir.search_values_syntax import ValueSyntaxError, split_at, unescape

_NUMBER = re.compile(r"[+-]?[0-9]{1,32}(?:\.[0-9]{1,32})?([eE][+-]?[0-9]{1,3})?")
_EXACT = Context(prec=2200)  # no sum of what _NUMBER admits is ever rounded


@dataclass(frozen=True, slots=True)
class NumberValue:
    """``[low, high)`` is what the digits as written stand for; a point (``low == high``) where the prefix ignores precision."""

    prefix: Prefix
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """``system`` None: the code may be the code or the unit; ``code`` None: any unit."""

    number: NumberValue
    system: str | None
    code: str | None


def parse_number(text: str) -> NumberValue:
    """A number with its prefix. Raises ValueSyntaxError.

    Exponents: the specification's own examples (``1e2`` is 95 to 105) disagree with its rule, so the narrower range counts, and
    ``ne``, which turns narrow into wide, is refused.
    """
    prefix, digits = split_prefix(unescape(text))
    match = _NUMBER.fullmatch(digits)
    if match is None:
        raise ValueSyntaxError("a number is written in decimal digits")
    value = Decimal(digits)
    if prefix not in (Prefix.EQ, Prefix.NE):
        return NumberValue(prefix, value, value)
    if match[1] is not None and prefix is Prefix.NE:
        raise ValueSyntaxError("the precision of a number with an exponent is not agreed on")
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal((0, (5,), exponent - (1 if match[1] is None else 2)))
    return NumberValue(prefix, _EXACT.subtract(value, half), _EXACT.add(value, half))


def parse_quantity(text: str) -> QuantityValue:
    """``number``, ``number|system|code`` or ``number||code``. Raises ValueSyntaxError."""
    parts = split_at(text, "|")
    if len(parts) not in (1, 3):
        raise ValueSyntaxError("a quantity is written number, number|system|code or number||code")
    number = parse_number(parts[0])
    if len(parts) == 1:
        return QuantityValue(number, None, None)
    system, code = unescape(parts[1]), unescape(parts[2])
    if not code:
        raise ValueSyntaxError("a quantity with a system needs a code")
    return QuantityValue(number, system or None, code)
