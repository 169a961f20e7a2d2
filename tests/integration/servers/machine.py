"""What the start code needs of the machine: a cache outside the tree, locks, free ports, processes that end with the tests."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

START_SECONDS = 300  # a busy machine takes 40 s for what a quiet one does in 10


class NotStartedError(Exception):
    """A server did not come up; the message ends with the end of its log."""


def cache(*names: str) -> Path:
    """A folder of the cache that outlives the clone: ``SMART_GATEWAY_CACHE`` or ``~/.cache/smart-gateway``."""
    root = os.environ.get("SMART_GATEWAY_CACHE") or Path.home() / ".cache" / "smart-gateway"
    folder = Path(root).joinpath(*names)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(*parts: bytes) -> str:
    """Twelve hex digits that change with any of ``parts``."""
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:12]


def missing_tools() -> tuple[str, ...]:
    """Those of ``java``, ``javac`` and ``mvn`` that this machine lacks."""
    return tuple(tool for tool in ("java", "javac", "mvn") if shutil.which(tool) is None)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds a lock on ``folder`` across processes: parallel test runs build each thing once."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Runs ``command`` to its end; raises NotStartedError with its output where it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise NotStartedError(f"{command[0]} failed with {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")


@dataclass(frozen=True, slots=True)
class Running:
    """A server process, leader of its own process group, and the file that its output goes to."""

    process: subprocess.Popen[bytes]
    log: Path

    def ask(self) -> None:
        """Asks the whole group to end, and waits for nothing: many servers end side by side."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)

    def stop(self) -> int:
        """Ends the whole group, politely first; answers the leader's exit code."""
        self.ask()
        return self.ended()

    def ended(self) -> int:
        """Waits for the end that was asked for, and brings it about where it takes long; answers the leader's exit code."""
        try:
            code = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return code

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_until(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Polls ``ready``; raises NotStartedError, and stops the process, where it ends before or takes longer than ``seconds``."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                code = self.stop()
                raise NotStartedError(f"{self.process.args!r:.200} did not get ready (exit code {code})\n{self.output()[-4000:]}")
            time.sleep(0.1)


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    errors: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Running:
    """Starts ``command`` in a process group of its own: standard output into ``log``, standard error into ``errors`` or the same file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT if errors is None else errors,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    return Running(process, log)


def answers(url: str, status: int = 200) -> bool:
    """Whether GET ``url`` answers with ``status`` now."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == status)
    except urllib.error.HTTPError as refusal:
        return refusal.code == status
    except OSError:
        return False
