"""The gateway as an ASGI app around another one: a FHIR server in the same process, or the proxy to one."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Receive, Scope, Send

from smart_gateway.errors import SmartGatewayError, UpstreamError
from smart_gateway.gateway.edge.compression import compressing
from smart_gateway.gateway.edge.departure import ClientGone
from smart_gateway.gateway.edge.lookout import Lookout
from smart_gateway.gateway.enforcement import Enforcement
from smart_gateway.gateway.exchange import Exchange
from smart_gateway.gateway.recording import record
from smart_gateway.gateway.snapshot import Snapshot, SnapshotSource

_logger = logging.getLogger("smart_gateway")

POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1


class AnswerBrokenOff(UpstreamError):
    """The upstream broke off an answer that had begun to leave: raised into the server, so that it ends the connection."""


class Gateway:
    """Puts enforcement around ``app``. ``snapshots`` gives the settings of the moment, asked once per request.

    ``app`` is asked below the path of the public base. Lifespan goes through to it; websockets are refused.
    """

    def __init__(self, app: ASGIApp, snapshots: SnapshotSource) -> None:
        self._app = app
        self._snapshots = snapshots
        self._enforcement = Enforcement(app)
        self._lookout = Lookout()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(self._snapshots(), scope, receive, send)
            case "lifespan":
                await self._app(scope, receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "FHIR is not spoken here by websocket."})
            case kind:
                raise RuntimeError(f"the gateway serves no {kind}")

    async def _http(self, snapshot: Snapshot, scope: Scope, receive: Receive, send: Send) -> None:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await self._serve(Exchange(scope, receive, send, snapshot, self._lookout))

        await (compressing(serve) if snapshot.compression else serve)(scope, receive, send)

    async def _serve(self, exchange: Exchange) -> None:
        started = exchange.snapshot.clock()
        try:
            await self._answer(exchange)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not exchange.departure.left or task is None:
                raise
            task.uncancel()  # it was our own: nobody is left to answer
        finally:
            exchange.departure.close()
            record(exchange, started)

    async def _answer(self, exchange: Exchange) -> None:
        """Enforcement, and what is left of its failures: every exception is a refusal (semantics 0.8)."""
        try:
            await self._enforcement.enforce(exchange)
        except ClientGone:
            return
        except SmartGatewayError as error:
            await _fail(exchange, error)
        except Exception as error:
            # Whatever it is: the client learns nothing of it, and the log no more than its kind, for its text may hold patient data.
            _logger.error("request %s failed: %s", exchange.id.own, type(error).__name__)  # noqa: TRY400
            await _fail(exchange, SmartGatewayError("The gateway failed on this request."))


async def _fail(exchange: Exchange, error: SmartGatewayError) -> None:
    if not exchange.started:
        await exchange.refuse(error)
        return
    exchange.findings.error = error
    raise AnswerBrokenOff("The answer was broken off.") from None
