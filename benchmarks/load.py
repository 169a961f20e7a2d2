"""One bounded load: wrk on loopback, and the CPU that the measured process spent meanwhile."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import Server

_TICKS = os.sysconf("SC_CLK_TCK")
_RATE = re.compile(r"^Requests/sec:\s+([0-9.]+)", re.MULTILINE)
_COUNT = re.compile(r"^\s*([0-9]+) requests in", re.MULTILINE)
_REFUSED = re.compile(r"Non-2xx or 3xx responses: ([0-9]+)")


@dataclass(frozen=True, slots=True)
class Reading:
    """Requests a second, and CPU microseconds of the server process for each request."""

    rate: float
    cpu: float


def measure(server: Server, path: str, token: str | None, *, seconds: int, expect_refusal: bool = False) -> Reading:
    """Runs wrk with 16 connections. Ends the benchmark where the answers are not what is meant to be measured."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", f"http://127.0.0.1:{server.port}{path}"]
    if token is not None:
        command += ["-H", f"Authorization: Bearer {token}"]
    before = _cpu_seconds(server.pid)
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 20).stdout
    spent = _cpu_seconds(server.pid) - before
    count = int(_found(_COUNT, printed))
    refused = int(match[1]) if (match := _REFUSED.search(printed)) else 0
    if (refused == count) is not expect_refusal or (refused and not expect_refusal):
        raise SystemExit(f"{server.name} {path}: {refused} of {count} answers are refusals\n{printed}")
    return Reading(float(_found(_RATE, printed)), spent / count * 1e6)


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    if match is None:
        raise SystemExit(f"wrk printed something else:\n{text}")
    return match[1]


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads. Spec: proc(5), /proc/[pid]/stat, fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
