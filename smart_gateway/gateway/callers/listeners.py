"""What a listener makes of certificates and tokens that are missing or unknown: who then asks, and for how much at most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from cachetools import LRUCache
from starlette.types import ASGIApp, Receive, Scope, Send

from smart_gateway.errors import TokenError, TokenMissing
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.principal import BY_CERTIFICATE, Ceiling, Principal
from smart_gateway.scopes.scope import ResourceScope
from smart_gateway.scopes.scopeset import ScopeSet

_NAME = "smart_gateway.listener"


class Choice(Enum):
    """``REJECT``: 401. ``LIMIT``: no more than the listener's limit. ``IGNORE``: as if nothing were asked for."""

    REJECT = "reject"
    LIMIT = "limit"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Choices:
    """What to do without one, and with one that is nobody's."""

    missing: Choice
    unknown: Choice


@dataclass(frozen=True, slots=True)
class Listener:
    """``limit`` None: what the policy opens to everybody (``public``); else scopes. Without settings: the public interactions need no
    token, whatever else does, and nobody asks for certificates."""

    name: str = ""
    certificate: Choices = Choices(Choice.IGNORE, Choice.IGNORE)
    token: Choices = Choices(Choice.LIMIT, Choice.REJECT)
    limit: tuple[ResourceScope, ...] | None = None

    def nobody(self) -> Principal:
        """Who asks where nobody is known: what the limit names is theirs, and what the policy opens to everybody."""
        return ANONYMOUS if self.limit is None else Principal("", scopes=ScopeSet(self.limit), anonymous=True)


ANONYMOUS = Principal("", anonymous=True)
_ONLY = Listener()
CLOSED = Listener("closed", Choices(Choice.REJECT, Choice.REJECT), Choices(Choice.REJECT, Choice.REJECT), ())


class Listeners:
    """The listeners by their names, and the principals that they have made: the same object for the same one each time.

    Without any there is one without a name, for whom nothing is said.
    """

    def __init__(self, *listeners: Listener, size: int = 10_000) -> None:
        self._listeners = {listener.name: listener for listener in listeners or (_ONLY,)}
        self._nobody = {listener.name: listener.nobody() for listener in listeners}
        self._limited: LRUCache[tuple[int, str], tuple[Principal, Principal]] = LRUCache(size)
        self._certified: LRUCache[str, tuple[Policy, Principal]] = LRUCache(size)

    def of(self, scope: Scope) -> Listener:
        """Where a request came in; one that the settings do not have any more lets nobody in."""
        return self._listeners.get(scope.get(_NAME, ""), CLOSED)

    def serves(self, scope: Scope) -> bool:
        """Whether a request came in by one of them."""
        return self.of(scope) is not CLOSED

    def nobody(self, listener: Listener) -> Principal:
        """Who asks where nobody is known."""
        return self._nobody.get(listener.name, ANONYMOUS)

    def limited(self, principal: Principal, listener: Listener) -> Principal:
        """``principal`` with the listener's limit, or nobody where that is the public interactions.

        INVARIANT: an entry holds its principal, so that no other object can have its identity.
        """
        if listener.limit is None:
            return ANONYMOUS
        key = (id(principal), listener.name)
        held = self._limited.get(key)
        if held is None or held[0] is not principal:
            ceiling = Ceiling(f"the listener {listener.name}", listener.limit)
            held = self._limited[key] = (principal, replace(principal, ceilings=(*principal.ceilings, ceiling)))
        return held[1]

    def certified(self, client: str, policy: Policy) -> Principal:
        """The client that a certificate names by itself: with what it registered, for there is no token to say."""
        held = self._certified.get(client)
        if held is None or held[0] is not policy:
            rule = (policy.clients or {}).get(client, ClientRule())
            scopes = ScopeSet(rule.registered_scopes or ())
            held = self._certified[client] = (policy, Principal(BY_CERTIFICATE, client_id=client, scopes=scopes))
        return held[1]


def require_certificate(listener: Listener, client: str | None, *, shown: bool) -> bool:
    """Whether the certificate (``client``: whose it is) holds the request to the limit. Raises TokenError where it must not come."""
    if client is not None:
        return False
    match listener.certificate.unknown if shown else listener.certificate.missing:
        case Choice.REJECT if shown:
            raise TokenError("The client's certificate is not one that is known here.", reason="certificate-unknown")
        case Choice.REJECT:
            raise TokenMissing("This request needs a client certificate.", reason="certificate-missing")
        case choice:
            return choice is Choice.LIMIT


def listening(app: ASGIApp, name: str) -> ASGIApp:
    """``app`` as it is served by one listener."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, _NAME: name} if scope["type"] == "http" else scope, receive, send)

    return serve
