"""What the upstream gets to know of who asks: the Authorization header, and signed identity headers. Clients set nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol
from urllib.parse import quote

from smart_gateway.principal import Principal
from smart_gateway.tokens.identity_assertion import IdentitySigner
from smart_gateway.tokens.own_token import OwnToken
from smart_gateway.tokens.presented import Scheme
from smart_gateway.tokens.token_exchange import ExchangedTokens

Headers = tuple[tuple[bytes, bytes], ...]

_VISIBLE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, as verified, and the token that they sent; without one nobody in particular does, or the gateway itself."""

    principal: Principal = field(default_factory=lambda: Principal("", anonymous=True))
    scheme: Scheme = Scheme.BEARER
    token: str | None = field(default=None, repr=False)


class UpstreamAuthorization(Protocol):
    """What the upstream gets in ``Authorization``."""

    async def value(self, asking: Asking, now: float) -> str | None:
        """The header's value; None for none. Raises TokenError where there can be none for this token, DependencyUnavailable."""
        ...

    async def aclose(self) -> None:
        """Ends what is under way."""
        ...


class NoAuthorization:
    """The upstream gets none: it is reached by the gateway only."""

    async def value(self, asking: Asking, now: float) -> str | None:  # noqa: ARG002
        """None."""
        return None

    async def aclose(self) -> None:
        """Nothing is open."""


class ForwardedToken(NoAuthorization):
    """The client's own token."""

    async def value(self, asking: Asking, now: float) -> str | None:  # noqa: ARG002
        """As it was presented."""
        return None if asking.token is None else f"{asking.scheme.value} {asking.token}"


class FixedToken(NoAuthorization):
    """One bearer token for all requests."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    async def value(self, asking: Asking, now: float) -> str | None:  # noqa: ARG002
        """The same for everybody."""
        return self._value


class OwnAuthorization:
    """The gateway's own token, for everybody."""

    def __init__(self, own: OwnToken) -> None:
        self._own = own

    async def value(self, asking: Asking, now: float) -> str | None:  # noqa: ARG002
        """The token that serves now."""
        return f"Bearer {await self._own.get(now)}"

    async def aclose(self) -> None:
        """Ends a renewal."""
        await self._own.aclose()


class ExchangedAuthorization:
    """What the client's token is exchanged for; nobody's is exchanged for nothing."""

    def __init__(self, exchanged: ExchangedTokens) -> None:
        self._exchanged = exchanged

    async def value(self, asking: Asking, now: float) -> str | None:
        """The token of the same subject for the upstream."""
        if asking.token is None or asking.principal.anonymous:
            return None
        return f"Bearer {await self._exchanged.get(asking.principal, asking.token, now)}"

    async def aclose(self) -> None:
        """Ends exchanges."""
        await self._exchanged.aclose()


FACTS: Mapping[str, Callable[[Principal], str | None]] = MappingProxyType(
    {
        "issuer": lambda who: who.issuer or None,
        "subject": lambda who: who.subject,
        "client_id": lambda who: who.client_id,
        "fhir_user": lambda who: None if who.fhir_user is None else str(who.fhir_user),
        "patient": lambda who: who.patient,
        "encounter": lambda who: who.encounter,
        "tenant": lambda who: who.tenant,
        "actor": lambda who: who.actors[0].name if who.actors else None,
    }
)
"""What an identity header can tell. Scopes are not among them: what they open is less than they say once policy and ceilings are kept."""


@dataclass(frozen=True, slots=True)
class IdentityHeaders:
    """``names``: headers in lower case, and the fact that each tells. ``assertion`` is the header that holds all of them, signed."""

    names: tuple[tuple[bytes, str], ...] = ()
    assertion: bytes | None = None
    signer: IdentitySigner | None = None

    def tell(self, principal: Principal, request_id: str, now: float) -> Headers:
        """The headers. Each one is there with every request, empty where there is nothing to tell: what is absent, others may set."""
        plain = tuple((name, _spelled(FACTS[fact](principal))) for name, fact in self.names)
        if self.assertion is None or self.signer is None:
            return plain
        return (*plain, (self.assertion, self.signer.sign(principal, request_id, now).encode("ascii")))


def _spelled(fact: str | None) -> bytes:
    """``fact`` as a header can hold it: what is no visible ASCII, and ``%`` itself, percent-encoded as UTF-8, so that no two facts look
    the same and none ends its line."""
    return b"" if fact is None else quote(fact, safe=_VISIBLE, errors="replace").encode("ascii")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the gateway shows itself and who asks to the upstream."""

    authorization: UpstreamAuthorization = field(default_factory=NoAuthorization)
    identity: IdentityHeaders = field(default_factory=IdentityHeaders)

    def of(self, asking: Asking, request_id: str, clock: Callable[[], float]) -> Credential:
        """Those of one request, made when they are first needed."""
        return Credential(self, asking, request_id, clock)


class Credential:
    """The headers of one request's dealings with the upstream, which are the same for all of them."""

    __slots__ = ("_asking", "_clock", "_credentials", "_headers", "_lock", "_request_id")

    def __init__(self, credentials: Credentials, asking: Asking, request_id: str, clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._asking = asking
        self._request_id = request_id
        self._clock = clock
        self._headers: Headers | None = None
        self._lock: asyncio.Lock | None = None

    async def headers(self) -> Headers:
        """Raises TokenError and DependencyUnavailable: then nothing is sent."""
        if self._headers is not None:
            return self._headers
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._headers is None:
                self._headers = await self._make()
        return self._headers

    async def _make(self) -> Headers:
        now = self._clock()
        value = await self._credentials.authorization.value(self._asking, now)
        authorization = () if value is None else ((b"authorization", value.encode("ascii")),)
        return (*authorization, *self._credentials.identity.tell(self._asking.principal, self._request_id, now))


NO_CREDENTIAL = Credentials().of(Asking(), "", lambda: 0.0)
