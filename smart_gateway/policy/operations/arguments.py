"""Judges what is given to an operation, one input after the other: sent, refused, or somebody else's (semantics 8)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from smart_gateway.errors import RequestError
from smart_gateway.fhir.references import is_id, parse_reference
from smart_gateway.fhir.search_values_dates import time_range
from smart_gateway.fhir.search_values_syntax import ValueSyntaxError
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.hints import missing_scopes
from smart_gateway.policy.operations.table import Kind, OperationRule, Parameter
from smart_gateway.policy.owners import Owners
from smart_gateway.policy.parameters.verdicts import Foreign, Refuse
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.request.operations import Argument, holds_resource, read_arguments
from smart_gateway.scopes.permissions import Permission

_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Judged:
    """``given`` as it may be sent; ``criteria`` are left for the judge of searches. ``foreign``: another
    patient's record is asked for."""

    given: tuple[Argument, ...]
    criteria: tuple[QueryParameter, ...]
    refused: tuple[Refuse, ...]
    foreign: Foreign | None


def judge_arguments(rule: OperationRule, request: FhirRequest, access: Access) -> Judged:
    """Every input of ``request`` by ``rule``. Raises RequestError for those that are unknown, doubled, missing or malformed."""
    arguments = read_arguments(request, rule.bare)
    known = [argument for argument in arguments if argument.parameter.key in rule.parameters]
    others = [argument for argument in arguments if argument.parameter.key not in rule.parameters]
    if others and not (rule.criteria and all(other.is_plain for other in others)):
        raise _fault(f"{rule.name} takes no such parameter under a bounded token.", others[0], "unknown-parameter")
    _require_counts(rule, known)
    verdicts = [_judge(argument, rule.parameters[argument.parameter.key], request, access) for argument in known]
    return Judged(
        tuple([verdict for verdict in verdicts if isinstance(verdict, Argument)]),
        tuple([other.parameter for other in others]),
        tuple([verdict for verdict in verdicts if isinstance(verdict, Refuse)]),
        next((verdict for verdict in verdicts if isinstance(verdict, Foreign)), None),
    )


def _require_counts(rule: OperationRule, arguments: Iterable[Argument]) -> None:
    """Which of two values a server takes is its own secret: query and body are one list."""
    counts: Counter[str] = Counter()
    for argument in arguments:
        key = argument.parameter.key
        counts[key] += 1
        if counts[key] > 1 and not rule.parameters[key].repeats:
            raise _fault("The parameter is given more than once.", argument, "duplicate-parameter")
    for name, parameter in rule.parameters.items():
        if parameter.required and not counts[name]:
            raise RequestError(f"{rule.name} needs the parameter {name}.", reason="missing-parameter", expression=f"http.{name}")


def _judge(argument: Argument, parameter: Parameter, request: FhirRequest, access: Access) -> Argument | Refuse | Foreign:
    if parameter.kind is Kind.RESOURCE:
        return _resource(argument, parameter.types or frozenset({request.type or ""}))
    if parameter.kind is Kind.STRUCTURE and not argument.is_plain:
        return _structure(argument)
    if not argument.is_plain:
        raise _fault("The parameter is a single plain value.", argument)
    return _PLAIN[parameter.kind](argument, request, access)


def _resource(argument: Argument, types: frozenset[str]) -> Argument:
    content = argument.content
    if argument.member != "resource" or not isinstance(content, dict) or content.get("resourceType") not in types:
        raise _fault(f"The parameter is a resource of type {' or '.join(sorted(types))}.", argument, "type-mismatch")
    return argument


def _structure(argument: Argument) -> Argument:
    if argument.member == "resource" or holds_resource(argument.content):
        raise _fault("No resource is accepted here.", argument)
    return argument


def _any(argument: Argument, _request: FhirRequest, _access: Access) -> Argument:
    return argument


def _date(argument: Argument, _request: FhirRequest, _access: Access) -> Argument:
    try:
        time_range(argument.parameter.value)
    except ValueSyntaxError:
        raise _fault("The parameter is a date, or a moment with its zone.", argument) from None
    return argument


def _count(argument: Argument, _request: FhirRequest, _access: Access) -> Argument:
    if _COUNT.fullmatch(argument.parameter.value) is None:
        raise _fault("The parameter is a whole number.", argument)
    return argument


def _types(argument: Argument, request: FhirRequest, access: Access) -> Argument | Refuse:
    """Types that are asked for by name and closed to the token are refused; those that nobody names are only left out."""
    names = argument.parameter.value.split(",")
    if not access.policy.vocabulary.types.issuperset(names):
        raise _fault("The parameter is a list of resource types.", argument)
    closed = [name for name in dict.fromkeys(names) if access.readable(name).is_nothing]
    if not closed:
        return argument
    text = f"The token grants no permission 'r' on {', '.join(closed)}."
    missing = missing_scopes(request, access, closed, Permission.READ)
    return Refuse(Denial("insufficient-scope", text, argument.place), missing)


def _patient(argument: Argument, request: FhirRequest, access: Access) -> Argument | Foreign:
    value = argument.parameter.value
    reference = parse_reference(value, access.policy.bases)
    id = value if is_id(value) else reference.id if reference is not None and reference.type == "Patient" else None
    if id is None:
        raise _fault("The parameter is the id of a Patient, or a literal reference to one.", argument)
    boundary = access.boundary(request.type or "", Permission.SEARCH)
    if Owners.of(boundary).excludes("Patient", id):
        return Foreign(argument.place)
    plain = replace(argument.parameter, value=id)
    return replace(argument, parameter=plain, member=argument.member and "valueId", content=id)


_PLAIN: Mapping[Kind, Callable[[Argument, FhirRequest, Access], Argument | Refuse | Foreign]] = {
    Kind.PLAIN: _any,
    Kind.STRUCTURE: _any,
    Kind.DATE: _date,
    Kind.COUNT: _count,
    Kind.TYPES: _types,
    Kind.PATIENT: _patient,
}


def _fault(text: str, argument: Argument, reason: str = "malformed-parameter") -> RequestError:
    return RequestError(text, reason=reason, expression=argument.place)
