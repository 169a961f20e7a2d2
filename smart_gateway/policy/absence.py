"""The one face of absent and forbidden (semantics 0.4)."""

from __future__ import annotations

from smart_gateway.policy.causes import Denial
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.model import Policy
from smart_gateway.policy.plan import Deny

_TEXT = "There is no such resource, or it is not one that this token may touch."


def absent(policy: Policy, grounds: tuple[Ground, ...] = ()) -> Deny:
    """The refusal for an instance that does not exist or lies outside: 404, or 403 where the policy says so."""
    code = "not-found" if policy.absent_and_forbidden == 404 else "outside-boundary"
    return Deny(policy.absent_and_forbidden, (Denial(code, _TEXT),), grounds=grounds)
