"""Which headers pass, in both directions: by allow-list, so that nothing with power in some server passes by accident.

Names are compared whole and in lower case: a twin with an underscore or a dot is another name, hence not on a list. Spec: semantics 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import Scope

from smart_gateway.answers.rewriting import public_location
from smart_gateway.fhir.references import Bases
from smart_gateway.gateway.snapshot import Network, Snapshot

Headers = Sequence[tuple[bytes, bytes]]

# From the client as they are. Conditions, preferences, media types and lengths are written anew from what was parsed.
_TO_UPSTREAM = frozenset({b"accept-language", b"user-agent", b"traceparent", b"tracestate"})
_TO_CLIENT = frozenset(
    {
        b"allow",
        b"content-disposition",
        b"content-language",
        b"content-length",
        b"content-type",
        b"etag",
        b"last-modified",
        b"retry-after",
    }
)
_LOCATIONS = frozenset({b"location", b"content-location"})
_VISIBLE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?")
_ID = re.compile(rb"[A-Za-z0-9._\-]{1,64}")
_KEPT_LENGTH = 64  # characters; only longer zone names could exceed it


@dataclass(frozen=True, slots=True)
class RequestId:
    """``own`` names the request in answers, logs and upstream; ``correlation`` is the client's own name for it, if it is harmless.

    Spec: FHIR R4 http.html 3.1.0.14, X-Request-Id and X-Correlation-Id.
    """

    own: str
    correlation: bytes | None = None

    @property
    def headers(self) -> Headers:
        own = (b"x-request-id", self.own.encode("ascii"))
        return (own,) if self.correlation is None else (own, (b"x-correlation-id", self.correlation))


def name_request(scope: Scope, snapshot: Snapshot) -> RequestId:
    """A new name, or the one that a trusted proxy gave."""
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(given) != 1 or _ID.fullmatch(given[0]) is None:
        return RequestId(snapshot.entropy(8).hex())
    if _is_trusted(_peer(scope), snapshot.trusted_proxies):
        return RequestId(given[0].decode("ascii"))
    return RequestId(snapshot.entropy(8).hex(), given[0])


def to_upstream(scope: Scope, snapshot: Snapshot, request_id: RequestId) -> list[tuple[bytes, bytes]]:
    """The headers of every request to the upstream, before those that a plan adds.

    Of the X-Forwarded headers only the client's address is told: a server that believed our host in its links would put its own
    path behind it, and nobody could tell these links from foreign ones.
    """
    headers = [
        (b"host", snapshot.public_host),
        (b"x-request-id", request_id.own.encode("ascii")),
        (b"accept-encoding", b"identity"),
    ]
    client = client_address(scope, snapshot.trusted_proxies)
    if client is not None:
        headers.append((b"x-forwarded-for", client.encode("ascii")))
    headers += [(name, value) for name, value in scope["headers"] if name in _TO_UPSTREAM and _VISIBLE.fullmatch(value) is not None]
    return headers


def to_client(headers: Iterable[tuple[bytes, bytes]], bases: Bases) -> list[tuple[bytes, bytes]]:
    """Of an upstream's headers those that may leave, locations in the public base."""
    passed = []
    for name, value in headers:
        if name in _TO_CLIENT:
            passed.append((name, value))
        elif name in _LOCATIONS and (location := _location(value, bases)) is not None:
            passed.append((name, location))
    return passed


def _location(value: bytes, bases: Bases) -> bytes | None:
    location = public_location(value.decode("latin-1"), bases)
    return location.encode("ascii") if location is not None else None


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


def client_address(scope: Scope, proxies: Sequence[Network]) -> str | None:
    """The address of the client: the nearest one that is no trusted proxy; None where a proxy tells one that cannot be read, for its own
    is not the client's. Spec: semantics 1."""
    peer = _peer(scope)
    if not _is_trusted(peer, proxies):
        return peer if peer is not None and _address(peer) is not None else None
    told = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    for hop in reversed([hop.strip() for hop in told.split(",")] if told.strip() else []):
        if _address(hop) is None:
            return None
        peer = hop
        if not _is_trusted(hop, proxies):
            break
    return peer


def comes_through_proxy(scope: Scope, proxies: Sequence[Network]) -> bool:
    """Whether the connection is a trusted proxy's."""
    return _is_trusted(_peer(scope), proxies)


def _is_trusted(address: str | None, proxies: Sequence[Network]) -> bool:
    if address is None or not proxies:
        return False
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in proxies)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """``text`` as an address; clients come again, and reading one costs more than the rest of their headers."""
    return _kept_address(text) if len(text) <= _KEPT_LENGTH else _read_address(text)


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


_kept_address = lru_cache(4096)(_read_address)
