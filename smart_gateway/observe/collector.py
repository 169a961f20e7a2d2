"""A FHIR server that collects AuditEvents: a bounded queue in front of it, so that no request waits for it unless it must."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.observe.audit_event import Observer, audit_event
from smart_gateway.observe.events import DecisionEvent
from smart_gateway.tokens.transport import Transport

_logger = logging.getLogger("smart_gateway")
_AT_ONCE = 4
_REFUSED = frozenset({400, 413, 415, 422})  # what will not be taken the next time either
_TAKEN = frozenset({200, 201, 202, 204})
_FHIR = {"content-type": "application/fhir+json", "accept": "application/fhir+json, application/json", "prefer": "return=minimal"}
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: the pause after a failure, doubled up to ``most``; and how long the end may take."""

    first: float = 1.0
    most: float = 60.0
    ending: float = 5.0


@dataclass(slots=True)
class _State:
    queue: deque[bytes] = field(default_factory=deque)
    workers: set[asyncio.Task[None]] = field(default_factory=set)
    failing: bool = False
    closed: bool = False


class Collector:
    """Posts AuditEvents to ``url`` (``.../AuditEvent``). ``lost`` counts those that were not taken: the queue was full, or the server
    refused them. Belongs to one event loop.

    A post that was not answered is sent again, so that a server may get an event twice, with the same request id.
    """

    def __init__(
        self,
        url: str,
        transport: Transport,
        observer: Observer,
        *,
        headers: Mapping[str, str] | None = None,
        most: int = 10_000,
        patience: Patience | None = None,
    ) -> None:
        self._url = url
        self._transport = transport
        self._observer = observer
        self._headers = {**_FHIR, **(headers or {})}
        self._most = most
        self._patience = patience or Patience()
        self._state = _State()
        self.lost = 0

    @property
    def waiting(self) -> int:
        """How many events are not yet on their way."""
        return len(self._state.queue)

    def offer(self, event: DecisionEvent) -> bool:
        """Leaves ``event`` to be posted in its time; False where there is no room for it.

        What was kept when it began, and went well, needs no second event.
        """
        if event.kept and event.outcome == "permit" and event.status < 400:
            return True
        state = self._state
        if state.closed or len(state.queue) >= self._most:
            self._lose()
            return False
        state.queue.append(self._content(event))
        if len(state.workers) < (1 if state.failing else _AT_ONCE):
            task = asyncio.get_running_loop().create_task(self._work())
            state.workers.add(task)
            task.add_done_callback(state.workers.discard)
        return True

    async def deliver(self, event: DecisionEvent) -> bool:
        """Posts ``event`` at once; whether it was taken."""
        try:
            return not self._state.closed and await self._post(self._content(event)) in _TAKEN
        except Exception as error:  # whatever it is, the event is not there
            _logger.error("an AuditEvent could not be sent: %s", type(error).__name__)  # noqa: TRY400
            return False

    async def aclose(self) -> None:
        """Sends what waits, for as long as patience lasts; then closes the connections."""
        state = self._state
        state.closed = True
        if state.workers:
            await asyncio.wait(state.workers, timeout=self._patience.ending)
        for task in tuple(state.workers):
            task.cancel()
        if state.queue:
            self.lost += len(state.queue)
            _logger.error("%d AuditEvents were not sent before the end", len(state.queue))
        await self._transport.aclose()

    def _content(self, event: DecisionEvent) -> bytes:
        return _encode(audit_event(event, self._observer))

    async def _work(self) -> None:
        pause = self._patience.first
        while self._state.queue:
            content = self._state.queue.popleft()
            if await self._is_done_with(content):
                pause = self._patience.first
                self._state.failing = False
                continue
            self._state.queue.appendleft(content)
            self._state.failing = True
            if len(self._state.workers) > 1:
                return  # one is enough to find out when it is there again
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._patience.most)

    async def _is_done_with(self, content: bytes) -> bool:
        """Whether the event was taken, or never will be."""
        try:
            status = await self._post(content)
        except DependencyUnavailable as error:
            if not self._state.failing:
                _logger.warning("the collector of AuditEvents cannot be reached, they wait: %s", error.text)
            return False
        if status in _REFUSED:
            self._lose()
            _logger.error("an AuditEvent was refused with %d", status)
        elif status not in _TAKEN and not self._state.failing:
            _logger.warning("the collector of AuditEvents answers %d, they wait", status)
        return status in _TAKEN or status in _REFUSED

    async def _post(self, content: bytes) -> int:
        return (await self._transport.post(self._url, content, self._headers)).status

    def _lose(self) -> None:
        if self.lost % 1000 == 0:
            _logger.error("AuditEvents are lost: the queue is full, or they are refused")
        self.lost += 1
