"""The body of a request: read whole within its limits, or passed on as it comes within the same; decompressed either way."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

from starlette.types import Message, Receive, Scope

from smart_gateway.errors import BodyTooLarge, RequestError, RequestTooSlow, UnsupportedMediaType
from smart_gateway.gateway.edge.departure import ClientGone
from smart_gateway.request.limits import Limits

# Spec: RFC 9110 section 8.4.1. More than one coding is not accepted: each would multiply what a body can grow to.
_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
_PLAIN = b"identity"


class IncomingBody:
    """The body of one request. ``limits.body_time`` counts from the first read to the last; ``done`` is called after that.

    Spec: semantics 1, limits.
    """

    def __init__(self, scope: Scope, receive: Receive, limits: Limits, done: Callable[[], None]) -> None:
        self._receive = receive
        self._limits = limits
        self._done = done
        self._encoding = next((value.strip().lower() for name, value in scope["headers"] if name == b"content-encoding"), _PLAIN)
        self._declared = next((int(value) for name, value in scope["headers"] if name == b"content-length"), None)
        self._type: bytes | None = next((value for name, value in scope["headers"] if name == b"content-type"), None)
        self._inflating: _Inflating | None = None
        self._size = 0
        self._deadline: float | None = None

    @property
    def declared_length(self) -> int | None:
        """The length that the client said, in bytes; None also where the body is decompressed, for nobody said how long it then is."""
        return self._declared if self._encoding == _PLAIN else None

    async def read(self) -> bytes:
        """The whole body, decompressed. Raises BodyTooLarge, RequestTooSlow, UnsupportedMediaType, RequestError, ClientGone."""
        chunks = []
        more = True
        while more:
            message = await self.receive()
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        return b"".join(chunks)

    def raw_type(self) -> bytes:
        """The media type as the client wrote it. Raises UnsupportedMediaType where there is none."""
        if self._type is None:
            raise UnsupportedMediaType("A body needs its media type.", expression="http.Content-Type")
        return self._type

    def require_known_encoding(self) -> None:
        """Raises UnsupportedMediaType for a Content-Encoding that cannot be undone."""
        if self._encoding != _PLAIN and self._encoding not in _WINDOW_BITS:
            text = "The body may be sent as it is, or with the Content-Encoding gzip or deflate."
            raise UnsupportedMediaType(text, reason="unknown-encoding", expression="http.Content-Encoding")

    async def receive(self) -> Message:
        """The next ASGI message of the body, decompressed. Raises what ``read`` raises."""
        if self._encoding == _PLAIN:
            return await self._next()
        if self._inflating is None:
            self.require_known_encoding()
            self._inflating = _Inflating(self._encoding, self._limits)
        message = await self._next()
        more = message.get("more_body", False)
        return {"type": "http.request", "body": self._inflating.feed(message.get("body", b""), more=more), "more_body": more}

    async def _next(self) -> Message:
        """The next ASGI message as it came."""
        if self._declared is not None and self._declared > self._limits.body:
            raise _too_large()
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._limits.body_time
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise RequestTooSlow("The body did not arrive in time.") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._size += len(message.get("body", b""))
        if self._size > self._limits.body:
            raise _too_large()
        if not message.get("more_body", False):
            self._done()
        return message


class _Inflating:
    """Decompresses one member of the format, with nothing after it, part by part. At every moment what has come out is bounded by the
    largest body and by ``limits.ratio`` times what has gone in. Spec: RFC 9110 section 8.4.1; semantics 1."""

    __slots__ = ("_came", "_decoder", "_limits", "_made")

    def __init__(self, encoding: bytes, limits: Limits) -> None:
        self._decoder = zlib.decompressobj(_WINDOW_BITS[encoding])
        self._limits = limits
        self._came = 0
        self._made = 0

    def feed(self, part: bytes, *, more: bool) -> bytes:
        """What ``part`` becomes. Raises BodyTooLarge, and RequestError for what is not whole and alone of the encoding."""
        self._came += len(part)
        room = min(self._limits.body, self._limits.ratio * self._came) - self._made
        try:
            plain = self._decoder.decompress(part, room + 1)
        except zlib.error:
            raise _not_encoded() from None
        self._made += len(plain)
        if len(plain) > room:
            raise _too_large()
        if self._decoder.unused_data or not (more or self._decoder.eof):
            raise _not_encoded()
        return plain


def _too_large() -> BodyTooLarge:
    return BodyTooLarge("The body is larger than this gateway accepts.")


def _not_encoded() -> RequestError:
    return RequestError("The body is not what its Content-Encoding says.", reason="malformed-encoding", expression="http.Content-Encoding")
