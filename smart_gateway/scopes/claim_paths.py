"""Where a token says something: paths into its claims.

A path is the literal name of a claim (``patient``, ``https://example.org/patient``); where no claim has that name, a way down:
names with dots between (``ext.patient``), places in arrays (``identities[0].id``), and names in quotes where they hold dots or
brackets themselves (``["https://example.org/claims"].patient``). A text on the way that is a JSON object or array is read as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from smart_gateway.fhir.strict_json import JsonError, parse_json

_STEP = re.compile(r"""(?:^|(?<=.)\.)(?P<name>[^.\[\]"]+)|\[(?P<place>[0-9]{1,4})\]|(?:(?<=.)\.)?\["(?P<quoted>[^"]+)"\]""")
_ABSENT = object()

Step = str | int


def find_claim(claims: Mapping[str, Any], paths: Iterable[str]) -> Any:
    """The value at the first of ``paths`` that is present, whatever it is; None when none is. Spec: semantics 2, "Claims"."""
    for path in paths:
        value = claims[path] if path in claims else _walk(claims, _steps(path))
        if value is not _ABSENT:
            return value
    return None


def leads_into(path: str, claim: str) -> bool:
    """Whether ``path``, walked, begins at ``claim``: a claim that has such a name stands before what is there (``hook.patients``)."""
    return _steps(path)[:1] == (claim,)


def is_path(text: str) -> bool:
    """Whether ``text`` can be walked; one that cannot could still be a claim's literal name, but is more likely a slip."""
    return bool(_steps(text))


@lru_cache(1024)
def _steps(path: str) -> tuple[Step, ...]:
    """The steps of ``path``; none where it is no path."""
    steps: list[Step] = []
    end = 0
    for found in _STEP.finditer(path):
        if found.start() != end:
            return ()
        end = found.end()
        place = found["place"]
        steps.append(int(place) if place is not None else found["name"] or found["quoted"])
    return tuple(steps) if end == len(path) else ()


def _walk(claims: Mapping[str, Any], steps: tuple[Step, ...]) -> Any:
    if not steps:
        return _ABSENT
    value: Any = claims
    for step in steps:
        value = _into(read_nested(value), step)
        if value is _ABSENT:
            return _ABSENT
    return value


def _into(value: Any, step: Step) -> Any:
    match value, step:
        case Mapping(), str():
            return value.get(step, _ABSENT)
        case list(), int():
            return value[step] if step < len(value) else _ABSENT
        case _:
            return _ABSENT


def read_nested(value: Any) -> Any:
    """What a text that is a JSON object or array holds; anything else, and a text that cannot be read without doubt, as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in {"{", "["}:
        return value
    try:
        return parse_json(value.encode("utf-8", "surrogatepass"))
    except JsonError:
        return value
