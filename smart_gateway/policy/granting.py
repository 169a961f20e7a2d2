"""What one scope gives for one (type, permission): a boundary, and the ground for it. The only place where scopes become bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from smart_gateway.boundary.model import NOTHING, Boundary, Compartment, Filter, Region, everything
from smart_gateway.fhir.references import Bases, parse_reference
from smart_gateway.fhir.search_values import read_reference, split_values
from smart_gateway.fhir.vocabulary import SearchParameter
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.localising import holds_references
from smart_gateway.policy.model import SERVER_TYPES, Policy, UserBound, UserRule
from smart_gateway.policy.wording import describe
from smart_gateway.principal import Principal
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, ResourceScope
from smart_gateway.scopes.validity import objection_on

_READS = Permission.READ | Permission.SEARCH
_UNBOUNDED_USER = UserRule(UserBound.EVERYTHING)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a rule gives, and why."""

    boundary: Boundary
    ground: Ground


@dataclass(frozen=True, slots=True)
class Standing:
    """Who a scope speaks for, and what bounds it besides itself: the rule for user/ scopes, and whether system/ scopes count."""

    principal: Principal
    policy: Policy
    user: UserRule
    system: bool

    def for_limits(self) -> Standing:
        """A client's limit is no grant: its user/ and system/ scopes are bounded by their filters only, and then intersected."""
        return Standing(self.principal, self.policy, _UNBOUNDED_USER, system=True)

    def about(self, patient: str | None) -> Standing:
        """The same with ``patient`` in context, as a permission has it."""
        return replace(self, principal=replace(self.principal, patient=patient))


class _Refused(Exception):
    """The scope gives nothing here; the argument says why. Never leaves this module."""


def grant(scope: ResourceScope, type: str, permission: Permission, standing: Standing) -> Grant:
    """The boundary that ``scope`` gives for one permission on ``type``. Spec: semantics 3."""
    try:
        _require_coverage(scope, type, permission)
        _require_opened(scope, type, permission, standing.policy)
        filters = _filters(scope, type, standing.policy)
        boundary = _bounded(scope, type, permission, standing).intersect(_filtered(filters))
    except _Refused as refusal:
        return Grant(NOTHING, Ground("scope", scope.text, "ignored", str(refusal)))
    boundary = _sourced(boundary, scope.text)
    return Grant(boundary, Ground("scope", scope.text, "grants", f"gives {permission.letters} on {type}: {describe(boundary)}"))


def _require_coverage(scope: ResourceScope, type: str, permission: Permission) -> None:
    if scope.type not in (type, "*"):
        raise _Refused(f"is for {scope.type}, not for {type}")
    if permission not in scope.permissions:
        raise _Refused(f"does not hold the permission {permission.letters}")


def _require_opened(scope: ResourceScope, type: str, permission: Permission, policy: Policy) -> None:
    """Types that change or describe the server: by name and policy only. Spec: semantics 3 and 6."""
    if type not in SERVER_TYPES:
        return
    if permission in _READS:
        if scope.context is Context.PATIENT and scope.type == "*":
            raise _Refused(f"{type} describes the server: '*' does not open it in patient/ context")
    elif scope.type == "*" or type not in policy.writable_server_types:
        raise _Refused(f"{type} changes the server: it is written only by name and where the policy lists it")


def _filters(scope: ResourceScope, type: str, policy: Policy) -> tuple[Filter, ...]:
    reason = objection_on(scope, type, policy.vocabulary, policy.value_sets)
    if reason is not None:
        raise _Refused(reason)
    return tuple(_filter(name, text, type, policy) for name, text in scope.params)


def _filter(name: str, text: str, type: str, policy: Policy) -> Filter:
    code, _, modifier = name.partition(":")
    parameter, values = policy.vocabulary.parameter(type, code), split_values(text)
    if parameter is not None and not modifier and holds_references(parameter):
        values = tuple(_literal(value, parameter, policy.bases) for value in values)
    return Filter(code, modifier or None, values)


