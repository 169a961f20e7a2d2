"""Lists of scopes in the settings: whether each can be meant, under the FHIR release of the upstream."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from smart_gateway.fhir.value_sets import ValueSets
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.policy.rules.placeholders import has_placeholder, objection_to_placeholders, sample
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scope import MalformedScope, PlainScope, ResourceScope, Scope, ScopeKind
from smart_gateway.scopes.validity import objection
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.reading.complaints import nearest

_HARMLESS = frozenset({ScopeKind.CONTEXT, ScopeKind.IDENTITY, ScopeKind.REFRESH})


def check_scopes(
    texts: list[str],
    path: KeyPath,
    vocabulary: Vocabulary,
    value_sets: ValueSets,
    *,
    plain_counts: bool,
    fillable: bool = False,
    counting: Collection[str] = (),
) -> Iterator[Problem]:
    """What cannot be meant in a list of scopes at ``path``; ``plain_counts``: scopes that open no resource have an effect there, or those
    of ``counting``; ``fillable``: placeholders do."""
    scopes = [parse_scope(text) for text in texts]
    for index, text in enumerate(texts):
        reason = None if text in counting else scope_objection(text, vocabulary, value_sets, plain_counts=plain_counts, fillable=fillable)
        if reason is not None:
            yield Problem((*path, index), reason, _nearest_type(text, vocabulary))
        elif text in texts[:index]:
            yield warning((*path, index), "is in this list already")
        elif (wider := next((other for other in scopes if _is_within(scopes[index], other)), None)) is not None:
            yield warning((*path, index), f"adds nothing: {wider.text} is in this list too")


def _is_within(scope: Scope, other: Scope) -> bool:
    """Whether all that ``scope`` says is said by ``other``, and ``other`` says more."""
    if not isinstance(scope, ResourceScope) or not isinstance(other, ResourceScope) or scope.context is not other.context:
        return False
    if other.type not in ("*", scope.type) or scope.permissions not in other.permissions or not set(other.params) <= set(scope.params):
        return False
    return (scope.type, scope.permissions, set(scope.params)) != (other.type, other.permissions, set(other.params))


def scope_objection(text: str, vocabulary: Vocabulary, value_sets: ValueSets, *, plain_counts: bool, fillable: bool = False) -> str | None:
    """Why a scope of the policy cannot be meant; None where it can."""
    scope = parse_scope(text)
    match scope:
        case MalformedScope():
            return f"this scope grants nothing: {scope.reason.rstrip('.')}"
        case PlainScope():
            if plain_counts or scope.kind in _HARMLESS:
                return None
            return "is no scope for resources, such as patient/Observation.rs, and has no effect here"
        case ResourceScope():
            reason = _of_resource_scope(scope, vocabulary, value_sets, fillable=fillable)
            return None if reason is None else f"this scope grants nothing: {reason.rstrip('.')}"


def _of_resource_scope(scope: ResourceScope, vocabulary: Vocabulary, value_sets: ValueSets, *, fillable: bool) -> str | None:
    if not any(has_placeholder(value) for _, value in scope.params):
        return objection(scope, vocabulary, value_sets)
    if not fillable:
        return "placeholders are filled in for rules of policy.users only"
    filled = replace(scope, params=tuple((name, sample(value)) for name, value in scope.params))
    return objection_to_placeholders(scope, vocabulary) or objection(filled, vocabulary, value_sets)


def _nearest_type(text: str, vocabulary: Vocabulary) -> str | None:
    scope = parse_scope(text)
    if not isinstance(scope, ResourceScope) or scope.type == "*" or scope.type in vocabulary.types:
        return None
    return nearest(scope.type, vocabulary.types)
