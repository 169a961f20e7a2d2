"""Dates as ranges of time, for search values and for elements alike.

Spec: FHIR R4 search, "date"; datatypes date, dateTime, instant. Times are integers: nanoseconds of a proleptic calendar.
A date without a time has no zone: it is compared by the calendar as written. A time without a zone is unreadable.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date

from smart_gateway.fhir.search_values_prefixes import Prefix, split_prefix
from smart_gateway.fhir.search_values_syntax import ValueSyntaxError, unescape

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
_DAY = 24 * HOUR

_DATE = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?"
)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """``[low, high)`` on the clock as written, and ``offset`` of that clock from UTC (None: a date, which has none)."""

    low: int
    high: int
    offset: int | None


@dataclass(frozen=True, slots=True)
class DateValue:
    """A search value of kind date."""

    prefix: Prefix
    range: TimeRange


def parse_date(text: str) -> DateValue:
    """A date with its prefix. Raises ValueSyntaxError."""
    prefix, rest = split_prefix(unescape(text))
    return DateValue(prefix, time_range(rest))


def time_range(text: str) -> TimeRange:
    """The range that a date, dateTime or instant covers by its precision. Raises ValueSyntaxError."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueSyntaxError("a date is written yyyy, yyyy-mm, yyyy-mm-dd or with a time and a zone")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        low, high = _days(int(year), _number(month), _number(day))
    except ValueError:
        raise ValueSyntaxError("there is no such date") from None
    if hour is None:
        return TimeRange(low, high, None)
    if zone is None:
        raise ValueSyntaxError("a time needs its zone")
    start, length = _time_of_day(int(hour), int(minute), _number(second), fraction)
    return TimeRange(low + start, low + start + length, _offset(zone))


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _days(year: int, month: int | None, day: int | None) -> tuple[int, int]:
    first = date(year, month or 1, day or 1).toordinal()
    if day is not None:
        length = 1
    elif month is not None:
        length = calendar.monthrange(year, month)[1]
    else:
        length = 366 if calendar.isleap(year) else 365
    return first * _DAY, (first + length) * _DAY


def _time_of_day(hour: int, minute: int, second: int | None, fraction: str | None) -> tuple[int, int]:
    """Start and length in nanoseconds."""
    if hour > 23 or minute > 59 or (second or 0) > 59:
        raise ValueSyntaxError("there is no such time")
    start = hour * HOUR + minute * 60 * SECOND + (second or 0) * SECOND
    if second is None:
        return start, 60 * SECOND
    if fraction is None:
        return start, SECOND
    length: int = 10 ** (9 - len(fraction))
    return start + int(fraction) * length, length


def _offset(zone: str) -> int:
    if zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if minutes > 59 or hours * 60 + minutes > 14 * 60:
        raise ValueSyntaxError("there is no such time zone")
    return (-1 if zone[0] == "-" else 1) * (hours * HOUR + minutes * 60 * SECOND)
