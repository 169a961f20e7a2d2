"""Rules of ``policy.labels`` and ``policy.fields`` that cannot be meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import TypeVar

from smart_gateway.boundary.labels import LADDER
from smart_gateway.fhir.structures import load_structures
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.policy.comparing.fields import bounds_as_much, hides_as_much
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.policy.rules.labelling import LabelRule
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scope import PlainScope
from smart_gateway.settings.checks.plain_scopes import nobody_may_have
from smart_gateway.settings.checks.users import check_claim
from smart_gateway.settings.checks.written_elements import check_written
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.model import Settings
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.reading.complaints import nearest
from smart_gateway.settings.sections.fields import FieldSettings, build_fields
from smart_gateway.settings.sections.labels import LabelSettings, RaiseSettings, build_labels, listed_labels
from smart_gateway.settings.sections.whom import WhomSettings

_Rule = TypeVar("_Rule", bound=LabelRule | FieldRule)


def check_labels(settings: Settings, vocabulary: Vocabulary) -> Iterator[Problem]:
    """Everything in ``policy.labels`` that the release does not know or that cannot be meant."""
    labels = settings.policy.labels
    if labels is None:
        return
    if labels == []:
        yield warning(("policy", "labels"), "is empty: nobody gets anything")
    for (below, rule), built in zip(listed_labels(labels), build_labels(labels) or (), strict=True):
        path: KeyPath = ("policy", *below)
        yield from _whom(rule.when, (*path, "when"), settings)
        yield from _types(rule.types or [], (*path, "types"), vocabulary)
        yield from _limit(rule, built, path)
        yield from _raises(rule, (*path, "raised_by"), settings)
    yield from _idle(build_labels(labels) or (), _limits_as_much)


def _limit(rule: LabelSettings, built: LabelRule, path: KeyPath) -> Iterator[Problem]:
    if built.limit.is_trivial:
        yield warning(path, "limits nothing: it has neither a ceiling below V, nor forbidden or required labels")
    elif rule.ceiling != "V" and "unlabelled" not in rule.model_fields_set:
        yield warning(path, "does not say what resources without a label are taken for: they are hidden")
    for index, label in enumerate(rule.required):
        if label in rule.forbidden:
            yield Problem((*path, "required", index), "is forbidden too: nothing is left")


def _raises(rule: LabelSettings, path: KeyPath, settings: Settings) -> Iterator[Problem]:
    for scope, raised in rule.raised_by.items():
        below = (*path, scope)
        if not isinstance(parse_scope(scope), PlainScope):
            yield Problem(below, "must be a plain scope, such as __restricted: one that opens no resource by itself")
        ceiling = raised.ceiling if isinstance(raised, RaiseSettings) else raised
        if nobody_may_have(scope, settings.policy):
            yield warning(below, "is a scope that no client may have: none of their lists names it")
        if ceiling is not None and LADDER.index(ceiling) <= LADDER.index(rule.ceiling):
            yield warning(below, f"raises nothing: the ceiling is {rule.ceiling} without it")
        for index, label in enumerate(raised.allowed if isinstance(raised, RaiseSettings) else ()):
            if label not in rule.forbidden:
                yield Problem((*below, "allowed", index), "is not forbidden", nearest(label, rule.forbidden))


def check_fields(settings: Settings, vocabulary: Vocabulary) -> Iterator[Problem]:
    """Everything in ``policy.fields`` that the release does not know or that cannot be meant."""
    for index, rule in enumerate(settings.policy.fields):
        path: KeyPath = ("policy", "fields", index)
        yield from _whom(rule.when, (*path, "when"), settings)
        if rule.type not in vocabulary.types and rule.type != "*":
            yield Problem((*path, "type"), f"FHIR {vocabulary.release} has no such resource type", nearest(rule.type, vocabulary.types))
        else:
            yield from _unknown_elements(rule, index, vocabulary)
        yield from _purpose(rule, path)
        yield from _elements(rule, path)
    yield from _idle(build_fields(settings.policy.fields), _fixes_as_much)
    emergency = settings.policy.break_glass
    lifted = emergency is not None and "fields" in emergency.lifts and "u" in emergency.permissions
    yield from check_written(build_fields(settings.policy.fields), hides=not lifted)


def _idle(rules: Sequence[_Rule], does_as_much: Callable[[_Rule, _Rule], bool]) -> Iterator[Problem]:
    """Rules that decide nothing, for another one does as much; of two that do the same, the later one."""
    for place, elsewhere in permutations(range(len(rules)), 2):
        rule, other = rules[place], rules[elsewhere]
        if does_as_much(other, rule) and (elsewhere < place or not does_as_much(rule, other)):
            yield warning(("policy", *rule.path), f"changes nothing: {other.name} does as much for all of them")


def _limits_as_much(one: LabelRule, other: LabelRule) -> bool:
    wider = one.types is None or (other.types is not None and other.types <= one.types)
    always = not one.raised_by and not other.limit.is_trivial
    return always and wider and other.permissions in one.permissions and one.whom.includes(other.whom) and one.limit.implies(other.limit)


def _fixes_as_much(one: FieldRule, other: FieldRule) -> bool:
    wider = one.is_of(other.type) and other.permissions in one.permissions and one.whom.includes(other.whom)
    return wider and (hides_as_much((other,), (one,)) if other.hide else bounds_as_much((other,), (one,)))


def _purpose(rule: FieldSettings, path: KeyPath) -> Iterator[Problem]:
    """What the rule is for must agree with its permissions."""
    writes = rule.only is not None or rule.keep is not None
    if (rule.hide is not None) == writes:
        yield Problem(path, "says what is hidden (hide), or what a write may change (only, keep): just one of the two")
    elif rule.hide is not None and rule.permissions != "rs":
        yield Problem((*path, "permissions"), "must be rs: what is hidden is hidden from reads and searches alike")
    elif writes and not set(rule.permissions) <= set("cu"):
        yield Problem((*path, "permissions"), "must be c, u or cu: nothing else changes elements")
    if rule.labelled is not None and rule.hide is None:
        yield Problem((*path, "labelled"), "is for hide")


def _elements(rule: FieldSettings, path: KeyPath) -> Iterator[Problem]:
    texts = {"hide": rule.hide, "only": rule.only, "keep": rule.keep}
    for key, below in ((key, (*path, key, index)) for key, listed in texts.items() for index in range(len(listed or ()))):
        text = (texts[key] or [])[int(below[-1])]
        head, _, rest = text.partition(".")
        if head[:1].isupper() and head != rule.type:
            yield Problem(below, f"is an element of {head}")
        name = rest if head[:1].isupper() else text
        if key == "hide" and name in {"id", "meta", "resourceType", "meta.versionId", "meta.lastUpdated"}:
            yield Problem(below, "cannot be hidden: it says which resource this is, and headers say it too")
    if rule.hide is not None and rule.type == "Binary":
        yield Problem((*path, "type"), "is given as raw content too: use policy.binary or scopes")


def _unknown_elements(rule: FieldSettings, index: int, vocabulary: Vocabulary) -> Iterator[Problem]:
    """Names of no element: a rule that hides or keeps nothing by them must not start, nor one that lets nothing be written."""
    (built,) = build_fields([rule])
    structures, types = load_structures(vocabulary.release), vocabulary.types if rule.type == "*" else {rule.type}
    listed = {"hide": (rule.hide, built.hide), "only": (rule.only, built.only), "keep": (rule.keep, built.keep)}
    for key, (texts, paths) in listed.items():
        for place, (text, path) in enumerate(zip(texts or (), paths or (), strict=True)):
            unknown = structures.unknown(path, types) if path.text != "resourceType" else None
            if unknown is not None:
                guess = unknown.valid.get(nearest(unknown.name, unknown.valid) or "")
                yield Problem(("policy", "fields", index, key, place), unknown.text, guess and text.removesuffix(path.text) + guess)


def _types(types: list[str], path: KeyPath, vocabulary: Vocabulary) -> Iterator[Problem]:
    for index, type in enumerate(types):
        if type not in vocabulary.types:
            yield Problem((*path, index), f"FHIR {vocabulary.release} has no such resource type", nearest(type, vocabulary.types))


def _whom(when: WhomSettings | None, path: KeyPath, settings: Settings) -> Iterator[Problem]:
    if when is None:
        return
    if (when.client, when.fhir_user, when.claim) == (None, None, None):
        yield Problem(path, "says nothing: name client, fhir_user or claim, or leave it out")
    clients = settings.policy.clients
    for index, name in enumerate(when.client or ()):
        if clients is not None and name not in clients and "*" not in clients:
            yield warning((*path, "client", index), "is no client that the policy names: the rule is for nobody")
    for claim in when.claim or ():
        yield from check_claim(claim, (*path, "claim", claim), settings)
