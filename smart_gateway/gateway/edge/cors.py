"""Cross-origin requests of browser apps. Spec: semantics 11; Fetch standard, CORS protocol."""

from __future__ import annotations

from starlette.types import Scope

from smart_gateway.answers.answer import Answer
from smart_gateway.gateway.snapshot import Snapshot

_EXPOSED = b"WWW-Authenticate, ETag, Last-Modified, Location, Content-Location, Retry-After, X-Request-Id, DPoP-Nonce"
_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE"
_REQUEST_HEADERS = (
    b"Authorization, DPoP, Accept, Content-Type, If-Match, If-None-Match, If-Modified-Since, If-None-Exist, Prefer, X-Request-Id"
)
_MAX_AGE = b"600"  # seconds
_VARY = (b"vary", b"Origin")


def preflight(scope: Scope, snapshot: Snapshot) -> Answer | None:
    """The answer to a preflight from a configured origin, which carries no token; None for every other request."""
    if scope["method"] != "OPTIONS" or _header(scope, b"access-control-request-method") is None or _origin(scope, snapshot) is None:
        return None
    allowed = (
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", _request_headers(snapshot)),
        (b"access-control-max-age", _MAX_AGE),
    )
    return Answer(204, allowed, b"")


def _request_headers(snapshot: Snapshot) -> bytes:
    """Those of every request, and those that call an emergency where one can be called."""
    rule = snapshot.policy.break_glass
    called = [] if rule is None else [rule.reason_header.encode(), rule.purpose_header.encode()]
    return b", ".join([_REQUEST_HEADERS, *called])


def cors_headers(scope: Scope, snapshot: Snapshot) -> tuple[tuple[bytes, bytes], ...]:
    """What every answer carries for a configured origin; bearer tokens are no credentials in the sense of CORS."""
    if not snapshot.cors_origins:
        return ()
    origin = _origin(scope, snapshot)
    if origin is None:
        return (_VARY,)
    return ((b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED), _VARY)


def _origin(scope: Scope, snapshot: Snapshot) -> bytes | None:
    origin = _header(scope, b"origin")
    return origin if origin is not None and origin.decode("latin-1") in snapshot.cors_origins else None


def _header(scope: Scope, name: bytes) -> bytes | None:
    values = [value for key, value in scope["headers"] if key == name]
    return values[0] if len(values) == 1 else None
