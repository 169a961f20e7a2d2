"""Operations of the policy that cannot be meant: opened already, on types that there are not, by scopes that open nothing."""

from __future__ import annotations

from collections.abc import Iterator

from smart_gateway.fhir.value_sets import ValueSets
from smart_gateway.fhir.vocabulary import Vocabulary
from smart_gateway.policy.exports.planning import EXPORT_OPERATIONS
from smart_gateway.policy.operations.table import SHIPPED
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scope import PlainScope, ResourceScope, ScopeKind
from smart_gateway.settings.checks.scopes import scope_objection
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.reading.complaints import nearest
from smart_gateway.settings.sections.operations import OperationSettings

_OWN = frozenset({rule.name for rule in SHIPPED} | EXPORT_OPERATIONS)


def check_operations(operations: dict[str, OperationSettings] | None, vocabulary: Vocabulary, value_sets: ValueSets) -> Iterator[Problem]:
    """Operations that are opened already, on types that there are not, or by scopes that cannot be meant."""
    for name, operation in (operations or {}).items():
        path: KeyPath = ("policy", "operations", name)
        if name in _OWN:
            yield Problem(path, "is in the gateway's own list, which says what opens it: a policy adds others")
        for index, type in enumerate(operation.types or ()):
            if type not in vocabulary.types:
                reason = f"FHIR {vocabulary.release} has no such resource type"
                yield Problem((*path, "types", index), reason, nearest(type, vocabulary.types))
        if operation.types is not None and set(operation.level) == {"system"}:
            yield Problem((*path, "types"), "an operation of the system is called on no type")
        for index, text in enumerate(operation.scopes):
            yield from _scope(text, (*path, "scopes", index), vocabulary, value_sets)
        if operation.answer in {"none", "stream"}:
            yield warning((*path, "answer"), "is not looked at: whoever has the scope gets all that the operation answers")


def _scope(text: str, path: KeyPath, vocabulary: Vocabulary, value_sets: ValueSets) -> Iterator[Problem]:
    scope = parse_scope(text)
    reason = scope_objection(text, vocabulary, value_sets, plain_counts=True)
    if reason is not None:
        yield Problem(path, reason)
    elif isinstance(scope, ResourceScope) and scope.params:
        yield Problem(path, "has a filter, which opens no operation: the scopes of the token say what it is about")
    elif isinstance(scope, PlainScope) and scope.kind is not ScopeKind.EXTENSION:
        yield Problem(path, "is a scope that nearly every token has: it opens nothing")
