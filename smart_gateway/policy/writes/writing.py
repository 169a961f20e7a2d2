"""The plans for create, update and delete by id (semantics 6)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from smart_gateway.boundary.model import Boundary
from smart_gateway.boundary.parts import goes_by_id
from smart_gateway.errors import PreconditionFailed, RequestError
from smart_gateway.fhir.media import is_fhir
from smart_gateway.fhir.references import Reference
from smart_gateway.fhir.versions import version_of_tag
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.model import Policy
from smart_gateway.policy.plan import (
    AnswerRule,
    AnswerToWrite,
    BodyCheck,
    Decision,
    Deny,
    Permit,
    Plan,
    StoredCheck,
    Stream,
    UpstreamRequest,
)
from smart_gateway.policy.wording import check_sentence
from smart_gateway.policy.writes.bodies import denials_of_carried, denials_of_searches
from smart_gateway.policy.writes.changing import refuse_changes, refuse_replacing
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UNKNOWN_ID = "The server chooses the id of what is created, and this token is bound to another one."
_HARMLESS = frozenset({"_format", "_pretty"})
_UNBORN = ("If-Match", 'W/"0"')

Condition = tuple[str, str]
"""A header and its value: ``If-Match`` or ``If-None-Match``."""


def plan_create(request: FhirRequest, access: Access) -> Decision:
    """The body must lie inside; the server chooses the id."""
    type = _type(request)
    refuse_parameters(request)
    boundary = _free_of_ids(access.boundary(type, Permission.CREATE), type)
    if boundary.is_nothing:
        return Deny(403, (Denial("outside-boundary", _UNKNOWN_ID, f"{type}.id"),), grounds=access.grounds(type, Permission.CREATE))
    answer = answer_rule(access, type, None)
    plan = Plan(
        answer,
        UpstreamRequest("POST", (type,), headers=wished_answer(request, answer)),
        body=_body(request, boundary, None),
        checks=_body_checks(boundary, type),
    )
    return Permit(plan, access.grounds(type, Permission.CREATE))


def plan_update(request: FhirRequest, access: Access) -> Decision:
    """Stored version and body must both lie inside; nothing changes between check and write."""
    type, id = _type(request), _id(request)
    refuse_parameters(request)
    boundary = access.boundary(type, Permission.UPDATE)
    grounds = access.grounds(type, Permission.UPDATE)
    if not access.matcher.could_hold(boundary, type, id):
        return absent(access.policy, grounds)
    creating = _may_create(access, id)
    unseen = refuse_replacing(type, access) if not creating else None
    if unseen is not None:
        return replace(unseen, grounds=grounds)
    answer = answer_rule(access, type, id)
    plan = Plan(
        answer,
        _held(UpstreamRequest("PUT", (type, id), headers=wished_answer(request, answer)), request, boundary, access.policy),
        stored=_stored(request, boundary, create_allowed=creating),
        body=_body(request, boundary, id),
        checks=(*stored_checks(boundary, type, id), *_body_checks(boundary, type)),
    )
    return Permit(plan, grounds)


def plan_delete(request: FhirRequest, access: Access) -> Decision:
    """The stored version must lie inside; the answer has no body."""
    type, id = _type(request), _id(request)
    refuse_parameters(request)
    boundary = access.boundary(type, Permission.DELETE)
    grounds = access.grounds(type, Permission.DELETE)
    if not access.matcher.could_hold(boundary, type, id):
        return absent(access.policy, grounds)
    answer = answer_rule(access, type, id)
    upstream = _held(UpstreamRequest("DELETE", (type, id)), request, boundary, access.policy)
    plan = Plan(answer, upstream, stored=_stored(request, boundary, create_allowed=False), checks=stored_checks(boundary, type, id))
    return Permit(plan, grounds)


def refuse_body(resource: Mapping[str, Any], check: BodyCheck, access: Access, known: Collection[Reference] = ()) -> Deny | None:
    """The refusal of a body that does not lie inside by the rule for writes, one cause for each element; None where it does.

    ``known``: what the body depends on and was found inside.
    """
    if check.judged:
        return None
    objections = access.matcher.objections_to_write(check.boundary, resource, check.type, known)
    outside = tuple([Denial("outside-boundary", o.text, f"{check.type}.{o.element}" if o.element else check.type) for o in objections])
    causes = (*outside, *denials_of_searches(resource, check.type, access), *denials_of_carried(resource, check, access))
    return Deny(403, causes) if causes else None


def foresee_body(resource: Mapping[str, Any], check: BodyCheck, stored: StoredCheck | None, access: Access) -> Deny | None:
    """The refusal that is certain: what the body depends on counts as to be checked, unless its id says that it is outside."""
    matcher = access.matcher
    depended = matcher.depended_on(check.boundary, resource, check.type)
    known = [named for named in depended if matcher.could_hold(access.readable(named.type), named.type, named.id)]
    refused = refuse_body(resource, check, access, known)
    return refused or (refuse_changes(None, resource, check, access) if stored is None else None)


def _free_of_ids(boundary: Boundary, type: str) -> Boundary:
    """What can be told without the id: whatever id a new body claims, the server gives it another (FHIR R4 http.html 3.1.0.8)."""
    if boundary.is_everything:
        return boundary
    return Boundary.of(region for region in boundary.regions if not goes_by_id(region, type))


def _type(request: FhirRequest) -> str:
    assert request.type is not None
    return request.type


def _id(request: FhirRequest) -> str:
    assert request.id is not None  # INVARIANT: policy.authorize takes what names no id to policy.writes.conditional
    return request.id


def refuse_parameters(request: FhirRequest) -> None:
    """Parameters of a write steer the server (``_cascade``, ``_expunge``): none passes, whoever asks."""
    for parameter in request.parameters:
        if parameter.key not in _HARMLESS:
            raise RequestError(
                "A write takes no parameters but _format and _pretty.", reason="unknown-parameter", expression=f"http.{parameter.key}"
            )


def _may_create(access: Access, id: str) -> bool:
    choice: Mapping[str, bool] = {"never": False, "uuid_only": _UUID.fullmatch(id) is not None, "always": True}
    return choice[access.policy.update_as_create]


def _stored(request: FhirRequest, boundary: Boundary, *, create_allowed: bool) -> StoredCheck | None:
    if boundary.is_everything:
        return None
    unless = request.preferences.if_none_match
    if unless is not None and (unless != "*" or request.method != "PUT"):
        raise RequestError(
            "Of the conditions If-None-Match, a write takes If-None-Match: * on an update, which then only creates.",
            reason="unsupported-condition",
            expression="http.If-None-Match",
        )
    return StoredCheck(_type(request), _id(request), boundary, request.preferences.if_match, create_allowed, only_new=unless is not None)


def _body(request: FhirRequest, boundary: Boundary, id: str | None) -> BodyCheck | None:
    """Raw content for Binary has no resourceType to read: it passes as it is, under EVERYTHING only."""
    if request.type == "Binary" and boundary.is_everything and request.content_type is not None and not is_fhir(request.content_type):
        return None
    return BodyCheck(_type(request), id, boundary)


def own_conditions(request: FhirRequest, boundary: Boundary) -> tuple[tuple[str, str], ...]:
    """The client's own conditions; under a bound the stored version decides instead (the shell sets it)."""
    if not boundary.is_everything:
        return ()
    given = (("If-Match", request.preferences.if_match), ("If-None-Match", request.preferences.if_none_match))
    return tuple((name, value) for name, value in given if value is not None)