def _literal(value: str, parameter: SearchParameter, bases: Bases) -> str:
    """A reference value as every server takes it: ``Type/id`` for a bare id and for a URL under one of our bases."""
    read = read_reference(parameter, None, value)
    if read.url is None:
        return f"{read.type}/{read.id}"
    named = parse_reference(read.url, bases)
    return str(named) if named is not None and named.version is None else value


def _filtered(filters: tuple[Filter, ...]) -> Boundary:
    return Boundary.of([Region(filters=filters)]) if filters else everything()


def _bounded(scope: ResourceScope, type: str, permission: Permission, standing: Standing) -> Boundary:
    """The boundary of the scope's context, before its filters."""
    match scope.context:
        case Context.PATIENT:
            return _patient_boundary(type, permission, standing)
        case Context.USER:
            return _user_boundary(type, permission, standing)
        case Context.SYSTEM:
            if not standing.system:
                raise _Refused("system/ scopes count only for a client with role: system")
            return everything()


def _patient_boundary(type: str, permission: Permission, standing: Standing) -> Boundary:
    """The Patient compartment of the token's patient for ``type``; for shared types, reads only, the whole type. Spec: semantics 3, 5."""
    patient, policy = standing.principal.patient, standing.policy
    if patient is None:
        raise _Refused("patient/ scopes need a patient in the token")
    if type == "Binary":
        return _binary(patient, permission, policy)
    if policy.rules.covers("Patient", type):
        return Boundary.of([Region((Compartment("Patient", (patient,)),))])
    if type not in policy.shared_types:
        raise _Refused(f"{type} is in no Patient compartment and not among the shared types")
    if permission not in _READS:
        raise _Refused(f"{type} is shared: never written through patient/ scopes")
    return Boundary.of([Region()])


def _user_boundary(type: str, permission: Permission, standing: Standing) -> Boundary:
    if standing.user.scopes is not None:
        return _union_of_scopes(standing.user.scopes, type, permission, standing)
    match standing.user.bound:
        case UserBound.EVERYTHING:
            return everything()
        case UserBound.COMPARTMENT:
            return _own_compartment(type, standing)
        case UserBound.PATIENT:
            return _users_patient(type, standing)
        case UserBound.NOTHING:
            raise _Refused(f"the policy gives users of kind {standing.principal.user_kind} nothing")


def _users_patient(type: str, standing: Standing) -> Boundary:
    patient = standing.principal.patient
    if patient is None:
        raise _Refused("the policy bounds this user by the token's patient, and it names none")
    return _compartment("Patient", patient, type, standing)


def _own_compartment(type: str, standing: Standing) -> Boundary:
    user = standing.principal.fhir_user
    if user is None:
        raise _Refused("the token names no fhirUser")
    return _compartment(user.type, user.id, type, standing)


def _compartment(owner: str, id: str, type: str, standing: Standing) -> Boundary:
    """One owner's compartment and nothing else: shared types are opened by patient/ scopes only. Spec: semantics 3."""
    if not standing.policy.rules.covers(owner, type):
        raise _Refused(f"{type} is not in the {owner} compartment")
    return Boundary.of([Region((Compartment(owner, (id,)),))])


def _binary(patient: str, permission: Permission, policy: Policy) -> Boundary:
    """A Binary is in nobody's compartment: whose it is, its securityContext says. Spec: semantics 5."""
    if permission not in _READS:
        raise _Refused("a Binary is never written through patient/ scopes")
    match policy.binary:
        case "security_context":
            return Boundary.of([Region((Compartment("Patient", (patient,)),))])
        case "allow":
            return Boundary.of([Region()])
        case "deny":
            raise _Refused("the policy opens no Binary to patient/ scopes")


def _union_of_scopes(scopes: tuple[ResourceScope, ...], type: str, permission: Permission, standing: Standing) -> Boundary:
    boundary = Boundary.union_of(grant(scope, type, permission, standing.for_limits()).boundary for scope in scopes)
    if boundary.is_nothing:
        raise _Refused(f"the policy's scopes for users of kind {standing.principal.user_kind} give nothing here")
    return boundary


def _sourced(boundary: Boundary, source: str) -> Boundary:
    if boundary.is_everything:
        return boundary
    return Boundary.of(Region(r.compartments, r.filters, (source,)) for r in boundary.regions)
