"""A scripted FHIR server as an ASGI app, one that disobeys on purpose, and a gateway in front of either."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

import httpx

from smart_gateway.answers.sealing import Sealer
from smart_gateway.errors import DependencyUnavailable, SmartGatewayError, TokenError
from smart_gateway.gateway.middleware import Gateway
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.observe.events import DecisionEvent
from smart_gateway.policy.model import Policy
from smart_gateway.principal import Principal
from smart_gateway.request.limits import Limits
from smart_gateway.request.parsing import RequestParser
from tests.support.deciding import BASES, DEFAULT, principal, vocabulary

PUBLIC, UPSTREAM = BASES.public, BASES.upstream
NOW = 1_750_000_000.0  # seconds; the gateway's clock in tests
FHIR = "application/fhir+json"

Message = dict[str, Any]
App = Callable[[Any, Any, Any], Any]


@dataclass
class Reply:
    """One scripted answer. ``body`` as JSON unless it is bytes; ``chunks`` instead of it are sent one by one."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    type: str | None = FHIR
    chunks: tuple[bytes, ...] | None = None
    raises: BaseException | None = None
    cut_short: bool = False  # never says that the body is complete
    raw_headers: tuple[tuple[bytes, bytes], ...] = ()

    def messages(self) -> list[Message]:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        named = {**({"content-type": self.type} if self.type is not None else {}), **self.headers}
        headers = [(name.lower().encode(), value.encode()) for name, value in named.items()]
        start: Message = {"type": "http.response.start", "status": self.status, "headers": [*headers, *self.raw_headers]}
        parts = (body,) if self.chunks is None else self.chunks
        last = len(parts) - 1
        return [start, *(self._part(part, more=i < last or self.cut_short) for i, part in enumerate(parts))]

    @staticmethod
    def _part(body: bytes, *, more: bool) -> Message:
        return {"type": "http.response.body", "body": body, "more_body": more}


@dataclass
class Asked:
    """What the upstream was asked, as it saw it."""

    method: str
    path: str  # relative to the public base
    query: list[tuple[str, str]]
    headers: list[tuple[str, str]]
    body: bytes
    scope: Mapping[str, Any]

    def header(self, name: str) -> str | None:
        """The value of the header, which must not be there twice."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, (name, values)
        return values[0] if values else None

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


class ScriptedUpstream:
    """Answers by ``"METHOD /path"``, else by stored resources (``GET /Type/id``), else with 404. Keeps what it was asked."""

    def __init__(self, *resources: Mapping[str, Any], base: str = "/fhir") -> None:
        self.asked: list[Asked] = []
        self.replies: dict[str, Reply | Callable[[Asked], Reply]] = {}
        self.stored = {f"{r['resourceType']}/{r['id']}": r for r in resources}
        self._base = base

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        asked = await self._ask(scope, receive)
        self.asked.append(asked)
        reply = self.reply(asked)
        if reply.raises is not None:
            raise reply.raises
        for message in reply.messages():
            await send(message)

    def reply(self, asked: Asked) -> Reply:
        scripted = self.replies.get(asked.line)
        if scripted is not None:
            return scripted(asked) if callable(scripted) else scripted
        resource = self.stored.get(asked.path[1:])
        if asked.method == "GET" and resource is not None:
            version = resource.get("meta", {}).get("versionId")
            return Reply(200, resource, {"ETag": f'W/"{version}"'} if version is not None else {})
        return Reply(404, outcome("no such thing: secret-of-the-upstream"))

    async def _ask(self, scope: Any, receive: Any) -> Asked:
        chunks = []
        more = True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        path = scope["raw_path"].decode()
        assert path.startswith(self._base)
        query = parse_qsl(scope["query_string"].decode(), keep_blank_values=True, strict_parsing=bool(scope["query_string"]))
        headers = [(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]
        return Asked(scope["method"], path.removeprefix(self._base), query, headers, b"".join(chunks), scope)


class DisobedientUpstream(ScriptedUpstream):
    """Gives the same reply whatever it is asked: what a server that ignores parameters, conditions and media types does."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self._only = reply

    def reply(self, asked: Asked) -> Reply:
        return self._only


class FakeVerifier:
    """Tokens are the keys of ``principals``; an exception instead of a principal is raised."""

    def __init__(self, principals: Mapping[str, Principal | SmartGatewayError]) -> None:
        self.principals = dict(principals)

    async def verify(self, token: str, now: float) -> Principal:
        found = self.principals.get(token)
        if found is None:
            raise TokenError("The token is not known here.")
        if isinstance(found, SmartGatewayError):
            raise found
        return found


class FakeDiscovery:
    """The issuer's document, or None for an issuer that is down."""

    def __init__(self, document: Mapping[str, Any] | None) -> None:
        self._document = document

    async def document(self, issuer: str) -> Mapping[str, Any]:
        if self._document is None:
            raise DependencyUnavailable("The issuer cannot be reached.")
        return self._document


