"""Confining the answers to operations that are no searchsets: built anew from what was judged (semantics 7 and 8)."""

from __future__ import annotations

from typing import Any

import msgspec

from smart_gateway.answers.confine import Absent, Confined, confine_resource
from smart_gateway.answers.issues import judged_outcome
from smart_gateway.answers.judging import Judge, Known, Pending
from smart_gateway.answers.masking import masked
from smart_gateway.answers.rewriting import base_rewriter
from smart_gateway.boundary.matching import INSIDE
from smart_gateway.boundary.model import everything
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.members import Members, members_of, text_of, value_of
from smart_gateway.policy.access import Access
from smart_gateway.policy.operations.checks import CheckMeta, CheckTerms
from smart_gateway.policy.plan import CheckResource
from smart_gateway.request.operations import holds_resource

_FOUND = "The FHIR server found this when it validated the resource; its words are withheld."
_REMARKED = "The FHIR server made a remark on this answer; its words are withheld."
_WHOLE = everything()

_encode = msgspec.json.Encoder().encode


def confine_meta(raw: bytes, rule: CheckMeta, access: Access, known: Known) -> Confined | Absent | Pending:
    """The answer of ``$meta``, of the resource itself as the upstream sent it. Raises UpstreamError."""
    judged = confine_resource(raw, CheckResource(rule.type, rule.id, rule.boundary), access, known)
    if not isinstance(judged, Confined):
        return judged
    meta = members_of(masked(judged.body, access)).get("meta")
    parameters = {} if meta is None else {"parameter": [{"name": "return", "valueMeta": meta}]}
    return Confined(_encode({"resourceType": "Parameters", **parameters}))


def confine_outcome(raw: bytes) -> Confined:
    """The answer of ``$validate``: where the faults are and of what kind, in our words. Raises UpstreamError."""
    try:
        members = members_of(raw)
        outcome = judged_outcome(members, _FOUND, places=True) if text_of(members, "resourceType") == "OperationOutcome" else None
    except ValueError:
        outcome = None
    if outcome is None:
        raise UpstreamError("The upstream's answer is no OperationOutcome that can be read.")
    return Confined(_encode(outcome))


def confine_terms(raw: bytes, rule: CheckTerms, access: Access) -> Confined:
    """The answer of a terminology operation. Raises UpstreamError where it is another one, or holds what the token may not read."""
    body = base_rewriter(access.policy.bases).whole(raw)
    try:
        members = members_of(body)
        type = text_of(members, "resourceType")
        if type == "Parameters":
            return Confined(_encode({"resourceType": type, **judged_parameters(members, access)}))
        require_readable(_one_of(rule.types, type), members, access, computed="id" not in members)
    except ValueError:
        raise UpstreamError("The upstream's answer is not one to this operation, or holds what this token may not read.") from None
    return Confined(body)


def _one_of(types: frozenset[str], type: str | None) -> str:
    if type is None or type not in types:
        raise ValueError("another type")
    return type


def judged_parameters(members: Members, access: Access) -> dict[str, Any]:
    """The member ``parameter``: items that hold no outcome as the bytes that came. Raises ValueError."""
    if "parameter" not in members:
        return {}
    items = msgspec.json.decode(bytes(members["parameter"]), type=list[msgspec.Raw])
    values = [value_of(item) for item in items]
    made = [_part(value, access) for value in values]
    return {"parameter": [item if new == value else new for item, value, new in zip(items, values, made, strict=True)]}


def _part(item: Any, access: Access) -> dict[str, Any]:
    """One parameter or part, with the resource in it judged. Raises ValueError for a resource in any other place."""
    if not isinstance(item, dict):
        raise ValueError("no parameter")  # noqa: TRY004 - all faults of an answer are one to the caller
    made: dict[str, Any] = {}
    for name, value in item.items():
        if name == "resource":
            made[name] = judged_resource(value, access)
        elif name == "part" and isinstance(value, list):
            made[name] = [_part(part, access) for part in value]
        elif holds_resource(value):
            raise ValueError("a resource where none belongs")
        else:
            made[name] = value
    return made


def judged_resource(value: Any, access: Access) -> Any:
    """A resource inside of another one; an OperationOutcome is made anew. Raises ValueError."""
    if isinstance(value, dict) and value.get("resourceType") == "OperationOutcome":
        outcome = judged_outcome(members_of(_encode(value)), _REMARKED)
        if outcome is None:
            raise ValueError("an outcome without an issue")
        return outcome
    _require_inner(value, access)
    return value


def _require_inner(value: Any, access: Access) -> None:
    type = value.get("resourceType") if isinstance(value, dict) else None
    if not isinstance(type, str) or type not in access.policy.vocabulary.types:
        raise ValueError("no resource")
    require_readable(type, members_of(_encode(value)), access, computed=False)


def require_readable(type: str, members: Members, access: Access, *, computed: bool) -> None:
    """Raises ValueError unless the resource and all that it carries may be read. ``computed``: made for this answer, stored nowhere."""
    boundary = _WHOLE if computed else access.readable(type)
    if Judge(access).verdict(boundary, type, members) is not INSIDE:
        raise ValueError("outside")
    for inner in value_of(members["contained"]) if "contained" in members else ():
        _require_inner(inner, access)  # an answer that was worked out has no owner in whose name these could leave
