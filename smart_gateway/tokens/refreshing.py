"""A value from the network that is kept, renewed and, for a bounded time, used stale."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.tokens.breaker import Breaker

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long a value serves; all in seconds.

    Within ``ttl`` it serves without a question. Past it the source is asked; while that fails the old value serves for
    ``stale`` more. ``pause`` lies at least between two renewals for something that the value lacks. After a failure the
    source is left alone for ``backoff``, doubled with each further failure up to ``backoff_most``.
    """

    ttl: float = 300.0
    stale: float = 3600.0
    pause: float = 10.0
    backoff: float = 1.0
    backoff_most: float = 60.0


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    since: float


class Refreshed(Generic[T]):
    """One value with its source: single-flight, bounded stale use, a breaker (semantics 2).

    ``load(now)`` fetches the value and raises DependencyUnavailable when it cannot; ``subject`` names the value in
    sentences ("the keys of https://idp.example"). Ages are taken as absolute: a clock that is set back never makes a
    value serve longer than its time.
    """

    def __init__(self, subject: str, load: Callable[[float], Awaitable[T]], freshness: Freshness) -> None:
        self._subject = subject
        self._load = load
        self._freshness = freshness
        self._kept: _Kept[T] | None = None
        self._due = False
        self._breaker = Breaker(freshness.backoff, freshness.backoff_most)
        self._renewed_at = -math.inf
        self._task: asyncio.Task[None] | None = None

    async def get(self, now: float) -> T:
        """The value, fetched or renewed when it is due; raises DependencyUnavailable when none may serve."""
        kept = self._kept
        if kept is not None and not self._due and abs(now - kept.since) < self._freshness.ttl:
            return kept.value
        if self._breaker.failing and self._may_serve(now):
            # An outage is known and the old value still serves: nobody waits for the source to time out again.
            self._begin(now)
        else:
            await self._attempt(now)
        return self._serve(now)

    async def renew(self, now: float) -> T:
        """The value, fetched anew because it lacks what was looked for: at most once in ``pause`` seconds.

        Raises DependencyUnavailable while the source fails: then nobody can say whether the thing exists.
        """
        if self._task is None and self._may_renew(now):
            self._renewed_at = now
            self._begin(now)
        if self._task is not None:
            await self._attempt(now)
        if self._breaker.failing:
            raise self._unavailable(now)
        return self._serve(now)

    def expire(self) -> None:
        """Makes the next ``get`` ask the source; the value stays as a stale one."""
        self._due = True

    async def aclose(self) -> None:
        """Ends a fetch under way; its waiters are refused."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _may_renew(self, now: float) -> bool:
        if self._breaker.failing:
            return self._breaker.wait(now) <= 0
        return abs(now - self._renewed_at) >= self._freshness.pause

    async def _attempt(self, now: float) -> None:
        task = self._begin(now)
        if task is not None:
            # asyncio.wait, not await: a waiter that is cancelled must not cancel the fetch that others wait for.
            await asyncio.wait({task})

    def _begin(self, now: float) -> asyncio.Task[None] | None:
        """Starts a fetch unless one is under way or the source is left alone."""
        if self._task is None and self._breaker.wait(now) <= 0:
            self._task = asyncio.create_task(self._run(now))
        return self._task

    async def _run(self, now: float) -> None:
        succeeded = False
        try:
            self._kept = _Kept(await self._load(now), now)
            self._due = False
            succeeded = True
        except DependencyUnavailable as error:
            _log.warning("%s cannot be had: %s", self._subject, error.text)
        except Exception:
            _log.exception("%s cannot be had", self._subject)
        finally:
            if succeeded:
                self._breaker.succeeded()
            else:
                self._breaker.failed(now)
            self._task = None

    def _may_serve(self, now: float) -> bool:
        return self._kept is not None and abs(now - self._kept.since) < self._freshness.ttl + self._freshness.stale

    def _serve(self, now: float) -> T:
        if self._kept is None or not self._may_serve(now):
            raise self._unavailable(now)
        return self._kept.value

    def _unavailable(self, now: float) -> DependencyUnavailable:
        retry_after = max(1, math.ceil(self._breaker.wait(now)))
        return DependencyUnavailable("The token's issuer cannot be asked for its keys at the moment.", retry_after=retry_after)
