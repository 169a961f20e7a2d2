"""The answer to a write: status, Location and ETag; a body only where the token may read it. Spec: semantics 6."""

from __future__ import annotations

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.confine import Confined, confine_resource
from smart_gateway.answers.rewriting import public_location
from smart_gateway.boundary.model import Boundary
from smart_gateway.errors import PreconditionFailed, UpstreamError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import Reference, parse_reference
from smart_gateway.gateway.answering import conditions
from smart_gateway.gateway.answering.dependencies import settle
from smart_gateway.gateway.exchange import JSON_TYPE
from smart_gateway.gateway.subrequest import Inner, Received
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import AnswerToWrite, CheckResource, UpstreamRequest
from smart_gateway.policy.reading import JUDGED_MEDIA
from smart_gateway.request.model import FhirRequest

_WITH_BODY = frozenset({200, 201})


async def answer_to_write(rule: AnswerToWrite, received: Received, request: FhirRequest, access: Access, inner: Inner) -> Answer:
    """The answer that is left of ``received``, the upstream's answer to a write that was carried out.

    Raises PreconditionFailed and UpstreamError for a create that found something instead, and not what it may.
    """
    location, written = _location(rule, received, access)
    if rule.found is not None and received.status == 200:
        await _require_found(rule.found, written, request, access, inner)
    headers = conditions.validators(received)
    if location is not None:
        headers = (*headers, (b"location", location.encode("ascii")))
    id = rule.id if written is None else written.id
    body = await _readable_body(rule, id, received, request, access, inner)
    return Answer(received.status, headers if body is None else (JSON_TYPE, *headers), body or b"")


async def _require_found(boundary: Boundary, found: Reference | None, request: FhirRequest, access: Access, inner: Inner) -> None:
    """``If-None-Exist`` found a resource: that is told only of one that the criteria, as narrowed, can find."""
    if request.interaction is not Interaction.CREATE:
        raise PreconditionFailed("A resource came to match the criteria while the request was carried out: ask again.")
    if boundary.is_everything:
        return
    if found is None:
        raise UpstreamError("The FHIR server does not say what it found by If-None-Exist.")
    answer = await inner.collect(UpstreamRequest("GET", (found.type, found.id)))
    if answer.status == 200:
        raw, check = answer.require_json(access.policy.vocabulary.release.version), CheckResource(found.type, found.id, boundary)
        if isinstance(await settle(lambda known: confine_resource(raw, check, access, known), access, inner), Confined):
            return
    raise UpstreamError("The FHIR server found by If-None-Exist what the criteria rule out.")


def _location(rule: AnswerToWrite, received: Received, access: Access) -> tuple[str | None, Reference | None]:
    """Location in the public base and what it names, where that is the resource written; else nothing of it leaves."""
    given = received.text(b"location")
    location = public_location(given, access.policy.bases) if given is not None else None
    reference = parse_reference(location, access.policy.bases) if location is not None else None
    if reference is None or reference.type != rule.type or rule.id not in (None, reference.id):
        return None, None
    return location, reference


async def _readable_body(
    rule: AnswerToWrite, id: str | None, received: Received, request: FhirRequest, access: Access, inner: Inner
) -> bytes | None:
    """What the upstream gave back, if it is the resource itself and inside what the token may read. The write is done: anything else is
    left out in silence, not refused."""
    preferences = request.preferences
    wanted = preferences.prefer_return in (None, "representation") and preferences.media in JUDGED_MEDIA and not rule.boundary.is_nothing
    if not wanted or id is None or not received.body or received.status not in _WITH_BODY:
        return None
    check = CheckResource(rule.type, id, rule.boundary)
    try:
        raw = received.require_json(access.policy.vocabulary.release.version)
        judged = await settle(lambda known: confine_resource(raw, check, access, known), access, inner)
    except UpstreamError:
        return None
    return judged.body if isinstance(judged, Confined) else None
