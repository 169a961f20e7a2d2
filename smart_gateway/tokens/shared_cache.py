"""What several workers or replicas know together: answers kept for a while, and what may happen once only."""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Kept:
    """A value and the seconds for which it still counts."""

    value: bytes
    remaining: float


class SharedCache(Protocol):
    """Keys say what they are for (``introspection:...``). ``ttl`` is in seconds; a cache never fails: at worst it knows nothing."""

    async def get(self, key: str, now: float) -> Kept | None:
        """What was put under ``key``, unless its time is over."""

    async def put(self, key: str, value: bytes, ttl: float, now: float) -> None:
        """Keeps ``value`` for ``ttl``."""

    async def add_once(self, key: str, ttl: float, now: float) -> bool:
        """Whether ``key`` is new within its ``ttl``; False for one that was added before, and where nobody can tell."""

    async def aclose(self) -> None:
        """Closes connections."""


class LocalCache:
    """``SharedCache`` of one process: of values the ``size`` last used are kept, of what may happen once ``most_once``.

    A key that was added once is never dropped before its time: where there is no room left, nothing counts as new.
    """

    def __init__(self, size: int = 10_000, most_once: int = 500_000) -> None:
        self._size = size
        self._most_once = most_once
        self._values: OrderedDict[str, tuple[bytes, float, float]] = OrderedDict()
        self._once: dict[str, float] = {}
        self._ends: list[tuple[float, str]] = []

    async def get(self, key: str, now: float) -> Kept | None:
        """The value, while ``now`` lies within its time."""
        found = self._values.get(key)
        if found is None:
            return None
        value, since, until = found
        if not since <= now < until:  # before ``since``: the clock was set back, nothing may live longer by that
            del self._values[key]
            return None
        self._values.move_to_end(key)
        return Kept(value, until - now)

    async def put(self, key: str, value: bytes, ttl: float, now: float) -> None:
        """The least recently used leave first."""
        self._values[key] = (value, now, now + ttl)
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    async def add_once(self, key: str, ttl: float, now: float) -> bool:
        """Remembers ``key`` for ``ttl``."""
        self._forget(now)
        if key in self._once or len(self._once) >= self._most_once:
            return False
        self._once[key] = now + ttl
        heapq.heappush(self._ends, (now + ttl, key))
        return True

    async def aclose(self) -> None:
        """Nothing is open."""

    def _forget(self, now: float) -> None:
        while self._ends and (self._ends[0][0] <= now or self._ends[0][0] == math.inf):
            del self._once[heapq.heappop(self._ends)[1]]
