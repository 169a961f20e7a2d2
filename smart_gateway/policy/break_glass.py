"""Calling an emergency: who may, and the access that one request has then. Spec: semantics 9; RFC 9470."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import refuse_party
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.emergencies import BreakGlass, Emergency, EmergencyCall, Lift, StepUpWanted
from smart_gateway.policy.exports.planning import EXPORT_OPERATIONS
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.model import ClientRule, Policy, UserBound, UserRule
from smart_gateway.policy.plan import Deny
from smart_gateway.policy.rules.plain_scopes import holds_plain
from smart_gateway.principal import Principal
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

_NOT_ALLOWED = Denial("break-glass-not-allowed", "This token cannot break the glass.")
_OVER = Denial("break-glass-over", "The emergency is over: break-glass needs a token that was given for it.")
_EXPORT = Denial("break-glass-export", "An export is no emergency.")
_STEP_UP = "Break-glass needs a user who has logged in just now, or more strongly."
_READS = Permission.READ | Permission.SEARCH
_FUTURE = 60.0  # seconds that an issuer's clock may be ahead


def break_glass(call: EmergencyCall, request: FhirRequest, access: Access, now: float) -> Access | Deny:
    """What ``access`` is in the emergency of this one request, nothing of which is kept; or why there is none. Raises StepUpWanted."""
    rule = access.policy.break_glass
    assert rule is not None  # INVARIANT: without a rule no header calls anything
    stranger = refuse_party(access)
    if stranger is not None:
        return stranger
    objection = _objection(rule, call, request, access, now)
    if objection is not None:
        return Deny(403, (objection,), grounds=(_ground(rule, access.policy),))
    _require_login(rule, access.principal, now)
    return _opened(rule, call, access)


def at_most(access: Access) -> Access:
    """What ``access`` is with the best of reasons; itself where no emergency can be called."""
    rule = access.policy.break_glass
    return access if rule is None or not _may_call(rule, access) else _opened(rule, EmergencyCall(None, None), access)


def _opened(rule: BreakGlass, call: EmergencyCall, access: Access) -> Access:
    lifted = _lifted(rule, access.policy, access.principal)
    return Access(access.principal, replace(lifted, emergency=Emergency(rule, call, access.policy)))


def _objection(rule: BreakGlass, call: EmergencyCall, request: FhirRequest, access: Access, now: float) -> Denial | None:
    """Who may not at all learns nothing of how it is done."""
    if not _may_call(rule, access):
        return _NOT_ALLOWED
    if not call.reason:
        text = f"Break-glass needs a reason, in the header {rule.reason_header}."
        return Denial("break-glass-reason", text, f"http.{rule.reason_header}")
    if call.purpose not in rule.purposes:
        text = f"Break-glass needs a purpose of use, in the header {rule.purpose_header}: {' or '.join(sorted(rule.purposes))}."
        return Denial("break-glass-purpose", text, f"http.{rule.purpose_header}")
    if request.operation in EXPORT_OPERATIONS:
        return _EXPORT
    return None if _is_young(rule, access.principal, now) else _OVER


def _ground(rule: BreakGlass, policy: Policy) -> Ground:
    return Ground("break-glass", rule.scope, "denies", "the policy lets no emergency be called so", policy.place("break_glass"))


def _may_call(rule: BreakGlass, access: Access) -> bool:
    principal = access.principal
    return principal.subject is not None and principal.user_kind in rule.kinds and holds_plain(access, rule.scope)


def _is_young(rule: BreakGlass, principal: Principal, now: float) -> bool:
    """An emergency ends by itself: a token that does not say since when it is there, or says a time to come, was not given for one."""
    return _is_within(principal.issued_at, now, rule.max_duration)


def _require_login(rule: BreakGlass, principal: Principal, now: float) -> None:
    """Spec: RFC 9470 sections 3, 4 and 6: ``acr`` and ``auth_time``, of the token or of its introspection."""
    fresh = rule.max_auth_age is None or _is_within(principal.claims.get("auth_time"), now, rule.max_auth_age)
    strong = not rule.acr_values or principal.claims.get("acr") in rule.acr_values
    if not fresh or not strong:
        age = None if rule.max_auth_age is None else int(rule.max_auth_age)
        raise StepUpWanted(_STEP_UP, acr_values=rule.acr_values, max_age=age)


def _is_within(moment: Any, now: float, seconds: float) -> bool:
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        return False
    return -_FUTURE <= now - moment <= seconds


def _lifted(rule: BreakGlass, policy: Policy, principal: Principal) -> Policy:
    """``policy`` without the limits that are lifted; nobody's fhirUser stays nobody's."""
    lifts, changed = rule.lifts, dict[str, Any]()
    if Lift.USERS in lifts and principal.fhir_user is not None:
        changed["users"] = {principal.user_kind: UserRule(UserBound.EVERYTHING, path=("users", principal.user_kind))}
    if Lift.PATIENTS in lifts and principal.fhir_user is not None:
        changed["patients"] = None
    if Lift.LIMIT in lifts and policy.clients is not None:
        changed["clients"] = {name: _unlimited(client) for name, client in policy.clients.items()}
    if Lift.LABELS in lifts:
        changed["labels"] = None
    if Lift.FIELDS in lifts and _READS in rule.permissions:  # what writes may change is not lifted
        changed["fields"] = tuple(replace(field, hide=()) for field in policy.fields)
    return replace(policy, **changed)


def _unlimited(client: ClientRule) -> ClientRule:
    return replace(client, limit=None)
