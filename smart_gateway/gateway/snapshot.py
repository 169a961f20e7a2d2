"""Everything that one request needs besides itself, as one value: swapped whole on reload, so no request sees half of two."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from smart_gateway.answers.smart_configuration import Declared
from smart_gateway.fhir.outcomes import REQUIRED_SCOPE_URL
from smart_gateway.gateway.callers.hooks import Amendments
from smart_gateway.gateway.callers.inviting import Invitations
from smart_gateway.gateway.callers.listeners import Listeners
from smart_gateway.gateway.credentials import Credentials
from smart_gateway.observe.events import DecisionEvent
from smart_gateway.policy.model import Policy
from smart_gateway.principal import Principal
from smart_gateway.tokens.client_certificates import ClientCertificates
from smart_gateway.tokens.possession import Possessions
from smart_gateway.tokens.terminators import Terminator

if TYPE_CHECKING:
    from smart_gateway.answers.sealing import Sealer
    from smart_gateway.request.limits import Limits
    from smart_gateway.request.parsing import RequestParser

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class CertificateHeader:
    """The header, its name in lower case, by which ``terminator`` tells the certificate of its client."""

    name: bytes
    terminator: Terminator


class TokenVerifier(Protocol):
    """``tokens.verifier.Verifier``."""

    async def verify(self, token: str, now: float) -> Principal:
        """The principal of ``token``; the same object for the same token while it is cached. Raises TokenError, DependencyUnavailable."""
        ...


class Discovery(Protocol):
    """The issuers' own discovery documents, cached by whoever implements it (semantics 11)."""

    async def document(self, issuer: str) -> Mapping[str, Any]:
        """The JSON object as the issuer gives it. Raises DependencyUnavailable."""
        ...


class EventLog(Protocol):
    """``observe.logs.DecisionLog``."""

    def record(self, event: DecisionEvent) -> bool:
        """Writes ``event``; False where it could not be written."""
        ...

    async def keep(self, event: DecisionEvent) -> bool:
        """Waits until ``event`` is everywhere where it has to be; False where it is not."""
        ...


class Threshold(Protocol):
    """What is needed of a request before its target can be known: a snapshot, or the porch of several tenants."""

    @property
    def limits(self) -> Limits:
        """How much may come."""

    @property
    def log(self) -> EventLog:
        """Where refusals are recorded."""

    @property
    def public(self) -> str:
        """The FHIR base that refusals are for."""

    @property
    def clock(self) -> Callable[[], float]:
        """Gives seconds since the epoch."""

    @property
    def entropy(self) -> Callable[[int], bytes]:
        """Gives that many random bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One consistent state of the gateway's settings.

    ``issuers`` are the issuers' URLs, for RFC 9728; clients are told more of ``described_issuer`` (None: the first), over which
    ``declared`` counts. Sizes are bytes, times seconds.
    ``credentials`` are what the upstream gets to know of who asks. ``trusted_proxies`` are the networks whose X-Forwarded-For and
    ``certificate_header`` are believed. ``clock`` gives seconds since the epoch, ``entropy`` that many random bytes. ``public_path`` is
    the path of the public base, without a trailing slash: the only one served; ``public_host`` its host, with the port where it says
    one. ``instance`` is the tenant's name, where there are tenants. ``audit_required``: nothing is done that is not recorded.
    ``compression``: answers are compressed for clients that accept it.
    """

    policy: Policy
    parser: RequestParser
    verifier: TokenVerifier
    possessions: Possessions = field(default_factory=Possessions)
    listeners: Listeners = field(default_factory=Listeners)
    client_certificates: ClientCertificates = field(default_factory=lambda: ClientCertificates({}))
    amendments: Amendments = field(default_factory=Amendments)
    invitations: Invitations = field(default_factory=Invitations)
    discovery: Discovery
    limits: Limits
    sealer: Sealer
    log: EventLog
    issuers: tuple[str, ...]
    described_issuer: str | None = None
    declared: Declared = field(default_factory=Declared)
    dpop_algorithms: tuple[str, ...] = ()
    bindings: Mapping[str, Any] = field(default_factory=dict)
    required_scope_url: str = REQUIRED_SCOPE_URL
    trusted_proxies: tuple[Network, ...] = ()
    certificate_header: CertificateHeader | None = None
    cors_origins: frozenset[str] = frozenset()
    credentials: Credentials = field(default_factory=Credentials, repr=False)
    answer_size: int = 64 * 1024 * 1024
    answer_time: float = 60.0
    instance: str | None = None
    audit_required: bool = False
    dry_run: bool = False
    compression: bool = False
    clock: Callable[[], float] = time.time
    entropy: Callable[[int], bytes] = os.urandom
    public_path: str = field(init=False)
    public_host: bytes = field(init=False)

    def __post_init__(self) -> None:
        public = urlsplit(self.policy.bases.public)
        object.__setattr__(self, "public_path", public.path.rstrip("/"))
        object.__setattr__(self, "public_host", public.netloc.encode("ascii"))

    @property
    def public(self) -> str:
        """The public base."""
        return self.policy.bases.public


ThresholdSource = Callable[[], Threshold]
"""Gives that of this moment."""

SnapshotSource = Callable[[], Snapshot]
"""Gives the snapshot of this moment; asked once per request."""
