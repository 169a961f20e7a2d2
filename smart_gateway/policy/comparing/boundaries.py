"""What another policy opens and closes: for each client, user, context, type and permission the boundaries before and after.

Tokens are tried that ask for all that can be asked. Whatever a policy does to a token that asks for less, it does within that: scopes
are bounded one by one, and by the same limits. A token without scopes stands for the least, for clients whose scopes the policy pins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from smart_gateway.boundary.containment import is_within
from smart_gateway.boundary.model import NOTHING, Boundary, Compartment, Region, everything
from smart_gateway.fhir.vocabulary import ParameterKind
from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import refuse_party
from smart_gateway.policy.break_glass import at_most
from smart_gateway.policy.comparing.circumstances import Asked, asked_by
from smart_gateway.policy.comparing.token_kinds import Who, principal_of, whos
from smart_gateway.policy.model import SERVER_TYPES, Policy
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context

ALL_TYPES = "*"


@dataclass(frozen=True, slots=True)
class Change:
    """One boundary that is not what it was. ``type`` ``*``: whether interactions over all types are without bound."""

    who: Who
    type: str
    permission: Permission
    before: Boundary
    after: Boundary
    opens: bool
    closes: bool


def compare_boundaries(old: Policy, new: Policy) -> Iterator[Change]:
    """Every boundary that changes in what it holds; those in an emergency where they are others than without."""
    types = (ALL_TYPES, *sorted(old.vocabulary.types | new.vocabulary.types))
    relations = tuple(_Relation(type, old, new) for type in types)
    asked = asked_by(old, new)
    for who in whos(old, new, asked):
        ordinary = _Both(who, old, new, asked)
        yield from ordinary.changes(relations)
        if asked.emergencies:
            called = _Both(replace(who, emergency=True), old, new, asked)
            yield from (
                one for one in called.changes(relations) if (one.before, one.after) != ordinary.boundaries(one.type, one.permission)
            )


class _Both:
    """One kind of token under both policies."""

    def __init__(self, who: Who, old: Policy, new: Policy, asked: Asked) -> None:
        self._who = who
        self._before, self._after = _Held(who, old, asked), _Held(who, new, asked)

    def boundaries(self, type: str, permission: Permission) -> tuple[Boundary, Boundary]:
        return self._before.boundary(type, permission), self._after.boundary(type, permission)

    def changes(self, relations: Iterable[_Relation]) -> Iterator[Change]:
        for relation, permission in product(relations, Permission):
            one, other = self.boundaries(relation.type, permission)
            opens, closes = relation.opens(one, other), relation.closes(one, other)
            if opens or closes:
                yield Change(self._who, relation.type, permission, one, other, opens, closes)


class _Held:
    """What one kind of token may touch under one policy: at most, where it calls an emergency."""

    def __init__(self, who: Who, policy: Policy, asked: Asked) -> None:
        def access(type: str) -> Access:
            ordinary = Access(principal_of(who, policy, asked, type), policy)
            return at_most(ordinary) if who.emergency else ordinary

        named = SERVER_TYPES if who.context in set(Context) else ()
        self._whole = access(ALL_TYPES)
        self._named = {type: access(type) for type in named}
        self._refused = refuse_party(self._whole) is not None

    def boundary(self, type: str, permission: Permission) -> Boundary:
        if self._refused:
            return NOTHING
        if type == ALL_TYPES:
            return everything() if self._whole.unlimited(permission) else NOTHING
        return self._named.get(type, self._whole).boundary(type, permission)


class _Relation:
    """How boundaries of ``type`` under two policies relate, where compartments and value sets may be others, too."""

    def __init__(self, type: str, old: Policy, new: Policy) -> None:
        self.type = type
        self._old, self._new = old, new
        self._same_values = old.value_sets == new.value_sets

    def opens(self, before: Boundary, after: Boundary) -> bool:
        """Whether ``after`` may hold what ``before`` does not."""
        return not self._is_within(after, before, self._new, self._old)

    def closes(self, before: Boundary, after: Boundary) -> bool:
        """Whether ``before`` may hold what ``after`` does not."""
        return not self._is_within(before, after, self._old, self._new)

    def _is_within(self, inner: Boundary, outer: Boundary, by: Policy, other: Policy) -> bool:
        def same(compartment: Compartment) -> bool:
            mine, theirs = by.rules.inclusion(compartment.type, self.type), other.rules.inclusion(compartment.type, self.type)
            return set(mine) <= set(theirs)

        if not self._same_values and not outer.is_everything and any(_names_values(region) for region in inner.regions):
            return False
        return is_within(inner, outer, same, lambda code: self._is_token(code, by))

    def _is_token(self, code: str, policy: Policy) -> bool:
        parameter = policy.vocabulary.parameter(self.type, code) if self.type in policy.vocabulary.types else None
        return parameter is not None and parameter.kind is ParameterKind.TOKEN


def _names_values(region: Region) -> bool:
    return any(filter.modifier in {"in", "not-in"} for filter in region.filters)


@dataclass(frozen=True, slots=True)
class Group:
    """Changes that are the same for several: everything in ``permissions`` on each of ``types``, for each of ``clients`` and ``users``."""

    clients: tuple[str, ...]
    users: tuple[str, ...]
    contexts: tuple[str, ...]
    issuer: str
    actor: str | None
    circumstance: str
    emergency: bool
    types: tuple[str, ...]
    permissions: Permission
    before: Boundary
    after: Boundary
    opens: bool
    closes: bool


def group_changes(changes: Iterable[Change]) -> tuple[Group, ...]:
    """The same in fewer words: joined by permission, type, user, context and client, in this order, where all else is equal."""
    groups = [
        Group(
            (c.who.client,), (c.who.user,), (c.who.context,), c.who.issuer, c.who.actor, c.who.circumstance.text,
            c.who.emergency, (c.type,), c.permission, c.before, c.after, c.opens, c.closes,
        )
        for c in changes
    ]  # fmt: skip
    permissions: dict[Group, Permission] = {}
    for group in groups:
        key = replace(group, permissions=Permission(0))
        permissions[key] = permissions.get(key, Permission(0)) | group.permissions
    groups = [replace(group, permissions=held) for group, held in permissions.items()]
    groups = _joined(groups, lambda g: g.types, lambda g, held: replace(g, types=held))
    groups = _joined(groups, lambda g: g.users, lambda g, held: replace(g, users=held))
    groups = _joined(groups, lambda g: g.contexts, lambda g, held: replace(g, contexts=held))
    return tuple(_joined(groups, lambda g: g.clients, lambda g, held: replace(g, clients=held)))


def _joined(
    groups: Iterable[Group], part: Callable[[Group], tuple[str, ...]], put: Callable[[Group, tuple[str, ...]], Group]
) -> list[Group]:
    held: dict[Group, tuple[str, ...]] = {}
    for group in groups:
        key = put(group, ())
        held[key] = (*held.get(key, ()), *part(group))
    return [put(key, names) for key, names in held.items()]
