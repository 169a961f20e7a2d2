"""Operations that change the security labels of what is stored: nobody whom labels bound calls them. Spec: semantics 8 and 9."""

from __future__ import annotations

from collections.abc import Iterator

from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.plan import Deny
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.policy.rules.labelling import LabelRule
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

_RELABELLING = frozenset({"$meta-add", "$meta-delete"})
_META = ("meta", "security")


def refuse_relabelling(request: FhirRequest, access: Access) -> Deny | None:
    """The refusal of a call by which the token could free itself of what the policy goes by; None where no rule does, for it."""
    bounding = list(_bounding(request, access)) if request.operation in _RELABELLING else []
    if not bounding:
        return None
    text = f"{request.operation} changes security labels. The policy goes by them for this token, or does not let it write them."
    grounds = tuple([_ground(rule, access) for rule in bounding])
    return Deny(403, (Denial("element-not-writable", text, ".".join((request.type or "Resource", *_META))),), grounds=grounds)


def _bounding(request: FhirRequest, access: Access) -> Iterator[LabelRule | FieldRule]:
    """The rules for this token that go by labels, of whatever type, and those by which it may not write them."""
    restrictions = access.restrictions_for(Permission.UPDATE)
    yield from (rule for rule in restrictions.labels.rules or () if not rule.limit.is_trivial)
    for rule in restrictions.fields.rules:
        writing = rule.bounds_writes and (request.type is None or rule.is_of(request.type)) and Permission.UPDATE in rule.permissions
        if rule.labelled is not None or (writing and not rule.lets_write(_META)):
            yield rule


def _ground(rule: LabelRule | FieldRule, access: Access) -> Ground:
    kind = "labels" if isinstance(rule, LabelRule) else "fields"
    return Ground(kind, rule.name, "denies", "changing labels would free the token of this rule", access.policy.place(*rule.path))
