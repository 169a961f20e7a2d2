"""What workers and replicas know together, in Redis; what this process knows itself while Redis is away."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from smart_gateway.answers.sealing import NONCE_BYTES, Sealer
from smart_gateway.errors import RequestError
from smart_gateway.tokens.breaker import Breaker
from smart_gateway.tokens.client_authentication import Entropy
from smart_gateway.tokens.shared_cache import Kept, LocalCache

T = TypeVar("T")
_log = logging.getLogger(__name__)
_BACKOFF, _BACKOFF_MOST = 1.0, 10.0  # seconds for which Redis is left alone after it did not answer
_LONGEST_VALUE = 2 << 20  # characters


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """Where Redis is, the seconds that it has to answer, what our keys begin with, and the keys that seal what lies there."""

    url: str = field(repr=False)
    timeout: float
    prefix: str
    sealing_keys: tuple[bytes, ...] = field(repr=False)


class RedisCache:
    """``SharedCache`` in Redis. Values are sealed: who can write there can forge no answer, and who can read there learns none.

    Everything is kept in this process as well, and goes by that alone while Redis is away: ``outages`` counts how often a question to it
    failed. What happened once in this process never happens again, whatever Redis says.
    """

    def __init__(
        self,
        config: RedisConfig,
        *,
        entropy: Entropy = os.urandom,
        local: LocalCache | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.outages = 0
        self._entropy = entropy
        self._local = local or LocalCache()
        self._clock = clock
        self._sealer = Sealer(config.sealing_keys, lifetime=1.0)
        self._breaker = Breaker(_BACKOFF, _BACKOFF_MOST)
        self._redis = Redis.from_url(
            config.url, socket_timeout=config.timeout, socket_connect_timeout=config.timeout, retry=Retry(NoBackoff(), 0)
        )

    async def get(self, key: str, now: float) -> Kept | None:
        """The value with the time that Redis gives it, which no clock of ours can make longer."""
        local = await self._local.get(key, now)
        if local is not None:
            return local
        found = await self._try(lambda: self._get(key))
        if found is None or found[0] is None or found[1] <= 0:
            return None
        value = self._open(key, found[0], now)
        return None if value is None else Kept(value, found[1] / 1000)

    async def put(self, key: str, value: bytes, ttl: float, now: float) -> None:
        """In both places."""
        await self._local.put(key, value, ttl, now)
        sealed = self._sealer.seal(value, key.encode(), now, self._entropy(NONCE_BYTES), lifetime=ttl + 1)
        await self._try(lambda: self._redis.set(self.config.prefix + key, sealed, px=_milliseconds(ttl)))

    async def add_once(self, key: str, ttl: float, now: float) -> bool:
        """New here and in Redis; new here only while Redis is away."""
        if not await self._local.add_once(key, ttl, now):
            return False
        return await self._try(lambda: self._add(key, ttl)) is not False

    async def answers(self) -> bool:
        """Whether Redis answers now."""
        return await self._try(lambda: self._get("nothing")) is not None

    async def aclose(self) -> None:
        """Closes connections."""
        await self._redis.aclose()

    async def _get(self, key: str) -> tuple[Any, int]:
        name = self.config.prefix + key
        asked = self._redis.pipeline(transaction=False)
        asked.get(name)
        asked.pttl(name)
        value, remaining = await asked.execute()
        return value, remaining

    async def _add(self, key: str, ttl: float) -> bool:
        return bool(await self._redis.set(self.config.prefix + key, b"1", px=_milliseconds(ttl), nx=True))

    def _open(self, key: str, sealed: Any, now: float) -> bytes | None:
        """What a key of ours sealed under this very name; None for anything else."""
        if not isinstance(sealed, bytes) or len(sealed) > _LONGEST_VALUE:
            return None
        try:
            return self._sealer.open(sealed.decode("latin-1"), key.encode(), now)
        except RequestError:
            return None

    async def _try(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What Redis answers; None where it does not, which is said once for each outage."""
        began = self._clock()
        if self._breaker.wait(began) > 0:
            self.outages += 1
            return None
        try:
            async with asyncio.timeout(self.config.timeout):
                answer = await ask()
        except (RedisError, OSError, TimeoutError, ValueError) as error:
            self.outages += 1
            if not self._breaker.failing:
                _log.warning("Redis is away (%s): each process goes by what it knows itself", type(error).__name__)
            self._breaker.failed(began)
            return None
        if self._breaker.failing:
            _log.warning("Redis is there again")
        self._breaker.succeeded()
        return answer


def _milliseconds(ttl: float) -> int:
    return max(1, int(ttl * 1000))
