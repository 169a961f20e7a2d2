"""A dry run: requests go on as they came, whatever was decided of them. Never part of serving real patients' records."""

from __future__ import annotations

from urllib.parse import unquote

from smart_gateway.gateway.answering.passage import Passage
from smart_gateway.gateway.edge.incoming import IncomingBody
from smart_gateway.gateway.edge.target import full_path
from smart_gateway.gateway.exchange import Exchange
from smart_gateway.gateway.subrequest import Inner
from smart_gateway.policy.plan import UpstreamRequest
from smart_gateway.request.model import FhirRequest

_CLIENTS_OWN = frozenset({b"accept", b"prefer", b"if-match", b"if-none-match", b"if-modified-since", b"if-none-exist"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


async def pass_unjudged(exchange: Exchange, inner: Inner) -> None:
    """Sends the request on with the client's own conditions and preferences; its answer streams."""
    request = exchange.findings.request
    assert request is not None  # INVARIANT: only what was parsed comes here
    headers = tuple((name, value) for name, value in exchange.scope["headers"] if name in _CLIENTS_OWN)
    passage = Passage(exchange, conditional=True)
    upstream = _as_it_came(exchange, request)
    if upstream.method in _WITH_BODY and upstream.form is None:
        body = IncomingBody(exchange.scope, exchange.receive, exchange.snapshot.limits, exchange.departure.watch)
        if not (exchange.read == b"" or body.declared_length == 0):
            headers = (*headers, (b"content-type", body.raw_type()))
        if exchange.read is not None:
            await inner.pass_on(upstream, headers, exchange.read, passage)
            passage.finish()
            return
        body.require_known_encoding()
        if body.declared_length is not None:
            headers = (*headers, (b"content-length", str(body.declared_length).encode()))
        await inner.stream(upstream, headers, body.receive, passage)
    else:
        exchange.departure.watch()
        await inner.pass_on(upstream, headers, None, passage)
    passage.finish()


def _as_it_came(exchange: Exchange, request: FhirRequest) -> UpstreamRequest:
    """Path and parameters as parsed. The form of a search that was read for the decision is written again, the query with it."""
    path = unquote(full_path(exchange.scope).decode("ascii")).removeprefix(exchange.snapshot.public_path)
    segments = tuple(segment for segment in path.split("/") if segment)
    pairs = tuple((parameter.key, parameter.value) for parameter in request.parameters)
    if request.page is not None:
        pairs = (("_page", request.page),)
    method = "GET" if request.method == "HEAD" else request.method
    if segments[-1:] == ("_search",) and not request.form_pending:
        return UpstreamRequest(method, segments, form=pairs)
    return UpstreamRequest(method, segments, pairs)
