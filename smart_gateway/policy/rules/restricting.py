"""What the policy takes from one principal besides whole types and records: by security labels, and by elements. Spec: semantics 9."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from smart_gateway.boundary.model import Boundary
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.model import Policy
from smart_gateway.policy.rules.fielding import FieldBounds, field_bounds
from smart_gateway.policy.rules.labelling import LabelBounds, label_bounds
from smart_gateway.policy.rules.plain_scopes import holds_plain
from smart_gateway.scopes.permissions import Permission

if TYPE_CHECKING:
    from smart_gateway.policy.access import Access


@dataclass(frozen=True, slots=True)
class Restrictions:
    """All of them at once. ``policy`` knows where their rules are written."""

    policy: Policy
    labels: LabelBounds
    fields: FieldBounds

    def bound(self, type: str, permission: Permission) -> Boundary:
        """What they leave of ``type``, whatever scopes say."""
        return self.labels.bound(type, permission).intersect(self.fields.bound(type, permission))

    def leaves_all(self, permission: Permission) -> bool:
        """Whether they bound no type at all."""
        return self.labels.leaves_all(permission) and self.fields.leaves_all(permission)

    def grounds(self, type: str, permission: Permission) -> tuple[Ground, ...]:
        """What each of their rules does."""
        place = self.policy.place
        return (*self.labels.grounds(type, permission, place), *self.fields.grounds(type, permission, place))


def restrictions(access: Access) -> Restrictions:
    """Those for the principal of ``access``, whose client and ceilings are known."""
    policy = access.policy
    labels = label_bounds(policy.labels, access.principal, lambda scope: holds_plain(access, scope))
    return Restrictions(policy, labels, field_bounds(policy.fields, access.principal))