def hold(upstream: UpstreamRequest, condition: Condition, policy: Policy) -> UpstreamRequest:
    """``upstream``, carried out only while ``condition`` holds: nothing changes between check and write.

    HAPI ignores ``If-Match`` on DELETE and ``If-None-Match`` on PUT. There a delete names the version in its path
    (``DELETE Type/id/_history/3`` deletes the resource, if 3 is the current version), and version 0 is that of what was never stored.
    """
    name, value = condition
    if policy.hapi_conditions and upstream.method == "PUT" and name == "If-None-Match":
        return replace(upstream, headers=(*upstream.headers, _UNBORN))
    version = version_of_tag(value)
    if policy.hapi_conditions and upstream.method == "DELETE" and name == "If-Match" and version is not None:
        upstream = replace(upstream, path=(*upstream.path, "_history", version))
    return replace(upstream, headers=(*upstream.headers, condition))


def in_bundle(upstream: UpstreamRequest, updated: str | None) -> UpstreamRequest:
    """``upstream`` as an entry of a Bundle, where HAPI looks at no version of a delete: it goes by criteria that only the version that was
    judged meets. ``updated`` is the ``meta.lastUpdated`` of that. Raises PreconditionFailed where it is not known."""
    if upstream.method != "DELETE" or len(upstream.path) <= len(("Type", "id")):
        return upstream
    if updated is None:
        raise PreconditionFailed("Here the FHIR server keeps no condition on a delete in a Bundle.", reason="condition-not-supported")
    type, id, *_ = upstream.path
    return replace(upstream, path=(type,), query=(("_id", id), ("_lastUpdated", updated)))


def _held(upstream: UpstreamRequest, request: FhirRequest, boundary: Boundary, policy: Policy) -> UpstreamRequest:
    for condition in own_conditions(request, boundary):
        upstream = hold(upstream, condition, policy)
    return upstream


def answer_rule(access: Access, type: str, id: str | None) -> AnswerRule:
    """Without ``r`` a write's answer is its status, Location and ETag."""
    readable = access.boundary(type, Permission.READ)
    return Stream() if readable.is_everything else AnswerToWrite(type, readable, id)


def wished_answer(request: FhirRequest, answer: AnswerRule) -> tuple[tuple[str, str], ...]:
    """``Prefer: return`` as sent: never for more than the answer may hold."""
    wish = request.preferences.prefer_return
    if isinstance(answer, AnswerToWrite) and (answer.boundary.is_nothing or wish == "OperationOutcome"):
        wish = "minimal"
    return (("Prefer", f"return={wish}"),) if wish is not None else ()


def _body_checks(boundary: Boundary, type: str) -> tuple[str, ...]:
    kind = f"the type of the body is {type}"
    return (kind,) if boundary.is_everything else (kind, f"the new {type} {check_sentence(boundary)} and names nobody else's record")


def stored_checks(boundary: Boundary, type: str, id: str) -> tuple[str, ...]:
    """What is checked of the stored resource, in words."""
    return () if boundary.is_everything else (f"the stored {type}/{id} {check_sentence(boundary)}, else it looks absent",)