class MemoryLog:
    """Keeps the events; those of beginnings apart. ``full``: it takes none of them any more."""

    def __init__(self) -> None:
        self.events: list[DecisionEvent] = []
        self.begun: list[DecisionEvent] = []
        self.full = False

    def record(self, event: DecisionEvent) -> bool:
        self.events.append(event)
        return not self.full

    async def keep(self, event: DecisionEvent) -> bool:
        self.begun.append(event)
        return not self.full


ISSUER_DOCUMENT = {
    "issuer": "https://idp.example.org",
    "authorization_endpoint": "https://idp.example.org/auth",
    "token_endpoint": "https://idp.example.org/token",
    "jwks_uri": "https://idp.example.org/keys",
    "scopes_supported": ["openid", "patient/*.rs"],
}


def snapshot(policy: Policy = DEFAULT, **choices: Any) -> Snapshot:
    """A snapshot as the settings would build it, with a fake verifier, a fixed clock and counted randomness."""
    limits = choices.pop("limits", Limits())
    count = iter(range(1, 1_000_000))
    given: dict[str, Any] = {
        "policy": policy,
        "parser": RequestParser(vocabulary(policy.vocabulary.release), "/fhir", limits, PUBLIC),
        "verifier": FakeVerifier({}),
        "discovery": FakeDiscovery(ISSUER_DOCUMENT),
        "limits": limits,
        "sealer": Sealer([b"k" * 32], 900.0),
        "log": MemoryLog(),
        "issuers": ("https://idp.example.org",),
        "clock": lambda: NOW,
        "entropy": lambda size: next(count).to_bytes(size, "big"),
    }
    return Snapshot(**{**given, **choices})


class Front:
    """A gateway in front of ``app``, and a client of it. ``scope`` makes the token ``t`` of patient 123."""

    def __init__(
        self, app: App, scope: str | None = None, *, policy: Policy = DEFAULT, claims: Mapping[str, Any] | None = None, **choices: Any
    ) -> None:
        self.log = MemoryLog()
        principals = {"t": principal(scope, **(claims or {}))} if scope is not None else {}
        choices.setdefault("verifier", FakeVerifier(principals))
        choices.setdefault("log", self.log)
        self.snapshot = snapshot(policy, **choices)
        self.gateway = Gateway(app, lambda: self.snapshot)

    def reload(self, **changes: Any) -> None:
        """Swaps the snapshot."""
        self.snapshot = replace(self.snapshot, **changes)

    async def request(self, method: str, target: str, *, token: str | None = "t", mount: str = "", **options: Any) -> httpx.Response:
        """Asks ``target``, relative to the public base, or absolute."""
        headers = httpx.Headers(options.pop("headers", None))
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        url = target if target.startswith("http") else f"{PUBLIC}{target}"
        transport = httpx.ASGITransport(app=self.gateway, root_path=mount, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, url, headers=headers, **options)

    async def get(self, target: str, **options: Any) -> httpx.Response:
        return await self.request("GET", target, **options)

    @property
    def event(self) -> DecisionEvent:
        """The one record of the one request so far."""
        assert len(self.log.events) == 1, self.log.events
        return self.log.events[0]


class Conversation:
    """One request in raw ASGI: what the test puts into ``incoming`` is received, what the app sends is kept."""

    def __init__(self, app: App, method: str, target: str, headers: Mapping[str, str] | None = None, /, **scope: Any) -> None:
        path, _, query = target.partition("?")
        self._app = app
        self.sent: list[Message] = []
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": ("192.0.2.7", 1234),
            "server": ("fhir.example.org", 443),
            "scheme": "https",
            **scope,
        }

    async def run(self, incoming: AsyncIterator[Message] | None = None) -> None:
        messages = incoming if incoming is not None else _nothing()

        async def receive() -> Message:
            return await anext(messages)

        async def send(message: Message) -> None:
            self.sent.append(message)

        await self._app(self.scope, receive, send)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


async def _nothing() -> AsyncIterator[Message]:
    yield {"type": "http.request", "body": b"", "more_body": False}
    yield {"type": "http.disconnect"}


def observation(id: str = "o1", patient: str = "123", **members: Any) -> dict[str, Any]:
    """An Observation of ``patient``, at version 3."""
    return {
        "resourceType": "Observation",
        "id": id,
        "meta": {"versionId": "3"},
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
        **members,
    }


def searchset(*resources: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """A searchset of matches."""
    entries = [{"fullUrl": f"{UPSTREAM}/{r['resourceType']}/{r['id']}", "resource": r, "search": {"mode": "match"}} for r in resources]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries, **members}


def outcome(text: str) -> dict[str, Any]:
    """An OperationOutcome as an upstream would send it."""
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing", "diagnostics": text}]}


def code_of(response: httpx.Response) -> str:
    """The machine code of the first issue of a refusal."""
    assert response.headers["content-type"].startswith(FHIR), response.text
    return str(response.json()["issue"][0]["details"]["coding"][0]["code"])
