"""What the policy says against the FHIR release: types, search parameters and scopes that exist and can be decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from smart_gateway.fhir.value_sets import ValueSets
from smart_gateway.fhir.vocabulary import ParameterKind, Vocabulary
from smart_gateway.policy.model import DEFAULT_SHARED_TYPES, SERVER_TYPES
from smart_gateway.policy.operations.table import opened_on
from smart_gateway.policy.parameters.controls import CONTROLS
from smart_gateway.policy.parameters.includes import INCLUDES
from smart_gateway.policy.parameters.modifiers import is_judged
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scope import Context, PlainScope, ResourceScope
from smart_gateway.settings.checks.operations import check_operations
from smart_gateway.settings.checks.plain_scopes import meant_plain_scopes, nobody_may_have
from smart_gateway.settings.checks.scopes import check_scopes
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.reading.complaints import nearest
from smart_gateway.settings.sections.policy import ClientSettings, PolicySettings, PublicSettings

_WITHOUT_TYPE = frozenset({"search-system", "history-system", "batch"})
_WRITES = frozenset({"create", "update", "patch", "delete"})
_BOUNDED_ONLY_BY_CONTEXT = frozenset({"Binary"})  # its securityContext decides; as a shared type it would be open to all


def check_policy(policy: PolicySettings, vocabulary: Vocabulary, value_sets: ValueSets) -> Iterator[Problem]:
    """Everything in ``policy`` that the release does not know or that cannot be meant; ``value_sets`` are those that scopes may name."""
    yield from _clients(policy, vocabulary, value_sets)
    yield from check_operations(policy.operations, vocabulary, value_sets)
    for rule in _RULES:
        yield from rule(policy, vocabulary)


def _clients(policy: PolicySettings, vocabulary: Vocabulary, value_sets: ValueSets) -> Iterator[Problem]:
    counting = meant_plain_scopes(policy)
    for name, client in (policy.clients or {}).items():
        path: KeyPath = ("policy", "clients", name)
        for key in ("registered_scopes", "limit", "pin"):
            scopes = getattr(client, key)
            if scopes is not None:
                yield from check_scopes(
                    scopes, (*path, key), vocabulary, value_sets, plain_counts=key == "registered_scopes", counting=counting
                )
                if not scopes and key != "registered_scopes":
                    yield warning((*path, key), "is empty: this client gets nothing at all")
        yield from _client_role(name, client, path)
    if policy.clients == {}:
        yield warning(("policy", "clients"), "is empty: every client is refused")


def _client_role(name: str, client: ClientSettings, path: KeyPath) -> Iterator[Problem]:
    if name == "*" and client.role is not None:
        yield warning((*path, "role"), "every client that is not named may use system/ scopes")
    for key in ("registered_scopes", "limit", "pin"):
        for index, text in enumerate(getattr(client, key) or ()):
            scope = parse_scope(text)
            if isinstance(scope, ResourceScope) and scope.context is Context.SYSTEM and client.role is None:
                yield warning((*path, key, index), "system/ scopes count only with role: system")


def _unheld(policy: PolicySettings, vocabulary: Vocabulary) -> Iterator[Problem]:  # noqa: ARG001
    """Plain scopes that open something, and that no client may have."""
    calling = [] if policy.break_glass is None else [(policy.break_glass.scope, ("policy", "break_glass", "scope"))]
    opening = [
        (text, ("policy", "operations", name, "scopes", index))
        for name, operation in (policy.operations or {}).items()
        for index, text in enumerate(operation.scopes)
        if isinstance(parse_scope(text), PlainScope)
    ]
    for scope, path in (*calling, *opening):
        if nobody_may_have(scope, policy):
            yield warning(path, "is a scope that no client may have: none of their lists names it")


def _unknown_type(type: str, path: KeyPath, vocabulary: Vocabulary) -> Problem | None:
    if type in vocabulary.types:
        return None
    return Problem(path, f"FHIR {vocabulary.release} has no such resource type", nearest(type, vocabulary.types))


def _shared_types(policy: PolicySettings, vocabulary: Vocabulary) -> Iterator[Problem]:
    for index, type in enumerate(policy.shared_types or ()):
        path: KeyPath = ("policy", "shared_types", index)
        unknown = _unknown_type(type, path, vocabulary)
        if unknown is not None:
            yield unknown
        elif type == "Patient" or vocabulary.inclusion("Patient", type) or type in (policy.compartment_additions or {}):
            yield Problem(path, "is in the Patient compartment: bounded by it, and never shared")
        elif type in _BOUNDED_ONLY_BY_CONTEXT:
            yield Problem(path, "is bounded by its securityContext, and never shared")


def _compartment_additions(policy: PolicySettings, vocabulary: Vocabulary) -> Iterator[Problem]:
    for type, codes in (policy.compartment_additions or {}).items():
        path: KeyPath = ("policy", "compartment_additions", type)
        unknown = _unknown_type(type, path, vocabulary)
        if unknown is not None:
            yield unknown
            continue
        if type == "Patient" or vocabulary.inclusion("Patient", type):
            yield Problem(path, "is in the release's Patient compartment already: additions to it would widen it")
        if policy.shared_types is None and type in DEFAULT_SHARED_TYPES:
            yield warning(path, "is a shared type by default, and bounded by these parameters instead")
        for index, code in enumerate(codes):
            yield from _addition(type, code, (*path, index), vocabulary)


def _addition(type: str, code: str, path: KeyPath, vocabulary: Vocabulary) -> Iterator[Problem]:
    parameter = vocabulary.parameter(type, code)
    if parameter is None:
        yield Problem(path, f"{type} has no search parameter {code}", nearest(code, vocabulary.parameters(type)))
    elif parameter.kind is not ParameterKind.REFERENCE or (parameter.targets and "Patient" not in parameter.targets):
        yield Problem(path, f"{code} of {type} does not refer to a Patient")
    elif not parameter.evaluable:
        yield Problem(path, f"{code} of {type} cannot be read from a resource in memory")


def _server_types(policy: PolicySettings, vocabulary: Vocabulary) -> Iterator[Problem]:
    for index, type in enumerate(policy.writes.server_types):
        path: KeyPath = ("policy", "writes", "server_types", index)
        unknown = _unknown_type(type, path, vocabulary)
        if unknown is not None:
            yield unknown
        elif type not in SERVER_TYPES:
            yield Problem(path, "is no type that changes what the server does: its scopes decide, and it need not be named")


def _public(policy: PolicySettings, vocabulary: Vocabulary) -> Iterator[Problem]:
    for index, rule in enumerate(policy.public):
        path: KeyPath = ("policy", "public", index)
        yield from _public_operation(rule, path)
        if rule in policy.public[:index]:
            yield warning(path, "is in this list already")
        if rule.interaction in _WITHOUT_TYPE:
            if rule.type is not None:
                yield Problem((*path, "type"), f"{rule.interaction} is of no type")
            continue
        if rule.type is None:
            yield Problem((*path, "type"), "is missing")
            continue
        unknown = _unknown_type(rule.type, (*path, "type"), vocabulary)
        if unknown is not None:
            yield unknown
        elif rule.interaction in _WRITES:
            yield from _public_write(rule.type, (*path, "interaction"))
        elif rule.type == "Patient" or vocabulary.inclusion("Patient", rule.type):
            yield warning((*path, "type"), "patients' data without a token: everyone can read it")


def _public_write(type: str, path: KeyPath) -> Iterator[Problem]:
    if type in SERVER_TYPES:
        yield Problem(path, f"{type} changes what the server does: never without a token")
    else:
        yield warning(path, "everyone can write this without a token")


def _public_operation(rule: PublicSettings, path: KeyPath) -> Iterator[Problem]:
    if (rule.operation is None) == (rule.interaction == "operation"):
        yield Problem((*path, "operation"), "belongs to the interaction operation, and to no other")
    elif rule.operation is not None and rule.operation not in opened_on(rule.type):
        text = "is no operation of the gateway's own list on this type: those that a policy opens need a token"
        yield Problem((*path, "operation"), text, nearest(rule.operation, opened_on(rule.type)))


def _search(policy: PolicySettings, vocabulary: Vocabulary) -> Iterator[Problem]:
    for type, keys in policy.search.parameters.items():
        path: KeyPath = ("policy", "search", "parameters", type)
        unknown = None if type == "*" else _unknown_type(type, path, vocabulary)
        if unknown is not None:
            yield unknown
            continue
        for index, key in enumerate(keys):
            name, _, modifier = key.partition(":")
            types = sorted(vocabulary.types) if type == "*" else [type]
            defined = ((one, vocabulary.parameter(one, name)) for one in types)
            judged = next((one for one, known in defined if known and is_judged(modifier or None, known, vocabulary.release)), None)
            if name in CONTROLS or name in INCLUDES or name == "_has":
                yield Problem((*path, index), f"{name} is judged by the gateway itself, and cannot be let through")
            elif judged is not None:
                yield Problem((*path, index), f"FHIR defines {key} for {judged}: it is judged by that, and cannot be let through")
            elif key in keys[:index]:
                yield warning((*path, index), "is in this list already")


_RULES: tuple[Callable[[PolicySettings, Vocabulary], Iterator[Problem]], ...] = (
    _shared_types,
    _compartment_additions,
    _server_types,
    _public,
    _unheld,
    _search,
)
