"""``smart-gateway serve``: the gateway as a reverse proxy, with its management listener, in one process or several."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from smart_gateway.admin.explaining import EXPLAIN, ExplainPage
from smart_gateway.admin.management import Management
from smart_gateway.app import SmartGateway
from smart_gateway.cli import print_lines
from smart_gateway.cli.configuration import add_config, print_findings
from smart_gateway.cli.serving import Server, bind, server
from smart_gateway.cli.workers import supervise
from smart_gateway.errors import SmartGatewayError
from smart_gateway.gateway.callers.listeners import listening
from smart_gateway.gateway.edge.protocol import strict_protocol
from smart_gateway.gateway.edge.tls import ServedTls, tls_context
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.settings.building.listeners import Door, build_doors
from smart_gateway.settings.building.senders import build_tls
from smart_gateway.settings.building.snapshot import SEALING_KEY_BYTES
from smart_gateway.settings.model import Settings
from smart_gateway.settings.reloading import Reloader, SettingsFile
from smart_gateway.settings.sections.addresses import ListenAddress, parse_listen
from smart_gateway.tenants import Tenants, open_gateway

logger = logging.getLogger(__name__)

_LOOK_EVERY = 2.0  # seconds between two looks at the settings files and at the parent process
_MOST_WORKERS = 256
_YOUNG = 10_000  # objects made since the last collection; requests leave next to no cycles behind
_DRY_RUN = "DRY RUN: decisions are logged and NOT ENFORCED. Every request passes. Never do this in front of real data."


@dataclass(frozen=True, slots=True)
class _Start:
    """What every worker begins with: made before the fork, so that all seal by the same key and share the sockets."""

    file: SettingsFile
    settings: Settings
    listening: tuple[tuple[Door, socket.socket], ...]
    management: socket.socket | None
    sealing_key: bytes
    dry_run: bool
    parent: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md."""
    add_config(parser)
    parser.add_argument("--workers", type=_count, default=1, metavar="N", help="processes on the same port (default: 1)")
    parser.add_argument("--dry-run", action="store_true", help="decide and log, enforce NOTHING")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT: 0 after a graceful stop, 1 where it could not start."""
    _log_to_stderr(arguments.log_level)
    file = SettingsFile(arguments.config, os.environ, arguments.set)
    settings, findings = file.read()
    print_findings(findings)
    if arguments.dry_run:
        print_lines("!" * len(_DRY_RUN), _DRY_RUN, "!" * len(_DRY_RUN))
    workers: int = arguments.workers
    start = _Start(
        file=file,
        settings=settings,
        listening=tuple((door, bind(door.address)) for door in build_doors(settings)),
        management=None if settings.server.management is None else bind(parse_listen(settings.server.management)),
        sealing_key=os.urandom(SEALING_KEY_BYTES),
        dry_run=arguments.dry_run,
        parent=os.getpid() if workers > 1 else None,
    )
    places = ", ".join(f"{door.name} {_spelled(bound)}".lstrip() for door, bound in start.listening)
    served = settings.each or (settings,)
    logger.info("serving %s on %s with %d process(es)", ", ".join(one.server.public_url for one in served), places, workers)
    bound = any(issuer.dpop is not None for one in served for issuer in one.issuers)
    if workers > 1 and settings.server.shared_cache is None and bound:
        logger.warning("each process remembers used DPoP proofs by itself: server.shared_cache lets all know them")
    if start.management is not None:
        logger.info("health on %s", _spelled(start.management))
        if settings.server.explain:
            logger.warning("decisions are explained at http://%s%s to everybody on this machine", _spelled(start.management), EXPLAIN)
    return supervise(workers, lambda: _work(start)) if workers > 1 else _work(start)


def _work(start: _Start) -> int:
    """One process's event loop."""
    if sys.platform == "win32":
        return asyncio.run(_Process(start).serve())
    import uvloop  # not to be had on Windows

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Process(start).serve())


