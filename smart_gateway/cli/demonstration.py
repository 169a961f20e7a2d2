"""Running the demonstration: three servers on loopback, in one process and one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from os import urandom
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from time import time
from typing import Any
from urllib.parse import quote, urlsplit

from smart_gateway.app import SmartGateway
from smart_gateway.cli.serving import Server, bind, server
from smart_gateway.demo.fhir_server import DemoServer
from smart_gateway.demo.issuer import DemoIssuer
from smart_gateway.demo.records import demo_records
from smart_gateway.demo.tour import VISITORS, Answer, Step
from smart_gateway.gateway.edge.protocol import strict_protocol
from smart_gateway.settings.loading import load_settings
from smart_gateway.settings.model import Settings
from smart_gateway.settings.sections.addresses import ListenAddress

_LOOPBACK = "127.0.0.1"
_KEY_BYTES = 32
_STOP_WITHIN = 1  # seconds that requests under way have to end
_PATIENCE = 10.0  # seconds, for one request of the tour
_READY = 0.01  # seconds between two looks at whether a server has started


@dataclass(frozen=True, slots=True)
class Demonstration:
    """The running parts: ``base`` is the gateway's FHIR base, ``upstream`` the server's own, ``tokens`` by the visitor's name,
    ``secrets`` by the id of the clients that get tokens of their own, ``log`` the file of one JSON line per decision."""

    base: str
    upstream: str
    issuer: str
    tokens: dict[str, str]
    secrets: dict[str, str]
    log: Path
    fhir: DemoServer

    async def ask(self, step: Step) -> tuple[Answer, str]:
        """The gateway's answer to ``step``, and the last target that the FHIR server was asked for meanwhile (empty: none)."""
        self.fhir.requests.clear()
        token = self.tokens[step.visitor] if step.visitor is not None else None
        answer = await asyncio.to_thread(_get, self.base + quote(step.target, safe="/?=&:$.,-_~"), token)
        asked = self.fhir.requests[-1][1] if self.fhir.requests else ""
        return answer, asked


@asynccontextmanager
async def demonstration() -> AsyncIterator[Demonstration]:
    """Starts issuer, FHIR server and gateway on free ports; stops them at the end."""
    async with AsyncExitStack() as stack:
        sockets = [stack.enter_context(_free_port()) for _ in range(3)]
        issuer_url, upstream_origin, gateway_origin = (f"http://{_LOOPBACK}:{s.getsockname()[1]}" for s in sockets)
        base, upstream = f"{gateway_origin}/fhir", f"{upstream_origin}/fhir"
        secrets = {visitor.client: token_urlsafe() for visitor in VISITORS if not visitor.claims}
        services = {visitor.client: (secrets[visitor.client], visitor.scope) for visitor in VISITORS if visitor.client in secrets}
        issuer = DemoIssuer(issuer_url, base, time, services)
        fhir = DemoServer(demo_records(), base_url=upstream)
        log = Path(stack.enter_context(TemporaryDirectory(prefix="smart-gateway-demo-"))) / "decisions.ndjson"
        gateway = SmartGateway(None, _settings(base, upstream, issuer_url, log))
        servers = (
            server(issuer, "httptools", lifespan=False),
            server(fhir, "httptools", lifespan=False),
            server(gateway, strict_protocol(lambda: gateway.snapshot), lifespan=True),
        )
        for running, listening in zip(servers, sockets, strict=True):
            await stack.enter_async_context(_serving(running, listening))
        tokens = {visitor.name: issuer.token(visitor.client, visitor.scope, **visitor.claims) for visitor in VISITORS}
        yield Demonstration(base, upstream, issuer_url, tokens, secrets, log, fhir)


def _settings(base: str, upstream: str, issuer: str, log: Path) -> Settings:
    """What a user would write, with a sealing key from the environment as it should be."""
    return load_settings(
        {
            "server": {"public_url": base, "sealing": {"keys": [{"from_env": "DEMO_SEALING_KEY"}]}},
            "upstream": {"url": upstream, "fhir_version": "R4"},
            "issuers": [{"issuer": issuer}],
            "policy": {"audit": {"sinks": [{"file": str(log)}]}},
        },
        environment={"DEMO_SEALING_KEY": b64encode(urandom(_KEY_BYTES)).decode()},
    )


@asynccontextmanager
async def _serving(running: Server, listening: socket.socket) -> AsyncIterator[None]:
    running.config.timeout_graceful_shutdown = _STOP_WITHIN
    task = asyncio.create_task(running.serve(sockets=[listening]))
    try:
        while not running.started:
            await asyncio.wait({task}, timeout=_READY)
            if task.done():
                raise RuntimeError("a server of the demonstration did not start")
        yield
    finally:
        running.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextmanager
def _free_port() -> Iterator[socket.socket]:
    with bind(ListenAddress(_LOOPBACK, 0)) as listening:
        yield listening


def _get(url: str, token: str | None) -> Answer:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=_PATIENCE)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={} if token is None else {"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        body = _object(response.read())
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
    finally:
        connection.close()


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
