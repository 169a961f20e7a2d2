"""Asking the inner app: requests built from a plan, answers collected whole within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smart_gateway.errors import SmartGatewayError, UpstreamError, UpstreamTimeout
from smart_gateway.fhir.media import FHIR_JSON, FORM, content_type, is_json_body
from smart_gateway.fhir.query import encode_query
from smart_gateway.gateway.credentials import NO_CREDENTIAL, Credential
from smart_gateway.gateway.edge.departure import ClientGone, Departure
from smart_gateway.gateway.edge.target import base_path, inner_path
from smart_gateway.policy.plan import UpstreamRequest

Headers = list[tuple[bytes, bytes]]

_JSON = ((b"accept", FHIR_JSON.encode()),)
_FORM = (b"content-type", FORM.encode())
# An answer that has two of these can be read in two ways.
_SINGLE = frozenset({b"content-type", b"content-encoding", b"content-length", b"etag", b"location", b"content-location", b"last-modified"})


@dataclass(frozen=True, slots=True)
class Received:
    """An answer of the inner app: the headers that the gateway looks at, by lower-case name, and the body as it came."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def text(self, name: bytes) -> str | None:
        """The value of header ``name``."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value is not None else None

    def require_json(self, version: str) -> bytes:
        """The body, when it can be judged. Raises UpstreamError for another encoding, media type, charset or FHIR ``version``."""
        if self.headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            raise UpstreamError("The FHIR server encoded its answer though it was asked not to.")
        if not _is_json(self.headers.get(b"content-type"), version):
            raise UpstreamError("The FHIR server's answer is not FHIR JSON, which it was asked for.")
        return self.body


@lru_cache(maxsize=64)
def _is_json(type: bytes | None, version: str) -> bool:
    return type is not None and is_json_body(content_type(type.decode("latin-1"), version))


@dataclass(frozen=True, slots=True)
class AnswerBounds:
    """How large (bytes) and how late (seconds) an answer that must be collected may be."""

    size: int
    time: float


class Inner:
    """The inner app as one request's service: everything sent is built from ``outer`` and a plan, never from the client's bytes.

    ``headers`` go with every request (``edge.headers.to_upstream``), and so does what ``credential`` says; ``public_path`` is the path
    of the public base.
    """

    def __init__(
        self,
        app: ASGIApp,
        outer: Scope,
        public_path: str,
        headers: Headers,
        departure: Departure,
        bounds: AnswerBounds,
        credential: Credential = NO_CREDENTIAL,
    ) -> None:
        self._app = app
        self._outer = outer
        self._public_path = public_path
        self._headers = headers
        self._departure = departure
        self._bounds = bounds
        self._credential = credential

    async def collect(self, request: UpstreamRequest, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes | None = None) -> Received:
        """The whole answer to ``request`` with ``headers``, asked for as FHIR JSON. Raises UpstreamError and its subclasses."""
        collector = _Collector(self._bounds.size)
        headers, body = _with_body(request, (*_JSON, *headers), body)
        bound, lookout = asyncio.timeout(None), self._departure.lookout
        limit = partial(bound.reschedule, asyncio.get_running_loop().time() + self._bounds.time)
        lookout.wait(limit)
        try:
            async with bound:
                await self.stream(request, headers, _OneBody(body, self._departure), collector)
        except TimeoutError:
            raise UpstreamTimeout("The FHIR server did not answer in time.") from None
        finally:
            lookout.leave(limit)
        return collector.received()

    async def pass_on(self, request: UpstreamRequest, headers: Iterable[tuple[bytes, bytes]], body: bytes | None, send: Send) -> None:
        """Sends ``request`` with ``headers`` and ``body`` (None: that of its form, or none), the answer to ``send``."""
        headers, body = _with_body(request, headers, body)
        await self.stream(request, headers, _OneBody(body, self._departure), send)

    async def stream(self, request: UpstreamRequest, headers: Iterable[tuple[bytes, bytes]], receive: Receive, send: Send) -> None:
        """Sends ``request`` with ``headers`` and the body that ``receive`` gives, the answer to ``send``."""
        try:
            await self._app(self._scope(request, (*await self._credential.headers(), *headers)), receive, send)
        except (SmartGatewayError, ClientGone):
            raise
        except Exception as error:
            raise UpstreamError("The FHIR server failed to answer.") from error

    def _scope(self, request: UpstreamRequest, headers: Iterable[tuple[bytes, bytes]]) -> Scope:
        path, _, query = request.target.partition("?")
        full = base_path(self._outer, self._public_path) if path == "/" else self._public_path + path
        planned = ((name.lower().encode(), value.encode("ascii")) for name, value in request.headers)
        return {
            **self._outer,
            "method": request.method,
            "path": inner_path(self._outer, full),
            "raw_path": full.encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": [*self._headers, *headers, *planned],
            "extensions": {},  # a server's extensions would let an answer leave by another way than ours
        }


def _with_body(
    request: UpstreamRequest, headers: Iterable[tuple[bytes, bytes]], body: bytes | None
) -> tuple[Iterable[tuple[bytes, bytes]], bytes]:
    """The headers and the body to send; a form is written here."""
    if request.form is not None:
        body = encode_query(request.form).encode("ascii")
        headers = (*headers, _FORM)
    return (headers, b"") if body is None else ((*headers, (b"content-length", b"%d" % len(body))), body)


class _OneBody:
    """An ASGI ``receive`` that gives one body, and then waits for the client to leave."""

    __slots__ = ("_body", "_departure")

    def __init__(self, body: bytes, departure: Departure) -> None:
        self._body: bytes | None = body
        self._departure = departure

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._departure.wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Collector:
    """An ASGI ``send`` that keeps the answer. A fault found stays found, also when the app that sends swallows the exception."""

    __slots__ = ("_chunks", "_complete", "_fault", "_left", "_start")

    def __init__(self, size: int) -> None:
        self._left = size
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._complete = False
        self._fault: UpstreamError | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            chunk = message.get("body", b"")
            self._left -= len(chunk)
            if self._left < 0:
                self._fault = UpstreamError("The FHIR server's answer is larger than can be checked.")
                self._chunks.clear()
                raise self._fault
            self._chunks.append(chunk)
            self._complete = not message.get("more_body", False)

    def received(self) -> Received:
        if self._fault is not None:
            raise self._fault
        if self._start is None or not self._complete:
            raise UpstreamError("The FHIR server broke off its answer.")
        return Received(self._start["status"], _once(self._start.get("headers", ())), b"".join(self._chunks))


def has_doubles(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether ``headers``, their names in lower case, hold twice what may be there once."""
    names = [name for name, _ in headers if name in _SINGLE]
    return len(names) != len(set(names))


def _once(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    lower = [(name.lower(), value) for name, value in headers]
    if has_doubles(lower):
        raise UpstreamError("The FHIR server sent a header twice that may be there once.")
    return dict(lower)
