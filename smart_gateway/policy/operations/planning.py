"""The plans for operations: the closed list of ``policy.operations.table``, each judged as its row says (semantics 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from smart_gateway.boundary.model import NOTHING, Boundary
from smart_gateway.errors import MethodNotAllowed, RequestError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.exports.planning import EXPORT_OPERATIONS, plan_export
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.hints import missing_scopes
from smart_gateway.policy.localising import local_pairs
from smart_gateway.policy.operations.arguments import Judged, judge_arguments
from smart_gateway.policy.operations.calls import Call, as_it_came, asking
from smart_gateway.policy.operations.checks import CheckMeta, CheckOutcome, CheckTerms
from smart_gateway.policy.operations.opened import opened_for, plan_opened_operation
from smart_gateway.policy.operations.revealing import revealing_call
from smart_gateway.policy.operations.table import Answers, Kind, Opening, OperationRule, Reach, level_of, rule_for
from smart_gateway.policy.owners import Owners
from smart_gateway.policy.parameters.judging import judge
from smart_gateway.policy.parameters.verdicts import Foreign
from smart_gateway.policy.plan import (
    AnswerRule,
    BodyCheck,
    CheckSearchset,
    Decision,
    Deny,
    Permit,
    Plan,
    StoredCheck,
    Stream,
    UpstreamRequest,
)
from smart_gateway.policy.reading import require_judged_media
from smart_gateway.policy.searching import foreign
from smart_gateway.policy.wording import check_sentence
from smart_gateway.policy.writes.writing import refuse_body
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.request.operations import Argument
from smart_gateway.scopes.permissions import Permission

Pairs = tuple[tuple[str, str], ...]


_IN_PAGES = frozenset({Answers.RECORD, Answers.MATCHES})


def opening_of(request: FhirRequest) -> Opening | Deny:
    """What the operation needs where ``request`` calls it; Deny where nothing opens it, whoever asks. Raises MethodNotAllowed."""
    rule = rule_for(request)
    if rule is None:
        text = f"The operation {request.operation} is not opened here: neither this gateway's list nor a policy names it."
        return Deny(403, (Denial("operation-not-opened", text),))
    opening = rule.levels[level_of(request)]
    if request.method not in opening.methods:
        raise MethodNotAllowed(f"{rule.name} does not take this method here.", allow=sorted(opening.methods))
    return opening


def plan_operation(request: FhirRequest, access: Access) -> Decision:
    """The plan for a call of a listed operation. Raises RequestError for parameters and bodies that are broken or unknown."""
    if request.operation in EXPORT_OPERATIONS:
        return plan_export(request, access)
    rule = rule_for(request)
    opened = opened_for(request, access) if rule is None else None
    if opened is not None:
        return plan_opened_operation(opened, request, access)
    assert rule is not None  # INVARIANT: authorize_types has refused before
    opening = rule.levels[level_of(request)]
    if access.sees_all and (access.follows_streams or rule.answers not in _IN_PAGES):
        call = as_it_came(request, local_pairs(request, access.policy))
        return Permit(Plan(Stream(), call.upstream, body=call.body), _grounds(request, opening, access))
    require_judged_media(request)
    boundary = _boundary(request, opening, access)
    refused = _out_of_reach(request, rule, opening, boundary, access)
    if refused is not None:
        return refused
    judged = judge_arguments(rule, request, access)
    causes = (*[r.denial for r in judged.refused], *revealing_call(request, rule, judged, access))
    if causes:
        missing = [m for r in judged.refused for m in r.missing]
        return Deny(403, causes, tuple(dict.fromkeys(missing)), _grounds(request, opening, access))
    if judged.foreign is not None:
        return foreign(request, access, judged.foreign)
    decision = _PLANNERS[rule.answers](request, rule, boundary, judged, access)
    return replace(decision, grounds=decision.grounds or _grounds(request, opening, access))


def _boundary(request: FhirRequest, opening: Opening, access: Access) -> Boundary:
    """What the token may touch of the type called, by any of the permissions that open the operation."""
    if request.type is None:
        return NOTHING
    return Boundary.union_of(access.boundary(request.type, permission) for permission in opening.permissions)


def _grounds(request: FhirRequest, opening: Opening, access: Access) -> tuple[Ground, ...]:
    type = request.type
    if type is None:
        return ()
    return tuple(dict.fromkeys(ground for permission in opening.permissions for ground in access.grounds(type, permission)))


def _out_of_reach(request: FhirRequest, rule: OperationRule, opening: Opening, boundary: Boundary, access: Access) -> Deny | None:
    """The refusal of a call that goes beyond ``boundary`` whatever it is given."""
    grounds = _grounds(request, opening, access)
    if request.id is not None and not access.matcher.could_hold(boundary, request.type or "", request.id):
        return absent(access.policy, grounds)
    open_enough = {
        Reach.UNBOUNDED: False,
        Reach.UNBOUNDED_TYPE: boundary.is_everything,
        Reach.WHOLE_TYPE: _is_whole(boundary),
    }
    if open_enough.get(opening.reach, True):
        return None
    text = f"{rule.name} cannot be bound to what this token may touch: call it on one resource."
    return Deny(403, (Denial("operation-not-narrowed", text),), grounds=grounds)


def _is_whole(boundary: Boundary) -> bool:
    return boundary.is_everything or any(region.is_whole for region in boundary.regions)


def _plan_record(request: FhirRequest, _rule: OperationRule, boundary: Boundary, judged: Judged, access: Access) -> Decision:
    """``$everything``: servers give more than the compartment, so each resource is judged by itself."""
    given = judged.given
    types = _named_types(access)
    if types and not any(argument.parameter.key == "_type" for argument in given):
        given = (*given, _argument("_type", ",".join(types), "valueCode"))
    check = "every resource in the answer is one that the token may read or search"
    return _permit(request, CheckSearchset(None, None, exact=False), asking(request, given), boundary, (check,))


def _named_types(access: Access) -> tuple[str, ...]:
    """The types that the token may read or search, where its scopes name them; ``*`` leaves the choice to the server."""
    held = (*access.scopes, *(region.scope for region in access.permitted))
    reading = [s for s in held if Permission.READ in s.permissions or Permission.SEARCH in s.permissions]
    if any(scope.type == "*" for scope in reading):
        return ()
    return tuple(sorted({scope.type for scope in reading if not access.readable(scope.type).is_nothing}))


def _plan_matches(request: FhirRequest, rule: OperationRule, boundary: Boundary, judged: Judged, access: Access) -> Decision:
    """``$docref`` and ``$lastn``: searches by another name."""
    type, given = request.type or "", judged.given
    if rule.criteria:
        found = _criteria(request, boundary, judged.criteria, access)
        if isinstance(found, Deny):
            return found
        if isinstance(found, Foreign):
            return foreign(request, access, found)
        given = (*given, *(_argument(key, value, "valueString") for key, value in found))
    check = f"every {type} in the answer {check_sentence(boundary)}"
    return _permit(request, CheckSearchset(type, boundary, exact=False), asking(request, given), None, (check,))


def _criteria(request: FhirRequest, boundary: Boundary, criteria: tuple[QueryParameter, ...], access: Access) -> Pairs | Deny | Foreign:
    """The criteria as a search of the type would send them."""
    type = request.type or ""
    narrowing = access.policy.narrower.narrow(boundary, type)
    search = replace(request, interaction=Interaction.SEARCH_TYPE, operation=None, parameters=criteria, resource=None)
    judgement = judge(search, access, boundary, Owners.of(boundary), exact=False)  # what it counts is the server's to say
    if judgement.denials:
        return Deny(403, judgement.denials, judgement.missing, access.grounds(type, Permission.SEARCH))
    return judgement.foreign or tuple(dict.fromkeys((*judgement.pairs, *narrowing.parameters)))


def _plan_meta(request: FhirRequest, _rule: OperationRule, boundary: Boundary, _judged: Judged, _access: Access) -> Decision:
    """``$meta`` of an instance is in the instance: it is read, judged, and its meta taken out."""
    assert request.type is not None
    assert request.id is not None
    check = f"{request.type}/{request.id} {check_sentence(boundary)}, else it looks absent"
    asked = UpstreamRequest("GET", (request.type, request.id))
    return Permit(Plan(CheckMeta(request.type, request.id, boundary), asked, checks=(check,)))


def _plan_outcome(request: FhirRequest, rule: OperationRule, boundary: Boundary, judged: Judged, access: Access) -> Decision:
    """``$validate``: what is validated must be what the token could write; the answer tells no more than where the faults are."""
    assert request.type is not None
    resources = [argument.content for argument in judged.given if rule.parameters[argument.parameter.key].kind is Kind.RESOURCE]
    if not resources and request.id is None:
        raise RequestError(f"{rule.name} needs a resource.", reason="missing-parameter", expression="Parameters")
    if not resources:  # what is stored is validated, and where its faults are tells of it
        readable = access.boundary(request.type, Permission.READ)
        if readable.is_nothing:
            return _unreadable(request, request.type, access)
        boundary = boundary.intersect(readable)
    for resource in resources:
        if request.id is not None and resource.get("id", request.id) != request.id:
            raise RequestError("The id in the body is not that of the path.", reason="id-mismatch", expression=f"{request.type}.id")
        denied = refuse_body(resource, BodyCheck(request.type, request.id, boundary), access)
        if denied is not None:
            return denied
    checks = (f"the {request.type} in the body {check_sentence(boundary)} and names nobody else's record",) if resources else ()
    last = "of the outcome only severity, code and expression leave"
    return _permit(request, CheckOutcome(), as_it_came(request, _query(judged)), boundary, (*checks, last))


def _unreadable(request: FhirRequest, type: str, access: Access) -> Deny:
    cause = Denial("insufficient-scope", f"The stored {type} is validated here, and the token grants no permission 'r' on it.")
    missing = missing_scopes(request, access, (type,), Permission.READ)
    return Deny(403, (cause,), missing, access.grounds(type, Permission.READ))


def _plan_terms(request: FhirRequest, rule: OperationRule, boundary: Boundary, judged: Judged, _access: Access) -> Decision:
    check = "every resource in the answer is one that the token may read or search"
    asked = as_it_came(request, _query(judged))
    return _permit(request, CheckTerms(rule.types or frozenset()), asked, boundary, (check,))


def _permit(
    request: FhirRequest,
    rule: AnswerRule,
    call: Call,
    boundary: Boundary | None,
    checks: tuple[str, ...],
) -> Permit:
    """``boundary`` is that of the stored instance, None where none is named."""
    stored = None
    if request.id is not None and boundary is not None and not boundary.is_everything:
        stored = StoredCheck(request.type or "", request.id, boundary, for_write=False)
        checks = (f"the stored {request.type}/{request.id} {check_sentence(boundary)}, else it looks absent", *checks)
    return Permit(Plan(rule, call.upstream, stored, call.body, checks=checks))


def _argument(key: str, value: str, member: str) -> Argument:
    """An input of ours, as a query and as a Parameters resource have it."""
    return Argument(QueryParameter(key, key, value), f"http.{key}", member, value)


def _query(judged: Judged) -> Pairs:
    """The inputs that came in the query; those of the body go with it."""
    return tuple([(a.parameter.key, a.parameter.value) for a in judged.given if a.member is None])


_PLANNERS: Mapping[Answers, Callable[[FhirRequest, OperationRule, Boundary, Judged, Access], Decision]] = {
    Answers.RECORD: _plan_record,
    Answers.MATCHES: _plan_matches,
    Answers.META: _plan_meta,
    Answers.OUTCOME: _plan_outcome,
    Answers.TERMS: _plan_terms,
}
