"""The reverse proxy, itself an ASGI app: sends each request on to the upstream as it stands, and judges how the answer is framed.

What is sent and what may leave is decided by whoever calls this app; the HTTP client is imported here and nowhere else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    HttpVersion10,
    HttpVersion11,
    TCPConnector,
)
from starlette.types import Message, Receive, Scope, Send
from yarl import URL

from smart_gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from smart_gateway.gateway.edge.departure import ClientGone

_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_CONTROLS = bytes(byte for byte in range(0x20) if byte != 0x09) + b"\x7f"
_VERSIONS = frozenset({HttpVersion10, HttpVersion11})
# What the library would add by itself, and in other words, where these are missing.
_OWN = (("user-agent", "smart-gateway"), ("accept", "*/*"), ("accept-encoding", "identity"))
_CHUNK = 256 * 1024  # bytes that the client reads ahead of us


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
    UpstreamError into the calling app. Belongs to the event loop of its first request; ``aclose`` when done.
    """

    def __init__(self, url: str, public_path: str, patience: Patience | None = None) -> None:
        self._base = url.rstrip("/")
        self._public_path = public_path.rstrip("/")
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._patience = patience or Patience()
        self._pool: _Pool | None = None

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
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.session.close()

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
        if not first.get("more_body", False):
            await self._exchange(scope, first.get("body") or None, send)
            return
        upload = _Upload(first, receive, _declared_length(scope["headers"]))
        try:
            await self._exchange(scope, upload, send)
        except UpstreamError:
            if upload.fault is not None:
                raise upload.fault from None
            raise

    async def _exchange(self, scope: Scope, body: bytes | _Upload | None, send: Send) -> None:
        if self._pool is None:
            self._pool = _Pool(_session(self._patience))
        path: str = scope["raw_path"].decode("ascii").removeprefix(self._public_path)
        query: str = scope["query_string"].decode("ascii")
        target = URL(f"{self._base}{path}?{query}" if query else self._base + path, encoded=True)
        headers = _headers_to_send(scope["headers"], self._host)
        pool = self._pool
        async with pool as session:
            try:
                async with session.request(scope["method"], target, data=body, headers=headers, allow_redirects=False) as response:
                    await _pass_on(response, send)
            except _Doubtful as doubt:
                pool.leave()
                if self._pool is pool:
                    self._pool = None
                raise UpstreamError("The FHIR server framed its answer in a way that can be read twice.") from doubt
            except (ClientError, TimeoutError, ValueError) as error:
                raise _refusal(error) from error


class _Doubtful(Exception):
    """An answer can be read in two ways, so nothing that follows on its connection can be trusted."""


class _Pool:
    """The connections of one session, counted by use: one that has been left behind closes when nobody uses it any more."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session
        self._users = 0
        self._left = False

    def leave(self) -> None:
        """None of its connections is to be used again."""
        self._left = True

    async def __aenter__(self) -> ClientSession:
        self._users += 1
        return self.session

    async def __aexit__(self, *_: object) -> None:
        self._users -= 1
        if self._left and not self._users:
            await self.session.close()


class _Upload(AsyncIterator[bytes]):
    """A request body on its way: checks that it is as long as was said, and ends with an error when the client leaves.

    ``fault`` is that error: the library passes on another one.
    """

    def __init__(self, first: Message, receive: Receive, length: int | None) -> None:
        self._next: Message | None = first
        self._receive = receive
        self._left = length
        self._ended = False
        self.fault: Exception | None = None

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        try:
            return await self._chunk()
        except Exception as error:
            self.fault = error
            raise

    async def _chunk(self) -> bytes:
        message, self._next = self._next or await self._receive(), None
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        self._ended = not message.get("more_body", False)
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0 or (self._ended and self._left > 0):
                raise ClientGone
        return chunk


def _session(patience: Patience) -> ClientSession:
    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=patience.idle),
        timeout=ClientTimeout(total=None, sock_connect=patience.connect, sock_read=patience.read),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_CHUNK,
    )


async def _pass_on(response: ClientResponse, send: Send) -> None:
    """The answer as ASGI messages; the last part of one whose length is known is also its end."""
    headers = _judged_headers(response)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    content, left, more = response.content, _declared_length(headers), True
    while more:
        chunk = await content.readany()
        if left is not None:
            left -= len(chunk)
        more = bool(chunk) and left != 0
        await send({"type": "http.response.body", "body": chunk, "more_body": more})


def _judged_headers(response: ClientResponse) -> list[tuple[bytes, bytes]]:
    """The end-to-end headers, names in lower case. Raises _Doubtful where the answer can be read in two ways.

    Spec: RFC 9110 section 5.5; RFC 9112 sections 2.3 and 6.3.
    """
    headers = [(name.lower(), value) for name, value in response.raw_headers]
    framing = [header for header in headers if header[0] in _FRAMING]
    values = b"".join([value for _, value in headers])
    plain = response.version in _VERSIONS and 200 <= response.status < 600 and len(framing) <= 1 and all(map(_is_plain, framing))
    if not plain or values.translate(None, _CONTROLS) != values:
        raise _Doubtful
    return [header for header in headers if header[0] not in _HOP_BY_HOP]


def _is_plain(header: tuple[bytes, bytes]) -> bool:
    name, value = header
    return value.isdigit() if name == b"content-length" else value.lower() == b"chunked"


def _headers_to_send(headers: Iterable[tuple[bytes, bytes]], host: str) -> list[tuple[str, str]]:
    """``headers`` with the upstream's own Host, and with those that every request has."""
    sent = [(name.decode("ascii"), value.decode("ascii")) for name, value in headers if name != b"host"]
    names = {name for name, _ in sent}
    return [("host", host), *sent, *[header for header in _OWN if header[0] not in names]]


def _declared_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    return next((int(value) for name, value in headers if name == b"content-length"), None)


def _refusal(error: Exception) -> UpstreamError:
    match error:
        case TimeoutError():
            return UpstreamTimeout("The FHIR server did not answer in time.")
        case ClientConnectionError():
            return UpstreamUnavailable("The FHIR server cannot be reached.")
        case _:
            return UpstreamError("The FHIR server's answer cannot be read.")
