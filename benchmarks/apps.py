"""What the gateway is measured against: the same server and client without enforcement, and a plain Starlette and httpx proxy."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from smart_gateway.gateway.upstream import Upstream


def _upstream_url() -> str:
    return os.environ["BENCH_UPSTREAM"]


def bare() -> ASGIApp:
    """The gateway's own upstream client behind the same server, and nothing between them."""
    return Upstream(f"{_upstream_url()}/fhir", "/fhir")


def httpx_proxy() -> ASGIApp:
    """The proxy that one writes in an afternoon, with httpx as it comes."""
    client = httpx.AsyncClient(base_url=_upstream_url())

    async def forward(request: Request) -> StreamingResponse:
        url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        sent = client.build_request(request.method, url, content=await request.body())
        answer = await client.send(sent, stream=True)
        headers = {"content-type": answer.headers["content-type"]}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, headers, background=None)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await client.aclose()

    return Starlette(routes=[Route("/{path:path}", forward, methods=["GET"])], lifespan=lifespan)
