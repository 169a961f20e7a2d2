"""Judging the resources of one answer: each by the boundary of its own type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from smart_gateway.boundary.matching import INSIDE, OUTSIDE, Depends, Matcher, Verdict
from smart_gateway.boundary.model import Boundary
from smart_gateway.boundary.parts import goes_by_id, goes_by_labels
from smart_gateway.fhir.bundles import CARRIERS, carried
from smart_gateway.fhir.members import Members, value_of
from smart_gateway.fhir.references import Reference
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.policy.access import Access

Known = Mapping[Reference, bytes | None]
"""What an answer depends on, as it was fetched; None for what may not be read."""

MOST_REFERENCES = 50  # semantics 3: what the answer refers to is fetched, at most so many


@dataclass(frozen=True, slots=True)
class Pending:
    """The answer cannot be judged before it is known whether these may be read: fetch each, then ask again."""

    references: tuple[Reference, ...]


class _Lens(msgspec.Struct, frozen=True):
    """How a boundary judges a type: by the members ``read``, or all of them where that is None. Resources that agree in ``telling``
    get the same verdict."""

    judge: Callable[[Mapping[str, Any]], Verdict]
    read: tuple[str, ...] | None
    telling: tuple[str, ...]


_View = tuple[_Lens, dict[tuple[bytes, ...], Verdict]]  # and the verdicts of one answer, by the bytes of the telling members


class Judge:
    """Judges the resources of one answer for one token. Reads no more members than the boundaries look at."""

    __slots__ = ("_access", "_views")

    def __init__(self, access: Access) -> None:
        self._access = access
        self._views: dict[tuple[int, str], _View] = {}

    def verdict(self, boundary: Boundary, type: str, members: Members) -> Verdict:
        """Whether the resource, and every resource that it carries, is inside. Raises JsonError where it cannot be read."""
        own = INSIDE if boundary.unlimited else self._own(boundary, type, members)
        if own is OUTSIDE or not (type in CARRIERS or "contained" in members):
            return own
        return _all([own, *(self._inner(inner) for inner in carried(type, members))])

    def _own(self, boundary: Boundary, type: str, members: Members) -> Verdict:
        # Boundaries are kept by Access and by the rule as long as this judge lives: their identity is a safe key.
        lens, seen = self._views.get((id(boundary), type)) or self._view(boundary, type)
        if lens.read is None:
            return lens.judge({name: value_of(raw) for name, raw in members.items()})
        key = tuple([bytes(members[name]) if name in members else b"" for name in lens.telling])
        held = seen.get(key)
        if held is None:
            held = seen[key] = lens.judge({name: value_of(members[name]) for name in lens.read if name in members})
        return held

    def _view(self, boundary: Boundary, type: str) -> _View:
        lens = self._access.kept(boundary, type, lambda: _lens(self._access.matcher, boundary, type))
        view = self._views[id(boundary), type] = (lens, {})
        return view

    def _inner(self, resource: Mapping[str, Any]) -> Verdict:
        type = resource["resourceType"]
        if not isinstance(type, str) or type not in self._access.policy.vocabulary.types:
            return OUTSIDE
        return self._access.matcher.admits(self._access.readable(type), resource, type)


def _lens(matcher: Matcher, boundary: Boundary, type: str) -> _Lens:
    names = matcher.members_read(boundary, type)
    judge = matcher.judge(boundary, type)
    if names is None:
        return _Lens(judge, None, ())
    by_id = any(goes_by_id(region, type) for region in boundary.regions)
    telling = names - {"resourceType"} if by_id else names - {"resourceType", "id"}
    return _Lens(judge, tuple(names | {"resourceType", "id"}), tuple(telling))


def of_version(verdict: Verdict, boundary: Boundary, type: str, id: str) -> Verdict:
    """The verdict on one version of many: labels that a resource has now hide what it was before."""
    return _all((verdict, Depends((Reference(type, id),)))) if goes_by_labels(boundary) else verdict


def goes_by_today(type: str, members: Members, access: Access) -> bool:
    """Whether what is hidden of one version of many depends on the labels that the resource has now."""
    fields = access.restrictions.fields
    return fields.goes_by_labels(type) or ("contained" in members and fields.goes_by_some_labels)


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    """All of ``verdicts`` at once."""
    references: list[Reference] = []
    for verdict in verdicts:
        if verdict is OUTSIDE:
            return OUTSIDE
        if isinstance(verdict, Depends):
            references.extend(verdict.references)
    return Depends(tuple(references)) if references else INSIDE


class Dependence:
    """Which of the resources that an answer depends on may be read, and which must be asked for.

    ``known`` holds what was fetched; what is found inside in the same answer counts as well.
    """

    __slots__ = ("_fetched", "_known", "_missing", "_room", "_today")

    def __init__(self, known: Known) -> None:
        self._fetched = {unversioned(reference): found for reference, found in known.items()}
        self._known = {reference: found is not None for reference, found in self._fetched.items()}
        self._room = MOST_REFERENCES - len(self._known)
        self._missing: dict[Reference, None] = {}
        self._today: dict[Reference, Mapping[str, Any] | None] = {}  # decoded once for all of its versions

    @property
    def missing(self) -> tuple[Reference, ...]:
        """What must be fetched before everything is settled."""
        return tuple(self._missing)

    def found_inside(self, references: Iterable[Reference]) -> None:
        """``references`` are in this answer, and inside."""
        self._known |= dict.fromkeys(references, True)

    def settle(self, verdict: Verdict) -> bool:
        """Whether the resource may leave. With something missing it is False for now, and for good where more would have to be
        fetched than the limit allows."""
        if not isinstance(verdict, Depends):
            return verdict is INSIDE
        references = [unversioned(reference) for reference in verdict.references]
        if not references or any(self._known.get(reference) is False for reference in references):
            return False
        unknown = {reference: None for reference in references if reference not in self._known}
        self._ask(unknown)
        return not unknown

    def today(self, reference: Reference) -> Mapping[str, Any] | None:
        """The resource as it is now; None where it may not or cannot be read, is not fetched yet, or is one too many."""
        if reference not in self._known:
            self._ask({reference: None})
        body = self._fetched.get(reference)
        if body is not None and reference not in self._today:
            self._today[reference] = _decoded(body)
        return self._today.get(reference)

    def _ask(self, unknown: dict[Reference, None]) -> None:
        if len(self._missing | unknown) <= self._room:
            self._missing |= unknown


def unversioned(reference: Reference) -> Reference:
    """A version counts as its resource (semantics 3)."""
    return reference if reference.version is None else Reference(reference.type, reference.id)


def _decoded(body: bytes) -> Mapping[str, Any] | None:
    try:
        resource = parse_json(body)
    except JsonError:
        return None
    return resource if isinstance(resource, dict) else None
