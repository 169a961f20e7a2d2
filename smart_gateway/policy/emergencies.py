"""Break-glass as values: the rule of the policy, and one emergency that is called under it. Spec: semantics 9."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from smart_gateway.errors import TokenError
from smart_gateway.policy.grounds import Ground
from smart_gateway.scopes.permissions import Permission

if TYPE_CHECKING:
    from smart_gateway.policy.model import Policy


class StepUpWanted(TokenError):
    """The user must log in again: in one of ``acr_values`` where there are any, at most ``max_age`` seconds ago (RFC 9470 section 3)."""

    code = "step-up-wanted"
    error = "insufficient_user_authentication"

    def __init__(self, text: str, *, acr_values: Sequence[str] = (), max_age: int | None = None) -> None:
        super().__init__(text)
        self.acr_values, self.max_age = tuple(acr_values), max_age


class Lift(StrEnum):
    """The limits of the policy that an emergency can lift, by the names of their sections."""

    USERS = "users"  # what bounds user/ scopes
    PATIENTS = "patients"  # the list of patients that bounds them too
    LIMIT = "limit"  # the client's own limit
    LABELS = "labels"
    FIELDS = "fields"  # elements that are hidden


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Who may call an emergency, how, and what it lifts.

    ``permissions`` are those that it lifts limits for, ``kinds`` those of fhirUser who may call one. Durations are in seconds:
    ``max_duration`` since the token's ``iat``, ``max_auth_age`` since the user's login (None: it may be any time ago). With ``acr_values``
    the login must have been of one of these classes.
    """

    scope: str
    lifts: frozenset[Lift]
    reason_header: str = "X-Break-Glass-Reason"
    purpose_header: str = "X-Purpose-Of-Use"
    purposes: frozenset[str] = frozenset({"BTG", "ETREAT"})
    max_duration: float = 3600.0
    permissions: Permission = Permission.READ | Permission.SEARCH
    kinds: frozenset[str] = frozenset({"Practitioner", "PractitionerRole", "none"})
    acr_values: tuple[str, ...] = ()
    max_auth_age: float | None = None


@dataclass(frozen=True, slots=True)
class EmergencyCall:
    """What the headers of a request say; None where one is not there."""

    purpose: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Emergency:
    """An emergency that was granted for one request. ``ordinary`` is the policy without it, which counts for all that it does not lift."""

    rule: BreakGlass
    call: EmergencyCall
    ordinary: Policy = field(repr=False)


def emergency_grounds(policy: Policy) -> tuple[Ground, ...]:
    """What an emergency does, where there is one."""
    if policy.emergency is None:
        return ()
    rule = policy.emergency.rule
    lifted = ", ".join(sorted(rule.lifts))
    return (Ground("break-glass", rule.scope, "lifts", f"an emergency lifts the limits of: {lifted}", policy.place("break_glass")),)
