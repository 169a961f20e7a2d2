"""Noticing that the client has left, so that nobody goes on working for it."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

# Most answers are there sooner; listening for a departure costs a task, so it begins only with those that take longer.
_DELAY = 0.05  # seconds


class ClientGone(Exception):
    """The client left before its request was read whole."""


class Departure:
    """Cancels the task that serves a request, which is the one that makes this, when its client leaves. ``left`` tells such a
    cancellation from any other.

    Only one may read from ``receive`` at a time: ``watch`` is called when the body has been read, or is not wanted.
    """

    __slots__ = ("_gone", "_listener", "_receive", "_served", "_timer", "left")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._timer: asyncio.TimerHandle | None = None
        self._listener: asyncio.Task[None] | None = None
        self._served: asyncio.Task[object] | None = asyncio.current_task()
        self._gone: asyncio.Event | None = None
        self.left = False

    def watch(self) -> None:
        """From now on, a departure cancels that task."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY, self._listen)

    async def wait(self) -> Message:
        """The ASGI message of the departure, when it comes: what an app that goes on receiving is to be told."""
        if self._gone is None:
            self._gone = asyncio.Event()
        if not self.left:
            await self._gone.wait()
        return {"type": "http.disconnect"}

    def close(self) -> None:
        """Stops listening."""
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()

    def _listen(self) -> None:
        self._listener = asyncio.get_running_loop().create_task(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        if self._gone is not None:
            self._gone.set()
        if self._served is not None:
            self._served.cancel()
