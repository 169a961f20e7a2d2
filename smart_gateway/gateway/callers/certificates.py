"""The certificate that the client of a request has shown: of its own connection, or by the word of a trusted terminator."""

from __future__ import annotations

from starlette.types import Scope

from smart_gateway.errors import RequestError
from smart_gateway.gateway.edge.headers import comes_through_proxy
from smart_gateway.gateway.edge.tls import certificate_shown
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.tokens.terminators import MalformedCertificate, read_forwarded


def client_certificate(scope: Scope, snapshot: Snapshot) -> bytes | None:
    """In DER; None where the client showed none. A trusted proxy's own certificate is never its client's.

    Raises RequestError for the terminator's header from anybody else, for two of it, and for one that is not what it should be.
    """
    told = _told(scope, snapshot)
    if comes_through_proxy(scope, snapshot.trusted_proxies):
        return told
    try:
        return certificate_shown(scope.get("extensions"))
    except ValueError:
        return None


def _told(scope: Scope, snapshot: Snapshot) -> bytes | None:
    header = snapshot.certificate_header
    if header is None:
        return None
    values = [value for name, value in scope["headers"] if name == header.name]
    place = f"http.{header.name.decode('ascii')}"
    if not values:
        return None
    if not comes_through_proxy(scope, snapshot.trusted_proxies):
        raise RequestError("Only a trusted proxy may say which certificate a client has shown.", reason="foreign-header", expression=place)
    if len(values) > 1:
        raise RequestError("The header with the client's certificate is there twice.", reason="duplicate-header", expression=place)
    try:
        return read_forwarded(values[0], header.terminator)
    except MalformedCertificate:
        text = "The header with the client's certificate is not what the proxy should write."
        raise RequestError(text, reason="malformed-header", expression=place) from None
