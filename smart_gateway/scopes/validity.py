"""Whether a resource scope can grant anything under one FHIR release, and why not."""

from __future__ import annotations

from smart_gateway.fhir.search_values import split_values, undecidable
from smart_gateway.fhir.value_sets import NO_VALUE_SETS, ValueSets
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.scopes.scope import ResourceScope


def objection(scope: ResourceScope, vocabulary: Vocabulary, value_sets: ValueSets = NO_VALUE_SETS) -> str | None:
    """Why ``scope`` grants nothing, one sentence; None where it can grant something. Spec: semantics 3.

    A scope for ``*`` is objected to only when every type objects to it; ``objection_on`` says so for one type.
    """
    if scope.type != "*":
        return objection_on(scope, scope.type, vocabulary, value_sets)
    reason = None
    for type in sorted(vocabulary.types):
        found = objection_on(scope, type, vocabulary, value_sets)
        if found is None:
            return None
        reason = reason or found
    return f"No resource type can be filtered so. For instance: {reason}"


def objection_on(scope: ResourceScope, type: str, vocabulary: Vocabulary, value_sets: ValueSets = NO_VALUE_SETS) -> str | None:
    """Why ``scope`` grants nothing on ``type``, which it names itself or by ``*``."""
    if type not in vocabulary.types:
        return f"FHIR {vocabulary.release} has no resource type {type}."
    reasons = (_parameter_objection(name, value, type, vocabulary, value_sets) for name, value in scope.params)
    return next((reason for reason in reasons if reason is not None), None)


def _parameter_objection(name: str, value: str, type: str, vocabulary: Vocabulary, value_sets: ValueSets) -> str | None:
    code, colon, modifier = name.partition(":")
    if code == "_has":
        return "A reverse chain (_has) looks into other resources and cannot be decided in memory."
    if "." in name:
        return f"The chain {name} looks into other resources and cannot be decided in memory."
    parameter = vocabulary.parameter(type, code)
    if parameter is None:
        return f"{type} has no search parameter {code}."
    return undecidable(parameter, modifier if colon else None, split_values(value), value_sets)
