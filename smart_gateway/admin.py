"""The management listener: whether the process lives and whether it can judge requests. Never proxied, never with data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Receive, Scope, Send

_READY_WITHIN = 5.0  # seconds; probes give up soon after
_TEXT = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class Management:
    """``/livez``: 200 as long as the process answers. ``/readyz``: 200 while ``ready`` says so, else 503."""

    def __init__(self, ready: Callable[[], Awaitable[bool]]) -> None:
        self._ready = ready

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the management listener serves no {scope['type']}")
        status, text = await self._answer(scope["method"], scope["path"])
        body = f"{text}\n".encode()
        headers = [*_TEXT, (b"content-length", str(len(body)).encode())]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, method: str, path: str) -> tuple[int, str]:
        if path not in {"/livez", "/readyz"}:
            return 404, "not here"
        if method not in {"GET", "HEAD"}:
            return 405, "GET or HEAD"
        if path == "/livez":
            return 200, "alive"
        return (200, "ready") if await self._is_ready() else (503, "not ready")

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(_READY_WITHIN):
                return await self._ready()
        except TimeoutError:
            return False
