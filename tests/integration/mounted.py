"""An application with a FHIR part in it: the gateway as middleware, mounted deep, around a naive forwarder to real HAPI.

Started by ``uvicorn`` with ``HAPI_BASE`` and ``GATEWAY_CONFIG`` in the environment.
"""

from __future__ import annotations

import os

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from smart_gateway import SmartGateway, load_settings

HAPI_BASE = os.environ["HAPI_BASE"]
METHODS = ["GET", "POST", "PUT", "DELETE"]


async def forward(request: Request) -> Response:
    """Sends on whatever arrives: what may arrive is the gateway's business."""
    headers = {name: value for name, value in request.headers.items() if name not in {"host", "connection"}}
    target = f"{HAPI_BASE}/{request.path_params['path']}"
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        answer = await http.request(request.method, target, params=request.query_params, headers=headers, content=await request.body())
    hop = {"transfer-encoding", "connection", "content-encoding", "content-length"}
    return Response(answer.content, answer.status_code, {name: value for name, value in answer.headers.items() if name not in hop})


async def beside(_request: Request) -> Response:
    """What the application was before."""
    return PlainTextResponse("beside")


fhir = Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)])
guarded = SmartGateway(fhir, settings=load_settings(os.environ["GATEWAY_CONFIG"]))
app = Starlette(routes=[Route("/ehr", beside), Mount("/ehr/api/fhir", guarded)])
