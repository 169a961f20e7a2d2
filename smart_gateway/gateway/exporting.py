"""What belongs to a Bulk Data export: kick-off, status, cancel; its files stream by ``answering.export_files``. Spec: semantics 8."""

from __future__ import annotations

import re
from typing import assert_never

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.jobs import JobSealer, locate_job, open_file, open_job
from smart_gateway.answers.manifests import confine_manifest
from smart_gateway.answers.sealing import Sealer
from smart_gateway.errors import UpstreamError
from smart_gateway.gateway.answering.export_files import send_file
from smart_gateway.gateway.answering.failures import refusal_of
from smart_gateway.gateway.exchange import JSON_TYPE, Exchange
from smart_gateway.gateway.subrequest import Inner, Received
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.exports.jobs import (
    CancelExport,
    CheckExportFile,
    CheckExportStatus,
    ExportJob,
    ExportPlace,
    OpenExport,
    StartExport,
)
from smart_gateway.policy.exports.planning import plan_opened_file, plan_opened_job
from smart_gateway.policy.plan import Deny, Plan, UpstreamRequest
from smart_gateway.request.headers import is_http_date

_ACCEPTED = 202
_NOBODY = Denial("export-unbound", "The token names neither client nor subject: nobody could be told from others who come for the export.")
_JSON = (b"content-type", b"application/json")
_PROGRESS = re.compile(r"[ -~]{1,100}")
_SECONDS = re.compile(r"[0-9]{1,4}", re.ASCII)


class Exporting:
    """Answers one request of an export. Every way ends in exactly one answer, or raises SmartGatewayError."""

    def __init__(self, exchange: Exchange, access: Access, inner: Inner) -> None:
        self._exchange = exchange
        self._access = access
        self._inner = inner

    async def respond(self, rule: StartExport | CheckExportStatus | CancelExport | CheckExportFile, request: UpstreamRequest) -> None:
        """Asks upstream and answers by ``rule``."""
        if isinstance(rule, CheckExportFile):
            await send_file(rule, request, self._exchange, self._access, self._inner)
            return
        match rule:
            case StartExport():
                answer = await self._start(rule, request)
            case CheckExportStatus():
                answer = await self._status(rule.job, request)
            case CancelExport():
                received = await self._ask(request)
                answer = Answer(_ACCEPTED, (), b"") if received.status in {_ACCEPTED, 200, 204} else self._refusal(received)
            case _:
                assert_never(rule)
        if isinstance(answer, Deny):
            await self._exchange.refuse(answer)
        else:
            await self._exchange.answer(answer)

    async def _start(self, rule: StartExport, request: UpstreamRequest) -> Answer | Deny:
        who = self._access.principal
        if who.subject is None and who.client_id is None:
            return Deny(403, (_NOBODY,))
        received = await self._ask(request)
        if received.status != _ACCEPTED:
            return self._refusal(received)
        policy = self._access.policy
        place = locate_job(received.text(b"content-location") or "", policy.bases, policy.vocabulary.types)
        if place is None:
            raise UpstreamError("The FHIR server tells of the export at an address that is not below its base: it cannot be given out.")
        url = self._links().job_url(ExportJob(*place, rule.types, rule.level, rule.group))
        return Answer(_ACCEPTED, ((b"content-location", url.encode("ascii")),), b"")

    async def _status(self, job: ExportJob, request: UpstreamRequest) -> Answer | Deny:
        received = await self._ask(request)
        if received.status == _ACCEPTED:
            return Answer(_ACCEPTED, _progress(received), b"")
        if received.status != 200:
            return self._refusal(received)
        raw = received.require_json(self._access.policy.vocabulary.release.version)
        confined = confine_manifest(raw, job, self._links())
        self._exchange.findings.removed = confined.removed
        return Answer(200, (_JSON, *_expiry(received)), confined.body)

    async def _ask(self, request: UpstreamRequest) -> Received:
        headers = () if request.content is None else (JSON_TYPE,)
        received = await self._inner.collect(request, headers, request.content)
        self._exchange.findings.upstream_status = received.status
        return received

    def _refusal(self, received: Received) -> Deny:
        """The face of a status that is no success. Raises RequestError, UpstreamError."""
        refusal = refusal_of(received, self._access.policy)
        if refusal is None:
            raise UpstreamError("The FHIR server did not answer as a server of exports does.")
        return refusal

    def _links(self) -> JobSealer:
        snapshot = self._exchange.snapshot
        return JobSealer(self._access, snapshot.sealer, snapshot.clock(), snapshot.entropy)


def opened_export(rule: OpenExport, method: str, access: Access, sealer: Sealer, now: float) -> Plan | Deny:
    """The plan for what a sealed URL leads to. Raises PageRefused, PageExpired."""
    match rule.place:
        case ExportPlace.JOB:
            return plan_opened_job(open_job(rule.token, access, sealer, now), method, access)
        case ExportPlace.FILE:
            return plan_opened_file(open_file(rule.token, access, sealer, now), method, access)
        case _:
            assert_never(rule.place)


def _progress(received: Received) -> tuple[tuple[bytes, bytes], ...]:
    """How far the job is, and when to ask again, where both are what they should be."""
    progress, after = received.text(b"x-progress") or "", received.text(b"retry-after") or ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if _PROGRESS.fullmatch(progress) is not None:
        headers = ((b"x-progress", progress.encode("ascii")),)
    if _SECONDS.fullmatch(after) is not None or is_http_date(after):
        headers = (*headers, (b"retry-after", after.encode("ascii")))
    return headers


def _expiry(received: Received) -> tuple[tuple[bytes, bytes], ...]:
    """When the upstream deletes the files, where it says so."""
    expires = received.text(b"expires") or ""
    return ((b"expires", expires.encode("ascii")),) if is_http_date(expires) else ()
