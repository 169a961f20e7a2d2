"""Leaving alone what does not answer."""

from __future__ import annotations

import math


class Breaker:
    """Counts failures in a row: after each the thing is left alone for ``backoff`` seconds, doubled with every further one up to ``most``.

    Ages are taken as absolute: a clock that is set back never makes a pause longer than its time.
    """

    def __init__(self, backoff: float = 1.0, most: float = 60.0) -> None:
        self._backoff = backoff
        self._most = most
        self._failures = 0
        self._failed_at = -math.inf

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    def wait(self, now: float) -> float:
        """Seconds for which the thing is still to be left alone; nothing or less where it may be asked."""
        if not self._failures:
            return 0.0
        doubled = self._backoff * 2.0 ** min(self._failures - 1, 30)
        return min(doubled, self._most) - abs(now - self._failed_at)

    def failed(self, now: float) -> None:
        """An attempt that began at ``now`` failed. One that began within the pause after another tells nothing new."""
        if self.wait(now) > 0:
            return
        self._failures += 1
        self._failed_at = now

    def succeeded(self) -> None:
        """All is well again."""
        self._failures = 0
