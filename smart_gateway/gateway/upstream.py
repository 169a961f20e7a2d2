"""The reverse proxy, itself an ASGI app: sends each request on to the upstream as it stands, and judges how the answer is framed.

What is sent and what may leave is decided by whoever calls this app; the HTTP client is imported here and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import NetworkError, PoolTimeoutError, PyreqwestError, ReadError, RequestTimeoutError
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response
from starlette.types import Message, Receive, Scope, Send

from smart_gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from smart_gateway.gateway.departure import ClientGone

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: ``connect`` for a connection, ``read`` between two reads of an answer, its head included;
    ``idle`` is how long an unused connection is kept. Shorter than what servers commonly keep theirs, so that none is found dead."""

    connect: float = 5.0
    read: float = 60.0
    idle: float = 10.0


class Upstream:
    """Proxies to the FHIR server at ``url``; the public base path in front of each request's path becomes the path of ``url``.

    No redirects, no cookies, no proxies from the environment, no decompression. Raises UpstreamUnavailable, UpstreamTimeout and
    UpstreamError into the calling app. Safe to use from one event loop; ``aclose`` when done.
    """

    def __init__(self, url: str, public_path: str, patience: Patience | None = None) -> None:
        self._base = url.rstrip("/")
        self._public_path = public_path.rstrip("/")
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._patience = patience or Patience()
        self._client = _build(self._patience)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._forward(scope, receive, send)
            case "lifespan":
                await self._live(receive, send)
            case kind:
                raise RuntimeError(f"the upstream takes no {kind}")

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._client.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()
        if first["type"] == "http.disconnect":
            raise ClientGone
        request = self._request(scope)
        if not first.get("more_body", False):
            await self._exchange(request.body_bytes(first["body"]) if first.get("body") else request, send)
            return
        upload = _Upload(first, receive, _declared_length(scope["headers"]))
        try:
            await self._exchange(request.body_stream(upload), send)
        finally:
            # The client library goes on reading a body after its request was cancelled; a half-sent write must not become whole.
            upload.stopped = True

    def _request(self, scope: Scope) -> RequestBuilder:
        path: str = scope["raw_path"].decode("ascii").removeprefix(self._public_path)
        query: str = scope["query_string"].decode("ascii")
        request = self._client.request(scope["method"], f"{self._base}{path}?{query}" if query else self._base + path)
        # The library holds back an answer's head until this much of its body has come; 0: not at all.
        return request.headers(_headers_to_send(scope, self._host)).streamed_read_buffer_limit(0)

    async def _exchange(self, request: RequestBuilder, send: Send) -> None:
        try:
            async with request.build_streamed() as response:
                headers = self._headers(response)
                await send({"type": "http.response.start", "status": response.status, "headers": headers})
                reader, left, more = response.body_reader, _declared_length(headers), True
                while more:
                    chunk = await reader.read_chunk()
                    if left is not None and chunk is not None:
                        left -= len(chunk)
                    more = chunk is not None and left != 0
                    await send({"type": "http.response.body", "body": bytes(chunk or b""), "more_body": more})
        except PyreqwestError as error:
            raise _refusal(error) from error

    def _headers(self, response: Response) -> list[tuple[bytes, bytes]]:
        """The answer's end-to-end headers. Raises UpstreamError where its framing can be read in two ways. Spec: RFC 9112 6.3."""
        try:
            headers = response.headers.items()
            framing = [(name, value) for name, value in headers if name in {"content-length", "transfer-encoding"}]
            passed = [(name.encode(), value.encode()) for name, value in headers if name not in _HOP_BY_HOP]
        except ValueError as error:
            raise self._poisoned("The FHIR server sent a header that is not ASCII.") from error
        if len(framing) > 1 or any(not _is_plain(name, value) for name, value in framing):
            raise self._poisoned("The FHIR server framed its answer in a way that can be read twice.")
        return passed

    def _poisoned(self, text: str) -> UpstreamError:
        """Whatever follows on that connection cannot be trusted: no connection of this pool is used again."""
        self._client = _build(self._patience)
        return UpstreamError(text)


class _Upload(AsyncIterator[bytes]):
    """A request body on its way: checks that it is as long as was said, and ends with an error when the client leaves."""

    def __init__(self, first: Message, receive: Receive, length: int | None) -> None:
        self._next: Message | None = first
        self._receive = receive
        self._left = length
        self._ended = False
        self.stopped = False

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        message, self._next = self._next or await self._receive(), None
        if self.stopped or message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        self._ended = not message.get("more_body", False)
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0 or (self._ended and self._left > 0):
                raise ClientGone
        return chunk


def _build(patience: Patience) -> Client:
    return (
        ClientBuilder()
        .no_proxy()
        .follow_redirects(False)
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .http1_only()
        .connect_timeout(timedelta(seconds=patience.connect))
        .read_timeout(timedelta(seconds=patience.read))
        .pool_idle_timeout(timedelta(seconds=patience.idle))
        .build()
    )


def _headers_to_send(scope: Scope, host: str) -> list[tuple[str, str]]:
    """The headers of ``scope``, with the upstream's own Host and an explicit ``User-Agent`` and ``Accept``: the library adds none."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    sent = [(name.decode("ascii"), value.decode("ascii")) for name, value in headers if name != b"host"]
    names = {name for name, _ in sent}
    return [("host", host), *sent, *((name, value) for name, value in _DEFAULTS if name not in names)]


_DEFAULTS = (("user-agent", "smart-gateway"), ("accept", "*/*"))


def _declared_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    return next((int(value) for name, value in headers if name == b"content-length"), None)


def _is_plain(name: str, value: str) -> bool:
    return value.isascii() and value.isdigit() if name == "content-length" else value.lower() == "chunked"


def _refusal(error: PyreqwestError) -> UpstreamError:
    match error:
        case PoolTimeoutError():
            return UpstreamUnavailable("The FHIR server is busy.")
        case RequestTimeoutError():
            return UpstreamTimeout("The FHIR server did not answer in time.")
        case NetworkError() if not isinstance(error, ReadError):
            return UpstreamUnavailable("The FHIR server cannot be reached.")
        case _:
            return UpstreamError("The FHIR server's answer cannot be read.")
