"""What ASGI cannot see is judged where the bytes come in: targets with a fragment, of another host, heads too slow or too large.

The server's parser drops a raw ``#`` and what follows, and the host of an absolute target, before any app sees them. Spec: semantics 1.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from typing import Any

from httptools import HttpParserError, HttpParserInvalidMethodError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from smart_gateway.answers.refusals import Facing, refuse
from smart_gateway.errors import HeadersTooLarge, MethodNotAllowed, RequestError, RequestTooSlow
from smart_gateway.gateway.edge.joining import JoiningTransport
from smart_gateway.gateway.edge.tls import tls_extension
from smart_gateway.gateway.snapshot import ThresholdSource
from smart_gateway.observe.events import DecisionEvent

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_METHOD = re.compile(rb"[A-Za-z\-]{1,32} ")
_UNKNOWN_METHOD = "-"


class _Refused(Exception):
    """Stops the parser; what for is kept beside it."""


class StrictProtocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools, with semantics 1 where ASGI is too late. ``strict_protocol`` binds it to a gateway."""

    thresholds: ThresholdSource

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._fault: RequestError | None = None
        self._data = b""
        self._unread = 0  # bytes that came since the parser last made something of them
        self._got_on = False
        self._begun = False
        self._ended = False
        self._in_head = True
        self._in_body = False
        self._cycles: list[RequestResponseCycle] = []
        self._timer: asyncio.TimerHandle | None = None
        self._extensions: Mapping[str, Any] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(JoiningTransport(transport, self.loop))
        self._extensions = tls_extension(transport)
        self._start_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._abandon()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._data, self._got_on = data, False
        super().data_received(data)
        self._unread = 0 if self._got_on else self._unread + len(data)
        limits = self.thresholds().limits
        if self._unread > limits.headers + limits.url:
            self._refuse(HeadersTooLarge("The request's head, or a part of it, is longer than this gateway accepts."))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = dict(self._extensions)
        self._begun = True
        if not self._in_head:
            self._start_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers are dropped: they come after what was judged, and must not pass for headers. Spec: RFC 9110 section 6.5.1."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._got_on = True
        self._stop_timer()
        self._fault = _fault(self.url, self.headers, self.parser.get_http_version())
        if self._fault is not None:
            raise _Refused
        self._in_head, self._in_body = False, True
        super().on_headers_complete()
        self._cycles = [*self._waiting(), self.cycle]

    def on_body(self, body: bytes) -> None:
        self._got_on = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._got_on = True
        self._in_body = False
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """What is left of the body of an answered request has its time too: nobody else reads it."""
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete and not self.transport.is_closing():
            self._stop_timer()
            self._timer = self.loop.call_later(self.thresholds().limits.body_time, self.transport.close)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's signature
        """uvicorn's way out for what cannot be parsed, called while the parser's exception is handled."""
        if isinstance(sys.exception(), HttpParserInvalidMethodError) and _METHOD.match(self._data) is not None:
            self._refuse(MethodNotAllowed("This method is not one of FHIR's.", allow=_METHODS))
        else:
            self._refuse(self._fault or RequestError("The request is no well-formed HTTP.", reason="malformed-request"))

    def _start_head(self) -> None:
        self._in_head = True
        self._stop_timer()
        self._timer = self.loop.call_later(self.thresholds().limits.header_time, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._begun:
            self._refuse(RequestTooSlow("The request's head did not arrive in time."))
        else:
            self.transport.close()

    def _refuse(self, fault: RequestError) -> None:
        """Answers and ends the connection. Behind requests that are still being answered, it ends after them, without a word of its own:
        answers must not mix. Spec: RFC 9112 section 9.3.2."""
        self._stop_timer()
        if self._ended or self.transport.is_closing():
            return
        self._ended = True
        waiting = self._waiting()
        if waiting and self._in_head:
            waiting[-1].keep_alive = False
            return
        if not any(cycle.response_started for cycle in waiting) and len(waiting) < 2:
            self.transport.write(self._answer(fault))
        self._abandon()
        self.transport.close()

    def _waiting(self) -> list[RequestResponseCycle]:
        """The requests that are not answered yet, in the order in which they came."""
        return [cycle for cycle in self._cycles if not cycle.response_complete]

    def _abandon(self) -> None:
        """Tells every request under way that nobody waits: uvicorn tells the last one only."""
        for cycle in self._waiting():
            cycle.disconnected = True
            cycle.message_event.set()

    def _answer(self, fault: RequestError) -> bytes:
        threshold = self.thresholds()
        request_id = threshold.entropy(8).hex()
        answer = refuse(fault, Facing(request_id, threshold.public))
        threshold.log.record(
            DecisionEvent(
                time=threshold.clock(),
                request_id=request_id,
                method=self._method(),
                outcome="deny",
                status=answer.status,
                duration=0.0,
                code=fault.reason,
            )
        )
        own = ((b"x-request-id", request_id.encode()), (b"content-length", str(len(answer.body)).encode()), (b"connection", b"close"))
        lines = [b"%s: %s\r\n" % header for header in (*answer.headers, *own)]
        return b"".join((STATUS_LINE[answer.status], *lines, b"\r\n", answer.body))

    def _method(self) -> str:
        try:
            method: bytes = self.parser.get_method()
        except HttpParserError:
            return _UNKNOWN_METHOD
        return method.decode("ascii", "replace")


def strict_protocol(thresholds: ThresholdSource) -> type[StrictProtocol]:
    """The protocol class for uvicorn's ``http`` setting, with the limits and the log of ``thresholds``."""

    class Bound(StrictProtocol):
        """Bound to one gateway."""

    Bound.thresholds = staticmethod(thresholds)
    return Bound


def _fault(url: bytes, headers: list[tuple[bytes, bytes]], version: str) -> RequestError | None:
    hosts = [value for name, value in headers if name == b"host"]
    if b"#" in url:
        return RequestError("The request target has a fragment.", reason="fragment")
    if len(hosts) > 1:
        return RequestError("The request has more than one Host header.", reason="duplicate-header", expression="http.Host")
    if version not in {"1.0", "1.1"}:
        return RequestError("The request is of no HTTP version that is spoken here.", reason="malformed-request")
    if [value.lower() for name, value in headers if name == b"transfer-encoding"] not in ([], [b"chunked"]):
        return RequestError("The request's body has a Transfer-Encoding other than chunked.", reason="ambiguous-framing")
    if not hosts and version == "1.1":
        return RequestError("The request has no Host header.", reason="missing-header", expression="http.Host")
    if not url.startswith(b"/") and not _is_own(url, hosts):
        return RequestError("The request target must be a path, or a URL of the host that Host names.", reason="absolute-target")
    return None


def _is_own(url: bytes, hosts: list[bytes]) -> bool:
    """Whether an absolute target names the host that Host does. Spec: RFC 9112 section 3.2.2."""
    scheme, separator, rest = url.partition(b"://")
    authority, slash, _ = rest.partition(b"/")
    return bool(hosts and separator and slash) and scheme.lower() in {b"http", b"https"} and authority.lower() == hosts[0].lower()
