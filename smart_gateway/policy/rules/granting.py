"""What one scope gives for one (type, permission): a boundary, and the ground for it. The only place where scopes become bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from smart_gateway.boundary.model import NOTHING, Boundary, Compartment, Filter, Region, everything
from smart_gateway.fhir.references import Bases, parse_reference
from smart_gateway.fhir.search_values import read_reference, split_values
from smart_gateway.fhir.vocabulary import SearchParameter
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.localising import holds_references
from smart_gateway.policy.model import DEFAULT_USERS, SERVER_TYPES, Policy, UserBound
from smart_gateway.policy.rules.users import UNBOUNDED, UserBounds, UserHolds
from smart_gateway.policy.wording import describe
from smart_gateway.principal import Principal
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, ResourceScope
from smart_gateway.scopes.validity import objection_on

_READS = Permission.READ | Permission.SEARCH


@dataclass(frozen=True, slots=True)
class Grant:
    """What a rule gives, and why."""

    boundary: Boundary
    ground: Ground


@dataclass(frozen=True, slots=True)
class Standing:
    """Who a scope speaks for, and what bounds it besides itself: the rules for user/ scopes, the patients that bound these too (None:
    no list does), and whether system/ scopes count."""

    principal: Principal
    policy: Policy
    user: UserBounds
    system: bool
    patients: tuple[str, ...] | None = None

    def for_limits(self) -> Standing:
        """A client's limit is no grant: its user/ and system/ scopes are bounded by their filters only, and then intersected."""
        return Standing(self.principal, self.policy, UNBOUNDED, system=True)

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
    patient = standing.principal.patient
    if patient is None:
        raise _Refused("patient/ scopes need a patient in the token")
    return _patients_boundary((patient,), type, permission, standing.policy, "patient/ scopes")


def _patients_boundary(ids: tuple[str, ...], type: str, permission: Permission, policy: Policy, through: str) -> Boundary:
    """The Patient compartments of ``ids`` for ``type``; for shared types, reads only, the whole type. Spec: semantics 3, 5."""
    if type == "Binary":
        return _binary(ids, permission, policy, through)
    if policy.rules.covers("Patient", type):
        return Boundary.of([Region((Compartment("Patient", ids),))])
    if type not in policy.shared_types:
        raise _Refused(f"{type} is in no Patient compartment and not among the shared types")
    if permission not in _READS:
        raise _Refused(f"{type} is shared: never written through {through}")
    return Boundary.of([Region()])


def _user_boundary(type: str, permission: Permission, standing: Standing) -> Boundary:
    """What all of the rules for this user leave at once; where several count together, any of them."""
    boundary = everything()
    for rules in standing.user:
        boundary = boundary.intersect(_any_of(rules, type, permission, standing))
    if standing.patients is not None:
        if not standing.patients:
            raise _Refused("the policy bounds users by a list of patients, and there is none that can be read")
        boundary = boundary.intersect(_patients_boundary(standing.patients, type, permission, standing.policy, "a list of patients"))
    if boundary.is_nothing:
        raise _Refused("the policy's rules for this user have nothing in common")
    return boundary


def _any_of(rules: tuple[UserHolds, ...], type: str, permission: Permission, standing: Standing) -> Boundary:
    given, refused = [], []
    for rule in rules:
        try:
            given.append(_held_by(rule, type, permission, standing))
        except _Refused as refusal:
            refused.append(refusal)
    if not given:
        raise _Refused("; ".join(dict.fromkeys(str(refusal) for refusal in refused)))
    return Boundary.union_of(given)


def user_grounds(type: str, permission: Permission, standing: Standing) -> Iterator[Ground]:
    """The rules of the policy that bound the user/ scopes of this user; defaults are told with the scopes."""
    policy = standing.policy
    for rule in (rule for rules in standing.user for rule in rules if policy.users is not DEFAULT_USERS and not rule.is_everything):
        text = f"the policy bounds this user to: {_described(rule, type, permission, standing)}"
        yield Ground("user", rule.name, "limits", text, policy.place(*rule.path))
    if standing.patients is not None:
        patients = " or ".join(f"Patient/{id}" for id in standing.patients) or "nobody: there is no list that can be read"
        yield Ground("user", "patients", "limits", f"the policy bounds users to the records of {patients}", policy.place("patients"))


def _described(rule: UserHolds, type: str, permission: Permission, standing: Standing) -> str:
    try:
        return describe(_held_by(rule, type, permission, standing))
    except _Refused as refusal:
        return f"nothing: {refusal}"


def _held_by(rule: UserHolds, type: str, permission: Permission, standing: Standing) -> Boundary:
    if rule.scopes is not None:
        return _union_of_scopes(rule.scopes, type, permission, standing)
    if rule.owners is not None:
        return _compartment(*rule.owners, type, standing)
    if rule.patients is not None:
        if not rule.patients:
            raise _Refused("the rule names a list of patients, and there is none that can be read")
        return _patients_boundary(rule.patients, type, permission, standing.policy, "a list of patients")
    return _bounded_by_word(rule, type, standing)


def _bounded_by_word(rule: UserHolds, type: str, standing: Standing) -> Boundary:
    principal = standing.principal
    match rule.word:
        case UserBound.EVERYTHING:
            return everything()
        case UserBound.COMPARTMENT:
            user = principal.fhir_user
            return _compartment("", (), type, standing) if user is None else _compartment(user.type, (user.id,), type, standing)
        case UserBound.PATIENT:
            if principal.patient is None:
                raise _Refused("the policy bounds this user by the token's patient, and it names none")
            return _compartment("Patient", (principal.patient,), type, standing)
        case UserBound.RELATED_PATIENT:
            if principal.related_patient is None:
                raise _Refused("the policy bounds this user by the patient of the stored RelatedPerson, and none is known")
            return _compartment("Patient", (principal.related_patient,), type, standing)
        case UserBound.NOTHING:
            raise _Refused(f"the policy gives users of kind {principal.user_kind} nothing")


def _compartment(owner: str, ids: tuple[str, ...], type: str, standing: Standing) -> Boundary:
    """The compartments of ``ids`` and nothing else: shared types are opened by patient/ scopes only. Spec: semantics 3."""
    if not ids:
        raise _Refused("the token does not say whose compartment")
    if not standing.policy.rules.covers(owner, type):
        raise _Refused(f"{type} is not in the {owner} compartment")
    return Boundary.of([Region((Compartment(owner, ids),))])


def _binary(ids: tuple[str, ...], permission: Permission, policy: Policy, through: str) -> Boundary:
    """A Binary is in nobody's compartment: whose it is, its securityContext says. Spec: semantics 5."""
    if permission not in _READS:
        raise _Refused(f"a Binary is never written through {through}")
    match policy.binary:
        case "security_context":
            return Boundary.of([Region((Compartment("Patient", ids),))])
        case "allow":
            return Boundary.of([Region()])
        case "deny":
            raise _Refused(f"the policy opens no Binary to {through}")


def _union_of_scopes(scopes: tuple[ResourceScope, ...], type: str, permission: Permission, standing: Standing) -> Boundary:
    boundary = Boundary.union_of(grant(scope, type, permission, standing.for_limits()).boundary for scope in scopes)
    if boundary.is_nothing:
        raise _Refused(f"the policy's scopes for users of kind {standing.principal.user_kind} give nothing here")
    return boundary


def _sourced(boundary: Boundary, source: str) -> Boundary:
    if boundary.is_everything:
        return boundary
    return Boundary.of(Region(r.compartments, r.filters, (source,)) for r in boundary.regions)
