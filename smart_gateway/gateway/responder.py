"""Carries out a permit: the upstream request of its plan is sent, and its answer leaves by the plan's rule."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.empty import empty_searchset
from smart_gateway.answers.links import self_url
from smart_gateway.answers.masking import masked
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.media import FHIR_JSON
from smart_gateway.gateway import discovery
from smart_gateway.gateway.answering import conditions
from smart_gateway.gateway.answering.failures import refusal_of
from smart_gateway.gateway.answering.judgement import Judged, Judgement
from smart_gateway.gateway.answering.paging import judge_onward
from smart_gateway.gateway.answering.passage import Passage
from smart_gateway.gateway.answering.union import answer_union
from smart_gateway.gateway.batch import Batching
from smart_gateway.gateway.edge.incoming import IncomingBody
from smart_gateway.gateway.exchange import JSON_TYPE, Exchange
from smart_gateway.gateway.exporting import Exporting
from smart_gateway.gateway.preparing import Outgoing
from smart_gateway.gateway.subrequest import Inner, Received
from smart_gateway.policy.access import Access
from smart_gateway.policy.exports.jobs import CancelExport, CheckExportFile, CheckExportStatus, OpenExport, StartExport
from smart_gateway.policy.plan import (
    AnswerRule,
    Capability,
    CheckBatch,
    CheckUnion,
    Deny,
    EmptySearchset,
    OpenPage,
    ProtectedResource,
    SmartConfiguration,
    Stream,
)
from smart_gateway.request.model import FhirRequest

Headers = tuple[tuple[bytes, bytes], ...]


class Responder:
    """Answers one permitted request. Every way ends in exactly one answer, or raises SmartGatewayError before one has begun."""

    def __init__(self, exchange: Exchange, request: FhirRequest, access: Access, inner: Inner) -> None:
        self._exchange = exchange
        self._request = request
        self._access = access
        self._inner = inner

    async def respond(self, rule: AnswerRule, outgoing: Outgoing | None) -> None:
        """Answers by ``rule``. ``outgoing`` is None where nothing is sent upstream."""
        if isinstance(rule, Judged):
            await self._judge(rule, _required(outgoing))
            return
        match rule:
            case Stream():
                await self._pass(_required(outgoing))
            case CheckUnion():
                await self._unite(rule)
            case CheckBatch():
                await self._answer(await Batching(self._exchange, self._request, self._access, self._inner).answer(rule))
            case OpenPage():
                raise AssertionError("a page is opened before it is asked for")  # INVARIANT: gateway.preparing
            case EmptySearchset():
                body = empty_searchset(self_url(self._request, self._access.policy.bases.public))
                await self._answer(Answer(200, (JSON_TYPE,), body))
            case Capability():
                await self._answer(await discovery.capabilities(self._request, self._exchange.snapshot, self._inner), public=True)
            case SmartConfiguration():
                await self._answer(await discovery.smart(self._exchange.snapshot), public=True)
            case ProtectedResource():
                await self._answer(await discovery.protected(self._exchange.snapshot), public=True)
            case OpenExport():
                raise AssertionError("a job is opened before it is asked for")  # INVARIANT: gateway.preparing
            case StartExport() | CheckExportStatus() | CancelExport() | CheckExportFile():
                await Exporting(self._exchange, self._access, self._inner).respond(rule, _required(outgoing).request)
            case _:
                assert_never(rule)

    async def _answer(self, answer: Answer | Deny, *, public: bool = False) -> None:
        if isinstance(answer, Deny):
            await self._exchange.refuse(answer)
        else:
            await self._exchange.answer(answer if public else self._masked(answer), public=public)

    def _masked(self, answer: Answer) -> Answer:
        """Without the elements that the policy hides; the content of a Binary was made without them."""
        return replace(answer, body=masked(answer.body, self._access)) if JSON_TYPE in answer.headers else answer

    async def _pass(self, outgoing: Outgoing) -> None:
        """Nothing is to be checked: the answer streams, and so does a body that was not read."""
        preferences = self._request.preferences
        asked = conditions.to_upstream(self._request)
        wished = (*asked, *conditions.wishes(self._request), *outgoing.media)
        headers: Headers = ((b"accept", (preferences.accept or FHIR_JSON).encode("ascii")), *wished)
        content = self._request.type == "Binary" and self._request.id is not None
        passage = Passage(self._exchange, conditional=bool(asked), content=content, words=self._access.sees_all)
        try:
            await self._send(outgoing, headers, passage)
        except UpstreamError:
            if passage.failed is None:
                raise
        if passage.failed is None:
            passage.finish()
        elif (refusal := refusal_of(passage.failed, self._access.policy)) is not None:
            await self._exchange.refuse(refusal)

    async def _send(self, outgoing: Outgoing, headers: Headers, passage: Passage) -> None:
        """Asks upstream, with the body as it comes where it was not read."""
        if isinstance(outgoing.body, IncomingBody):
            length = outgoing.body.declared_length
            if length is not None:
                headers = (*headers, (b"content-length", str(length).encode()))
            await self._inner.stream(outgoing.request, headers, outgoing.body.receive, passage)
        else:
            await self._inner.pass_on(outgoing.request, headers, outgoing.body, passage)

    async def _collect(self, outgoing: Outgoing) -> Received:
        extra = (*conditions.wishes(self._request), *outgoing.media)
        received = await self._inner.collect(outgoing.request, extra, outgoing.read())
        self._exchange.findings.upstream_status = received.status
        return received

    async def _judge(self, rule: Judged, outgoing: Outgoing) -> None:
        received = await self._collect(outgoing)
        judgement = Judgement(self._request, self._access, self._inner, self._exchange.snapshot)
        answer = await judge_onward(rule, outgoing.request, received, judgement)
        self._exchange.findings.removed = judgement.removed
        await self._answer(answer)

    async def _unite(self, rule: CheckUnion) -> None:
        judgement = Judgement(self._request, self._access, self._inner, self._exchange.snapshot)
        answer = await answer_union(rule, judgement)
        self._exchange.findings.removed = judgement.removed
        await self._answer(answer)


def _required(outgoing: Outgoing | None) -> Outgoing:
    assert outgoing is not None  # INVARIANT: only rules that make their own answer come without a request (policy.plan.Plan)
    return outgoing
