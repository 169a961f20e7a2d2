"""The stored resource of a write: it must lie inside before anything is sent, and must not change until then. Spec: semantics 6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smart_gateway.errors import PreconditionFailed, UpstreamError
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.fhir.versions import is_instant, version_of_tag
from smart_gateway.gateway.answering.dependencies import inside
from smart_gateway.gateway.subrequest import Inner, Received
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import Deny, StoredCheck, UpstreamRequest
from smart_gateway.policy.writes.writing import Condition


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored resource that was judged, decoded, and the condition that the write carries so that it is the one that is changed:
    ``If-Match``. Where nothing is stored, ``resource`` is None and the condition ``If-None-Match: *``."""

    condition: Condition
    resource: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def updated(self) -> str | None:
        """When the version came to be, where the upstream tells."""
        meta = self.resource.get("meta") if self.resource is not None else None
        updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
        return updated if is_instant(updated) else None


async def check_stored(check: StoredCheck, access: Access, inner: Inner) -> Stored | Deny:
    """The stored resource and the condition that the write carries, or the refusal that absent and outside share.

    Raises PreconditionFailed where the client's own If-Match does not hold, UpstreamError where it cannot be judged.
    """
    answer = await inner.collect(UpstreamRequest("GET", (check.type, check.id)))
    match answer.status:
        case 200:
            return await _judge(check, access, answer, inner)
        case 404 if check.create_allowed:
            if check.if_match is not None:
                raise _precondition_failed()
            return Stored(("If-None-Match", "*"))
        case 404 | 410:
            # A deleted resource looks absent too: whose it was cannot be told, and nobody brings it back (semantics 6).
            return absent(access.policy)
        case _:
            raise UpstreamError("The FHIR server did not give the stored resource.")


async def _judge(check: StoredCheck, access: Access, answer: Received, inner: Inner) -> Stored | Deny:
    resource = _resource(check, access, answer)
    known = await inside(check.boundary, resource, check.type, access, inner)
    if access.matcher.objections_to_write(check.boundary, resource, check.type, known):
        return absent(access.policy)
    if check.only_new:
        raise PreconditionFailed("There is such a resource, which If-None-Match: * rules out.", expression="http.If-None-Match")
    version = _version(resource, answer)
    if check.if_match is not None and check.if_match != "*" and version_of_tag(check.if_match) != version:
        raise _precondition_failed()
    return Stored(("If-Match", f'W/"{version}"'), resource)


def _resource(check: StoredCheck, access: Access, answer: Received) -> Mapping[str, Any]:
    try:
        resource = parse_json(answer.require_json(access.policy.vocabulary.release.version))
    except JsonError:
        raise UpstreamError("The stored resource cannot be read.") from None
    if not isinstance(resource, dict) or resource.get("resourceType") != check.type or resource.get("id") != check.id:
        raise UpstreamError("The FHIR server gave another resource than the stored one.")
    return resource


def _version(resource: Mapping[str, Any], answer: Received) -> str:
    """The version that was judged. Without one nothing could keep the resource from changing before the write."""
    meta = resource.get("meta")
    named = meta.get("versionId") if isinstance(meta, dict) else None
    tagged = version_of_tag(answer.text(b"etag") or "")
    if isinstance(named, str) and tagged in (None, named):
        return named
    if named is None and tagged is not None:
        return tagged
    raise UpstreamError("The FHIR server does not tell the version of the stored resource, so it cannot be changed safely.")


def _precondition_failed() -> PreconditionFailed:
    return PreconditionFailed("The stored resource is not at the version that If-Match names.", expression="http.If-Match")
