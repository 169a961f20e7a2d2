"""A file of an export on its way to the client: line by line, each judged before it leaves, in flat memory. Spec: semantics 8."""

from __future__ import annotations

from starlette.types import Message

from smart_gateway.answers.lines import LineJudge, LineSplitter
from smart_gateway.errors import SmartGatewayError, UpstreamError
from smart_gateway.fhir.media import parse_media_type
from smart_gateway.gateway.answering.failures import refusal_of
from smart_gateway.gateway.exchange import Exchange
from smart_gateway.gateway.subrequest import Inner, Received, has_doubles
from smart_gateway.policy.access import Access
from smart_gateway.policy.exports.jobs import CheckExportFile
from smart_gateway.policy.plan import UpstreamRequest

_NDJSON = frozenset({"application/fhir+ndjson", "application/ndjson", "application/x-ndjson"})
_TYPE = (b"content-type", b"application/fhir+ndjson")
_ENCODINGS = frozenset({b"identity", b""})


async def send_file(rule: CheckExportFile, request: UpstreamRequest, exchange: Exchange, access: Access, inner: Inner) -> None:
    """Asks for the file and passes on what may leave. Raises SmartGatewayError, also when an answer has begun."""
    passage = _FilePassage(rule, exchange, access)
    try:
        await inner.pass_on(request, (), None, passage)
    except UpstreamError:
        if passage.failed is None:
            raise
    if passage.failed is not None:
        refusal = refusal_of(passage.failed, access.policy)
        if refusal is None:
            raise UpstreamError("The FHIR server did not answer with the file.")
        await exchange.refuse(refusal)
        return
    await passage.finish()


class _FilePassage:
    """An ASGI ``send``. The head leaves with the first line that may, so that a file that is none at all is refused as a whole.

    ``failed`` is an answer that is no file. A fault found stays found, also when the app that sends swallows the exception.
    """

    __slots__ = ("_complete", "_exchange", "_fault", "_judge", "_lines", "failed")

    def __init__(self, rule: CheckExportFile, exchange: Exchange, access: Access) -> None:
        self._exchange = exchange
        self._judge = LineJudge(rule, access.policy.bases)
        self._lines = LineSplitter(exchange.snapshot.limits.body)
        self._fault: SmartGatewayError | None = None
        self._complete = False
        self.failed: Received | None = None

    async def __call__(self, message: Message) -> None:
        if self._fault is not None:
            raise self._fault
        try:
            if message["type"] == "http.response.start":
                self._begin(message)
            elif message["type"] == "http.response.body" and not self._complete:
                await self._go_on(message.get("body", b""), more=message.get("more_body", False))
        except SmartGatewayError as error:
            self._fault = error
            raise
        finally:
            self._exchange.findings.removed = self._judge.removed

    async def finish(self) -> None:
        """Ends the answer. Raises SmartGatewayError unless every line has left that there was."""
        if self._fault is not None:
            raise self._fault
        if not self._complete:
            raise UpstreamError("The FHIR server broke off the file.")

    def _begin(self, message: Message) -> None:
        status, headers = message["status"], [(name.lower(), value) for name, value in message.get("headers", ())]
        self._exchange.findings.upstream_status = status
        if status != 200:
            self.failed = Received(status, dict(headers), b"")
            raise UpstreamError("The FHIR server did not answer with the file.")
        if any(name == b"content-encoding" and value.strip().lower() not in _ENCODINGS for name, value in headers):
            raise UpstreamError("The FHIR server encoded its answer though it was asked not to.")
        if has_doubles(headers) or not _is_ndjson(dict(headers).get(b"content-type", b"")):
            raise UpstreamError("The FHIR server's file is not NDJSON, which it was asked for.")

    async def _go_on(self, chunk: bytes, *, more: bool) -> None:
        judged = [self._judge.judge(line) for line in self._lines.feed(chunk)]
        if not more:
            judged.append(self._judge.judge(self._lines.finish()))
        body = b"".join(judged)
        if not self._exchange.started and (body or not more):
            await self._exchange.start(200, (_TYPE,))
        if body or not more:
            await self._exchange.write(body, more=more)
        self._complete = not more


def _is_ndjson(type: bytes) -> bool:
    parsed = parse_media_type(type.decode("latin-1"))
    charset = parsed.get("charset") if parsed is not None else None
    return parsed is not None and parsed.name in _NDJSON and (charset or "utf-8").lower() in {"utf-8", "utf8"}
