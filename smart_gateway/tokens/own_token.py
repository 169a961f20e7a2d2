"""The gateway's own access token: asked for by client credentials, kept, and renewed before it expires. Spec: RFC 6749 section 4.4."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.tokens.breaker import Breaker
from smart_gateway.tokens.token_endpoint import IssuedToken, TokenEndpoint

_log = logging.getLogger(__name__)
_RENEWED_AFTER = 0.75  # of its lifetime, a token is renewed beside the requests
_ENDED_AFTER = 0.95  # of its lifetime, it is not sent any more: it must not expire on its way


@dataclass(frozen=True, slots=True)
class _Held:
    value: str = field(repr=False)
    since: float
    lifetime: float

    @classmethod
    def of(cls, issued: IssuedToken, now: float) -> _Held:
        return cls(issued.value, now, issued.lifetime)

    def serves(self, now: float, share: float) -> bool:
        """Whether less than ``share`` of its lifetime is over. Ages are absolute: a clock that is set back lengthens nothing."""
        return abs(now - self.since) < self.lifetime * share


class OwnToken:
    """One token for all requests: single-flight, renewed while the old one still serves, a breaker.

    ``more`` goes into the request beside the grant type (scope, resource, audience); ``purpose`` says what the token is needed for.
    """

    def __init__(self, endpoint: TokenEndpoint, more: Mapping[str, str], *, purpose: str = "for the FHIR server") -> None:
        self._endpoint = endpoint
        self._purpose = purpose
        self._form = {"grant_type": "client_credentials", **more}
        self._held: _Held | None = None
        self._task: asyncio.Task[None] | None = None
        self._breaker = Breaker()

    async def get(self, now: float) -> str:
        """A token that serves at ``now`` (seconds since the epoch). Raises DependencyUnavailable where none can be had."""
        held = self._held
        if held is not None and held.serves(now, _RENEWED_AFTER):
            return held.value
        task = self._begin(now)
        if held is not None and held.serves(now, _ENDED_AFTER):
            return held.value
        if task is not None:
            # asyncio.wait, not await: a request that is cancelled must not cancel what others wait for.
            await asyncio.wait({task})
        held = self._held
        if held is None or not held.serves(now, _ENDED_AFTER):
            wait = max(1, math.ceil(self._breaker.wait(now)))
            raise DependencyUnavailable(f"The gateway cannot get the token that it needs {self._purpose}.", retry_after=wait)
        return held.value

    def drop(self, value: str) -> None:
        """Forgets the token ``value``, which is not taken any more."""
        if self._held is not None and self._held.value == value:
            self._held = None

    async def aclose(self) -> None:
        """Ends a renewal under way, and closes the endpoint's connections."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._endpoint.aclose()

    def _begin(self, now: float) -> asyncio.Task[None] | None:
        if self._task is None and self._breaker.wait(now) <= 0:
            self._task = asyncio.create_task(self._renew(now))
        return self._task

    async def _renew(self, now: float) -> None:
        succeeded = False
        try:
            self._held = _Held.of(await self._endpoint.ask(self._form, now), now)
            succeeded = True
        except DependencyUnavailable as error:
            _log.warning("the gateway's own token cannot be had: %s", error.text)
        except Exception as error:  # whatever it is, its text may hold what was sent
            _log.error("the gateway's own token cannot be had: %s", type(error).__name__)
        finally:
            self._task = None
            if succeeded:
                self._breaker.succeeded()
            else:
                self._breaker.failed(now)
