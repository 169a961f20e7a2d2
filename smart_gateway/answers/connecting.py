"""Which resources that came along still belong to an answer some of whose matches may not leave."""

from __future__ import annotations

import re
from collections.abc import Iterable

from smart_gateway.answers.entries import IdentifiedEntry

_NAMES = re.compile(rb'"(?:[^"\\]{0,2048}/)?([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"')


def connected(entries: list[IdentifiedEntry], kept: list[IdentifiedEntry]) -> list[IdentifiedEntry]:
    """``kept`` without the includes that only a match which may not leave brought along: they would tell of it.

    An include stays where what stays names it, or it names what stays, by way of other includes too.
    """
    staying = {id(entry) for entry in kept}
    if not any(entry.is_match and id(entry) not in staying for entry in entries):
        return kept
    # Each edge both ways: `_include` follows references, `_revinclude` those who refer.
    own = {_name(entry): entry for entry in kept}
    edges: dict[str, set[str]] = {name: set() for name in own}
    for name, entry in own.items():
        for other in _named(entry) & own.keys():
            edges[name].add(other)
            edges[other].add(name)
    reached = _closure((name for name, entry in own.items() if entry.is_match), edges)
    return [entry for entry in kept if entry.is_outcome or _name(entry) in reached]


def _closure(starts: Iterable[str], edges: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(edges[name] - reached)
    return reached


def _name(entry: IdentifiedEntry) -> str:
    return f"{entry.type}/{entry.id}"


def _named(entry: IdentifiedEntry) -> set[str]:
    """Every ``Type/id`` at the end of a string of the resource."""
    return {found.decode() for raw in entry.found.resource.values() for found in _NAMES.findall(bytes(raw))}
