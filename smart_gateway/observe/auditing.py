"""Where the records of decisions go: lines, and collectors of AuditEvents, none of which waits for another. Spec: semantics 12."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from smart_gateway.observe.collector import Collector
from smart_gateway.observe.events import DecisionEvent
from smart_gateway.observe.logs import DecisionLog

_logger = logging.getLogger("smart_gateway")
_SELDOM = 1000  # one message for so many


class AuditTrail:
    """Every sink of the settings. ``lines`` None: no sink takes lines."""

    def __init__(self, lines: DecisionLog | None, collectors: Sequence[Collector] = ()) -> None:
        self._lines = lines
        self._collectors = tuple(collectors)

    def record(self, event: DecisionEvent) -> bool:
        """Writes the line, and leaves the event to the collectors; False where a sink did not take it. Never waits, never raises."""
        written = self._lines is None or self._lines.record(event)
        if not written and self._lines is not None and self._lines.lost % _SELDOM == 1:
            _logger.error("%d records of decisions could not be written", self._lines.lost)
        offered = [collector.offer(event) for collector in self._collectors]
        return written and all(offered)

    async def keep(self, event: DecisionEvent) -> bool:
        """Waits until every sink has ``event``; False where one has not. Never raises."""
        written = self._lines is None or self._lines.record(event)
        return all(await asyncio.gather(*[collector.deliver(event) for collector in self._collectors])) and written

    async def aclose(self) -> None:
        """Gives the collectors a moment for what they still hold, and ends them."""
        await asyncio.gather(*[collector.aclose() for collector in self._collectors])
