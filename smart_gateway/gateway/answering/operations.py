"""Operations on an instance, and the answers to operations that are no searchsets (semantics 8)."""

from __future__ import annotations

from typing import assert_never

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.confine import Absent, Confined, confine_resource
from smart_gateway.answers.operations import confine_meta, confine_outcome, confine_terms
from smart_gateway.errors import UpstreamError
from smart_gateway.gateway.answering.dependencies import settle
from smart_gateway.gateway.exchange import JSON_TYPE
from smart_gateway.gateway.subrequest import Inner, Received
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.operations.checks import CheckMeta, CheckOutcome, CheckTerms
from smart_gateway.policy.plan import CheckResource, Deny, StoredCheck, UpstreamRequest


async def check_instance(check: StoredCheck, access: Access, inner: Inner) -> Deny | None:
    """The face of absence unless the stored instance lies inside. Raises UpstreamError where it cannot be judged."""
    received = await inner.collect(UpstreamRequest("GET", (check.type, check.id)))
    if received.status in {404, 410}:
        return absent(access.policy)
    if received.status != 200:
        raise UpstreamError("The FHIR server did not give the stored resource.")
    raw = received.require_json(access.policy.vocabulary.release.version)
    rule = CheckResource(check.type, check.id, check.boundary)
    judged = await settle(lambda known: confine_resource(raw, rule, access, known), access, inner)
    return absent(access.policy) if isinstance(judged, Absent) else None


async def answer_to_operation(
    rule: CheckMeta | CheckOutcome | CheckTerms, received: Received, access: Access, inner: Inner
) -> Answer | Deny:
    """The answer that is left of ``received``. Raises UpstreamError."""
    raw = received.require_json(access.policy.vocabulary.release.version)
    judged: Confined | Absent
    match rule:
        case CheckMeta():
            judged = await settle(lambda known: confine_meta(raw, rule, access, known), access, inner)
            if isinstance(judged, Absent):
                return absent(access.policy)
        case CheckOutcome():
            judged = confine_outcome(raw)
        case CheckTerms():
            judged = confine_terms(raw, rule, access)
        case _:
            assert_never(rule)
    return absent(access.policy) if isinstance(judged, Absent) else Answer(200, (JSON_TYPE,), judged.body)
