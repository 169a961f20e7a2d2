"""What the policy takes from one principal besides whole types and records: by security labels. Spec: semantics 9."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.boundary.model import Boundary
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.labelling import LabelBounds, label_bounds
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.principal import Principal
from smart_gateway.scopes.permissions import Permission


@dataclass(frozen=True, slots=True)
class Restrictions:
    """All of them at once. ``policy`` knows where their rules are written."""

    policy: Policy
    labels: LabelBounds

    def bound(self, type: str, permission: Permission) -> Boundary:
        """What they leave of ``type``, whatever scopes say."""
        return self.labels.bound(type, permission)

    def leaves_all(self, permission: Permission) -> bool:
        """Whether they bound no type at all."""
        return self.labels.leaves_all(permission)

    def grounds(self, type: str, permission: Permission) -> tuple[Ground, ...]:
        """What each of their rules does."""
        return tuple(self.labels.grounds(type, permission, self.policy.place))


def restrictions(principal: Principal, policy: Policy, client: ClientRule | None) -> Restrictions:
    """Those for ``principal``. A client that is pinned, or held to its registration, has no other scopes that could raise limits."""
    raising = client is not None and client.pin is None and not client.intersect_registered
    return Restrictions(policy, label_bounds(policy.labels, principal, raising=raising))
