"""The management listener: whether the process lives and whether it can judge requests. Never proxied, never with data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.types import Receive, Scope, Send

from smart_gateway.admin.explaining import EXPLAIN, ExplainPage
from smart_gateway.admin.replies import Reply

_READY_WITHIN = 5.0  # seconds; probes give up soon after


class Readiness(Protocol):
    """A gateway, as far as it is asked whether it is ready."""

    async def ready(self) -> bool:
        """Whether it can judge requests."""
        ...


class Management:
    """``/livez``: 200 as long as the process answers. ``/readyz``: 200 while ``ready`` says so, else 503; ``/readyz/NAME`` the same of the
    one that ``named`` gives. ``/explain`` where there is ``explaining`` and it is switched on."""

    def __init__(
        self,
        ready: Callable[[], Awaitable[bool]],
        explaining: ExplainPage | None = None,
        named: Callable[[str], Readiness | None] | None = None,
    ) -> None:
        self._ready = ready
        self._explaining = explaining
        self._named = named

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the management listener serves no {scope['type']}")
        page = self._explaining
        if page is not None and page.enabled and scope["path"].startswith(EXPLAIN):
            reply = await page.answer(scope, receive)
        else:
            reply = await self._answer(scope["method"], scope["path"])
        await reply.send(send, head=scope["method"] == "HEAD")

    async def _answer(self, method: str, path: str) -> Reply:
        ready = self._ready if path == "/readyz" else self._ready_of(path)
        if path != "/livez" and ready is None:
            return Reply.text(404, "not here")
        if method not in {"GET", "HEAD"}:
            return Reply.not_allowed("GET, HEAD")
        if ready is None:
            return Reply.text(200, "alive")
        return Reply.text(200, "ready") if await _is_ready(ready) else Reply.text(503, "not ready")

    def _ready_of(self, path: str) -> Callable[[], Awaitable[bool]] | None:
        found = self._named(path.removeprefix("/readyz/")) if self._named is not None and path.startswith("/readyz/") else None
        return None if found is None else found.ready


async def _is_ready(ready: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(_READY_WITHIN):
            return await ready()
    except TimeoutError:
        return False
