"""What is left of an upstream's answer by the rule of its plan: the same for an answer of its own and for an entry of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.confine import Absent, Confined, confine_resource, confine_searchset
from smart_gateway.answers.content import content_of
from smart_gateway.answers.histories import confine_history
from smart_gateway.answers.links import LinkSealer, link_sealer
from smart_gateway.answers.masking import masked
from smart_gateway.answers.opened_operations import OUTSIDE_ANSWER, confine_opened, is_searchset
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.gateway.answering import conditions
from smart_gateway.gateway.answering.dependencies import settle
from smart_gateway.gateway.answering.failures import refusal_of
from smart_gateway.gateway.answering.operations import answer_to_operation
from smart_gateway.gateway.answering.written import answer_to_write
from smart_gateway.gateway.exchange import JSON_TYPE, SANDBOX
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.gateway.subrequest import Inner, Received
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.operations.checks import CheckMeta, CheckOpened, CheckOutcome, CheckTerms, OperationCheck
from smart_gateway.policy.plan import AnswerToWrite, CheckHistory, CheckResource, CheckSearchset, Deny, UpstreamRequest
from smart_gateway.request.model import FhirRequest

Judged = CheckResource | CheckSearchset | CheckHistory | AnswerToWrite | OperationCheck
"""The rules that judge the answer to one request."""


@dataclass(slots=True)
class Judgement:
    """Judges answers to ``request``. ``removed`` counts the entries that may not leave. ``onward``: of a page that nothing is left of, the
    next one."""

    request: FhirRequest
    access: Access
    inner: Inner
    snapshot: Snapshot
    removed: int = 0
    onward: UpstreamRequest | None = None

    async def judge(self, rule: Judged, asked: UpstreamRequest, received: Received) -> Answer | Deny:
        """The answer that is left of ``received``, the answer to ``asked``; Deny for the face of absence.

        Raises RequestError, UpstreamError.
        """
        self.onward = None
        refusal = refusal_of(received, self.access.policy)
        if refusal is not None:
            return refusal
        match rule:
            case CheckResource():
                return await self._resource(rule, received)
            case CheckSearchset():
                return await self._searchset(rule, asked, received)
            case CheckHistory():
                return await self._history(rule, asked, received)
            case AnswerToWrite():
                return await answer_to_write(rule, received, self.request, self.access, self.inner)
            case CheckOpened():
                return await self._opened(rule, asked, received)
            case CheckMeta() | CheckOutcome() | CheckTerms():
                return await answer_to_operation(rule, received, self.access, self.inner)
            case _:
                assert_never(rule)

    async def _resource(self, rule: CheckResource, received: Received) -> Answer | Deny:
        raw = self._json(received)
        judged: Confined | Absent = await settle(lambda known: confine_resource(raw, rule, self.access, known), self.access, self.inner)
        if isinstance(judged, Absent):
            return absent(self.access.policy)
        validators = conditions.validators(received)
        if conditions.is_unchanged(self.request, received):
            return Answer(304, validators, b"")
        if rule.content:
            content = content_of(masked(judged.body, self.access))
            return Answer(200, ((b"content-type", content.media_type.encode("ascii")), SANDBOX, *validators), content.data)
        return Answer(200, (JSON_TYPE, *validators), judged.body)

    async def _searchset(self, rule: CheckSearchset, asked: UpstreamRequest, received: Received) -> Answer:
        raw, links = self._json(received), self.links(asked)
        judged = await settle(lambda known: confine_searchset(raw, rule, self.access, known, links), self.access, self.inner)
        self.removed += judged.removed
        self.onward = judged.onward
        return Answer(200, (JSON_TYPE,), judged.body)

    async def _opened(self, rule: CheckOpened, asked: UpstreamRequest, received: Received) -> Answer | Deny:
        """The answer to an operation that the policy opens: a searchset as a record, of which each resource is judged by itself."""
        if received.status == 204 or not received.body:
            return Answer(204, (), b"")
        raw = self._json(received)
        if is_searchset(raw):
            before = self.removed
            answer = await self._searchset(CheckSearchset(None, None, exact=False), asked, received)
            return OUTSIDE_ANSWER if rule.refuse and self.removed > before else answer
        judged = confine_opened(raw, rule, self.access)
        if judged is None:
            return OUTSIDE_ANSWER
        self.removed += judged.removed
        return Answer(200, (JSON_TYPE,), judged.body)

    async def _history(self, rule: CheckHistory, asked: UpstreamRequest, received: Received) -> Answer | Deny:
        raw, links = self._json(received), self.links(asked)
        judged = await settle(lambda known: confine_history(raw, rule, self.access, known, links), self.access, self.inner)
        self.removed += judged.removed
        self.onward = judged.onward
        # A page that goes on tells nothing new by being empty: its link was given for a history that has versions.
        if judged.is_empty and rule.id is not None and self.request.interaction is not Interaction.PAGE:
            return absent(self.access.policy)
        return Answer(200, (JSON_TYPE,), judged.body)

    def links(self, asked: UpstreamRequest) -> LinkSealer:
        """The links of the answer to ``asked``."""
        snapshot = self.snapshot
        return link_sealer(self.request, asked.path, self.access, snapshot.sealer, snapshot.clock(), snapshot.entropy, snapshot.limits.url)

    def _json(self, received: Received) -> bytes:
        return received.require_json(self.access.policy.vocabulary.release.version)
