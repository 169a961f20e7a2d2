"""The token of a request exchanged for one that the FHIR server takes, of the same subject. Spec: RFC 8693."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from smart_gateway.errors import DependencyUnavailable, TokenError
from smart_gateway.principal import Actor, Principal
from smart_gateway.tokens.breaker import Breaker
from smart_gateway.tokens.cache import token_digest
from smart_gateway.tokens.own_token import OwnToken
from smart_gateway.tokens.token_endpoint import GrantRefused, TokenEndpoint

_log = logging.getLogger(__name__)

_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_BEARER_TYPES = frozenset({_ACCESS_TOKEN, _JWT})
# The subject's token itself is at fault (RFC 8693 section 2.2.2), or what it may be exchanged for; every other refusal is the gateway's.
_SUBJECTS_FAULT = frozenset({"invalid_request", "invalid_grant", "invalid_token", "access_denied"})
_SERVED = 0.95  # of its lifetime, a token is sent: it must not expire on its way
_REFUSED = 5.0  # seconds for which a refusal counts


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A token, or None where the exchange was refused; it counts from ``since`` until ``until``."""

    value: str | None = field(repr=False)
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class ExchangeTerms:
    """``issuers`` are those whose tokens may be shown to the endpoint; ``more`` goes into the request (scope, resource, audience);
    ``actor``: the gateway's own token, sent along where it is to act for the subject (delegation), None for an impersonation."""

    issuers: frozenset[str]
    more: Mapping[str, str] = field(default_factory=dict)
    actor: OwnToken | None = None


class ExchangedTokens:
    """Exchanged tokens by the digest of what they were exchanged for: single-flight, kept no longer than either of the two lasts."""

    def __init__(self, endpoint: TokenEndpoint, terms: ExchangeTerms, size: int = 10_000) -> None:
        self._endpoint = endpoint
        self._terms = terms
        self._size = size
        self._outcomes: OrderedDict[bytes, _Outcome] = OrderedDict()
        self._tasks: dict[bytes, asyncio.Task[_Outcome | None]] = {}
        self._breaker = Breaker()

    async def get(self, principal: Principal, token: str, now: float) -> str:
        """What ``token``, verified to be of ``principal``, is exchanged for.

        Raises TokenError where it may not be, DependencyUnavailable where nobody can say.
        """
        self._require_exchangeable(principal)
        digest = token_digest(token)
        outcome = self._kept(digest, now) or await self._joined(digest, principal, token, now)
        if outcome is None:
            text = "The gateway cannot exchange the token for one that the FHIR server takes at the moment."
            raise DependencyUnavailable(text, retry_after=max(1, math.ceil(self._breaker.wait(now))))
        if outcome.value is None:
            raise TokenError("The token cannot be exchanged for one that the FHIR server takes.", reason="exchange-refused")
        return outcome.value

    async def aclose(self) -> None:
        """Ends exchanges under way, and closes the endpoint's connections."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._terms.actor is not None:
            await self._terms.actor.aclose()
        await self._endpoint.aclose()

    def _require_exchangeable(self, principal: Principal) -> None:
        """A token is shown to nobody but the servers that the settings name, and exchanged by nobody whom it does not name."""
        if principal.issuer not in self._terms.issuers:
            raise TokenError("Tokens of this issuer cannot be exchanged for one that the FHIR server takes.", reason="exchange-refused")
        if principal.may_act is not None and not _is_named(principal.may_act, self._endpoint.client_id):
            raise TokenError("The token names who may act for its subject, and this gateway is not among them.", reason="exchange-refused")

    def _kept(self, digest: bytes, now: float) -> _Outcome | None:
        outcome = self._outcomes.get(digest)
        if outcome is None:
            return None
        if not outcome.since <= now < outcome.until:
            del self._outcomes[digest]
            return None
        self._outcomes.move_to_end(digest)
        return outcome

    async def _joined(self, digest: bytes, principal: Principal, token: str, now: float) -> _Outcome | None:
        """The outcome of the one exchange of this token that is under way; None where the server does not answer, or is left alone."""
        task = self._tasks.get(digest)
        if task is None:
            if self._breaker.wait(now) > 0:
                return None
            task = self._tasks[digest] = asyncio.create_task(self._exchange(digest, principal, token, now))
        await asyncio.wait({task})  # not await: a request that is cancelled must not cancel what others wait for
        return None if task.cancelled() else task.result()

    async def _exchange(self, digest: bytes, principal: Principal, token: str, now: float) -> _Outcome | None:
        try:
            outcome = self._outcomes[digest] = await self._ask(principal, token, now)
        except DependencyUnavailable as error:
            _log.warning("a token cannot be exchanged: %s", error.text)
            self._breaker.failed(now)
            return None
        except Exception as error:  # whatever it is, its text may hold what was sent
            _log.error("a token cannot be exchanged: %s", type(error).__name__)
            self._breaker.failed(now)
            return None
        finally:
            del self._tasks[digest]
        self._breaker.succeeded()
        self._outcomes.move_to_end(digest)
        while len(self._outcomes) > self._size:
            self._outcomes.popitem(last=False)
        return outcome

    async def _ask(self, principal: Principal, token: str, now: float) -> _Outcome:
        """Raises DependencyUnavailable also where the server refuses the gateway rather than the token."""
        form = {"grant_type": _GRANT, "subject_token": token, "subject_token_type": _ACCESS_TOKEN, **self._terms.more}
        if self._terms.actor is not None:
            form |= {"actor_token": await self._terms.actor.get(now), "actor_token_type": _ACCESS_TOKEN}
        try:
            issued = await self._endpoint.ask(form, now, types=_BEARER_TYPES)
        except GrantRefused as refusal:
            if refusal.error not in _SUBJECTS_FAULT:
                raise
            _log.warning("a token exchange was refused: %s", refusal.error)
            return _Outcome(None, now, now + _REFUSED)
        until = now + issued.lifetime * _SERVED
        return _Outcome(issued.value, now, until if principal.expires_at is None else min(until, principal.expires_at))


def _is_named(may_act: Actor, client_id: str | None) -> bool:
    """Spec: RFC 8693 section 4.4. The gateway is known by its client id, as ``client_id`` or as ``sub``, to the token's own issuer."""
    names = {name for name in (may_act.subject, may_act.client_id) if name is not None}
    return may_act.issuer is None and names == {client_id}
