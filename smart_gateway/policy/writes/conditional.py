"""Writes that name their resource by criteria: ``If-None-Exist``, and update, patch and delete on a type (semantics 6).

Criteria are judged and narrowed as a search is, by the same code; what they find is then written by its id, as an interaction of its
own. Spec: FHIR R4 http.html 3.1.0.4.3, 3.1.0.7.1, 3.1.0.8.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from smart_gateway.boundary.model import Boundary
from smart_gateway.errors import PreconditionFailed, RequestError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.query import decode_query, encode_query
from smart_gateway.fhir.search_values import split_values
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.localising import local_pairs
from smart_gateway.policy.parameters.controls import CONTROLS
from smart_gateway.policy.parameters.modifiers import is_judged
from smart_gateway.policy.parameters.verdicts import Foreign
from smart_gateway.policy.plan import AnswerToWrite, BodyCheck, CheckSearchset, Criteria, Decision, Deny, Permit, Plan, UpstreamRequest
from smart_gateway.policy.requirements import REQUIRED
from smart_gateway.policy.searching import refuse_foreign, searches
from smart_gateway.policy.wording import check_sentence
from smart_gateway.policy.writes.patching import plan_patch
from smart_gateway.policy.writes.writing import plan_create, plan_delete, plan_update
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.request.parameters import read_parameters
from smart_gateway.scopes.permissions import Permission

_BY_ID: Mapping[Interaction, Callable[[FhirRequest, Access], Decision]] = {
    Interaction.UPDATE: plan_update,
    Interaction.PATCH: plan_patch,
    Interaction.DELETE: plan_delete,
}
_HARMLESS = frozenset({"_format", "_pretty"})
# These find something, though they stand among those that steer a search.
_SELECTING = frozenset({"_filter", "_query", "_list", "_in"})
_STEERING = (CONTROLS.keys() | {"_include", "_revinclude"}) - _HARMLESS - _SELECTING
_MOST = 1000
_ENOUGH = "2"  # matches: one is written, two are too many
_ANY = "any"  # stands for the id until there is one
# A server that leaves out what it does not understand would find too much, and one that gives an earlier answer again too little.
_STRICTLY = (("Prefer", "handling=strict"), ("Cache-Control", "no-cache"))
_INEXACT = Denial(
    "inexact-criteria", "The bounds of this token cannot be said as search parameters alone, so it cannot name a resource by criteria."
)


def is_conditional(request: FhirRequest) -> bool:
    """Whether the resource is named by criteria; such a write needs ``s`` too."""
    if request.interaction is Interaction.CREATE:
        return request.preferences.if_none_exist is not None
    return request.interaction in _BY_ID and request.id is None


def plan_conditional(request: FhirRequest, access: Access) -> Decision:
    """Raises RequestError for criteria that are broken or unknown, PreconditionFailed where there are none."""
    if request.interaction is Interaction.CREATE:
        return _plan_create(request, access)
    asked = _criteria(request.parameters, request, access)
    if _passes(request, access):
        return _passed(request, access, asked)
    found = _search(asked, access)
    if isinstance(found, Deny):
        return replace(found, grounds=_grounds(request, access))
    type, boundary = _type(request), access.boundary(_type(request), REQUIRED[request.interaction])
    checks = (
        f"the criteria find one {type} at most, which {check_sentence(found.rule.boundary or boundary)}",
        f"what they find is then asked for by its id, and {check_sentence(boundary)}",
    )
    answer = AnswerToWrite(type, access.boundary(type, Permission.READ))
    return Permit(Plan(answer, criteria=found, checks=checks), _grounds(request, access))


def possible_plans(request: FhirRequest, plan: Plan, access: Access) -> tuple[Plan, ...]:
    """``plan``; or those of which a write by criteria comes to one, whatever they match: for ``explain``, which asks no server."""
    if plan.criteria is None:
        return (plan,)
    unnamed = replace(request, parameters=())
    decisions = [_BY_ID[request.interaction](replace(unnamed, id=_ANY), access)]
    if request.interaction is Interaction.UPDATE and not access.boundary(_type(request), Permission.CREATE).is_nothing:
        decisions.append(plan_create(unnamed, access))
    return tuple([_unnamed(decision.plan) for decision in decisions if isinstance(decision, Permit)])


def _unnamed(plan: Plan) -> Plan:
    return replace(plan, body=replace(plan.body, id=None)) if isinstance(plan.body, BodyCheck) else plan


def original_criteria(request: FhirRequest) -> str:
    """The client's criteria as ``If-None-Exist`` says them: for the create that an update by criteria is where nothing matches."""
    return encode_query(tuple((p.key, p.value) for p in request.parameters if p.key not in _HARMLESS))


