"""The decision. Spec: semantics 10, order of judgement; the shell calls the same two functions that ``explain`` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from smart_gateway.errors import RequestError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.access import Access
from smart_gateway.policy.across import plan_search_across
from smart_gateway.policy.admission import refuse_party
from smart_gateway.policy.batch import plan_batch
from smart_gateway.policy.causes import Denial, Missing
from smart_gateway.policy.discovery import capability_request
from smart_gateway.policy.exports.planning import EXPORT_OPERATIONS, authorize_export
from smart_gateway.policy.hints import missing_scope
from smart_gateway.policy.history import plan_history
from smart_gateway.policy.model import Policy
from smart_gateway.policy.operations.opened import opened_for, refuse_opened
from smart_gateway.policy.operations.planning import opening_of, plan_operation
from smart_gateway.policy.operations.table import rule_for
from smart_gateway.policy.paging import plan_page
from smart_gateway.policy.plan import (
    AnswerRule,
    Capability,
    Decision,
    Deny,
    Permit,
    Plan,
    ProtectedResource,
    SmartConfiguration,
    Stream,
)
from smart_gateway.policy.reading import plan_read, require_known_media
from smart_gateway.policy.requirements import DISCOVERY, PAGED, REQUIRED
from smart_gateway.policy.searching import plan_search
from smart_gateway.policy.writes.conditional import is_conditional, plan_conditional
from smart_gateway.policy.writes.patching import plan_patch
from smart_gateway.policy.writes.writing import plan_create, plan_delete, plan_update
from smart_gateway.request.completing import is_complete
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import PlainScope, ResourceScope

_NO_SCOPE = Denial("insufficient-scope", "The token grants no permission on any type.")
_NOT_PUBLIC = Denial("token-missing", "This needs an access token: the policy does not open it to everybody.")
_SEARCHES = frozenset({Interaction.SEARCH_SYSTEM, Interaction.SEARCH_COMPARTMENT})
_ASYNC = Denial("respond-async", "Prefer: respond-async is refused under a bounded token.", "http.Prefer")


def is_public(request: FhirRequest, policy: Policy) -> bool:
    """Whether the request needs no token: discovery, what the policy lists, and the pages of that (semantics 11)."""
    if request.interaction in DISCOVERY:
        return True
    meant = PAGED if request.interaction is Interaction.PAGE else frozenset({request.interaction})
    asked = (request.type, request.operation)
    return any(rule.interaction in meant and (rule.type, rule.operation) == asked for rule in policy.public)


def authorize_types(request: FhirRequest, access: Access) -> Deny | None:
    """Judges the permission on the types that the path names; None where the decision goes on. Read no body before this."""
    denied = _judge_types(request, access)
    return _hinted(denied, request, access) if denied is not None else None


def _judge_types(request: FhirRequest, access: Access) -> Deny | None:
    if request.interaction in DISCOVERY:
        return None
    refused = refuse_party(access)
    if refused is not None:
        return refused
    if access.principal.anonymous and not access.principal.scopes.resources and not is_public(request, access.policy):
        return Deny(403, (_NOT_PUBLIC,))
    if request.interaction is Interaction.BATCH:
        return None if any(_holds(access, permission) for permission in Permission) else Deny(403, (_NO_SCOPE,))
    if request.interaction is Interaction.OPERATION:
        return _require_operation(request, access)
    permission = REQUIRED.get(request.interaction)
    if permission is None or (request.interaction is Interaction.PAGE and _may_open(request, access)):
        return None
    if request.type is None:
        return None if _names_types(request) else _require_somewhere(access, permission)
    return _require(request, access, request.type, (permission, Permission.SEARCH) if is_conditional(request) else (permission,))


def authorize(request: FhirRequest, access: Access) -> Decision:
    """The whole decision on one request whose parameters are complete (a POST ``_search`` with its form).

    Raises RequestError subclasses for parameters and media types that are broken, unknown or not supported.
    """
    denied = authorize_types(request, access)
    if denied is not None:
        return denied
    if not is_complete(request):
        raise AssertionError("the body says what is asked, and was not read")  # INVARIANT: request.completing; also under python -O
    decision = _plan(request, access)
    return _hinted(decision, request, access) if isinstance(decision, Deny) else decision


def _plan(request: FhirRequest, access: Access) -> Decision:
    if request.preferences.respond_async and request.operation not in EXPORT_OPERATIONS and _is_bounded(request, access):
        return Deny(403, (_ASYNC,))
    decision = plan_conditional(request, access) if is_conditional(request) else _PLANNERS[request.interaction](request, access)
    if isinstance(decision, Permit) and isinstance(decision.plan.answer, Stream):
        require_known_media(request)
    return decision


def _holds(access: Access, permission: Permission) -> bool:
    """Whether the token grants any of ``permission`` on any type."""
    types = access.policy.vocabulary.types
    return any(not access.boundary(type, one).is_nothing for one in permission for type in types)


def _names_types(request: FhirRequest) -> bool:
    """A search over the types of ``_type``: each of them is judged by itself, and named where it is closed."""
    return request.interaction in _SEARCHES and any(parameter.name == "_type" for parameter in request.parameters)


def _require_operation(request: FhirRequest, access: Access) -> Deny | None:
    """The list decides first; then any of the permissions that open the operation must be held on the type."""
    if request.operation in EXPORT_OPERATIONS:
        return authorize_export(request, access)
    if rule_for(request) is None:
        opened = opened_for(request, access)
        if opened is not None:
            return refuse_opened(opened, access)
    opening = opening_of(request)
    if isinstance(opening, Deny):
        return opening
    if request.type is None:
        return _require_somewhere(access, opening.permissions)
    found = [_require(request, access, request.type, (permission,)) for permission in opening.permissions]
    return None if None in found else found[0]


def _may_open(request: FhirRequest, access: Access) -> bool:
    """A page may go on a search or a history: what it holds is judged when it is open."""
    return request.type is None or not access.readable(request.type).is_nothing


def _is_bounded(request: FhirRequest, access: Access) -> bool:
    """Where nothing is bounded the wish for an asynchronous answer is let go by (RFC 7240 section 2)."""
    if request.interaction in DISCOVERY:
        return False
    permission = REQUIRED.get(request.interaction, Permission.SEARCH)
    if permission is Permission.SEARCH or request.type is None:
        return not access.unlimited(permission)
    return not access.boundary(request.type, permission).is_everything


def _require_somewhere(access: Access, permission: Permission) -> Deny | None:
    """An interaction over types needs its permission on one of them at least; which scope would help cannot be said."""
    if _holds(access, permission):
        return None
    return Deny(403, (Denial("insufficient-scope", f"The token grants no permission '{permission.letters}' on any type."),))


def _require(request: FhirRequest, access: Access, type: str, permissions: tuple[Permission, ...]) -> Deny | None:
    lacking = [permission for permission in permissions if access.boundary(type, permission).is_nothing]
    if not lacking:
        return None
    grounds = tuple(ground for permission in lacking for ground in access.grounds(type, permission))
    causes = [Denial("insufficient-scope", f"The token grants no permission '{permission.letters}' on {type}.") for permission in lacking]
    missing = tuple(m for permission in lacking for m in missing_scope(request, access, type, permission))
    return Deny(403, tuple(causes), missing if len(missing) == len(lacking) else (), grounds)


def _hinted(denied: Deny, request: FhirRequest, access: Access) -> Deny:
    """``denied`` with the scopes that would help, all of them, or with none where another rule denies still. Spec: semantics 10."""
    scopes = access.principal.scopes
    held = {scope.text for scope in scopes.resources} | {scope.text for scope in scopes.plain}
    if not denied.missing or held.issuperset(m.scope for m in denied.missing):
        return replace(denied, missing=())
    richer = access.remembered(("with", " ".join(m.scope for m in denied.missing)), lambda: _with(access, denied.missing))
    try:
        # The body is not read for a hint.
        still = authorize(request, richer) if is_complete(request) else authorize_types(request, richer)
    except RequestError:
        return denied  # broken: that is no rule, and is said when its time comes
    if not isinstance(still, Deny):
        return denied
    return replace(denied, missing=(*denied.missing, *still.missing) if still.missing else ())


def _with(access: Access, missing: tuple[Missing, ...]) -> Access:
    scopes, added = access.principal.scopes, [parse_scope(m.scope) for m in missing]
    resources = (*scopes.resources, *(scope for scope in added if isinstance(scope, ResourceScope)))
    plain = (*scopes.plain, *(scope for scope in added if isinstance(scope, PlainScope)))
    return Access(replace(access.principal, scopes=replace(scopes, resources=resources, plain=plain)), access.policy)


def _plan_compartment_search(request: FhirRequest, access: Access) -> Decision:
    return plan_search_across(request, access) if request.type is None else plan_search(request, access)


def _discovery(rule: AnswerRule) -> Callable[[FhirRequest, Access], Decision]:
    return lambda _request, _access: Permit(Plan(rule))


_PLANNERS: Mapping[Interaction, Callable[[FhirRequest, Access], Decision]] = {
    Interaction.READ: plan_read,
    Interaction.VREAD: plan_read,
    Interaction.SEARCH_TYPE: plan_search,
    Interaction.SEARCH_COMPARTMENT: _plan_compartment_search,
    Interaction.SEARCH_SYSTEM: plan_search_across,
    Interaction.PAGE: plan_page,
    Interaction.HISTORY_INSTANCE: plan_history,
    Interaction.HISTORY_TYPE: plan_history,
    Interaction.HISTORY_SYSTEM: plan_history,
    Interaction.CREATE: plan_create,
    Interaction.UPDATE: plan_update,
    Interaction.PATCH: plan_patch,
    Interaction.DELETE: plan_delete,
    Interaction.BATCH: lambda request, access: plan_batch(request, access, authorize),
    Interaction.OPERATION: plan_operation,
    Interaction.CAPABILITIES: lambda request, _access: Permit(Plan(Capability(), capability_request(request))),
    Interaction.SMART_CONFIGURATION: _discovery(SmartConfiguration()),
    Interaction.PROTECTED_RESOURCE: _discovery(ProtectedResource()),
}
