"""One request under way: what came, what is known of it so far, and the one place by which answers leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from starlette.types import Message, Receive, Scope, Send

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.refusals import Facing, refuse
from smart_gateway.errors import SmartGatewayError
from smart_gateway.gateway.callers.emergencies import CalledEmergency
from smart_gateway.gateway.credentials import Asking
from smart_gateway.gateway.edge.cors import cors_headers
from smart_gateway.gateway.edge.departure import Departure
from smart_gateway.gateway.edge.headers import RequestId, name_request
from smart_gateway.gateway.edge.lookout import Lookout
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.policy.plan import Deny, Permit
from smart_gateway.principal import BY_CERTIFICATE, Principal
from smart_gateway.request.model import FhirRequest
from smart_gateway.tokens.presented import Presented

JSON_TYPE = (b"content-type", b"application/fhir+json; charset=utf-8")

_NOSNIFF = (b"x-content-type-options", b"nosniff")
_PRIVATE = (b"cache-control", b"private, no-store")
SANDBOX = (b"content-security-policy", b"sandbox")
_SET_HERE = frozenset({b"x-content-type-options", b"cache-control"})
_BODILESS = frozenset({204, 304})
_ENDING = frozenset({408, 413})
_CLOSE = (b"connection", b"close")


@dataclass(slots=True)
class Findings:
    """What is known of the request so far: the material of its one log record. ``status`` is what the client got, 0 while nothing;
    ``entries`` the statuses of a batch's entries, in order; ``emergency`` one that it called; ``kept``: it is on record that it began."""

    request: FhirRequest | None = None
    principal: Principal | None = None
    decision: Permit | Deny | None = None
    error: SmartGatewayError | None = None
    status: int = 0
    upstream_status: int | None = None
    removed: int = 0
    entries: tuple[int, ...] = ()
    emergency: CalledEmergency | None = None
    kept: bool = False


class Exchange:
    """A request and its answer. ``findings`` grow as it goes on; ``presented`` is what it came with besides, once it was looked at;
    ``started`` tells whether an answer has begun to leave; ``read`` is the body where it was needed for the decision, ``received``
    whether any of it has come in; ``nonce`` is what the answer gives for the client's next DPoP proof."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, snapshot: Snapshot, lookout: Lookout) -> None:
        self.scope = scope
        self.snapshot = snapshot
        self.departure = Departure(receive, lookout)
        self.id: RequestId = name_request(scope, snapshot)
        self.findings = Findings()
        self.presented: Presented | None = None
        self.nonce: str | None = None
        self.read: bytes | None = None
        self.received = False
        self._receive = receive
        self._send = send

    @property
    def started(self) -> bool:
        """Whether the head of an answer has left."""
        return self.findings.status != 0

    @property
    def asking(self) -> Asking:
        """Who asks, as far as it is known, and with which token."""
        principal, presented = self.findings.principal, self.presented
        if principal is None or presented is None:
            return Asking()
        if principal.anonymous or principal.issuer == BY_CERTIFICATE:  # a token that came with them is not theirs
            return Asking(principal)
        return Asking(principal, presented.scheme, presented.token)

    @property
    def is_head(self) -> bool:
        """Whether the client wants no body."""
        return bool(self.scope["method"] == "HEAD")

    async def receive(self) -> Message:
        """The next part of the client's body."""
        self.received = True
        return await self._receive()

    async def answer(self, answer: Answer, *, public: bool = False) -> None:
        """Sends ``answer`` whole. ``public``: it may be kept by caches."""
        headers = answer.headers
        if answer.status not in _BODILESS:
            headers = (*headers, (b"content-length", b"%d" % len(answer.body)))
        await self.start(answer.status, headers, public=public)
        await self.write(answer.body, more=False)

    def refusal(self, reason: Deny | SmartGatewayError) -> Answer:
        """The refusal, as the answer that it would be by itself."""
        return refuse(reason, self._facing())

    async def refuse(self, reason: Deny | SmartGatewayError) -> None:
        """Sends the refusal. One for being too slow or too large ends the connection: the rest of the body is not wanted."""
        made = self.refusal(reason)
        headers = tuple(header for header in made.headers if header[0] not in _SET_HERE)
        answer = Answer(made.status, headers if made.status not in _ENDING else (*headers, _CLOSE), made.body)
        if isinstance(reason, Deny):
            earlier = self.findings.decision
            self.findings.decision = reason if reason.grounds or earlier is None else replace(reason, grounds=earlier.grounds)
        else:
            self.findings.error = reason
        await self.answer(answer)

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], *, public: bool = False, sandbox: bool = False) -> None:
        """Sends the head; every answer carries what all of them must. ``sandbox``: raw content of whatever kind."""
        all_headers = [*headers, *self.id.headers, _NOSNIFF, *cors_headers(self.scope, self.snapshot)]
        if not public:
            all_headers.append(_PRIVATE)
        if self.nonce is not None:
            all_headers.append((b"dpop-nonce", self.nonce.encode("ascii")))
        if sandbox:
            all_headers.append(SANDBOX)
        self.findings.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Sends a part of the body; to HEAD nothing but its end."""
        if self.is_head:
            body = b""
        if body or not more:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def _facing(self) -> Facing:
        snapshot, request = self.snapshot, self.findings.request
        return Facing(
            self.id.own,
            snapshot.policy.bases.public,
            request.preferences.media if request is not None else "json",
            snapshot.dpop_algorithms,
            snapshot.required_scope_url,
        )
