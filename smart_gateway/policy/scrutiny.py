"""Every scope and rule that one request was held against, for explanations: what a decision tells by itself, and what it passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.access import Access
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.plan import Decision, Permit
from smart_gateway.policy.requirements import REQUIRED
from smart_gateway.policy.writes.conditional import is_conditional
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

_GRANTS, _LIMITS, _DENIES, _IGNORED = "grants", "limits", "denies", "ignored"
_USER = "user"  # rules that bound user/ scopes alone
_OUTSIDE = frozenset({"not-found", "outside-boundary", "foreign-patient"})
_FEW = 5  # types that are named; of more, how many they are is said


def looked_at(request: FhirRequest, told: tuple[Ground, ...], access: Access) -> tuple[Ground, ...]:
    """``told``, the grounds of a decision, or where it has none those of the types that were asked for; and what counted for nothing."""
    found = told or tuple(_asked_for(request, access))
    known = {(ground.source, ground.rule) for ground in found}
    return (*found, *(ground for ground in _passed_over(request, access) if (ground.source, ground.rule) not in known))


def decides(ground: Ground, decision: Decision | None, looked: tuple[Ground, ...]) -> bool:
    """Whether ``ground``, of all that were ``looked`` at, is one of those by which ``decision`` fell as it did; None is a request that is
    refused for its form."""
    if decision is None or ground.result == _IGNORED:
        return False
    if isinstance(decision, Permit):
        return ground.source != _USER or any(other.result == _GRANTS and other.rule.startswith("user/") for other in looked)
    return ground.result != _GRANTS or decision.causes[0].code in _OUTSIDE  # outside of what it grants


def _asked_for(request: FhirRequest, access: Access) -> Iterator[Ground]:
    needed = REQUIRED.get(request.interaction)
    if needed is None:  # discovery, entries with grounds of their own, operations that the list does not open
        return
    permissions = (needed, Permission.SEARCH) if is_conditional(request) else (needed,)
    types = (request.type,) if request.type is not None else _named(request) or tuple(sorted(access.policy.vocabulary.types))
    for permission in dict.fromkeys(permissions):
        if len(types) == 1:
            yield from access.grounds(types[0], permission)
        else:
            yield from _together([(type, ground) for type in types for ground in access.grounds(type, permission)], permission)


def _named(request: FhirRequest) -> tuple[str, ...]:
    """The types of ``_type``."""
    values = [parameter.value.split(",") for parameter in request.parameters if parameter.name == "_type"]
    return tuple(dict.fromkeys(chain.from_iterable(values)))


def _together(found: Iterable[tuple[str, Ground]], permission: Permission) -> Iterator[Ground]:
    """One ground for each rule and result over several types."""
    held: dict[tuple[str, str, str | None], list[tuple[str, Ground]]] = {}
    for type, ground in found:
        held.setdefault((ground.source, ground.rule, ground.place), []).append((type, ground))
    for (source, rule, place), grounds in held.items():
        granting = [type for type, ground in grounds if ground.result == _GRANTS]
        if granting:
            yield Ground(source, rule, _GRANTS, f"gives {permission.letters} on {_listed(granting)}", place)
            continue
        result = next((ground.result for _, ground in grounds if ground.result != _IGNORED), _IGNORED)
        yield Ground(source, rule, result, _in_few_words([ground.text for _, ground in grounds if ground.result == result]), place)


def _in_few_words(texts: list[str]) -> str:
    """What is said of all types alike; else what is said of one, rather not that a scope is for other types."""
    different = list(dict.fromkeys(texts))
    if len(different) == 1:
        return different[0]
    telling = [text for text in different if not text.startswith("is for ")] or different
    return f"{telling[0]}; and so, type by type, for the others"


def _listed(types: list[str]) -> str:
    more = len(types) - _FEW
    return ", ".join(types[:_FEW]) + (f" and {more} more" if more > 0 else "")


def _passed_over(request: FhirRequest, access: Access) -> Iterator[Ground]:
    """What the token has and nothing was made of, and public rules that are for other requests."""
    scopes, counted = access.principal.scopes, {scope.text for scope in access.scopes}
    reason = _why_no_scope_counts(access)
    if request.interaction in REQUIRED or request.interaction is Interaction.OPERATION:
        yield from (Ground("scope", scope.text, _IGNORED, reason) for scope in scopes.resources if scope.text not in counted)
    yield from (Ground("scope", scope.text, _IGNORED, scope.reason) for scope in scopes.malformed)
    yield from (Ground("scope", scope.text, _IGNORED, f"is no scope for resources ({scope.kind})") for scope in scopes.plain)
    if access.principal.anonymous:
        for rule in access.policy.public:
            name = f"{rule.interaction} {rule.type}" if rule.type is not None else str(rule.interaction)
            yield Ground("public", name, _IGNORED, "is for other requests", access.policy.place("public"))


def _why_no_scope_counts(access: Access) -> str:
    if access.client is None:
        return "was not looked at: the policy does not let this client in"
    if access.client.pin is not None:
        return "does not count: the policy pins this client's scopes"
    return "does not count beside what the permissions of this token open"
