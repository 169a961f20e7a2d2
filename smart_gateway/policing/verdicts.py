"""What of a case's expectations was not met, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from smart_gateway.fhir.fields import FieldPath, FieldStep
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.structures import load_structures
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.policing.records import spell_request
from smart_gateway.policing.trial import Outcome
from smart_gateway.settings.cases import ExpectSettings

_ABSENT = object()


def objections(expect: ExpectSettings, outcome: Outcome) -> tuple[str, ...]:
    """One sentence for each expectation that does not hold; empty for a case that passes."""
    return tuple(_objections(expect, outcome))


def _objections(expect: ExpectSettings, outcome: Outcome) -> Iterator[str]:
    for name in ("decision", "status", "code", "removed"):
        wanted, found = getattr(expect, name), getattr(outcome, name)
        if wanted is not None and wanted != found:
            yield f"{name}: expected {wanted}, got {found}"
    if expect.statuses is not None and tuple(expect.statuses) != outcome.statuses:
        yield f"statuses: expected {expect.statuses}, got {list(outcome.statuses)}"
    yield from _sets("required_scopes", expect.required_scopes, outcome.required_scopes)
    yield from _sets("entries", expect.entries, outcome.entries)
    if expect.upstream is not None and [*map(_request, expect.upstream)] != [*map(_request, outcome.upstream)]:
        yield f"upstream: expected {_listed(expect.upstream)}, got {_listed(outcome.upstream)}"
    lacking = [rule for rule in expect.rules or () if rule not in outcome.rules]
    if lacking:
        yield f"rules: expected {_listed(lacking)} among {_listed(outcome.rules)}"
    if expect.body is not None:
        yield from _differences(expect.body, outcome.body, "body")
        yield from _unknown(expect.body, outcome.body, "body", outcome.release)


def _sets(name: str, wanted: list[str] | None, found: tuple[str, ...]) -> Iterator[str]:
    if wanted is not None and sorted(wanted) != sorted(found):
        yield f"{name}: expected {_listed(wanted)}, got {_listed(found)}"


def _request(text: str) -> tuple[str, str, tuple[str, ...]]:
    """A request as it is compared: whatever order its parameters have, and however they are written."""
    method, _, target = text.partition(" ")
    path, _, query = target.strip().partition("?")
    spelled = spell_request(method, path, query)
    return method, path, tuple(sorted(spelled.partition("?")[2].split("&")))


def _differences(wanted: Any, found: Any, place: str) -> Iterator[str]:
    """Members of a mapping are compared one by one, all else whole."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name, value in wanted.items():
            there = found.get(name, _ABSENT)
            if value is None:
                if there is not _ABSENT:
                    yield f"{place}.{name}: expected to be absent"
            elif there is _ABSENT:
                yield f"{place}.{name}: is absent"
            else:
                yield from _differences(value, there, f"{place}.{name}")
    elif wanted != found:
        yield f"{place}: expected {wanted!r}, got {found!r}"


def _unknown(wanted: Any, found: Any, place: str, release: Release, type: str = "", above: tuple[FieldStep, ...] = ()) -> Iterator[str]:
    """What must be absent and could never be there: names of no element, which a resource has as little as any other."""
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        return
    named = found.get("resourceType")
    if isinstance(named, str):
        type, above = named, ()
    for name, value in wanted.items():
        steps = (*above, FieldStep(name.removeprefix("_")))
        if value is not None:
            yield from _unknown(value, found.get(name), f"{place}.{name}", release, type, steps)
        elif type in load_vocabulary(release).types and name != "resourceType":
            unknown = load_structures(release).unknown(FieldPath(steps, name), {type})
            yield from () if unknown is None else (f"{place}.{name}: {unknown.text}",)


def _listed(texts: Iterable[str]) -> str:
    return "[" + ", ".join(texts) + "]"