def _plan_create(request: FhirRequest, access: Access) -> Decision:
    """The narrowed criteria go along: the upstream looks and creates in one step. What it finds instead must lie inside."""
    plain = replace(request, preferences=replace(request.preferences, if_none_exist=None))
    decision = plan_create(plain, access)
    if isinstance(decision, Deny):
        return decision
    if request.type in access.policy.capabilities.no_conditional_create:
        raise PreconditionFailed(
            "The FHIR server says that it does not keep If-None-Exist.", reason="condition-not-supported", expression="http.If-None-Exist"
        )
    asked = _criteria(_header_parameters(request, access), request, access)
    found = _search(asked, access)
    if isinstance(found, Deny):
        return replace(found, grounds=decision.grounds)
    plan, type = decision.plan, _type(request)
    assert plan.upstream is not None
    header = ("If-None-Exist", encode_query(_selection(found)))
    boundary = found.rule.boundary
    assert boundary is not None
    answer = plan.answer
    if not boundary.is_everything:
        answer = AnswerToWrite(type, access.boundary(type, Permission.READ), found=boundary)
    checks = (*plan.checks, f"what the criteria find {check_sentence(boundary)}")
    upstream = replace(plan.upstream, headers=(*plan.upstream.headers, header))
    return Permit(replace(plan, answer=answer, upstream=upstream, checks=checks), decision.grounds)


def _selection(criteria: Criteria) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in criteria.search.query if pair != ("_count", _ENOUGH))


def _header_parameters(request: FhirRequest, access: Access) -> tuple[QueryParameter, ...]:
    """``If-None-Exist`` holds a query; that ``[base]/[type]?`` may stand before it is what HAPI's client does."""
    given = request.preferences.if_none_exist or ""
    head, mark, query = given.partition("?")
    if not mark or "=" in head:
        query = given
    elif head not in {"", request.type, f"{access.policy.bases.public}/{request.type}"}:
        raise RequestError("If-None-Exist names another type than the path.", reason="malformed-criteria", expression="http.If-None-Exist")
    return read_parameters(decode_query(query.encode("ascii"), _MOST))


def _criteria(parameters: tuple[QueryParameter, ...], request: FhirRequest, access: Access) -> FhirRequest:
    """The search that the criteria are. Nothing that steers the answer or the server, nothing unknown, nothing empty."""
    criteria = tuple(parameter for parameter in parameters if parameter.key not in _HARMLESS)
    if all(parameter.name in _STEERING for parameter in criteria):
        raise PreconditionFailed("Without an id, a write needs criteria: one search parameter at least.", reason="no-criteria")
    for parameter in criteria:
        _require_criterion(parameter, request, access)
    return FhirRequest(Interaction.SEARCH_TYPE, "GET", request.type, parameters=criteria)


