"""Which rules bound the user/ scopes of one principal, and what they hold for it. Spec: semantics 3 and 9."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from smart_gateway.policy.model import AnyOf, ConditionalRule, Policy, UserBound, UserRule, When
from smart_gateway.policy.rules.placeholders import fill_owners, fill_scope, ids_of
from smart_gateway.policy.rules.whom import has_one_of
from smart_gateway.principal import Principal
from smart_gateway.scopes.claim_paths import find_claim
from smart_gateway.scopes.scope import ResourceScope

_MOST_PATIENTS = 1000


@dataclass(frozen=True, slots=True)
class UserHolds:
    """One rule as it is for one principal: ``word``, or one of the others where it is set. ``owners`` are the type of a compartment and
    its ids, ``patients`` those of a list; without any id the rule gives nothing."""

    word: UserBound
    path: tuple[str | int, ...]
    scopes: tuple[ResourceScope, ...] | None = None
    owners: tuple[str, tuple[str, ...]] | None = None
    patients: tuple[str, ...] | None = None

    @property
    def is_everything(self) -> bool:
        return self.word is UserBound.EVERYTHING and self.scopes is None and self.owners is None and self.patients is None

    @property
    def name(self) -> str:
        """What grounds call the rule: ``users[0]``, ``users.Practitioner``."""
        first, *rest = (str(part) if isinstance(part, str) else part for part in self.path)
        return f"{first}{''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in rest)}"


UserBounds = tuple[tuple[UserHolds, ...], ...]
"""All of them at once, any rule of each. Never empty."""

UNBOUNDED: UserBounds = ((UserHolds(UserBound.EVERYTHING, ("users",)),),)
NO_RULE: UserBounds = ((UserHolds(UserBound.NOTHING, ("users",)),),)


class _UnreadableClaim(Exception):
    """A rule asks about a claim that is there and cannot be read: nobody knows whom the rule is for. Never leaves this module."""


def user_bounds(principal: Principal, policy: Policy) -> UserBounds:
    """What bounds the user/ scopes of ``principal``; without a rule for it, nothing is left of them."""
    try:
        groups = tuple(_applying(principal, policy))
    except _UnreadableClaim:
        return NO_RULE
    return tuple(tuple(_held(rule, principal, policy) for rule in group) for group in groups) or NO_RULE


def needs_related_patient(principal: Principal, policy: Policy) -> bool:
    """Whether a rule for this user asks for the patient of the stored RelatedPerson."""
    if principal.user_kind != "RelatedPerson":
        return False
    return any(rule.word is UserBound.RELATED_PATIENT for rules in user_bounds(principal, policy) for rule in rules)


def listed_patients(path: str, principal: Principal, policy: Policy) -> tuple[str, ...]:
    """The patients that a claim lists, as ids or references; none where it is missing, malformed, or too long to be asked for."""
    value = find_claim(principal.claims, (path,))
    values = value if isinstance(value, list | tuple) else (value,)
    if len(values) > _MOST_PATIENTS or not all(isinstance(one, str) for one in values):
        return ()
    return ids_of("Patient", tuple(str(one) for one in values), policy.bases) or ()


def _applying(principal: Principal, policy: Policy) -> Iterator[tuple[UserRule, ...]]:
    users = policy.users
    if isinstance(users, Mapping):
        yield (users.get(principal.user_kind, UserRule(path=("users", principal.user_kind))),)
        return
    for item in users:
        rules = item.rules if isinstance(item, AnyOf) else (item,)
        meant = tuple(one.rule for one in _meant(rules, principal))
        if meant:
            yield meant


def _meant(rules: tuple[ConditionalRule, ...], principal: Principal) -> list[ConditionalRule]:
    return [one for one in rules if _means(one.when, principal)]


def _means(when: When, principal: Principal) -> bool:
    if when.kinds is not None and principal.user_kind not in when.kinds:
        return False
    answers = [has_one_of(path, texts, principal) for path, texts in when.claims]
    if None in answers:
        raise _UnreadableClaim
    return all(answers)


def _held(rule: UserRule, principal: Principal, policy: Policy) -> UserHolds:
    if rule.scopes is not None:
        filled = (fill_scope(scope, principal, policy.vocabulary, policy.bases) for scope in rule.scopes)
        return UserHolds(rule.bound, rule.path, scopes=tuple(scope for scope in filled if scope is not None))
    if rule.compartment is not None:
        ids = fill_owners(rule.compartment, principal, policy.bases)
        return UserHolds(rule.bound, rule.path, owners=(rule.compartment.partition("/")[0], ids))
    if rule.patients is not None:
        return UserHolds(rule.bound, rule.path, patients=listed_patients(rule.patients, principal, policy))
    return UserHolds(rule.bound, rule.path)
