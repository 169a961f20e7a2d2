"""Conditional writes: the criteria are asked, and what they find is written by its id, decided anew. Spec: semantics 6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from smart_gateway.boundary.model import NOTHING
from smart_gateway.errors import PreconditionFailed, RequestError, UpstreamError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import is_id
from smart_gateway.fhir.strict_json import parse_json
from smart_gateway.gateway.answering.judgement import Judgement
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.plan import AnswerToWrite, BodyCheck, Criteria, Deny, Plan, Stream
from smart_gateway.policy.writes.conditional import original_criteria
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission

if TYPE_CHECKING:
    from smart_gateway.fhir.json_patch import JsonPatch
    from smart_gateway.gateway.edge.incoming import IncomingBody
    from smart_gateway.gateway.preparing import Body


@dataclass(frozen=True, slots=True)
class Resolved:
    """A conditional write that names its resource by id now, or is a create: its plan, and its body as that plan needs it."""

    request: FhirRequest
    plan: Plan
    body: Body


@dataclass(frozen=True, slots=True)
class _Match:
    """What the criteria found; ``version`` where the upstream tells it."""

    id: str
    version: str | None


async def resolve(request: FhirRequest, criteria: Criteria, body: Body, judgement: Judgement) -> Resolved | Deny:
    """What ``request``, an update, patch or delete by ``criteria``, comes to.

    Raises PreconditionFailed where they match more than one resource, UpstreamError where the answer cannot be relied on. Spec: FHIR R4
    http.html 3.1.0.4.3 and 3.1.0.7.1; without a match a patch or delete finds nothing to change, and looks as one by id does.
    """
    received = await judgement.inner.collect(criteria.search)
    answer = await judgement.judge(criteria.rule, criteria.search, received)
    if isinstance(answer, Deny):
        return answer
    if judgement.removed:
        raise UpstreamError("The FHIR server answered the criteria with a resource that they rule out.")
    match = _only_match(parse_json(answer.body), request)
    access = judgement.access
    if match is not None:
        return _matched(request, match, body, access)
    if request.interaction is not Interaction.UPDATE:
        return absent(access.policy)
    return await _unmatched(request, body, access)


def _only_match(bundle: Any, request: FhirRequest) -> _Match | None:
    """The one match, or None for none. What the upstream says of further ones counts, also where it does not show them."""
    resources = [entry["resource"] for entry in bundle.get("entry", ()) if entry.get("search", {}).get("mode", "match") == "match"]
    found = {resource["id"]: resource for resource in resources if resource["resourceType"] == request.type}
    total = bundle.get("total", len(found))
    goes_on = any(link["relation"] == "next" for link in bundle.get("link", ()))
    if len(found) > 1 or (found and (total > 1 or goes_on)):
        raise PreconditionFailed("The criteria match more than one resource.", reason="multiple-matches")
    if total != len(found) or goes_on:
        raise UpstreamError("The FHIR server does not say clearly what the criteria match.")
    return next((_Match(id, _version(resource)) for id, resource in found.items()), None)


def _version(resource: Mapping[str, Any]) -> str | None:
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) and is_id(version) else None


def _matched(request: FhirRequest, match: _Match, body: Body, access: Access) -> Resolved | Deny:
    """The same interaction by id. It is the version that matched that is changed, or none; and nothing is created in its place."""
    preferences = request.preferences
    if preferences.if_none_match is not None:
        raise PreconditionFailed("The criteria match a resource, which If-None-Match rules out.", expression="http.If-None-Match")
    if preferences.if_match is None and match.version is not None:
        preferences = replace(preferences, if_match=f'W/"{match.version}"')
    by_id = replace(request, id=match.id, parameters=(), preferences=preferences)
    resolved = _decided(by_id, _Named(body, match.id) if request.interaction is Interaction.UPDATE else body, access)
    if isinstance(resolved, Deny) or resolved.plan.stored is None:
        return resolved
    return replace(resolved, plan=replace(resolved.plan, stored=replace(resolved.plan.stored, create_allowed=False)))


async def _unmatched(request: FhirRequest, body: Body, access: Access) -> Resolved | Deny:
    """Nothing matches an update: it creates. With an id in the body as an update on a free id, else where the server chooses the id."""
    if request.preferences.if_match is not None:
        raise PreconditionFailed("Nothing matches the criteria, so nothing is at the version of If-Match.", expression="http.If-Match")
    assert request.type is not None
    read = _Read(*await body.resource(BodyCheck(request.type, None, NOTHING)))
    id = read.held.get("id")
    preferences = replace(request.preferences, if_none_match=None, if_none_exist=original_criteria(request))
    if id is None:
        create = replace(request, interaction=Interaction.CREATE, method="POST", parameters=(), preferences=preferences)
        return _judged(_decided(create, read, access), access)
    if not is_id(id):
        raise RequestError("The id in the body is none.", reason="id-mismatch", expression=f"{request.type}.id")
    only_new = replace(request.preferences, if_none_match="*")
    return _decided(replace(request, id=id, parameters=(), preferences=only_new), read, access)


def _decided(request: FhirRequest, body: Body, access: Access) -> Resolved | Deny:
    decision = authorize(request, access)
    return decision if isinstance(decision, Deny) else Resolved(request, decision.plan, body)


def _judged(resolved: Resolved | Deny, access: Access) -> Resolved | Deny:
    """Where a resource came to match in the meantime, nothing is created, and the answer to the update must not say that it was done."""
    if isinstance(resolved, Deny) or not isinstance(resolved.plan.answer, Stream):
        return resolved
    type = resolved.request.type
    assert type is not None
    answer = AnswerToWrite(type, access.boundary(type, Permission.READ), found=access.boundary(type, Permission.SEARCH))
    return replace(resolved, plan=replace(resolved.plan, answer=answer))


class _Named:
    """The body of an update by criteria: without an id it gets that of the match, with another it is refused.

    Spec: FHIR R4 http.html 3.1.0.4.3.
    """

    def __init__(self, body: Body, id: str) -> None:
        self._body = body
        self._id = id

    async def resource(self, check: BodyCheck) -> tuple[Mapping[str, Any], bytes]:
        resource, sent = await self._body.resource(replace(check, id=None))
        id = resource.get("id")
        if id == self._id:
            return resource, sent
        if id is not None:
            raise RequestError("The id in the body is not that of the match.", reason="id-mismatch", expression=f"{check.type}.id")
        _, brace, members = sent.partition(b"{")
        return {**resource, "id": self._id}, b'%s"id":"%s",%s' % (brace, self._id.encode("ascii"), members)

    async def patch(self) -> JsonPatch:
        raise AssertionError("an update has a resource")  # INVARIANT: made for updates alone

    def unread(self) -> tuple[bytes | IncomingBody, bytes]:
        return self._body.unread()


class _Read:
    """A body that was read already."""

    def __init__(self, held: Mapping[str, Any], sent: bytes) -> None:
        self.held = held
        self._sent = sent

    async def resource(self, check: BodyCheck) -> tuple[Mapping[str, Any], bytes]:  # noqa: ARG002 - read by the same rules before
        return self.held, self._sent

    async def patch(self) -> JsonPatch:
        raise AssertionError("an update has a resource")

    def unread(self) -> tuple[bytes | IncomingBody, bytes]:
        raise AssertionError("the body was read")