class _Process:
    """One process's servers, from start to graceful stop."""

    def __init__(self, start: _Start) -> None:
        self._start = start
        self._explains = start.settings.server.explain
        self._tasks: set[asyncio.Task[Any]] = set()

    async def serve(self) -> int:
        """Serves until told to stop: 0, or 1 where the start failed."""
        start = self._start
        gateway = open_gateway(start.settings, sealing_key=start.sealing_key, dry_run=start.dry_run)
        self._gateway = gateway
        self._tls = {door.name: _served(door, start.settings) for door, _ in start.listening}
        self._proxies = self._open(gateway)
        page = ExplainPage(partial(_snapshot, gateway), lambda: self._explains)
        named = gateway.named if isinstance(gateway, Tenants) else None
        health = server(Management(gateway.ready, page, named), "httptools", lifespan=False)
        reloader = Reloader(start.file, start.settings, self._adopt)
        self._handle_signals(reloader)
        self._begin(reloader.watch(_LOOK_EVERY))
        self._begin(self._watch_parent())
        _rest_collector()
        probed = self._begin(health.serve([start.management])) if start.management is not None else None
        sockets = [bound for _, bound in start.listening]
        await asyncio.gather(*(proxy.serve([bound]) for proxy, bound in zip(self._proxies, sockets, strict=True)))
        health.should_exit = True  # only now: until the last request is answered, probes are
        if probed is not None:
            await probed
        await self._end()
        return 0 if all(proxy.started for proxy in self._proxies) else 1

    def _open(self, gateway: SmartGateway | Tenants) -> list[Server]:
        """A server for each place; the first one sees to the gateway's start and end."""
        protocol, servers = strict_protocol(lambda: gateway.threshold), []
        for index, (door, _) in enumerate(self._start.listening):
            served = self._tls[door.name]
            app = listening(gateway, door.name)
            servers.append(server(app, protocol, lifespan=index == 0, tls=None if served is None else served.context))
        return servers

    def stop(self) -> None:
        """Graceful at first, at once when asked again."""
        logger.info("stopping: requests under way are answered first")
        self._gateway.stop()
        for proxy in self._proxies:
            proxy.force_exit = proxy.should_exit
            proxy.should_exit = True

    def _adopt(self, settings: Settings) -> None:
        """Certificates are read first, and count last: where anything does not fit, all stays as it is, authorities too."""
        renewed = []
        for door in build_doors(settings):
            served = self._tls.get(door.name)
            if served is not None and door.tls is not None:
                renewed.append((served, tls_context(build_tls(door.tls, settings))))
        self._gateway.adopt(settings)
        for served, context in renewed:
            served.renew(context)
        self._explains = settings.server.explain

    def _handle_signals(self, reloader: Reloader) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(reloader.reload()))

    async def _watch_parent(self) -> None:
        """Without the process that looks after it, a worker would serve on unseen: it stops."""
        while self._start.parent is not None:
            await asyncio.sleep(_LOOK_EVERY)
            if os.getppid() != self._start.parent:
                logger.error("the parent process has gone")
                self.stop()
                return

    def _begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _end(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _snapshot(gateway: SmartGateway | Tenants, tenant: str | None) -> Snapshot | None:
    """What the requests of ``tenant`` are judged by; None for one that there is not, and where one must be named."""
    if isinstance(gateway, SmartGateway):
        return gateway.snapshot if tenant is None else None
    named = gateway.named(tenant) if tenant is not None else None
    return named.snapshot if named is not None else None


def _served(door: Door, settings: Settings) -> ServedTls | None:
    """Raises SmartGatewayError where the files have changed for the worse since the settings were read."""
    if door.tls is None:
        return None
    try:
        return ServedTls(build_tls(door.tls, settings))
    except OSError as error:
        raise SmartGatewayError(f"TLS cannot be spoken: {error.strerror or error}") from None


def _rest_collector() -> None:
    """What was made at the start stays: the garbage collector need not look through tables and settings again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_MOST_WORKERS}")
    return int(text)


def _spelled(bound: socket.socket) -> str:
    host, port, *_ = bound.getsockname()
    return str(ListenAddress(host, port))


def _log_to_stderr(level: str) -> None:
    """Standard output belongs to the decision log."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
