"""Which resources that came along still belong to an answer some of whose matches may not leave."""

from __future__ import annotations

import re

from smart_gateway.answers.entries import IdentifiedEntry

_NAMES = re.compile(rb'"(?:[^"\\]{0,2048}/)?([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"')


def connected(entries: list[IdentifiedEntry], kept: list[IdentifiedEntry]) -> list[IdentifiedEntry]:
    """``kept`` without the includes that only a match which may not leave brought along: they would tell of it.

    An include stays where a match that stays names it (``_include``) or is named by it (``_revinclude``). What came by way of another
    include (``:iterate``) may have come with any match, and goes.
    """
    staying = {id(entry) for entry in kept}
    if not any(entry.is_match and id(entry) not in staying for entry in entries):
        return kept
    matches = [entry for entry in kept if entry.is_match]
    found = {_name(entry) for entry in matches}
    named = found.union(*map(_named, matches))
    return [entry for entry in kept if entry.is_outcome or _name(entry) in named or not found.isdisjoint(_named(entry))]


def _name(entry: IdentifiedEntry) -> str:
    return f"{entry.type}/{entry.id}"


def _named(entry: IdentifiedEntry) -> set[str]:
    """Every ``Type/id`` at the end of a string of the resource."""
    return {found.decode() for raw in entry.found.resource.values() for found in _NAMES.findall(bytes(raw))}
