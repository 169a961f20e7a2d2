"""Carries out a batch or transaction: entries are prepared, sent as one Bundle, and answered each by the rule of its own (semantics 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.batch import EntryAnswer, Leaving, batch_response, read_answers
from smart_gateway.answers.empty import empty_searchset
from smart_gateway.answers.links import self_url
from smart_gateway.answers.rewriting import base_rewriter
from smart_gateway.errors import RequestError, SmartGatewayError, UpstreamError
from smart_gateway.fhir.json_patch import JsonPatch
from smart_gateway.fhir.media import FHIR_JSON
from smart_gateway.gateway import discovery
from smart_gateway.gateway.answering import conditions
from smart_gateway.gateway.answering.failures import refusal_of
from smart_gateway.gateway.answering.judgement import Judged, Judgement
from smart_gateway.gateway.answering.paging import judge_onward
from smart_gateway.gateway.answering.union import answer_union
from smart_gateway.gateway.bundling import as_entry, bundle_of, wish_of
from smart_gateway.gateway.exchange import JSON_TYPE, Exchange
from smart_gateway.gateway.preparing import Outgoing, Preparation, Prepared
from smart_gateway.gateway.subrequest import Inner, Received
from smart_gateway.policy.access import Access
from smart_gateway.policy.batch import conclude, links_of
from smart_gateway.policy.plan import (
    AnswerToWrite,
    BodyCheck,
    Capability,
    CheckBatch,
    CheckUnion,
    Deny,
    EmptySearchset,
    EntryDecision,
    Permit,
    Stream,
    UpstreamRequest,
)
from smart_gateway.policy.writes.linking import Links
from smart_gateway.request.batch import read_carried_patch
from smart_gateway.request.body import require_named
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import Batch, BatchEntry, FhirRequest
from smart_gateway.scopes.permissions import Permission

_AT_ONCE = 4
_CONTENT_TYPE = (b"content-type", FHIR_JSON.encode())
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NAMED = frozenset({"PUT", "PATCH", "DELETE"})
_SUCCESS = range(200, 300)

Outcome = Prepared | Deny | SmartGatewayError
"""What became of an entry before anything was sent."""
Result = Answer | Deny | SmartGatewayError
"""What became of it in the end."""


class Batching:
    """One batch under one token."""

    def __init__(self, exchange: Exchange, request: FhirRequest, access: Access, inner: Inner) -> None:
        self._exchange = exchange
        self._request = request
        self._access = access
        self._inner = inner
        self._preparation = Preparation(access, inner, exchange.snapshot)
        self._removed = 0

    async def answer(self, rule: CheckBatch) -> Answer | Deny:
        """The answer to the whole; Deny for a transaction that is refused. Raises RequestError, UpstreamError for the whole."""
        outcomes = await self._prepare(rule)
        if rule.transaction and not all(isinstance(outcome, Prepared) for outcome in outcomes):
            return self._refused(rule, outcomes)
        if rule.transaction:
            _require_apart(outcomes)
        together = [number for number, outcome in enumerate(outcomes) if _goes_along(outcome, transaction=rule.transaction)]
        found = dict(zip(together, await self._send(rule, outcomes, together), strict=True))
        results = [await self._result(held.entry, outcomes[number], found.get(number)) for number, held in enumerate(rule.entries)]
        leaving = [
            self._leaving(held.entry, result, found.get(n)) for n, (held, result) in enumerate(zip(rule.entries, results, strict=True))
        ]
        self._exchange.findings.removed = self._removed
        self._exchange.findings.entries = tuple([entry.answer.status for entry in leaving])
        return Answer(200, (JSON_TYPE,), batch_response(leaving, transaction=rule.transaction))

    async def _prepare(self, rule: CheckBatch) -> list[Outcome]:
        """The conditional entries first: what they turn out to name, the others may refer to."""
        outcomes: list[Outcome] = [_REFUSED if isinstance(held.decision, Permit) else held.decision for held in rule.entries]
        batch = Batch(tuple([held.entry for held in rule.entries]), rule.transaction)
        permits = {number: held.decision for number, held in enumerate(rule.entries) if isinstance(held.decision, Permit)}
        conditional = [number for number, permit in permits.items() if permit.plan.criteria is not None]
        await self._prepare_all(conditional, permits, batch, links_of(batch, self._access), outcomes)
        found = {number: _resolved(outcomes[number]) for number in conditional}
        links = links_of(batch, self._access, {number: id for number, id in found.items() if id is not None})
        await self._prepare_all([number for number in permits if number not in found], permits, batch, links, outcomes)
        return outcomes

    async def _prepare_all(
        self, numbers: Sequence[int], permits: Mapping[int, Permit], batch: Batch, links: Links, outcomes: list[Outcome]
    ) -> None:
        """Prepares the entries ``numbers``, as many at once as may be fetched at once."""
        queue = iter(numbers)

        async def work() -> None:
            for number in queue:
                outcomes[number] = await self._prepare_one(batch.entries[number], permits[number], links)

        for failed in await asyncio.gather(*[work() for _ in range(min(_AT_ONCE, len(numbers)))], return_exceptions=True):
            if failed is not None:
                raise failed

    async def _prepare_one(self, entry: BatchEntry, permit: Permit, links: Links) -> Outcome:
        assert isinstance(entry.request, FhirRequest)  # what is permitted was parsed
        try:
            body = _Carried(entry, entry.request, links, self._exchange.snapshot.limits)
            return await self._preparation.prepare(entry.request, permit.plan, body)
        except (RequestError, UpstreamError) as error:
            return error

    def _refused(self, rule: CheckBatch, outcomes: Sequence[Outcome]) -> Deny:
        """The refusal of a transaction. Raises what kept an entry from being judged."""
        decisions = []
        for held, outcome in zip(rule.entries, outcomes, strict=True):
            if not isinstance(outcome, Prepared | Deny | RequestError):
                raise outcome
            decisions.append(EntryDecision(held.entry, held.decision if isinstance(outcome, Prepared) else outcome))
        decision = conclude(decisions, Batch(tuple([held.entry for held in rule.entries]), transaction=True))
        assert isinstance(decision, Deny)  # one entry at least is refused
        return decision

    async def _send(self, rule: CheckBatch, outcomes: Sequence[Outcome], together: Sequence[int]) -> list[EntryAnswer]:
        """The upstream's answers to the entries ``together``, in order; nothing is sent where there are none."""
        pairs = [(rule.entries[number].entry, outgoing) for number in together if (outgoing := _outgoing(outcomes[number])) is not None]
        if not pairs:
            return []
        headers = (*conditions.wishes(self._request), _CONTENT_TYPE)
        upstream = UpstreamRequest("POST", (), headers=wish_of(pairs))
        received = await self._inner.collect(upstream, headers, bundle_of(pairs, transaction=rule.transaction))
        self._exchange.findings.upstream_status = received.status
        if received.status != 200:
            if refusal_of(received, self._access.policy) is not None:  # HAPI's 404: what an entry names by a search is not there
                raise RequestError("The FHIR server refused the batch.", reason="upstream-refused")
            raise UpstreamError("The FHIR server did not carry out the batch.")
        raw = received.require_json(self._access.policy.vocabulary.release.version)
        asked = [entry.request for entry, _ in pairs if isinstance(entry.request, FhirRequest)]
        return read_answers(raw, asked, transaction=rule.transaction, bases=self._access.policy.bases)

    async def _result(self, entry: BatchEntry, outcome: Outcome, found: EntryAnswer | None) -> Result:
        if not isinstance(outcome, Prepared):
            return outcome
        assert isinstance(entry.request, FhirRequest)  # what was prepared was parsed
        try:
            if found is None:
                return await self._alone(entry.request, outcome)
            received = Received(found.status, found.headers, found.body)
            return await self._judge(entry.request, outcome, received)
        except (RequestError, UpstreamError) as error:
            done = found is not None and found.status in _SUCCESS and entry.request.method in _WRITES
            return Answer(found.status, (), b"") if found is not None and done else error

    async def _alone(self, request: FhirRequest, prepared: Prepared) -> Result:
        """The answer that is made here, or of requests of its own."""
        match prepared.rule:
            case EmptySearchset():
                return Answer(200, (JSON_TYPE,), empty_searchset(self_url(request, self._access.policy.bases.public)))
            case Capability():
                return await discovery.capabilities(request, self._exchange.snapshot, self._inner)
            case CheckUnion() as rule:
                judgement = self._judgement(request)
                answer = await answer_union(rule, judgement)
                self._removed += judgement.removed
                return answer
            case _ if prepared.outgoing is not None:
                outgoing = prepared.outgoing
                body = outgoing.read()
                received = await self._inner.collect(as_entry(outgoing.request), (*conditions.wishes(request), *outgoing.media), body)
                return await self._judge(request, prepared, received)
            case _:
                raise AssertionError("no rule of an entry")  # INVARIANT: policy.batch

    async def _judge(self, request: FhirRequest, prepared: Prepared, received: Received) -> Result:
        rule, outgoing = prepared.rule, prepared.outgoing
        assert outgoing is not None  # it was sent
        if isinstance(rule, Stream) and request.method in _WRITES and request.type is not None and request.operation is None:
            rule = AnswerToWrite(request.type, self._access.boundary(request.type, Permission.READ), request.id)
        if isinstance(rule, Stream):
            return self._streamed(request, received)
        assert isinstance(rule, Judged)  # INVARIANT: policy.batch
        judgement = self._judgement(request)
        answer = await judge_onward(rule, as_entry(outgoing.request), received, judgement)
        self._removed += judgement.removed
        return answer

    def _streamed(self, request: FhirRequest, received: Received) -> Result:
        """What nothing has to be checked of leaves as it came, URLs in the public base."""
        refusal = refusal_of(received, self._access.policy)
        if refusal is not None:
            return refusal
        validators = conditions.validators(received)
        if conditions.is_unchanged(request, received):
            return Answer(304, validators, b"")
        return Answer(received.status, (JSON_TYPE, *validators), base_rewriter(self._access.policy.bases).whole(received.body))

    def _judgement(self, request: FhirRequest) -> Judgement:
        return Judgement(request, self._access, self._inner, self._exchange.snapshot)

    def _leaving(self, entry: BatchEntry, result: Result, found: EntryAnswer | None) -> Leaving:
        if isinstance(result, Answer):
            return Leaving(result, found, entry.method == "HEAD")
        return Leaving(self._exchange.refusal(result))


