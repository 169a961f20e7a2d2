"""From a bearer token to the principal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smart_gateway.errors import DependencyUnavailable, SettingsError, TokenError
from smart_gateway.fhir.references import Bases
from smart_gateway.policy.wanting import WantedPermission
from smart_gateway.principal import Principal
from smart_gateway.tokens.cache import DenyList, VerifiedTokens, token_digest
from smart_gateway.tokens.claims import read_principal
from smart_gateway.tokens.client_authentication import Entropy
from smart_gateway.tokens.discovery import Discovery
from smart_gateway.tokens.introspection import REQUESTING_PARTY_TOKEN, Introspection
from smart_gateway.tokens.issuer import IssuerConfig, UmaConfig
from smart_gateway.tokens.jwt import Jwt, check_header, check_signature, looks_like_jwt, parse_jwt
from smart_gateway.tokens.key_source import KeySource
from smart_gateway.tokens.permission_tickets import PermissionTickets
from smart_gateway.tokens.refreshing import Freshness
from smart_gateway.tokens.registered_claims import check_claims, check_introspected
from smart_gateway.tokens.requesting_parties import ask_about, requesting_party
from smart_gateway.tokens.rpt import claimed_permissions, introspected_permissions
from smart_gateway.tokens.shared_cache import LocalCache, SharedCache
from smart_gateway.tokens.transport import FetchError, Transport


@dataclass(frozen=True, slots=True)
class _Means:
    """What issuers are reached by."""

    transport: Transport
    freshness: Freshness
    cache: SharedCache
    cache_ttl: float
    entropy: Entropy


class _TrustedIssuer:
    """One issuer of the closed list: its settings, its keys, its own description, and where it is asked about its tokens."""

    def __init__(self, config: IssuerConfig, bases: Bases, means: _Means) -> None:
        self._config = config
        self._bases = bases
        self.discovery = Discovery(config, means.transport, means.freshness)
        self.keys = KeySource(config, self.discovery, means.transport, means.freshness)
        self._cache_ttl = means.cache_ttl
        self.introspection: Introspection | None = None
        if config.introspection is not None:
            self.introspection = Introspection(config, self.discovery, self.keys, means.transport, means.cache, means.entropy)
        self.tickets: PermissionTickets | None = None
        self._permissions: Introspection | None = None
        if config.uma is not None:
            self.tickets = PermissionTickets(config, means.transport, means.freshness, means.entropy)
            if self.introspection is not None:
                asking = (config, self.discovery, self.keys, means.transport, means.cache, means.entropy)
                self._permissions = Introspection(*asking, hint=REQUESTING_PARTY_TOKEN)

    @property
    def name(self) -> str:
        """What its tokens say in ``iss``."""
        return self._config.issuer

    @property
    def takes_opaque(self) -> bool:
        """Whether tokens that do not say whose they are count as this issuer's."""
        return self._config.introspection is not None and self._config.introspection.opaque

    async def judge(self, token: str, jwt: Jwt | None, now: float) -> tuple[Principal, float | None]:
        """The principal, and until when it may be kept where that is known. The issuer's mode decides, not the look of the token."""
        if self._config.uma is not None:
            return await self._judge_party(token, jwt, self._config.uma, now)
        if self.introspection is not None:
            found = await self.introspection.ask(token, now)
            claims = _bound(found.claims or {}, jwt)
            check_introspected(claims, self._config, now)
            return read_principal(claims, self._config, self._bases), found.until
        assert jwt is not None, "only an issuer that is asked takes tokens that are no JWTs"
        await self._verify(jwt, now)
        return read_principal(jwt.claims, self._config, self._bases), None

    async def _judge_party(self, token: str, jwt: Jwt | None, uma: UmaConfig, now: float) -> tuple[Principal, float]:
        """As ``judge``, for a requesting party token. A permission may end before its token does."""
        claims: Mapping[str, Any]
        if self.introspection is not None and self._permissions is not None:
            found = await ask_about(token, now, self._permissions, self.introspection)
            claims, until = _bound(found.claims or {}, jwt), found.until
            check_introspected(claims, self._config, now)
            permissions = introspected_permissions(claims)
        else:
            assert jwt is not None, "only an issuer that is asked takes tokens that are no JWTs"
            await self._verify(jwt, now)
            claims, until = jwt.claims, now + self._cache_ttl
            permissions = claimed_permissions(claims)
        principal = read_principal(claims, self._config, self._bases)
        party, end = requesting_party(principal, permissions, uma, now, self._config.leeway)
        return party, until if end is None else min(until, end)

    async def _verify(self, jwt: Jwt, now: float) -> None:
        algorithm, kid = check_header(jwt.header, self._config.algorithms)
        candidates = await self.keys.candidates(kid, algorithm, now)
        if not candidates:
            raise TokenError("No key of the token's issuer fits the token.", reason="unknown-key")
        check_signature(jwt, algorithm, candidates)
        check_claims(jwt, self._config, now)

    async def ready(self, now: float) -> bool:
        if self.introspection is not None:
            return await self.introspection.ready(now)
        return await self.keys.ready(now)

    async def probe(self, now: float) -> None:
        """Raises DependencyUnavailable, with the reason for the operator, where its tokens cannot be judged now."""
        if self.introspection is None:
            if not await self.keys.ready(now):
                raise DependencyUnavailable("its keys cannot be had, or none of them can be used")
            return
        try:
            await self.introspection.probe(now)
        except DependencyUnavailable as error:
            reason = error.text if isinstance(error, FetchError) else "its discovery document cannot be had"
            raise DependencyUnavailable(f"its introspection endpoint cannot be asked: {reason}") from error

    async def aclose(self) -> None:
        for asked in (self.introspection, self._permissions, self.tickets):
            if asked is not None:
                await asked.aclose()
        await self.keys.aclose()
        await self.discovery.aclose()


