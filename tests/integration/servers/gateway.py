"""A real ``smart-gateway serve`` process with the settings of a test."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.integration.servers.machine import Running, answers, free_port, start

COMMAND = Path(sys.executable).parent / "smart-gateway"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: ``base`` is its FHIR base as tests reach it, and its public one unless the settings say another;
    ``management`` is the origin of its other listener."""

    base: str
    management: str
    config: Path
    running: Running

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, for tests that write bytes."""
        host, _, port = self.base.split("/")[2].partition(":")
        return host, int(port)

    def events(self) -> list[dict[str, Any]]:
        """The decision log so far."""
        return [json.loads(line) for line in self.running.output().splitlines(keepends=True) if line.endswith("\n")]

    def events_of(self, request_id: str, seconds: float = 10) -> list[dict[str, Any]]:
        """The lines of one request; they are written once its answer is complete, so perhaps a moment after it was read."""
        deadline = time.monotonic() + seconds
        while not (found := [event for event in self.events() if event["request_id"] == request_id]) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def messages(self) -> str:
        """Everything but the decision log: what it wrote to standard error."""
        return messages_of(self.running).read_text(errors="replace")


StartGateway = Callable[..., Gateway]


def messages_of(running: Running) -> Path:
    """The file of a gateway's standard error."""
    return running.log.with_suffix(".messages")


def start_gateway(work: Path, settings: Mapping[str, Any], *, path: str = "/fhir", ready: int = 200) -> Gateway:
    """Writes ``settings``, with free ports under ``server``, to ``work/gateway.yaml`` and waits until ``/readyz`` says ``ready``."""
    work.mkdir(parents=True, exist_ok=True)
    listen, management = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    scheme = "https" if "tls" in settings.get("server", {}) else "http"
    server = {"listen": listen, "public_url": f"{scheme}://{listen}{path}", "management": management, **settings.get("server", {})}
    config = work / "gateway.yaml"
    config.write_text(yaml.safe_dump({**settings, "server": server}, sort_keys=False))
    with (log := work / "gateway.log").with_suffix(".messages").open("wb") as messages:
        running = start([COMMAND, "serve", "--config", config], log=log, errors=messages, env=_environment())
    gateway = Gateway(f"{scheme}://{listen}{urlsplit(server['public_url']).path}", f"http://{management}", config, running)
    running.wait_until(lambda: answers(f"{gateway.management}/readyz", ready), 60)
    return gateway


def _environment() -> dict[str, str]:
    """Ours without settings of a gateway that somebody runs by hand."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SMART_GATEWAY_")}
