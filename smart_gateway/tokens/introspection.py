"""Asking an issuer about its tokens. Spec: RFC 7662, RFC 9701; semantics 2, "Introspection"."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.errors import DependencyUnavailable, TokenError
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.tokens.breaker import Breaker
from smart_gateway.tokens.client_authentication import Entropy
from smart_gateway.tokens.discovery import Discovery
from smart_gateway.tokens.issuer import IntrospectionConfig, IssuerConfig
from smart_gateway.tokens.key_source import KeySource
from smart_gateway.tokens.shared_cache import SharedCache
from smart_gateway.tokens.signed_introspection import SIGNED_MEDIA, read_signed
from smart_gateway.tokens.transport import FetchError, Received, Transport, post_form, require_fetchable

_log = logging.getLogger(__name__)
_BACKOFF, _BACKOFF_MOST = 1.0, 30.0  # seconds for which an endpoint that does not answer is left alone
_OUTAGES = frozenset({None, 429, 502, 503, 504})  # None: there was no answer
_AT_ONCE = 32  # questions side by side: made-up tokens must not take every connection from the other issuers
_IN_LINE = 256  # tokens that are asked about or wait for it
_LEAST_TIME = 0.001  # seconds; nothing is kept for less
_LATELY = 3600.0  # seconds
_PROBE_BYTES = 16
ACCESS_TOKEN = "access_token"  # noqa: S105  # RFC 7009 section 4.1.2
REQUESTING_PARTY_TOKEN = "requesting_party_token"  # noqa: S105  # UMA 2.0 Federated Authorization section 5.1


@dataclass(frozen=True, slots=True)
class Introspected:
    """What an issuer says of a token: its claims, none for a token that is not active; ``until`` seconds since the epoch it may be
    kept."""

    claims: Mapping[str, Any] | None
    until: float


class Introspection:
    """The introspection endpoint of one issuer: single-flight, answers kept for a while, a breaker for when it does not answer, so many
    questions side by side and so many that wait.

    ``config`` is that of an issuer which has ``introspection``; ``hint`` is what tokens are said to be.
    """

    def __init__(
        self,
        config: IssuerConfig,
        discovery: Discovery,
        keys: KeySource,
        transport: Transport,
        cache: SharedCache,
        entropy: Entropy,
        *,
        hint: str = ACCESS_TOKEN,
    ) -> None:
        assert config.introspection is not None
        self._config = config
        self._asking: IntrospectionConfig = config.introspection
        self._hint = hint
        self._discovery = discovery
        self._keys = keys
        self._transport = transport
        self._cache = cache
        self._entropy = entropy
        self._breaker = Breaker(_BACKOFF, _BACKOFF_MOST)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._flights: dict[str, asyncio.Task[Introspected | DependencyUnavailable]] = {}
        self._answered_at: float | None = None
        self._troubled = False  # since the last answer

    async def ask(self, token: str, now: float) -> Introspected:
        """What the issuer says of ``token``. Raises TokenError for one that is not active, DependencyUnavailable where nobody can say."""
        key = self._key(token)
        found = await self._kept(key, now) or await self._fly(key, token, now)
        if found.claims is None:
            raise TokenError("The token is not active: it has expired, was revoked or is none of this issuer.", reason="inactive")
        return found

    async def probe(self, now: float) -> None:
        """Asks about a token that nobody has. Raises DependencyUnavailable where the endpoint cannot be asked by this client."""
        if await self._question(self._entropy(_PROBE_BYTES).hex(), now) is not None:
            raise FetchError("it calls a token active that was made up", answered=200)
        self._succeed(now)

    async def ready(self, now: float) -> bool:
        """Whether the endpoint has answered lately; it is asked where it has not. An outage that comes later is shown by 503, not here:
        whoever looks would take every replica away at once, and with them the tokens that are known."""
        if self._answered_at is not None and abs(now - self._answered_at) < _LATELY:
            return True
        if self._breaker.wait(now) > 0:
            return False
        try:
            await self.probe(now)
        except DependencyUnavailable as error:
            self._note(error, now)
            return False
        return True

    async def aclose(self) -> None:
        """Ends questions under way; who waits for them is refused."""
        flights = set(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)

    async def _fly(self, key: str, token: str, now: float) -> Introspected:
        """One question at a time about each token."""
        flight = self._flights.get(key)
        if flight is None:
            # While the endpoint does not answer, one request at a time finds out whether it does again.
            full = len(self._flights) >= (1 if self._breaker.failing else _IN_LINE)
            if self._breaker.wait(now) > 0 or full:
                raise self._unavailable(now)
            flight = asyncio.create_task(self._run(key, token, now))
            self._flights[key] = flight
        await asyncio.wait({flight})  # not await: a waiter that is cancelled must not cancel the question that others wait for
        outcome = self._unavailable(now) if flight.cancelled() else flight.result()
        if isinstance(outcome, DependencyUnavailable):
            raise outcome
        return outcome

    async def _run(self, key: str, token: str, now: float) -> Introspected | DependencyUnavailable:
        outage = self._breaker.failing  # an attempt to find out whether it is over goes on
        try:
            async with self._places:
                if self._breaker.failing and not outage:
                    return self._unavailable(now)  # it stopped answering while this question waited
                claims = await self._question(token, now)
            self._succeed(now)
            return await self._keep(key, claims, now)
        except DependencyUnavailable as error:
            return self._note(error, now)
        finally:
            self._flights.pop(key, None)

    def _succeed(self, now: float) -> None:
        self._breaker.succeeded()
        self._answered_at, self._troubled = now, False

    def _note(self, error: DependencyUnavailable, now: float) -> DependencyUnavailable:
        """Says once in a row of failures what is wrong, to the log; what the client hears is general."""
        if not self._troubled:
            _log.warning("the introspection endpoint of %s cannot be asked: %s", self._config.issuer, error.text)
        self._troubled = True
        if not isinstance(error, FetchError) or error.answered in _OUTAGES:
            self._breaker.failed(now)
        return self._unavailable(now)

    def _unavailable(self, now: float) -> DependencyUnavailable:
        retry_after = max(1, math.ceil(self._breaker.wait(now)))
        return DependencyUnavailable("The token's issuer cannot be asked about it at the moment.", retry_after=retry_after)

    async def _question(self, token: str, now: float) -> Mapping[str, Any] | None:
        """The claims of a token that is active, None for one that is not. Raises DependencyUnavailable, and nothing else."""
        try:
            return _active(await self._read(await self._post(token, now), now))
        except DependencyUnavailable:
            raise
        except Exception as error:  # whatever it is, its text may hold what was answered
            _log.error("asking the introspection endpoint of %s failed: %s", self._config.issuer, type(error).__name__)
            raise FetchError(f"the question failed ({type(error).__name__})", answered=200) from error

    async def _post(self, token: str, now: float) -> Received:
        url = await self._url(now)
        accept = SIGNED_MEDIA if self._asking.signed else "application/json"
        form = {"token": token, "token_type_hint": self._hint}
        form, headers = self._asking.authentication.apply(form, {"accept": accept}, url, now, self._entropy)
        received = await post_form(self._transport, url, form, headers)
        if received.status != 200:
            text = "it refuses this client's credentials" if received.status in {401, 403} else f"answered {received.status}"
            raise FetchError(text, answered=received.status)
        return received

    async def _url(self, now: float) -> str:
        url = self._asking.url
        if url is None:
            return await self._discovery.address("introspection_endpoint", now)
        require_fetchable(url, allow_http=self._config.allow_http)
        return url

    async def _read(self, received: Received, now: float) -> Any:
        if self._asking.signed:
            return await read_signed(received, self._config, self._keys, now)
        return received.json()

    def _key(self, token: str) -> str:
        """Says nothing of the token; answers may differ by who asks."""
        who = self._asking.authentication.client_id or ""
        parts = (self._config.issuer, who, self._hint, token)
        return "introspection:" + hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    async def _kept(self, key: str, now: float) -> Introspected | None:
        kept = await self._cache.get(key, now)
        if kept is None:
            return None
        try:
            claims = parse_json(kept.value)
        except JsonError:
            return None
        if claims is not None and not isinstance(claims, dict):
            return None
        most = self._asking.negative_cache if claims is None else self._asking.cache
        return Introspected(claims, now + min(kept.remaining, most))

    async def _keep(self, key: str, claims: Mapping[str, Any] | None, now: float) -> Introspected:
        """Counted from when the question was asked, and never past the token's own expiry."""
        ttl = self._asking.negative_cache if claims is None else self._asking.cache
        expires_at = claims.get("exp") if claims is not None else None
        if isinstance(expires_at, int | float) and expires_at < now + ttl:
            ttl = max(0, expires_at) - now
        if ttl >= _LEAST_TIME:
            await self._cache.put(key, json.dumps(claims).encode(), ttl, now)
        return Introspected(claims, now + ttl)


def _active(answer: Any) -> Mapping[str, Any] | None:
    """Spec: RFC 7662 section 2.2: ``active`` is a boolean, and must be there."""
    if not isinstance(answer, dict) or "active" not in answer:
        raise FetchError("the answer does not say whether the token is active", answered=200)
    return answer if answer["active"] is True else None
