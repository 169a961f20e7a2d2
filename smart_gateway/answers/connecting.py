"""Which resources that came along still belong to an answer some of whose entries may not leave."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Any

from smart_gateway.answers.entries import IdentifiedEntry
from smart_gateway.fhir.elements import elements
from smart_gateway.fhir.members import value_of
from smart_gateway.fhir.references import parse_reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import CheckSearchset

_NAMES = re.compile(rb'"(?:[^"\\]{0,2048}/)?([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"')
_RECORD = (("_include", "*"), ("_revinclude", "*"))  # what an operation brings along: whatever refers to it, or is referred to


@dataclass(frozen=True, slots=True)
class _Include:
    """One ``_include`` or ``_revinclude``: references by ``code`` of ``source``, to ``target``; None for any."""

    reverse: bool
    iterates: bool
    source: str | None
    code: str | None
    target: str | None


def connected(entries: list[IdentifiedEntry], kept: list[IdentifiedEntry], rule: CheckSearchset, access: Access) -> list[IdentifiedEntry]:
    """``kept`` without the includes that only an entry which may not leave brought along: they would tell of it.

    An include stays where those that were asked for lead to it from a match that stays, by way of nothing but what stays.
    Raises JsonError.
    """
    includes = tuple(_include(*pair) for pair in (_RECORD if rule.is_record else rule.includes))
    staying = {id(entry) for entry in kept}
    gone = [entry for entry in entries if id(entry) not in staying]
    if not any(entry.is_match or any(include.iterates for include in includes) for entry in gone):
        return kept
    reached = _reached(kept, includes, access)
    return [entry for entry in kept if entry.is_match or entry.is_outcome or id(entry) in reached]


def _include(name: str, value: str) -> _Include:
    name, _, modifier = name.partition(":")
    source, code, target = (*value.split(":"), None, None)[:3]
    return _Include(name == "_revinclude", bool(modifier), None if source == "*" else source, None if code == "*" else code, target)


def _reached(kept: list[IdentifiedEntry], includes: tuple[_Include, ...], access: Access) -> set[int]:
    """The includes among ``kept`` that ``includes`` lead to from the matches there."""
    reached: set[int] = set()
    left = [entry for entry in kept if not entry.is_match and not entry.is_outcome]
    current = [entry for entry in kept if entry.is_match]
    while current and left:
        ways = [(include, _ends(include, current, access)) for include in includes]
        current = [entry for entry in left if any(_is_end(entry, include, ends, access) for include, ends in ways)]
        reached.update(map(id, current))
        left = [entry for entry in left if id(entry) not in reached]
        includes = tuple(include for include in includes if include.iterates)
    return reached


def _ends(include: _Include, current: list[IdentifiedEntry], access: Access) -> Set[str]:
    """What names an entry that ``include`` leads to from ``current``: for a reverse one, what it must refer to."""
    if include.reverse:
        return frozenset[str]().union(*map(_names, current))
    return frozenset[str]().union(*(_referred(entry, include, access) for entry in current))


def _is_end(entry: IdentifiedEntry, include: _Include, ends: Set[str], access: Access) -> bool:
    if include.reverse:
        return not ends.isdisjoint(_referred(entry, include, access))
    return include.target in (None, entry.type) and not ends.isdisjoint(_names(entry))


def _names(entry: IdentifiedEntry) -> Set[str]:
    """What references to the entry say: its type and id, and its canonical URL."""
    url = value_of(entry.found.resource["url"]) if "url" in entry.found.resource else None
    name = f"{entry.type}/{entry.id}"
    return {name, url} if isinstance(url, str) else {name}


def _referred(entry: IdentifiedEntry, include: _Include, access: Access) -> Set[str]:
    """What the entry refers to by the parameter of ``include``; where that cannot be read, all that it names."""
    if include.source not in (None, entry.type):
        return frozenset()
    known = access.policy.vocabulary.parameter(entry.type or "", include.code) if include.code is not None else None
    if known is None or not known.evaluable:
        return {found.decode() for raw in entry.found.resource.values() for found in _NAMES.findall(bytes(raw))}
    return frozenset(name for element in elements(entry.read(known), known.paths) for name in _said(element.value, access))


def _said(value: Any, access: Access) -> Iterable[str]:
    """The names in a Reference, a CodeableReference or a canonical."""
    while isinstance(value, dict):
        value = value.get("reference")
    if not isinstance(value, str):
        return ()
    named = parse_reference(value, access.policy.bases)
    return (value.partition("|")[0],) if named is None else (value, f"{named.type}/{named.id}")
