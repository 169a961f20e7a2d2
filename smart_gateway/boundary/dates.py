"""Whether elements satisfy date values. Spec: FHIR R4 search, "date".

A value that is a date alone is compared with the calendar as the resource writes it. A value with a time and a zone is compared
on the time line; an element that is a date alone may then lie in any zone, and matches only where it would in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from smart_gateway.boundary.certainty import Test, any_of
from smart_gateway.fhir.elements import Element
from smart_gateway.fhir.search_values import ValueSyntaxError
from smart_gateway.fhir.search_values_dates import HOUR, DateValue, time_range
from smart_gateway.fhir.search_values_prefixes import compare

_EAST, _WEST = 14 * HOUR, -12 * HOUR  # the offsets of the world's zones


@dataclass(frozen=True, slots=True)
class _Moment:
    """An end of a range: nanoseconds (or infinity) as written, and the offset of that clock from UTC where it has one."""

    wall: float
    offset: int | None

    def on_time_line(self) -> tuple[float, ...]:
        """UTC, or the first and the last that it may be."""
        return (self.wall - _EAST, self.wall - _WEST) if self.offset is None else (self.wall - self.offset,)


def date_test(values: Iterable[DateValue]) -> Test:
    """The test of a date parameter: date, dateTime, instant, Period and Timing."""
    wanted = tuple(values)

    def test(element: Element) -> bool | None:
        ends = _ends(element)
        return None if ends is None else any_of(_satisfies(value, *ends) for value in wanted)

    return test


def start_of(element: Element) -> float | None:
    """When an element begins, in nanoseconds, to order it by; a date alone as if it were in UTC. None where it cannot be read."""
    ends = _ends(element)
    return None if ends is None else ends[0].wall - (ends[0].offset or 0)


def _satisfies(value: DateValue, low: _Moment, high: _Moment) -> bool | None:
    asked, offset = value.range, value.range.offset
    if offset is None:
        return compare(value.prefix, asked.low, asked.high, low.wall, high.wall)
    lows, highs = low.on_time_line(), high.on_time_line()
    answers = {compare(value.prefix, asked.low - offset, asked.high - offset, a, b) for a in lows for b in highs}
    return answers.pop() if len(answers) == 1 else None


def _ends(element: Element) -> tuple[_Moment, _Moment] | None:
    """The outer limits of an element; None where it has none or contradicts itself."""
    match element.type:
        case "date" | "dateTime" | "instant":
            return _point(element.value)
        case "Period":
            return _period(element.value)
        case "Timing":
            return _timing(element.value)
        case _:
            return None


def _point(value: Any) -> tuple[_Moment, _Moment] | None:
    if not isinstance(value, str):
        return None
    try:
        found = time_range(value)
    except ValueSyntaxError:
        return None
    return _Moment(found.low, found.offset), _Moment(found.high, found.offset)


def _period(value: Any) -> tuple[_Moment, _Moment] | None:
    """A missing end is open; a missing start, too."""
    if not isinstance(value, dict) or not ("start" in value or "end" in value):
        return None
    start = _point(value["start"]) if "start" in value else (_Moment(-math.inf, 0),)
    end = _point(value["end"]) if "end" in value else (_Moment(math.inf, 0),)
    if start is None or end is None or start[0].wall > end[-1].wall:
        return None
    return start[0], end[-1]


def _timing(value: Any) -> tuple[_Moment, _Moment] | None:
    """The outer limits of its events and of the period that bounds its repeats."""
    if not isinstance(value, dict):
        return None
    events, repeat = value.get("event", []), value.get("repeat", {})
    if not isinstance(events, list) or not isinstance(repeat, dict):
        return None
    ends = [_point(event) for event in events]
    if "boundsPeriod" in repeat:
        ends.append(_period(repeat["boundsPeriod"]))
    known = [end for end in ends if end is not None]
    if not known or len(known) != len(ends):
        return None
    return min((low for low, _ in known), key=_first), max((high for _, high in known), key=_first)


def _first(moment: _Moment) -> float:
    return moment.on_time_line()[0]
