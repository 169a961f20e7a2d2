"""Everything that must hold before a permitted interaction is sent: criteria, the stored resource, the body. Spec: semantics 6.

One way for a request of its own and for an entry of a batch: only where the body comes from differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from smart_gateway.answers.links import open_page
from smart_gateway.answers.sealing import Sealer
from smart_gateway.fhir.json_patch import JsonPatch
from smart_gateway.fhir.media import FHIR_JSON, JSON_PATCH
from smart_gateway.gateway.answering.dependencies import inside
from smart_gateway.gateway.answering.judgement import Judgement
from smart_gateway.gateway.answering.operations import check_instance
from smart_gateway.gateway.criteria import resolve
from smart_gateway.gateway.edge.incoming import IncomingBody
from smart_gateway.gateway.exporting import opened_export
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.gateway.stored import Stored, check_stored
from smart_gateway.gateway.subrequest import Inner
from smart_gateway.policy.access import Access
from smart_gateway.policy.exports.jobs import OpenExport
from smart_gateway.policy.paging import plan_opened
from smart_gateway.policy.plan import AnswerRule, BodyCheck, Deny, OpenPage, PatchCheck, Plan, StoredCheck, UpstreamRequest
from smart_gateway.policy.writes.changing import refuse_changes
from smart_gateway.policy.writes.patching import judge_patch
from smart_gateway.policy.writes.writing import hold, refuse_body
from smart_gateway.request.model import FhirRequest

_FHIR_JSON = FHIR_JSON.encode()
_JSON_PATCH = JSON_PATCH.encode()
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Body(Protocol):
    """The body of one interaction."""

    async def resource(self, check: BodyCheck) -> tuple[Mapping[str, Any], bytes]:
        """The resource to be judged and the bytes to be sent. Raises RequestError for what is not what ``check`` says."""
        ...

    async def patch(self) -> JsonPatch:
        """The patch to be judged. Raises RequestError for what is no JSON Patch."""
        ...

    def unread(self) -> tuple[bytes | IncomingBody, bytes]:
        """The body that nobody needs to judge, to be passed on as it comes, and its media type. Raises RequestError where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What goes upstream: ``body`` None for a request without one (or with a form), IncomingBody for one that is passed on as it comes;
    ``content_type`` belongs to it. ``updated`` is the ``meta.lastUpdated`` of the stored version that was judged."""

    request: UpstreamRequest
    body: bytes | IncomingBody | None = None
    content_type: bytes = _FHIR_JSON
    updated: str | None = None

    @property
    def media(self) -> tuple[tuple[bytes, bytes], ...]:
        """The header that says what the body is; none without a body."""
        return () if self.body is None else ((b"content-type", self.content_type),)

    def read(self) -> bytes | None:
        """The body of a request whose answer is checked: it was read."""
        assert not isinstance(self.body, IncomingBody)  # INVARIANT: only what nobody judges is passed on as it comes
        return self.body


@dataclass(frozen=True, slots=True)
class Prepared:
    """An interaction that may be sent: ``outgoing`` is None where the answer is made here, or of requests that ``rule`` names."""

    rule: AnswerRule
    outgoing: Outgoing | None


def opened(request: FhirRequest, plan: Plan, access: Access, sealer: Sealer, now: float) -> Plan | Deny:
    """``plan``, or that of a sealed paging link, or address of an export, opened. Raises PageRefused, PageExpired."""
    if isinstance(plan.answer, OpenExport):
        return opened_export(plan.answer, request.method, access, sealer, now)
    if not isinstance(plan.answer, OpenPage) or request.page is None:
        return plan
    return plan_opened(open_page(request.page, request.type, access, sealer, now), access)


class Preparation:
    """What every preparation of one exchange shares."""

    def __init__(self, access: Access, inner: Inner, snapshot: Snapshot) -> None:
        self._access = access
        self._inner = inner
        self._snapshot = snapshot

    async def prepare(self, request: FhirRequest, plan: Plan, body: Body) -> Prepared | Deny:
        """Carries out the checks of ``plan`` that come before sending. Raises RequestError, UpstreamError."""
        if plan.criteria is not None:
            resolved = await resolve(request, plan.criteria, body, Judgement(request, self._access, self._inner, self._snapshot))
            if isinstance(resolved, Deny):
                return resolved
            request, plan, body = resolved.request, resolved.plan, resolved.body
        for check in plan.inside:
            refused = await check_instance(check, self._access, self._inner)
            if refused is not None:
                return refused
        stored = await self._stored(plan.stored) if plan.stored is not None else None
        if isinstance(stored, Deny):
            return stored
        found = opened(request, plan, self._access, self._snapshot.sealer, self._snapshot.clock())
        if isinstance(found, Deny):
            return found
        plan, upstream = found, found.upstream
        if upstream is None:
            return Prepared(plan.answer, None)
        if stored is not None:
            upstream = hold(upstream, stored.condition, self._access.policy)
        outgoing = await self._outgoing(request, upstream, plan, stored.resource if stored is not None else None, body)
        if isinstance(outgoing, Deny):
            return outgoing
        return Prepared(plan.answer, outgoing if stored is None else replace(outgoing, updated=stored.updated))

    async def _stored(self, check: StoredCheck) -> Stored | Deny | None:
        """The stored resource of a write, judged; None for one that is only to be read, and is inside."""
        if check.for_write:
            return await check_stored(check, self._access, self._inner)
        return await check_instance(check, self._access, self._inner)

    async def _outgoing(
        self, request: FhirRequest, upstream: UpstreamRequest, plan: Plan, stored: Mapping[str, Any] | None, body: Body
    ) -> Outgoing | Deny:
        """What goes upstream, its body judged; a body that nobody needs to judge is passed on as it comes."""
        if upstream.method not in _WITH_BODY or upstream.form is not None:
            return Outgoing(upstream)
        if upstream.content is not None:
            return Outgoing(upstream, upstream.content)
        match plan.body:
            case None:
                unread, media = body.unread()
                return Outgoing(upstream, unread, media)
            case PatchCheck() as check:
                patch = await body.patch()
                refused = judge_patch(patch, stored, check, request, self._access, self._snapshot.limits)
                return refused or Outgoing(upstream, patch.text, _JSON_PATCH)
            case BodyCheck() as check:
                resource, sent = await body.resource(check)
                known = await inside(check.boundary, resource, check.type, self._access, self._inner)
                refused = refuse_body(resource, check, self._access, known) or refuse_changes(stored, resource, check, self._access)
                return refused or Outgoing(upstream, sent)