_REFUSED = UpstreamError("The entry was not prepared.")  # what an entry is until it has been


class _Carried:
    """The body of an entry: the resource that it carries."""

    def __init__(self, entry: BatchEntry, request: FhirRequest, links: Links, limits: Limits) -> None:
        self._entry = entry
        self._request = request
        self._links = links
        self._limits = limits

    async def resource(self, check: BodyCheck) -> tuple[Mapping[str, Any], bytes]:
        """As it is to be judged, references to other entries resolved, and as it came."""
        resource = self._resource()
        require_named(resource, check)
        return self._links.resolve(resource, check), self._entry.raw

    async def patch(self) -> JsonPatch:
        """Raises UnsupportedMediaType for what is no JSON Patch in a Binary."""
        return read_carried_patch(self._resource(), self._request.content_type, self._limits)

    def unread(self) -> tuple[bytes, bytes]:
        return self._entry.raw, FHIR_JSON.encode()

    def _resource(self) -> Mapping[str, Any]:
        assert self._entry.resource is not None  # INVARIANT: request.batch
        return self._entry.resource


def _outgoing(outcome: Outcome) -> Outgoing | None:
    return outcome.outgoing if isinstance(outcome, Prepared) else None


def _goes_along(outcome: Outcome, *, transaction: bool) -> bool:
    """Whether an entry is one of the Bundle. What is asked at the base itself is no entry that servers know; what describes the server is
    served as it is alone; an operation by POST HAPI takes for a create of what is posted; and a delete that names a version in its path is
    held to it only by itself (``policy.writes.writing.hold``), which a transaction does not allow."""
    outgoing = _outgoing(outcome)
    if outgoing is None or not isinstance(outcome, Prepared) or isinstance(outcome.rule, Capability):
        return False
    method, path = outgoing.request.method, as_entry(outgoing.request).path
    if not path or (method == "POST" and path[-1].startswith("$")):
        return False
    return transaction or method != "DELETE" or "_history" not in path


def _resolved(outcome: Outcome) -> str | None:
    """The id of the resource that a conditional write turned out to name."""
    outgoing = _outgoing(outcome)
    return (
        outgoing.request.path[1] if outgoing is not None and outgoing.request.method == "PUT" and len(outgoing.request.path) > 1 else None
    )


def _require_apart(outcomes: Iterable[Outcome]) -> None:
    """Raises RequestError where conditions turned out to name what another entry writes."""
    written: set[tuple[str, ...]] = set()
    for number, outcome in enumerate(outcomes):
        outgoing = _outgoing(outcome)
        if outgoing is None or outgoing.request.method not in _NAMED or len(outgoing.request.path) < len(("Type", "id")):
            continue
        if outgoing.request.path[:2] in written:
            text = "Two entries of the transaction write the same resource."
            raise RequestError(text, reason="overlapping-entries", expression=f"Bundle.entry[{number}]")
        written.add(outgoing.request.path[:2])
