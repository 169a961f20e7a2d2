"""A real Redis on loopback, with nothing on disk (Debian: ``redis-server``)."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from tests.integration.servers.machine import Running, free_port, start

BINARY = "redis-server"


@dataclass(slots=True)
class RedisServer:
    """A server that can be stopped and started again at the same address."""

    port: int
    password: str
    log: Path
    running: Running | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, empty, and waits until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", self.password]
        self.running = start([BINARY, *options], log=self.log, cwd=self.log.parent)
        self.running.wait_until(lambda: b"PONG" in self.say("PING"), 30)

    def stop(self) -> None:
        """Ends it; what it held is gone."""
        if self.running is not None:
            self.running.stop()
            self.running = None

    def say(self, *commands: str) -> bytes:
        """What it answers to inline commands; nothing where it is away."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall("".join(f"{command}\r\n" for command in (f"AUTH {self.password}", *commands, "QUIT")).encode())
                received = b""
                while chunk := connection.recv(65536):
                    received += chunk
                return received
        except OSError:
            return b""


def has_redis() -> bool:
    """Whether this machine can run one."""
    return shutil.which(BINARY) is not None


def start_redis(work: Path) -> RedisServer:
    """A running server."""
    server = RedisServer(free_port(), "redis-pass-test-only", work / "redis.log")
    server.start()
    return server
