"""``_elements`` of a bounded search: what the checks need is asked for as well, and goes on the way back (semantics 4)."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.boundary.model import Boundary
from smart_gateway.boundary.parts import goes_by_labels, goes_by_tags
from smart_gateway.policy.parameters.includes import included_types
from smart_gateway.policy.parameters.verdicts import Search

_ALWAYS = frozenset({"resourceType", "id", "meta"})


@dataclass(frozen=True, slots=True)
class Elements:
    """``_elements`` as sent, and which members of a match go on the way back."""

    pairs: tuple[tuple[str, str], ...] = ()
    added: tuple[str, ...] = ()


def elements(search: Search) -> Elements:
    """The client's ``_elements`` with those that the checks need; without ``_elements``, or where all are needed, nothing."""
    wished = [name for p in search.request.parameters if p.key == "_elements" for name in p.value.split(",")]
    needed = _needed(search) if wished and not _may_tell(wished, search) else None
    if needed is None:
        return Elements()
    needed -= _ALWAYS
    paths = {name.removeprefix(f"{search.type}.").removesuffix("[x]") for name in wished}
    tops = tuple(path.partition(".")[0] for path in paths)
    added = tuple(sorted(name for name in needed if not _is_asked(name, tops)))
    return Elements((("_elements", ",".join((*wished, *sorted(needed - paths)))),), added)


def _may_tell(wished: list[str], search: Search) -> bool:
    """Whether nobody knew of what comes whether it tells of hidden elements: a narrative, of what is contained, without that; and that
    without its labels."""
    fields, steps = search.access.restrictions.fields, {step for name in wished for step in name.split(".")}
    return ("text" in steps and fields.hides) or ("contained" in steps and fields.goes_by_some_labels)


def _needed(search: Search) -> frozenset[str] | None:
    """The members that the checks of matches and of what comes along look at, for servers apply ``_elements`` to both; None: all,
    also where tags or labels decide, for a server adds tags to what it cuts, and may leave labels out."""
    included = included_types(search)
    if included is None or _goes_by_meta(search.boundary, search.type, search):
        return None
    members = search.members_read()
    for type in included:
        readable = search.access.readable(type)
        more = search.access.matcher.members_read(readable, type) if not _goes_by_meta(readable, type, search) else None
        members = None if members is None or more is None else members | more
    return members


def _goes_by_meta(boundary: Boundary, type: str, search: Search) -> bool:
    return goes_by_tags(boundary) or goes_by_labels(boundary) or search.access.restrictions.fields.goes_by_labels(type)


def _is_asked(member: str, tops: tuple[str, ...]) -> bool:
    """Whether the client asked for ``member``, for a part of it, or for the choice that it is one of (``effective``)."""
    return any(member == top or (member.startswith(top) and member[len(top)].isupper()) for top in tops)
