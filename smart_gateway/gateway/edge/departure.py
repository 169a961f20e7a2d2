"""Noticing that the client has left, so that nobody goes on working for it."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from smart_gateway.gateway.edge.lookout import Lookout


class ClientGone(Exception):
    """The client left before its request was read whole."""


class Departure:
    """Cancels the task that serves a request, which is the one that makes this, when its client leaves. ``left`` tells such a
    cancellation from any other.

    Only one may read from ``receive`` at a time: ``watch`` is called when the body has been read, or is not wanted. Listening costs
    a task: it begins when ``lookout`` says that this request takes long.
    """

    __slots__ = ("_gone", "_listener", "_receive", "_served", "_watched", "left", "lookout")

    def __init__(self, receive: Receive, lookout: Lookout) -> None:
        self.lookout = lookout
        self._receive = receive
        self._watched = False
        self._listener: asyncio.Task[None] | None = None
        self._served: asyncio.Task[object] | None = asyncio.current_task()
        self._gone: asyncio.Event | None = None
        self.left = False

    def watch(self) -> None:
        """From now on, a departure cancels that task."""
        if not self._watched:
            self._watched = True
            self.lookout.wait(self._listen)

    async def wait(self) -> Message:
        """The ASGI message of the departure, when it comes: what an app that goes on receiving is to be told."""
        if self._gone is None:
            self._gone = asyncio.Event()
        if not self.left:
            await self._gone.wait()
        return {"type": "http.disconnect"}

    def close(self) -> None:
        """Stops listening."""
        if self._watched:
            self.lookout.leave(self._listen)
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
