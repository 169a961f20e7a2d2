"""What another policy opens and closes: for each client, user, context, type and permission the boundaries before and after.

Tokens are tried that ask for all that can be asked. Whatever a policy does to a token that asks for less, it does within that: scopes
are bounded one by one, and by the same limits. A token without scopes stands for the least, for clients whose scopes the policy pins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from smart_gateway.boundary.containment import is_within
from smart_gateway.boundary.model import NOTHING, Boundary, Compartment, Region, everything
from smart_gateway.fhir.references import Reference
from smart_gateway.fhir.vocabulary import ParameterKind
from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import refuse_party
from smart_gateway.policy.circumstances import Asked, Circumstance, asked_by
from smart_gateway.policy.model import SERVER_TYPES, Policy
from smart_gateway.principal import Actor, Principal
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.reading import read_scopes
from smart_gateway.scopes.scope import Context

PATIENT, USER, RELATED = "the-patient", "the-user", "the-related-patient"
OTHERS = "any other"
ALL_TYPES = "*"
_ANONYMOUS = "nobody"
_ORDINARY = Circumstance()
_KINDS = ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Person", "none")


@dataclass(frozen=True, slots=True, order=True)
class Who:
    """One kind of token. ``client`` and ``actor`` by name or ``any other``, an actor of None is nobody; ``issuer`` matters where a
    client's rule names issuers. ``context`` is that of all its scopes, ``none`` without any."""

    client: str
    user: str
    context: str
    issuer: str = OTHERS
    actor: str | None = None
    circumstance: Circumstance = _ORDINARY


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
    """Every boundary that changes in what it holds."""
    types = sorted(old.vocabulary.types | new.vocabulary.types)
    asked = asked_by(old, new)
    for who in _whos(old, new, asked):
        before, after = _Held(who, old, asked), _Held(who, new, asked)
        for type in (ALL_TYPES, *types):
            relation = _Relation(type, old, new)
            for permission in Permission:
                one, other = before.boundary(type, permission), after.boundary(type, permission)
                opens, closes = relation.opens(one, other), relation.closes(one, other)
                if opens or closes:
                    yield Change(who, type, permission, one, other, opens, closes)


class _Held:
    """What one kind of token may touch under one policy."""

    def __init__(self, who: Who, policy: Policy, asked: Asked) -> None:
        named = SERVER_TYPES if who.context in set(Context) else ()
        self._whole = Access(_principal(who, policy, asked, ALL_TYPES), policy)
        self._named = {type: Access(_principal(who, policy, asked, type), policy) for type in named}
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
        self._type = type
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
            mine, theirs = by.rules.inclusion(compartment.type, self._type), other.rules.inclusion(compartment.type, self._type)
            return set(mine) <= set(theirs)

        if not self._same_values and not outer.is_everything and any(_names_values(region) for region in inner.regions):
            return False
        return is_within(inner, outer, same, lambda code: self._is_token(code, by))

    def _is_token(self, code: str, policy: Policy) -> bool:
        parameter = policy.vocabulary.parameter(self._type, code) if self._type in policy.vocabulary.types else None
        return parameter is not None and parameter.kind is ParameterKind.TOKEN


def _names_values(region: Region) -> bool:
    return any(filter.modifier in {"in", "not-in"} for filter in region.filters)


def _whos(old: Policy, new: Policy, asked: Asked) -> Iterator[Who]:
    """Every kind of token that one of the policies could tell from another. ``any other`` is also a token that names no client."""
    yield Who(OTHERS, _ANONYMOUS, "none")
    actors: tuple[str | None, ...] = (None,) if old.actors == new.actors else (None, OTHERS, *sorted(_names(old.actors, new.actors)))
    clients = sorted(_names(old.clients, new.clients, old.certifications, new.certifications) | asked.clients)
    for client in (*clients, OTHERS):
        for issuer in (OTHERS, *sorted(_issuers(client, old) | _issuers(client, new))):
            for actor, kind, context, found in product(actors, _KINDS, (*map(str, Context), "none"), tuple(asked.circumstances())):
                yield Who(client, kind, context, issuer, actor, found)


def _names(*sections: Mapping[str, object] | None) -> set[str]:
    return {name for section in sections for name in section or () if name != "*"}


def _issuers(client: str, policy: Policy) -> frozenset[str]:
    rule = (policy.clients or {}).get(client) or (policy.clients or {}).get("*")
    return rule.issuers or frozenset() if rule is not None else frozenset()


def _principal(who: Who, policy: Policy, asked: Asked, type: str) -> Principal:
    """The token that ``who`` describes, which asks for everything on ``type``."""
    if who.user == _ANONYMOUS:
        return Principal("", anonymous=True)
    wanted = (f"{who.context}/{type}.cruds",) if who.context in set(Context) else ()
    known = _names(policy.clients, policy.actors, policy.certifications) | asked.clients
    other = _unlike(known)
    actor = () if who.actor is None else (Actor(other if who.actor == OTHERS else who.actor),)
    return Principal(
        _unlike(_issuers(who.client, policy)) if who.issuer == OTHERS else who.issuer,
        client_id=other if who.client == OTHERS else who.client,
        scopes=read_scopes([*wanted, *who.circumstance.plain], replacement=None, v1_write="cud"),
        patient=PATIENT,
        related_patient=RELATED,
        claims=asked.claims(who.circumstance),
        fhir_user=None if who.user == "none" else Reference(who.user, USER),
        actors=actor,
    )


def _unlike(names: Iterable[str]) -> str:
    """A name that is none of ``names``."""
    taken, name = set(names), "another"
    while name in taken:
        name += "-one"
    return name


@dataclass(frozen=True, slots=True)
class Group:
    """Changes that are the same for several: everything in ``permissions`` on each of ``types``, for each of ``clients`` and ``users``."""

    clients: tuple[str, ...]
    users: tuple[str, ...]
    contexts: tuple[str, ...]
    issuer: str
    actor: str | None
    circumstance: str
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
            (c.type,), c.permission, c.before, c.after, c.opens, c.closes,
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
