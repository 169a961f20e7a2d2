"""uvicorn as this project runs it: sockets bound beforehand, signals left to the caller, nothing taken from the client on trust."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ssl import SSLContext
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from smart_gateway.errors import SmartGatewayError
from smart_gateway.gateway.middleware import AnswerBrokenOff
from smart_gateway.settings.sections.addresses import ListenAddress

_BACKLOG = 2048
_KEEP_ALIVE = 75  # seconds; longer than what proxies commonly keep their connections, so that none is found dead
_STOP_WITHIN = 30  # seconds that requests under way have to end


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """No handler of its own."""
        yield


def server(app: ASGIApp, protocol: Any, *, lifespan: bool, tls: SSLContext | None = None) -> Server:
    """``protocol`` is uvicorn's ``http`` setting. Forwarding headers are judged by the gateway itself, never here."""
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on" if lifespan else "off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_STOP_WITHIN,
    )
    if tls is not None:
        config.load()  # would make a context of its own, if any, when the server starts
        config.ssl = tls
    return Server(config)


def _is_news(record: logging.LogRecord) -> bool:
    """An answer that the upstream broke off is in the decision log; uvicorn would give it a traceback beside."""
    return record.exc_info is None or not isinstance(record.exc_info[1], AnswerBrokenOff)


def bind(address: ListenAddress) -> socket.socket:
    """A bound socket. Raises SmartGatewayError where the address cannot be had."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol said, asyncio switches Nagle's algorithm off for its connections.
        with ExitStack() as until_bound:
            bound = until_bound.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(target)
            until_bound.pop_all()
    except OSError as error:
        raise SmartGatewayError(f"cannot listen on {address}: {error.strerror}") from None
    return bound