def _bound(answer: Mapping[str, Any], jwt: Jwt | None) -> Mapping[str, Any]:
    """``answer`` with the key that the JWT itself names where the answer names none: all that it can do is to ask for a proof."""
    own = {} if jwt is None or "cnf" in answer or "cnf" not in jwt.claims else {"cnf": jwt.claims["cnf"]}
    return {**answer, **own}


class Verifier:
    """Verifies the tokens of a closed list of issuers (semantics 2).

    ``bases`` are this server's service bases. The verifier owns ``transport`` and closes it. ``deny_list`` may be replaced at
    any time and counts from then on, also for cached tokens. ``cache_ttl`` is in seconds and bounds how long a token still
    serves after its key has gone; ``cache`` holds what issuers said of their tokens; ``clock`` gives seconds since the epoch for what is
    asked without a request, ``entropy`` that many random bytes.
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
        cache: SharedCache | None = None,
        clock: Callable[[], float] = time.time,
        entropy: Entropy = os.urandom,
    ) -> None:
        means = _Means(transport, freshness or Freshness(), cache or LocalCache(), cache_ttl, entropy)
        self._issuers = {config.issuer: _TrustedIssuer(config, bases, means) for config in issuers}
        if not issuers or len(self._issuers) != len(issuers):
            raise SettingsError("There must be at least one issuer, and none twice.")
        opaque = [issuer for issuer in self._issuers.values() if issuer.takes_opaque]
        if len(opaque) > 1:
            raise SettingsError("Tokens that do not say whose they are can be of one issuer only.")
        self._opaque = opaque[0] if opaque else None
        self.deny_list = deny_list or DenyList()
        self._transport = transport
        self._verified = VerifiedTokens(cache_size, cache_ttl)
        self._clock = clock

    async def verify(self, token: str, now: float) -> Principal:
        """The principal of ``token`` at ``now`` (seconds since the epoch): the same object for as long as it is cached.

        Raises TokenError for a token that is not to be trusted, DependencyUnavailable when its issuer cannot be asked for its keys, or
        about the token.
        """
        digest = token_digest(token)
        principal = self._verified.get(digest, now)
        if principal is None:
            issuer, jwt = self._issuer_of(token)
            principal, until = await issuer.judge(token, jwt, now)
            self._verified.put(digest, principal, now, until)
        self.deny_list.check(principal)
        return principal

    def _issuer_of(self, token: str) -> tuple[_TrustedIssuer, Jwt | None]:
        """The unverified ``iss`` only picks the issuer, whose keys, answers and rules then decide.

        What does not look like a JWT goes to the one issuer that takes such tokens. What does is never sent to an issuer that it does
        not name.
        """
        if self._opaque is not None and not looks_like_jwt(token):
            return self._opaque, None
        jwt = parse_jwt(token)
        name = jwt.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise TokenError("The token's issuer is not trusted here.", reason="unknown-issuer")
        return issuer, jwt

    def issuer_of(self, token: str) -> str | None:
        """The issuer that would judge ``token``; None where nobody would. Says nothing of whether it is any good."""
        try:
            return self._issuer_of(token)[0].name
        except TokenError:
            return None

    async def ticket(self, issuer: str, wanted: Sequence[WantedPermission], client: str, now: float) -> str | None:
        """A ticket with which ``client`` can ask ``issuer``, one with UMA, for ``wanted``; None where it knows no such thing.

        Raises TooManyRequests, DependencyUnavailable.
        """
        tickets = self._issuers[issuer].tickets
        assert tickets is not None, "asked only of issuers with UMA"
        return await tickets.register(wanted, client, now)

    async def probe_permissions(self) -> None:
        """Raises DependencyUnavailable where an issuer with UMA cannot be asked for permissions by this client."""
        now = self._clock()
        for tickets in [issuer.tickets for issuer in self._issuers.values() if issuer.tickets is not None]:
            await tickets.probe(now)

    async def document(self, issuer: str) -> Mapping[str, Any]:
        """The own discovery document of one of the issuers, kept and renewed; raises DependencyUnavailable."""
        return await self._issuers[issuer].discovery.document(self._clock())

    async def ready(self) -> bool:
        """Whether each issuer has keys that may serve, fetched now if need be, or answers questions about its tokens."""
        now = self._clock()
        return all([await issuer.ready(now) for issuer in self._issuers.values()])

    async def probe(self) -> None:
        """Asks every issuer. Raises DependencyUnavailable, with the reason for the operator, for one whose tokens cannot be judged."""
        now = self._clock()
        for issuer in self._issuers.values():
            await issuer.probe(now)

    async def aclose(self) -> None:
        """Ends all fetches under way and closes the transport."""
        for issuer in self._issuers.values():
            await issuer.aclose()
        await self._transport.aclose()
