"""The body of a request: read whole within its limits, or passed on as it comes within the same."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

from starlette.types import Message, Receive, Scope

from smart_gateway.errors import BodyTooLarge, RequestError, RequestTooSlow, UnsupportedMediaType
from smart_gateway.gateway.departure import ClientGone
from smart_gateway.request.limits import Limits

_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


class IncomingBody:
    """The body of one request. ``limits.body_time`` counts from the first read to the last; ``done`` is called after that.

    Spec: semantics 1, limits.
    """

    def __init__(self, scope: Scope, receive: Receive, limits: Limits, done: Callable[[], None]) -> None:
        self._receive = receive
        self._limits = limits
        self._done = done
        self._encoding = next((value.strip().lower() for name, value in scope["headers"] if name == b"content-encoding"), b"identity")
        self._declared = next((int(value) for name, value in scope["headers"] if name == b"content-length"), None)
        self._type: bytes | None = next((value for name, value in scope["headers"] if name == b"content-type"), None)
        self._size = 0
        self._deadline: float | None = None

    @property
    def declared_length(self) -> int | None:
        """The length that the client said, in bytes."""
        return self._declared

    async def read(self) -> bytes:
        """The whole body, decompressed. Raises BodyTooLarge, RequestTooSlow, UnsupportedMediaType, RequestError, ClientGone."""
        if self._encoding not in _WINDOW_BITS:
            self.require_plain()
        chunks = []
        more = True
        while more:
            message = await self.receive()
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = b"".join(chunks)
        return body if self._encoding == b"identity" else self._decompressed(body)

    def raw_type(self) -> bytes:
        """The media type as the client wrote it. Raises UnsupportedMediaType where there is none."""
        if self._type is None:
            raise UnsupportedMediaType("A body needs its media type.", expression="http.Content-Type")
        return self._type

    def require_plain(self) -> None:
        """Raises UnsupportedMediaType for a body with a Content-Encoding."""
        if self._encoding != b"identity":
            text = "A body of this kind is not accepted with this Content-Encoding."
            raise UnsupportedMediaType(text, reason="unknown-encoding", expression="http.Content-Encoding")

    async def receive(self) -> Message:
        """The next ASGI message of the body as it came. Raises BodyTooLarge, RequestTooSlow, ClientGone."""
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

    def _decompressed(self, body: bytes) -> bytes:
        """One member of the format and nothing after it. Spec: RFC 9110 section 8.4.1."""
        most = min(self._limits.body, self._limits.ratio * len(body))
        decoder = zlib.decompressobj(_WINDOW_BITS[self._encoding])
        try:
            plain = decoder.decompress(body, most + 1)
        except zlib.error:
            raise _not_encoded() from None
        if len(plain) > most:
            raise _too_large()
        if not decoder.eof or decoder.unused_data:
            raise _not_encoded()
        return plain


def _too_large() -> BodyTooLarge:
    return BodyTooLarge("The body is larger than this gateway accepts.")


def _not_encoded() -> RequestError:
    return RequestError("The body is not what its Content-Encoding says.", reason="malformed-encoding", expression="http.Content-Encoding")
