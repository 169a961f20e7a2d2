"""From a bearer token to the principal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smart_gateway.errors import SettingsError, TokenError
from smart_gateway.fhir.references import Bases
from smart_gateway.principal import Principal
from smart_gateway.tokens.cache import DenyList, VerifiedTokens, token_digest
from smart_gateway.tokens.claims import read_principal
from smart_gateway.tokens.discovery import Discovery
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.jwt import Jwt, check_claims, check_header, check_signature, parse_jwt
from smart_gateway.tokens.key_source import KeySource
from smart_gateway.tokens.refreshing import Freshness
from smart_gateway.tokens.transport import Transport


class _TrustedIssuer:
    """One issuer of the closed list: its settings, its keys, its own description."""

    def __init__(self, config: IssuerConfig, bases: Bases, transport: Transport, freshness: Freshness) -> None:
        self._config = config
        self._bases = bases
        self.discovery = Discovery(config, transport, freshness)
        self.keys = KeySource(config, self.discovery, transport, freshness)

    async def verify(self, jwt: Jwt, now: float) -> Principal:
        algorithm, kid = check_header(jwt.header, self._config.algorithms)
        candidates = await self.keys.candidates(kid, algorithm, now)
        if not candidates:
            raise TokenError("No key of the token's issuer fits the token.", reason="unknown-key")
        check_signature(jwt, algorithm, candidates)
        check_claims(jwt, self._config, now)
        return read_principal(jwt.claims, self._config, self._bases)

    async def aclose(self) -> None:
        await self.keys.aclose()
        await self.discovery.aclose()


class Verifier:
    """Verifies the tokens of a closed list of issuers (semantics 2).

    ``bases`` are this server's service bases. The verifier owns ``transport`` and closes it. ``deny_list`` may be replaced at
    any time and counts from then on, also for cached tokens. ``cache_ttl`` is in seconds and bounds how long a token still
    serves after its key has gone; ``clock`` gives seconds since the epoch for what is asked without a request.
    """

    def __init__(
        self,
        issuers: Sequence[IssuerConfig],
        bases: Bases,
        transport: Transport,
        *,
        deny_list: DenyList | None = None,
        freshness: Freshness | None = None,
        cache_size: int = 10_000,
        cache_ttl: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        freshness = freshness or Freshness()
        self._issuers = {config.issuer: _TrustedIssuer(config, bases, transport, freshness) for config in issuers}
        if not issuers or len(self._issuers) != len(issuers):
            raise SettingsError("There must be at least one issuer, and none twice.")
        self.deny_list = deny_list or DenyList()
        self._transport = transport
        self._verified = VerifiedTokens(cache_size, cache_ttl)
        self._clock = clock

    async def verify(self, token: str, now: float) -> Principal:
        """The principal of ``token`` at ``now`` (seconds since the epoch): the same object for as long as it is cached.

        Raises TokenError for a token that is not to be trusted, DependencyUnavailable when its issuer's keys cannot be had.
        """
        digest = token_digest(token)
        principal = self._verified.get(digest, now)
        if principal is None:
            jwt = parse_jwt(token)
            principal = await self._issuer_of(jwt).verify(jwt, now)
            self._verified.put(digest, principal, now)
        self.deny_list.check(principal)
        return principal

    def _issuer_of(self, jwt: Jwt) -> _TrustedIssuer:
        """The unverified ``iss`` only picks the issuer, whose keys and rules then decide."""
        name = jwt.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise TokenError("The token's issuer is not trusted here.", reason="unknown-issuer")
        return issuer

    async def document(self) -> Mapping[str, Any]:
        """The first issuer's own discovery document, kept and renewed; raises DependencyUnavailable."""
        first = next(iter(self._issuers.values()))
        return await first.discovery.document(self._clock())

    async def ready(self) -> bool:
        """Whether each issuer has keys that may serve, fetched now if need be."""
        now = self._clock()
        return all([await issuer.keys.ready(now) for issuer in self._issuers.values()])

    async def aclose(self) -> None:
        """Ends all fetches under way and closes the transport."""
        for issuer in self._issuers.values():
            await issuer.aclose()
        await self._transport.aclose()
