"""Rules for users that cannot be meant: words that do not fit their users, claims that nobody gives, rules that never decide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from smart_gateway.fhir.value_sets import ValueSets
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.gateway.callers.hooks import FACTS
from smart_gateway.policy.rules.placeholders import claims_named, objection_to_compartment
from smart_gateway.scopes.claim_paths import is_path, leads_into
from smart_gateway.settings.building.policy import build_scopes
from smart_gateway.settings.checks.ceilings import have_in_common
from smart_gateway.settings.checks.scopes import check_scopes
from smart_gateway.settings.findings import KeyPath, spell_key
from smart_gateway.settings.model import Settings
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.reading.complaints import nearest
from smart_gateway.settings.sections.users import (
    USER_KINDS,
    AnyOfSettings,
    Bound,
    BoundBySelection,
    ListedPatients,
    UserRuleSettings,
    UserSettings,
    WhenSettings,
)

_HAVE_COMPARTMENT = frozenset({"Practitioner", "Patient", "RelatedPerson"})
_OF_ONE_RECORD = frozenset({"Patient", "RelatedPerson", "none"})


def check_users(settings: Settings, vocabulary: Vocabulary, value_sets: ValueSets) -> Iterator[Problem]:
    """Everything in ``policy.users`` and ``policy.patients`` that the release does not know, that is not there, or that cannot be meant."""
    policy = settings.policy
    if policy.patients is not None:
        yield from _listed(policy.patients, ("policy", "patients"), settings)
    if policy.users is None:
        return
    for path, boundary_path, when, bound in _written(policy.users):
        yield from _when(when, (*path, "when"), settings)
        yield from _boundary(bound, boundary_path, _kinds(when), settings, vocabulary, value_sets)
    if policy.users == []:
        yield warning(("policy", "users"), "is empty: users get nothing")
    elif isinstance(policy.users, list):
        yield from _idle(policy.users)


def _written(users: UserSettings | list[UserRuleSettings | AnyOfSettings]) -> Iterator[tuple[KeyPath, KeyPath, WhenSettings | None, Bound]]:
    """Every rule, its path and that of its boundary."""
    if isinstance(users, UserSettings):
        for kind in USER_KINDS:
            path: KeyPath = ("policy", "users", kind)
            yield path, path, WhenSettings(fhir_user=[kind]), users.of(kind)
        return
    for index, item in enumerate(users):
        path = ("policy", "users", index)
        if isinstance(item, UserRuleSettings):
            yield path, (*path, "boundary"), item.when, item.boundary
            continue
        for place, rule in enumerate(item.any_of):
            below = (*path, "any_of", place)
            yield below, (*below, "boundary"), rule.when, rule.boundary


def _kinds(when: WhenSettings | None) -> frozenset[str]:
    return frozenset[str](USER_KINDS if when is None or when.fhir_user is None else when.fhir_user)


def _when(when: WhenSettings | None, path: KeyPath, settings: Settings) -> Iterator[Problem]:
    if when is not None and when.fhir_user is None and when.claim is None:
        yield Problem(path, "says nothing: name fhir_user or claim, or leave it out")
    for claim in (when.claim or {}) if when is not None else ():
        yield from check_claim(claim, (*path, "claim", claim), settings)


def _listed(listed: ListedPatients, path: KeyPath, settings: Settings) -> Iterator[Problem]:
    yield from check_claim(listed.from_claim, (*path, "from_claim"), settings)


def check_claim(name: str, path: KeyPath, settings: Settings) -> Iterator[Problem]:
    """What is wrong with a path to a claim."""
    if not is_path(name):
        yield Problem(path, "is no path to a claim: names with dots between, places in brackets, names with dots in quotes")
    elif settings.hooks is None and leads_into(name, FACTS):
        yield Problem(path, "is what a hook found out, and there are no hooks")


def _placeholders(text: str, path: KeyPath, settings: Settings) -> Iterator[Problem]:
    for name in claims_named(text):
        yield from check_claim(name, path, settings)


def _boundary(
    bound: Bound, path: KeyPath, kinds: frozenset[str], settings: Settings, vocabulary: Vocabulary, value_sets: ValueSets
) -> Iterator[Problem]:
    match bound:
        case list():
            yield from check_scopes(bound, path, vocabulary, value_sets, plain_counts=False, fillable=True)
            for index, scope in enumerate(bound):
                yield from _placeholders(scope, (*path, index), settings)
            if not bound:
                yield warning(path, "is empty: these users get nothing")
        case BoundBySelection():
            yield from _selection(bound, path, settings, vocabulary)
        case str():
            yield from _word(bound, path, kinds)
        case _:
            assert_never(bound)


def _selection(bound: BoundBySelection, path: KeyPath, settings: Settings, vocabulary: Vocabulary) -> Iterator[Problem]:
    if (bound.compartment is None) == (bound.patients is None):
        yield Problem(path, "names a compartment or patients, just one of them")
    if bound.patients is not None:
        yield from _listed(bound.patients, (*path, "patients"), settings)
    if bound.compartment is None:
        return
    reason, owner = objection_to_compartment(bound.compartment), bound.compartment.partition("/")[0]
    if reason is not None:
        yield Problem((*path, "compartment"), reason)
    elif owner not in vocabulary.compartments:
        yield Problem((*path, "compartment"), f"{owner} has no compartment", nearest(owner, vocabulary.compartments))
    else:
        yield from _placeholders(bound.compartment, (*path, "compartment"), settings)


def _word(word: str, path: KeyPath, kinds: frozenset[str]) -> Iterator[Problem]:
    if word == "compartment" and kinds.isdisjoint(_HAVE_COMPARTMENT):
        yield Problem(path, f"{' and '.join(sorted(kinds))} has no compartment")
    if word == "related_patient" and kinds != {"RelatedPerson"}:
        yield Problem(path, "is for users of the kind RelatedPerson only")
    if word == "everything" and kinds <= _OF_ONE_RECORD:
        yield warning(path, "opens every patient's record to these users")


def _idle(items: list[UserRuleSettings | AnyOfSettings]) -> Iterator[Problem]:
    """Rules that can never decide anything."""
    alone: list[tuple[int, UserRuleSettings]] = []
    for index, item in enumerate(items):
        if isinstance(item, AnyOfSettings):
            yield from _idle_in_any_of(item, ("policy", "users", index, "any_of"))
            continue
        for earlier, other in alone:
            yield from _beside(item, other, ("policy", "users", index), spell_key(("users", earlier)))
        alone.append((index, item))


def _beside(rule: UserRuleSettings, other: UserRuleSettings, path: KeyPath, name: str) -> Iterator[Problem]:
    if rule.boundary == other.boundary and _is_within(rule.when, other.when):
        yield warning(path, f"changes nothing: {name} bounds the same users in the same way")
    elif other.boundary in ("nothing", []) and _is_within(rule.when, other.when):
        yield warning(path, f"can never open anything: {name} leaves the same users nothing, and both hold")
    elif _is_within(rule.when, other.when) and isinstance(rule.boundary, list) and isinstance(other.boundary, list):
        lists = build_scopes(rule.boundary), build_scopes(other.boundary)
        if lists[0] and lists[1] and not have_in_common(lists[0], lists[1]):
            yield warning(path, f"leaves nothing together with {name}: both hold, and they have nothing in common")


def _idle_in_any_of(item: AnyOfSettings, path: KeyPath) -> Iterator[Problem]:
    for place, rule in enumerate(item.any_of):
        if rule.boundary in ("nothing", []):
            yield warning((*path, place), "adds nothing to the others")
        for earlier, other in enumerate(item.any_of):
            holds = other.boundary in ("everything", rule.boundary) and (earlier < place or other.boundary != rule.boundary)
            if earlier != place and holds and _is_within(rule.when, other.when):
                yield warning((*path, place), f"adds nothing: {spell_key((*path[1:], earlier))} gives the same users as much")
                break


def _is_within(inner: WhenSettings | None, outer: WhenSettings | None) -> bool:
    """Whether ``outer`` holds for everybody for whom ``inner`` does."""
    if outer is None:
        return True
    if inner is None:
        return False
    claims = outer.claim or {}
    held = all(name in (inner.claim or {}) and set((inner.claim or {})[name]) <= set(texts) for name, texts in claims.items())
    return held and _kinds(inner) <= _kinds(outer)
