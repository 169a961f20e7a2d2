"""Operations that the policy opens: by which scopes, where, with which parameters, and how their answers are checked.

Spec: semantics 8. The gateway's own list (``policy.operations.table``) comes first and cannot be written anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from smart_gateway.boundary.model import Boundary, everything
from smart_gateway.errors import MethodNotAllowed, RequestError
from smart_gateway.fhir.references import Reference, is_id, parse_reference
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.hints import opening_scope
from smart_gateway.policy.model import OpenedOperation, OperationAnswer
from smart_gateway.policy.operations.calls import as_it_came, asking
from smart_gateway.policy.operations.checks import CheckOpened
from smart_gateway.policy.operations.relabelling import refuse_relabelling
from smart_gateway.policy.operations.table import level_of
from smart_gateway.policy.plan import AnswerRule, BodyCheck, Decision, Deny, Permit, Plan, StoredCheck, Stream
from smart_gateway.policy.reading import require_judged_media
from smart_gateway.policy.rules.ceilings import names_all, within
from smart_gateway.policy.rules.plain_scopes import holds_plain
from smart_gateway.policy.rules.users import UserHolds
from smart_gateway.policy.wording import check_sentence
from smart_gateway.policy.writes.writing import refuse_body
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.operations import Argument, holds_resource, read_arguments
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, ResourceScope

_CHECKS: Mapping[OperationAnswer, tuple[AnswerRule, str]] = {
    OperationAnswer.FILTER: (
        CheckOpened(refuse=False),
        "what the token may not read goes from a Bundle; another answer with it is refused",
    ),
    OperationAnswer.REFUSE: (CheckOpened(refuse=True), "an answer that holds what the token may not read is refused"),
    OperationAnswer.NONE: (Stream(), "the answer is not looked at, as the policy says"),
}


def opened_for(request: FhirRequest, access: Access) -> OpenedOperation | None:
    """What the policy says of the operation where ``request`` calls it, if anything. Raises MethodNotAllowed."""
    fitting = [rule for rule in access.policy.operations if _fits(rule, request)]
    taking = [rule for rule in fitting if request.method in rule.methods]
    if fitting and not taking:
        raise MethodNotAllowed(f"{fitting[0].name} does not take this method here.", allow=sorted({m for r in fitting for m in r.methods}))
    return taking[0] if taking else None


def _fits(rule: OpenedOperation, request: FhirRequest) -> bool:
    if rule.name != request.operation or level_of(request).name.lower() not in rule.levels:
        return False
    return request.type is None or rule.types is None or request.type in rule.types


def refuse_opened(rule: OpenedOperation, access: Access) -> Deny | None:
    """The refusal of a token that has none of the scopes that open the operation."""
    if any(holds_plain(access, text) for text in rule.plain) or any(_covers(access, scope) for scope in rule.scopes):
        return None
    text = f"The token holds none of the scopes by which the policy opens {rule.name}."
    missing = opening_scope(access, rule.plain, rule.scopes)
    return Deny(403, (Denial("insufficient-scope", text),), missing, (_ground(rule, access, "denies", "none of its scopes is held"),))


def plan_opened_operation(rule: OpenedOperation, request: FhirRequest, access: Access) -> Decision:
    """The plan for a call that a scope of the token opens. Raises RequestError for what the policy does not name, or is broken."""
    grounds = (_ground(rule, access, "grants", "a scope of the token opens it"), *_type_grounds(request, access))
    answer, check = _CHECKS[rule.answer]
    relabelling = refuse_relabelling(request, access)
    if relabelling is not None:
        return relabelling
    if access.sees_all:
        call = as_it_came(request, tuple([(p.key, p.value) for p in request.parameters if p.key != "_format"]))
        return Permit(Plan(Stream(), call.upstream, body=call.body), grounds)
    if rule.answer is not OperationAnswer.NONE:
        require_judged_media(request)
    stored = _instance(rule, request, access)
    if isinstance(stored, Deny):
        return replace(stored, grounds=grounds)
    given: list[Argument] = []
    inside: list[StoredCheck] = []
    for argument in read_arguments(request, None):
        judged = _judge(argument, rule, access)
        if isinstance(judged, Deny):
            return replace(judged, grounds=grounds)
        given.append(judged[0])
        inside += judged[1]
    call = asking(request, given)
    needed = tuple(one for one in (stored, *inside) if one is not None)
    checks = tuple(f"{one.type}/{one.id} {check_sentence(one.boundary)}, else it looks absent" for one in needed)
    return Permit(Plan(answer, call.upstream, inside=needed, body=call.body, checks=(*checks, check)), grounds)


def _covers(access: Access, wanted: ResourceScope) -> bool:
    """Whether the token holds what a scope of the policy says: each permission, on the type, in the context."""
    return all(_leaves(access, wanted, permission) for permission in Permission if permission in wanted.permissions)


def _leaves(access: Access, wanted: ResourceScope, permission: Permission) -> bool:
    if wanted.type != "*":
        return not access.boundary_by(wanted.context, wanted.type, permission).is_nothing
    return access.remembered(
        (str(wanted.context), f"* {permission.letters}"), lambda: _leaves_all_types(access, wanted.context, permission)
    )


def _leaves_all_types(access: Access, context: Context, permission: Permission) -> bool:
    """Whether a ``*`` of the token counts and nothing leaves types out by their names: no ceiling, and no rule for users."""
    access = access.counting_for(permission)
    if not any(names_all(scope, permission) for scope in access.scopes if scope.context is context):
        return False
    lists = [within(ceiling, context) for ceiling in access.ceilings]
    if not all(any(names_all(scope, permission) for scope in listed) for listed in lists):
        return False
    if context is Context.USER and not all(any(_holds_all_types(rule, permission) for rule in rules) for rules in access.standing.user):
        return False
    types = sorted(access.policy.vocabulary.types)
    return any(not access.boundary_by(context, type, permission).is_nothing for type in types)


def _holds_all_types(rule: UserHolds, permission: Permission) -> bool:
    return rule.scopes is None or any(names_all(scope, permission) for scope in rule.scopes)


def _reach(rule: OpenedOperation, type: str, access: Access) -> Boundary:
    """What of ``type`` the operation may be about: what the scopes that open it leave, all of it; by a plain scope what may be read."""
    covering = [scope for scope in rule.scopes if scope.type == type and _covers(access, scope)]
    if not covering:
        return access.readable(type)
    boundary = everything()
    for scope in covering:
        for permission in (one for one in Permission if one in scope.permissions):
            boundary = boundary.intersect(access.boundary(type, permission))
    return boundary


def _instance(rule: OpenedOperation, request: FhirRequest, access: Access) -> StoredCheck | Deny | None:
    if request.type is None or request.id is None:
        return None
    return _inside(Reference(request.type, request.id), _reach(rule, request.type, access), access)


def _inside(reference: Reference, boundary: Boundary, access: Access) -> StoredCheck | Deny | None:
    if boundary.is_everything:
        return None
    if boundary.is_nothing or not access.matcher.could_hold(boundary, reference.type, reference.id):
        return absent(access.policy)
    return StoredCheck(reference.type, reference.id, boundary, for_write=False)


def _judge(argument: Argument, rule: OpenedOperation, access: Access) -> tuple[Argument, tuple[StoredCheck, ...]] | Deny:
    must_be_inside = rule.parameters.get(argument.parameter.key)
    if must_be_inside is None:
        raise RequestError(f"The policy names no such parameter of {rule.name}.", reason="unknown-parameter", expression=argument.place)
    if not must_be_inside:
        if argument.member == "resource" or holds_resource(argument.content):
            raise RequestError("No resource is accepted here.", reason="malformed-parameter", expression=argument.place)
        return argument, ()
    if argument.member == "resource":
        return _judge_resource(argument, rule, access)
    reference = _named(argument, access)
    checked = _inside(reference, _reach(rule, reference.type, access), access)
    if isinstance(checked, Deny):
        return checked
    return _local(argument, reference), () if checked is None else (checked,)


def _judge_resource(argument: Argument, rule: OpenedOperation, access: Access) -> tuple[Argument, tuple[StoredCheck, ...]] | Deny:
    """A resource that is given must be inside by the rule for writes."""
    content = argument.content
    type = content.get("resourceType") if isinstance(content, dict) else None
    if not isinstance(type, str) or type not in access.policy.vocabulary.types:
        raise RequestError("The parameter is a resource.", reason="type-mismatch", expression=argument.place)
    refused = refuse_body(content, BodyCheck(type, None, _reach(rule, type, access)), access)
    return refused or (argument, ())


def _named(argument: Argument, access: Access) -> Reference:
    """The resource that a parameter names: by a literal reference, or an id where the parameter is called like a type."""
    value = argument.parameter.value
    if argument.is_plain:
        type = argument.parameter.key[:1].upper() + argument.parameter.key[1:]
        if is_id(value) and value not in {".", ".."} and type in access.policy.vocabulary.types:
            return Reference(type, value)
        reference = parse_reference(value, access.policy.bases)
        if reference is not None and reference.version is None and reference.type in access.policy.vocabulary.types:
            return reference
    text = "The parameter is a literal reference to a resource of this server."
    raise RequestError(text, reason="malformed-parameter", expression=argument.place)


def _local(argument: Argument, reference: Reference) -> Argument:
    """The argument with the reference as the upstream knows it."""
    if is_id(argument.parameter.value):
        return argument
    content = {"reference": str(reference)} if argument.member == "valueReference" else str(reference)
    return replace(argument, parameter=replace(argument.parameter, value=str(reference)), content=content)


def _ground(rule: OpenedOperation, access: Access, result: str, text: str) -> Ground:
    return Ground("operation", rule.name, result, text, access.policy.place(*rule.path))


def _type_grounds(request: FhirRequest, access: Access) -> Iterable[Ground]:
    return access.grounds(request.type, Permission.READ) if request.type is not None else ()


def opened_names(rules: Iterable[OpenedOperation], type: str | None) -> Iterator[str]:
    """The operations of the policy on ``type`` or its instances; at the base, where ``type`` is None."""
    for rule in rules:
        if ("system" in rule.levels) if type is None else (rule.levels - {"system"} and (rule.types is None or type in rule.types)):
            yield rule.name
