"""One timer for all requests, in place of one for each: most are over before it looks the first time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Call = Callable[[], None]

_PAUSE = 0.05  # seconds


class Lookout:
    """Calls whoever still waits after one to two pauses of 50 ms. For the event loop that is running; one that is new starts it anew."""

    __slots__ = ("_loop", "_new", "_seen")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._new: set[Call] = set()
        self._seen: set[Call] = set()

    def wait(self, call: Call) -> None:
        """``call`` is called once, unless it leaves before."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._new, self._seen = loop, set(), set()
            loop.call_later(_PAUSE, self._look, loop)
        self._new.add(call)

    def leave(self, call: Call) -> None:
        """``call`` is not to be called any more."""
        self._new.discard(call)
        self._seen.discard(call)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return
        due, self._seen, self._new = self._seen, self._new, set()
        if self._seen:
            loop.call_later(_PAUSE, self._look, loop)
        else:
            self._loop = None  # nobody waits: the next one starts it again
        for call in due:
            call()
