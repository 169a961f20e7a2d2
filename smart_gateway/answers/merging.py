"""The page of a union: the pages of its branches as one, without duplicates, in their common order (semantics 4).

A branch goes on where the page before stopped: at so many matches of a page of the upstream, or at its next page. A resource that several
branches find is given by the first of them alone: which that is shows in the resource itself, so that no page needs to know another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from smart_gateway.answers.confine import JudgedSearchset, unreadable
from smart_gateway.answers.entries import IdentifiedEntry, MadeEntry, made_entries, rebuild_union
from smart_gateway.boundary.dates import start_of
from smart_gateway.boundary.filters import Predicate, compile_filter
from smart_gateway.fhir.elements import elements
from smart_gateway.fhir.vocabulary import SearchParameter
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import Branch, CheckUnion, SortKey, UpstreamRequest
from smart_gateway.policy.unions import MOST_MATCHES

_DEFAULT_COUNT = 50  # matches on a page for which the client did not say how many

_Key = tuple[tuple[int, float], ...]
_Selector = tuple[Predicate, SearchParameter]


@dataclass(frozen=True, slots=True)
class BranchPage:
    """One page of a branch, judged; ``onward`` is the request for the next one."""

    judged: JudgedSearchset
    onward: UpstreamRequest | None


@dataclass(frozen=True, slots=True)
class _Item:
    """A match that may be given: its place among the matches of the upstream's page, and what orders it."""

    entry: IdentifiedEntry
    place: int
    key: _Key


@dataclass(slots=True)
class _Head:
    """A page that is being read."""

    branch: Branch
    page: BranchPage
    items: deque[_Item]
    taken: bool = False

    @property
    def waits(self) -> bool:
        """Whether what comes next of this branch is not here."""
        return not self.items and self.page.onward is not None

    def left(self) -> Branch | None:
        """What is left of the branch."""
        if self.items:
            return replace(self.branch, skip=self.items[0].place)
        return replace(self.branch, upstream=self.page.onward, skip=0) if self.page.onward is not None else None


class Merging:
    """One page of a union under way. ``room`` is how many matches it still takes."""

    def __init__(self, rule: CheckUnion, access: Access) -> None:
        self._rule = rule
        self._access = access
        self._matches: list[MadeEntry] = []
        self._others: dict[object, MadeEntry] = {}
        self._seen: set[tuple[str | None, str | None]] = set()
        self.room = min(rule.count or _DEFAULT_COUNT, MOST_MATCHES)

    @property
    def is_empty(self) -> bool:
        return not self._matches

    def add(self, pages: Sequence[tuple[Branch, BranchPage]]) -> list[Branch]:
        """Takes what there is room for from ``pages``; what is left of their branches. Raises UpstreamError for what cannot be read."""
        try:
            heads = [_Head(branch, page, self._items(branch, page)) for branch, page in pages]
        except ValueError:
            raise unreadable() from None
        while self.room and (head := self._next(heads)) is not None:
            self._take(head)
        for head in heads:
            if head.taken:
                self._take_others(head)
        return [left for head in heads if (left := head.left()) is not None]

    def body(self, links: list[dict[str, str]], *, whole: bool) -> bytes:
        """The searchset; ``whole``: nothing came before this page and nothing is left, so that the matches are counted here."""
        others = [made for key, made in self._others.items() if key not in self._seen]
        return rebuild_union([*self._matches, *others], len(self._matches) if whole else None, links)

    def _items(self, branch: Branch, page: BranchPage) -> deque[_Item]:
        kept = {id(entry) for entry in page.judged.kept}
        matches = [entry for entry in page.judged.entries if entry.is_match]
        others = _selectors(branch, self._access)
        return deque(
            [
                _Item(entry, place, _key(entry, self._rule.sort, self._access))
                for place, entry in enumerate(matches)
                if place >= branch.skip and id(entry) in kept and not any(finds(entry.read(by)) for finds, by in others)
            ]
        )

    def _next(self, heads: list[_Head]) -> _Head | None:
        ready = [head for head in heads if head.items]
        if not ready or not self._rule.sort:
            return ready[0] if ready else None
        # What a branch has on its next page may come before all that is here.
        return None if any(head.waits for head in heads) else min(ready, key=lambda head: head.items[0].key)

    def _take(self, head: _Head) -> None:
        entry = head.items.popleft().entry
        head.taken = True
        if (entry.type, entry.id) not in self._seen:
            self._seen.add((entry.type, entry.id))
            self._matches += made_entries([entry], head.branch.rule.drop_elements, self._access.policy.bases.public)
            self.room -= 1

    def _take_others(self, head: _Head) -> None:
        """What the upstream says beside the matches of a page: included resources, and its own remarks on the first."""
        for entry in head.page.judged.kept:
            if entry.is_match or (entry.is_outcome and head.branch.skip):
                continue
            made = made_entries([entry], (), self._access.policy.bases.public)
            key = bytes(entry.found.resource.get("issue", b"")) if entry.is_outcome else (entry.type, entry.id)
            if made:
                self._others.setdefault(key, made[0])


def _selectors(branch: Branch, access: Access) -> list[_Selector]:
    """Those that find what the branches before this one give."""
    known = [(access.policy.vocabulary.parameter(branch.rule.type or "", filter.parameter), filter) for filter in branch.unless]
    return [(compile_filter(p, None, filter.values, access.policy.bases), p) for p, filter in known if p is not None]


def _key(entry: IdentifiedEntry, sort: tuple[SortKey, ...], access: Access) -> _Key:
    """What orders a match: the earliest of its dates, backwards the latest; without a date it comes last. Raises JsonError."""
    return tuple([_one_key(entry, key, access) for key in sort])


def _one_key(entry: IdentifiedEntry, key: SortKey, access: Access) -> tuple[int, float]:
    parameter = access.policy.vocabulary.parameter(entry.type or "", key.code)
    if parameter is None:
        return 1, 0
    found = elements(entry.read(parameter), parameter.paths)
    starts = [start for start in map(start_of, found) if start is not None]
    if not starts:
        return 1, 0
    return (0, -max(starts)) if key.descending else (0, min(starts))
