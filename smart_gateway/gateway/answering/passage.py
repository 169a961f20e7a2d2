"""An answer that nothing has to be checked of, on its way to the client: streamed in flat memory, URLs in the public base."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from starlette.types import Message

from smart_gateway.answers.rewriting import BaseRewriter, StreamRewriter
from smart_gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from smart_gateway.fhir.media import is_fhir
from smart_gateway.fhir.references import Bases
from smart_gateway.gateway.edge.headers import to_client
from smart_gateway.gateway.exchange import Exchange
from smart_gateway.gateway.subrequest import Received, has_doubles

_BODILESS = frozenset({204, 304})
_FAILED: Mapping[int, type[UpstreamError]] = {503: UpstreamUnavailable, 504: UpstreamTimeout}
_ENCODINGS = frozenset({b"identity", b""})


@lru_cache(maxsize=16)
def _rewriter(bases: Bases) -> BaseRewriter:
    return BaseRewriter(bases)


class Passage:
    """An ASGI ``send``. The head leaves with the first part of the body, so that an answer of one part keeps its length.

    ``conditional``: 304 may be answered, because the request asked for it. ``content``: a Binary may answer with its content, which may
    call itself a resource; a browser must not run it. A fault found stays found, also when the app that sends swallows the exception:
    ``finish`` raises it again. ``words``: what the server says of a failure may leave; else ``failed`` is that answer, and none of it left.
    """

    __slots__ = ("_bases", "_complete", "_conditional", "_content", "_exchange", "_fault", "_head", "_stream", "_words", "failed")

    def __init__(self, exchange: Exchange, *, conditional: bool, content: bool = False, words: bool = True) -> None:
        self._exchange = exchange
        self._conditional = conditional
        self._content = content
        self._words = words
        self.failed: Received | None = None
        self._bases = exchange.snapshot.policy.bases
        self._head: tuple[int, list[tuple[bytes, bytes]], bool] | None = None
        self._stream: StreamRewriter | None = None
        self._complete = False
        self._fault: UpstreamError | None = None

    async def __call__(self, message: Message) -> None:
        if self._fault is not None:
            raise self._fault
        if message["type"] == "http.response.start":
            self._begin(message)
        elif message["type"] == "http.response.body" and not self._complete:
            await self._go_on(message.get("body", b""), more=message.get("more_body", False))

    def finish(self) -> None:
        """Raises UpstreamError unless the whole answer has left."""
        if self._fault is not None:
            raise self._fault
        if not self._complete:
            raise UpstreamError("The FHIR server broke off its answer.")

    def _begin(self, message: Message) -> None:
        status, headers = message["status"], [(name.lower(), value) for name, value in message.get("headers", ())]
        self._exchange.findings.upstream_status = status
        self._fault = self._objection(status, headers)
        if self._fault is None and status >= 400 and not self._words:
            self.failed = Received(status, dict(headers), b"")
            self._fault = UpstreamError("The FHIR server refused the request.")
        if self._fault is not None:
            raise self._fault
        type = next((value for name, value in headers if name == b"content-type"), None)
        fhir = type is not None and is_fhir(type.decode("latin-1"))
        if fhir:
            self._stream = _rewriter(self._bases).stream()
        self._head = (status, to_client(headers, self._bases), self._content or (type is not None and not fhir))

    def _objection(self, status: int, headers: list[tuple[bytes, bytes]]) -> UpstreamError | None:
        if status >= 500 and status != 501:  # what a server says when it fails is meant for those who run it
            return _FAILED.get(status, UpstreamError)("The FHIR server failed, or is not available.")
        if not 200 <= status < 600 or (300 <= status < 400 and not (status == 304 and self._conditional)):
            return UpstreamError("The FHIR server answered with a status that cannot be passed on.")
        if any(name == b"content-encoding" and value.strip().lower() not in _ENCODINGS for name, value in headers):
            return UpstreamError("The FHIR server encoded its answer though it was asked not to.")
        if has_doubles(headers):
            return UpstreamError("The FHIR server sent a header twice that may be there once.")
        return None

    async def _go_on(self, body: bytes, *, more: bool) -> None:
        if self._head is None:
            if not self._exchange.started:
                self._fault = UpstreamError("The FHIR server's answer has no head.")
                raise self._fault
        elif body or not more:
            body = await self._start(*self._head, body, more=more)
            self._head = None
        if self._stream is not None:
            body = self._stream.feed(body) if more else self._stream.feed(body) + self._stream.finish()
        await self._exchange.write(body, more=more)
        self._complete = not more

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]], sandbox: bool, body: bytes, *, more: bool) -> bytes:
        """Sends the head; what is then left to send of ``body``. A length that rewriting may change is not promised."""
        if self._stream is not None or not more:
            headers = [header for header in headers if header[0] != b"content-length"]
        if not more:
            body = body if self._stream is None else _rewriter(self._bases).whole(body)
            self._stream = None
            if status not in _BODILESS:
                headers.append((b"content-length", str(len(body)).encode()))
        await self._exchange.start(status, headers, sandbox=sandbox)
        return body
