"""Entries of a searchset: identified as they come, built anew as they leave."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from smart_gateway.answers.issues import judged_outcome
from smart_gateway.fhir.bundles import FoundEntry, Searchset
from smart_gateway.fhir.elements import top_members
from smart_gateway.fhir.members import Members, value_of
from smart_gateway.fhir.references import is_id
from smart_gateway.fhir.versions import is_instant
from smart_gateway.fhir.vocabulary import SearchParameter
from smart_gateway.policy.plan import CheckSearchset

_TOTAL = re.compile(rb"\d{1,15}")
_ID = re.compile(rb'"(?!\.{1,2}")([A-Za-z0-9\-.]{1,64})"')
_MODES = frozenset({"match", "include", "outcome"})
# The members of an entry.search that upstreams send nearly always; others are read.
_PLAIN_SEARCH = {f'{{"mode":"{mode}"}}'.encode(): (mode, None) for mode in _MODES}

_encode = msgspec.json.Encoder().encode


class IdentifiedEntry(msgspec.Struct, gc=False):
    """An entry and what it is: ``type`` None where the release does not know it, ``id`` None where it has none.

    ``mode`` is ``include`` for what the search cannot have matched, else what the upstream calls it: that decides only among resources
    of the type that was searched for. ``body`` encodes to the bytes of the resource that came.
    """

    found: FoundEntry
    body: Members | msgspec.Raw
    type: str | None
    id: str | None
    mode: str | None
    score: float | None

    @property
    def is_match(self) -> bool:
        """Whether the search found it, rather than another entry that names it."""
        return self.mode != "include" and not self.is_outcome

    @property
    def is_outcome(self) -> bool:
        """Whether it is the upstream's own remark on the search, by its type whatever its mode."""
        return self.type == "OperationOutcome"

    def read(self, parameter: SearchParameter) -> dict[str, Any]:
        """What ``parameter`` looks at in the resource. Raises JsonError."""
        members = self.found.resource
        return {"resourceType": self.type, **{name: value_of(members[name]) for name in top_members(parameter) if name in members}}


class _Search(msgspec.Struct, gc=False, omit_defaults=True):
    mode: str | None = None
    score: float | None = None


class MadeEntry(msgspec.Struct, gc=False, omit_defaults=True, rename={"full_url": "fullUrl"}):
    """An entry as it leaves."""

    full_url: str | None = None
    resource: Members | msgspec.Raw | dict[str, Any] = msgspec.field(default_factory=dict)
    search: _Search | None = None


def identify(found: Searchset, searched: frozenset[str], types: frozenset[str]) -> list[IdentifiedEntry]:
    """What the entries of a search on the types ``searched`` are. Raises JsonError."""
    spelled = _spelled(types)
    return [_identify(entry, body, searched, spelled) for entry, body in zip(found.entries, found.bodies, strict=True)]


@lru_cache(8)
def _spelled(types: frozenset[str]) -> Mapping[bytes, str]:
    return {f'"{type}"'.encode(): type for type in types}


def _identify(entry: FoundEntry, body: Members | msgspec.Raw, searched: frozenset[str], spelled: Mapping[bytes, str]) -> IdentifiedEntry:
    # Types and ids need no escapes: spelled with any, they name nothing.
    type = spelled.get(bytes(entry.resource.get("resourceType", b"")))
    id = _ID.fullmatch(bytes(entry.resource.get("id", b"")))
    mode, score = _search(entry.search)
    if type not in searched:
        mode = "include"
    elif mode == "outcome":
        mode = None
    return IdentifiedEntry(entry, body, type, id[1].decode() if id is not None else None, mode, score)


def _search(raw: msgspec.Raw | msgspec.UnsetType) -> tuple[str | None, float | None]:
    if isinstance(raw, msgspec.UnsetType):
        return None, None
    plain = _PLAIN_SEARCH.get(bytes(raw))
    if plain is not None:
        return plain
    search = value_of(raw)
    if not isinstance(search, dict):
        return None, None
    mode, score = search.get("mode"), search.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        score = None
    return mode if isinstance(mode, str) and mode in _MODES else None, score


def rebuild(
    found: Searchset, kept: list[IdentifiedEntry], removed: int, rule: CheckSearchset, links: list[dict[str, str]], public: str
) -> bytes:
    """The searchset of the ``kept`` entries, in the public base; resources as the bytes that came."""
    bundle: dict[str, Any] = {"resourceType": "Bundle", **_identity(found), "type": "searchset"}
    total = b"" if isinstance(found.total, msgspec.UnsetType) else bytes(found.total)
    if rule.exact and not removed and _TOTAL.fullmatch(total) is not None:
        bundle["total"] = int(total)
    bundle["link"] = links
    entries = made_entries(kept, rule.drop_elements, public)
    if entries and not rule.count_only:
        bundle["entry"] = entries
    return _encode(bundle)


def rebuild_union(entries: list[MadeEntry], total: int | None, links: list[dict[str, str]]) -> bytes:
    """The searchset of several answers; ``total`` None where it is not known."""
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if total is not None:
        bundle["total"] = total
    bundle["link"] = links
    if entries:
        bundle["entry"] = entries
    return _encode(bundle)


def made_entries(kept: list[IdentifiedEntry], drop_elements: tuple[str, ...], public: str) -> list[MadeEntry]:
    """The ``kept`` entries as they leave."""
    drop = frozenset(drop_elements) | {f"_{name}" for name in drop_elements}
    made = [_outcome(entry) if entry.is_outcome else _resource(entry, drop, public) for entry in kept]
    return [entry for entry in made if entry is not None]


def _identity(found: Searchset) -> dict[str, Any]:
    """``id`` and ``meta.lastUpdated`` of the upstream's Bundle, where they are what they should be."""
    id = None if isinstance(found.id, msgspec.UnsetType) else value_of(found.id)
    meta = None if isinstance(found.meta, msgspec.UnsetType) else value_of(found.meta)
    updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
    kept: dict[str, Any] = {}
    if isinstance(id, str) and is_id(id):
        kept["id"] = id
    if is_instant(updated):
        kept["meta"] = {"lastUpdated": updated}
    return kept


def _resource(entry: IdentifiedEntry, drop: frozenset[str], public: str) -> MadeEntry:
    return MadeEntry(
        None if _is_urn(entry.found.full_url) else f"{public}/{entry.type}/{entry.id}",
        _without(entry, drop) if drop and entry.mode != "include" else entry.body,
        _Search(entry.mode, entry.score) if entry.mode is not None or entry.score is not None else None,
    )


def _without(entry: IdentifiedEntry, drop: frozenset[str]) -> Members:
    """The members but those in ``drop``: elements that were added for the check, and their ``_`` twins."""
    return {name: raw for name, raw in entry.found.resource.items() if name not in drop}


def _is_urn(full_url: msgspec.Raw | msgspec.UnsetType) -> bool:
    return not isinstance(full_url, msgspec.UnsetType) and bytes(full_url)[:5].lower() == b'"urn:'


def _outcome(entry: IdentifiedEntry) -> MadeEntry | None:
    outcome = judged_outcome(entry.found.resource)
    return None if outcome is None else MadeEntry(None, outcome, _Search("outcome"))
