"""The order in which a request is judged: the only place that knows it. Spec: semantics 10, "Order of judgement"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp

from smart_gateway.errors import SmartGatewayError, TokenMissing
from smart_gateway.fhir.json_patch import JsonPatch
from smart_gateway.gateway.callers.accesses import Accesses
from smart_gateway.gateway.callers.emergencies import called_emergency, in_emergency
from smart_gateway.gateway.callers.identifying import identify
from smart_gateway.gateway.callers.rates import Rates
from smart_gateway.gateway.callers.relations import Relations
from smart_gateway.gateway.edge.cors import preflight
from smart_gateway.gateway.edge.headers import to_upstream
from smart_gateway.gateway.edge.incoming import IncomingBody
from smart_gateway.gateway.edge.target import full_path
from smart_gateway.gateway.exchange import Exchange
from smart_gateway.gateway.preparing import Preparation
from smart_gateway.gateway.recording import require_record
from smart_gateway.gateway.rehearsal import pass_unjudged
from smart_gateway.gateway.responder import Responder
from smart_gateway.gateway.subrequest import AnswerBounds, Inner
from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import Arrival, refuse_arrival
from smart_gateway.policy.authorize import authorize, authorize_types
from smart_gateway.policy.plan import BodyCheck, Deny, Permit, Plan
from smart_gateway.policy.requirements import DISCOVERY
from smart_gateway.request.body import read_resource
from smart_gateway.request.completing import body_limits, complete, is_complete
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.patch import read_patch


class Enforcement:
    """Judges requests and has the permitted ones answered by ``app``, the FHIR server or the proxy to it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._accesses = Accesses()
        self._rates = Rates()
        self._relations = Relations()

    async def enforce(self, exchange: Exchange) -> None:
        """Answers one request. Raises SmartGatewayError for a refusal that is no decision, ClientGone when nobody waits any more."""
        answered = preflight(exchange.scope, exchange.snapshot)
        if answered is not None:
            await exchange.answer(answered, public=True)
            return
        scope = exchange.scope
        request = exchange.snapshot.parser.parse(scope["method"], full_path(scope), scope["query_string"], scope["headers"])
        exchange.findings.request = request
        if exchange.snapshot.dry_run and request.interaction not in DISCOVERY:
            await self._rehearse(exchange, request)
            return
        access, arrival = await self._identify(exchange, request)
        decision, access = await self._decide(exchange, request, access, arrival)
        if isinstance(decision, Permit):
            await require_record(exchange, request)
            await self._carry_out(exchange, decision.plan, access)
        else:
            await self._refuse(exchange, decision, access, arrival)

    async def _refuse(self, exchange: Exchange, denied: Deny, access: Access, arrival: Arrival) -> None:
        """Refuses; where a UMA server could permit what is denied, with a ticket to ask it."""
        request = exchange.findings.request
        assert request is not None  # INVARIANT: set before the decision
        if denied.status == 403 and access.principal.anonymous and access.principal.scopes.resources:
            raise TokenMissing("This request needs an access token: it is more than this listener opens to everybody.")
        invited = await exchange.snapshot.invitations.beside(request, access, arrival)
        if invited is not None:
            exchange.findings.decision = denied
        await exchange.refuse(denied if invited is None else invited)

    async def _rehearse(self, exchange: Exchange, request: FhirRequest) -> None:
        """Decides for the log alone; then the request goes on as it came. What cannot be parsed was refused before.

        Bodies, stored resources and answers are not looked at: the record says what ``explain`` would.
        """
        try:
            decided = await self._decide(exchange, request, *await self._identify(exchange, request))
            exchange.findings.decision = decided[0]
        except SmartGatewayError as error:
            if exchange.received and exchange.read is None:
                raise  # half of the body is gone: what is left must not go on as the whole
            exchange.findings.error = error
        await pass_unjudged(exchange, self._inner(exchange))

    async def _identify(self, exchange: Exchange, request: FhirRequest) -> tuple[Access, Arrival]:
        """What who asks may touch, and how they came."""
        principal, arrival = await identify(exchange, request)
        if request.interaction not in DISCOVERY:
            exchange.findings.principal = principal  # before the hook is asked: the record of its refusal says of whom
            principal = exchange.findings.principal = await exchange.snapshot.amendments.of(principal, arrival.now)
            principal = await self._relations.of(principal, exchange.snapshot.policy, lambda: self._inner(exchange), arrival.now)
        return self._accesses.of(principal, exchange.snapshot.policy), arrival

    async def _decide(self, exchange: Exchange, request: FhirRequest, access: Access, arrival: Arrival) -> tuple[Permit | Deny, Access]:
        """The decision, and the access that it was made by, which an emergency changes. A body that says what is asked is read on the way,
        but for nobody who may not ask at all."""
        if request.interaction not in DISCOVERY:
            self._rates.count(access, arrival)
        found = refuse_arrival(access, arrival) or self._called(exchange, request, access, arrival)
        if isinstance(found, Deny):
            return found, access
        if not is_complete(request):  # else ``authorize`` begins with the types
            denied = authorize_types(request, found)
            if denied is not None:
                return denied, found
            snapshot = exchange.snapshot
            limits = body_limits(request, snapshot.limits)
            body = exchange.read = await IncomingBody(exchange.scope, exchange.receive, limits, exchange.departure.watch).read()
            request = exchange.findings.request = complete(request, body, snapshot.parser, snapshot.limits)
            self._rates.count_entries(access, arrival, len(request.batch.entries) if request.batch is not None else 1)
        decision = authorize(request, found)
        exchange.findings.decision = decision
        return decision, found

    def _called(self, exchange: Exchange, request: FhirRequest, access: Access, arrival: Arrival) -> Access | Deny:
        """The access that counts for this one request: another one in an emergency, which is not kept."""
        if request.interaction in DISCOVERY:
            return access
        called = exchange.findings.emergency = called_emergency(exchange.scope["headers"], access.policy.break_glass)
        return in_emergency(called, request, access, arrival.now)

    async def _carry_out(self, exchange: Exchange, plan: Plan, access: Access) -> None:
        request = exchange.findings.request
        assert request is not None  # INVARIANT: set before the decision
        inner = self._inner(exchange)
        prepared = await Preparation(access, inner, exchange.snapshot).prepare(request, plan, _Posted(exchange, request))
        if isinstance(prepared, Deny):
            await exchange.refuse(prepared)
            return
        outgoing = prepared.outgoing
        if outgoing is None or not isinstance(outgoing.body, IncomingBody):
            exchange.departure.watch()
        await Responder(exchange, request, access, inner).respond(prepared.rule, outgoing)

    def _inner(self, exchange: Exchange) -> Inner:
        snapshot = exchange.snapshot
        return Inner(
            self._app,
            exchange.scope,
            snapshot.public_path,
            to_upstream(exchange.scope, snapshot, exchange.id),
            exchange.departure,
            AnswerBounds(snapshot.answer_size, snapshot.answer_time),
            snapshot.credentials.of(exchange.asking, exchange.id.own, snapshot.clock),
        )


class _Posted:
    """The body of the request itself, read when it is asked for."""

    def __init__(self, exchange: Exchange, request: FhirRequest) -> None:
        self._request = request
        self._read = exchange.read
        self._limits = exchange.snapshot.limits
        self._incoming = IncomingBody(exchange.scope, exchange.receive, self._limits, exchange.departure.watch)

    async def resource(self, check: BodyCheck) -> tuple[Mapping[str, Any], bytes]:
        body = self._read if self._read is not None else await self._incoming.read()
        return read_resource(body, check, self._request.content_type, self._limits), body

    async def patch(self) -> JsonPatch:
        return read_patch(await self._incoming.read(), self._request.content_type, self._limits)

    def unread(self) -> tuple[IncomingBody, bytes]:
        self._incoming.require_known_encoding()
        return self._incoming, self._incoming.raw_type()