def _require_criterion(parameter: QueryParameter, request: FhirRequest, access: Access) -> None:
    policy, name, type = access.policy, parameter.name, _type(request)
    defined = policy.vocabulary.parameter(type, name)
    known = name == "_has" or name in _SELECTING or defined is not None
    if name in _STEERING:
        reason, text = "unknown-parameter", "Criteria take search parameters only, none that steer the answer."
    elif not known and not policy.capabilities.names(type, name):
        reason, text = "unknown-parameter", f"Not a search parameter that is known for {type}: criteria must be understood whole."
    elif defined is not None and not parameter.chain and not is_judged(parameter.modifier, defined, policy.vocabulary.release):
        reason, text = "unknown-modifier", "FHIR does not define this modifier for this parameter: criteria must be understood whole."
    elif not any(split_values(parameter.value)):
        reason, text = "malformed-parameter", "A criterion has no value: a server would leave it out, and find everything."
    else:
        return
    raise RequestError(text, reason=reason, expression=f"http.{parameter.key}")


def _search(asked: FhirRequest, access: Access) -> Criteria | Deny:
    """The search narrowed exactly: what is found is what the token may search, and nothing else tells by its number or absence."""
    type = _type(asked)
    boundary = access.boundary(type, Permission.SEARCH)
    if access.unlimited(Permission.SEARCH):
        return _bounded_search(type, local_pairs(asked, access.policy), CheckSearchset(type, boundary, exact=True))
    found = searches(asked, _one_query(access))
    if isinstance(found, Foreign):
        return refuse_foreign(found)
    if isinstance(found, Deny):
        return found
    (branch,) = found.branches  # INVARIANT: `parameter` says every boundary as one query
    if not branch.rule.exact:
        return Deny(403, (_INEXACT,))
    return _bounded_search(type, branch.upstream.query, branch.rule)


def _bounded_search(type: str, pairs: tuple[tuple[str, str], ...], rule: CheckSearchset) -> Criteria:
    return Criteria(UpstreamRequest("GET", (type,), (*pairs, ("_count", _ENOUGH)), headers=_STRICTLY), rule)


def _one_query(access: Access) -> Access:
    """Criteria are one query on the type, which ``If-None-Exist`` can say: never a compartment's path, nor several searches."""
    if access.policy.compartment_search == "parameter":
        return access
    policy = replace(access.policy, compartment_search="parameter")
    return access.remembered(("criteria", ""), lambda: Access(access.principal, policy))


def _passes(request: FhirRequest, access: Access) -> bool:
    """Whether nothing bounds what the upstream may find, change or create; a client's condition is kept by id alone."""
    needed = {REQUIRED[request.interaction]}
    if request.interaction is Interaction.UPDATE:
        needed.add(Permission.CREATE)
    if request.interaction is Interaction.PATCH:
        needed.add(Permission.READ)
    conditions = (request.preferences.if_match, request.preferences.if_none_match)
    return (
        conditions == (None, None)
        and access.unlimited(Permission.SEARCH)
        and all(_everything(request, access, permission) for permission in needed)
    )


def _everything(request: FhirRequest, access: Access, permission: Permission) -> bool:
    boundary: Boundary = access.boundary(_type(request), permission)
    return boundary.is_everything


def _passed(request: FhirRequest, access: Access, asked: FhirRequest) -> Decision:
    """The plan by id, its id taken out: the upstream does what the criteria say."""
    decision = _BY_ID[request.interaction](replace(request, id=_ANY, parameters=()), access)
    if isinstance(decision, Deny):
        return decision
    plan = decision.plan
    assert plan.upstream is not None
    upstream = replace(plan.upstream, path=(_type(request),), query=local_pairs(asked, access.policy))
    answer = replace(plan.answer, id=None) if isinstance(plan.answer, AnswerToWrite) else plan.answer
    body = replace(plan.body, id=None) if isinstance(plan.body, BodyCheck) else plan.body
    return replace(decision, plan=replace(plan, upstream=upstream, answer=answer, body=body))


def _grounds(request: FhirRequest, access: Access) -> tuple[Ground, ...]:
    type = _type(request)
    return (*access.grounds(type, REQUIRED[request.interaction]), *access.grounds(type, Permission.SEARCH))


def _type(request: FhirRequest) -> str:
    assert request.type is not None
    return request.type
