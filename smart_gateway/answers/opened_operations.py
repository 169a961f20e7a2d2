"""The answers to operations that the policy opens: built anew from resources that the token may read (semantics 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from smart_gateway.answers.confine import Confined
from smart_gateway.answers.operations import confine_outcome, judged_parameters, judged_resource, require_readable
from smart_gateway.answers.rewriting import base_rewriter
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.members import Members, members_of, text_of, value_of
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.operations.checks import CheckOpened
from smart_gateway.policy.plan import Deny

OUTSIDE_ANSWER = Deny(403, (Denial("outside-boundary", "The answer to this operation holds what this token may not read."),))
_UNREADABLE = "The FHIR server's answer to this operation cannot be read."
_KEPT = ("type", "timestamp")  # of a Bundle; a total would count what goes, a link lead around the gateway

_encode = msgspec.json.Encoder().encode


def is_searchset(raw: bytes) -> bool:
    """Whether the answer is a searchset, which is judged and paged as such. Raises UpstreamError where it cannot be read."""
    members = _members(raw)
    return text_of(members, "resourceType") == "Bundle" and text_of(members, "type") == "searchset"


def confine_opened(raw: bytes, rule: CheckOpened, access: Access) -> Confined | None:
    """What may leave of an answer that is no searchset; None where it holds what may not, and cannot be cut. Raises UpstreamError."""
    body = base_rewriter(access.policy.bases).whole(raw)
    members = _members(body)
    type = text_of(members, "resourceType")
    if type is None or type not in access.policy.vocabulary.types:
        raise UpstreamError(_UNREADABLE)
    try:
        match type:
            case "OperationOutcome":
                return confine_outcome(body)
            case "Bundle":
                return _bundle(members, rule, access)
            case "Parameters":
                return Confined(_encode({"resourceType": type, **judged_parameters(members, access)}))
            case _:
                require_readable(type, members, access, computed=False)
    except ValueError:
        return None
    return Confined(body)


def _members(raw: bytes) -> Members:
    try:
        return members_of(raw)
    except ValueError:
        raise UpstreamError(_UNREADABLE) from None


def _bundle(members: Members, rule: CheckOpened, access: Access) -> Confined | None:
    entries = value_of(members["entry"]) if "entry" in members else []
    if not isinstance(entries, list):
        raise UpstreamError(_UNREADABLE)
    kept = list(_kept(entries, access))
    removed = len(entries) - len(kept)
    if removed and rule.refuse:
        return None
    head = {name: value_of(members[name]) for name in _KEPT if name in members}
    return Confined(_encode({"resourceType": "Bundle", **head, **({"entry": kept} if kept else {})}), removed)


def _kept(entries: list[Any], access: Access) -> Iterator[Mapping[str, Any]]:
    """The entries whose resource may be read: with its URL, and nothing else of them."""
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("resource"), dict):
            continue
        try:
            resource = judged_resource(entry["resource"], access)
        except ValueError:
            continue
        url = entry.get("fullUrl")
        yield {**({"fullUrl": url} if isinstance(url, str) else {}), "resource": resource}
