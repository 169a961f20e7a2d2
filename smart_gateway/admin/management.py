"""The management listener: whether the process lives and whether it can judge requests. Never proxied, never with data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

from smart_gateway.admin.explaining import EXPLAIN, ExplainPage
from smart_gateway.admin.replies import Reply

_READY_WITHIN = 5.0  # seconds; probes give up soon after


class Management:
    """``/livez``: 200 as long as the process answers. ``/readyz``: 200 while ``ready`` says so, else 503. ``/explain`` where there is
    ``explaining`` and it is switched on."""

    def __init__(self, ready: Callable[[], Awaitable[bool]], explaining: ExplainPage | None = None) -> None:
        self._ready = ready
        self._explaining = explaining

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
        if path not in {"/livez", "/readyz"}:
            return Reply.text(404, "not here")
        if method not in {"GET", "HEAD"}:
            return Reply.not_allowed("GET, HEAD")
        if path == "/livez":
            return Reply.text(200, "alive")
        return Reply.text(200, "ready") if await self._is_ready() else Reply.text(503, "not ready")

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(_READY_WITHIN):
                return await self._ready()
        except TimeoutError:
            return False
