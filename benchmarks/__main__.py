"""``make bench``: everything side by side in interleaved rounds, on loopback. Needs nginx and wrk."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import servers
from benchmarks.core import costs
from benchmarks.load import Reading, measure
from benchmarks.material import PATIENT, Tokens
from benchmarks.report import print_costs, print_readings
from benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and the scope of the token that asks it."""

    name: str
    path: str
    scope: str
    refused: bool = False


_CASES = (
    Case("read", "/fhir/Observation/o1", "patient/Observation.rs patient/Condition.rs"),
    Case("search 2 kB", "/fhir/Observation?code=8867-4", "patient/Observation.rs patient/Condition.rs"),
    Case("search 50 kB", "/fhir/Condition?code=8867-4", "patient/Observation.rs patient/Condition.rs"),
    Case("refusal", "/fhir/Encounter/e1", "patient/Observation.rs patient/Condition.rs", refused=True),
    Case("read, unfiltered", "/fhir/Observation/o1", "system/*.rs"),
    Case("search 2 kB, unfiltered", "/fhir/Observation?code=8867-4", "system/*.rs"),
)
_PLAIN = _CASES[:3]  # what servers without enforcement can be asked


def main() -> None:
    """Parses the options, checks the tools, runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are printed")
    parser.add_argument("--seconds", type=int, default=2, help="seconds of load for each server, case and round")
    parser.add_argument("--core-only", action="store_true", help="the pure parts only: needs neither nginx nor wrk")
    options = parser.parse_args()
    print_costs(costs())
    if options.core_only:
        return
    for tool in ("nginx", "wrk"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not installed (Debian: apt-get install {tool})")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        print_readings(_run(Path(folder), stack, options.rounds, options.seconds))


def _run(folder: Path, stack: ExitStack, rounds: int, seconds: int) -> dict[tuple[str, str], list[Reading]]:
    tokens = Tokens(folder)
    started = _start(folder, stack, tokens)
    audience = f"http://127.0.0.1:{started[0].port}/fhir"
    carried = {case.name: tokens.make(case.scope, audience, patient=PATIENT) for case in _CASES}
    pairs = [(server, case) for case in _CASES for server in started if server is started[0] or case in _PLAIN]
    for server, case in pairs:
        measure(server, case.path, carried[case.name], seconds=1, expect_refusal=case.refused)  # warm
    readings: dict[tuple[str, str], list[Reading]] = {(server.name, case.name): [] for server, case in pairs}
    for _ in range(rounds):
        for server, case in pairs:
            found = measure(server, case.path, carried[case.name], seconds=seconds, expect_refusal=case.refused)
            readings[server.name, case.name].append(found)
    return readings


def _start(folder: Path, stack: ExitStack, tokens: Tokens) -> list[Server]:
    """The gateway first, then what it is measured against, all in front of one stub."""
    ports = [servers.free_port() for _ in range(5)]
    upstream, *own = ports
    stack.enter_context(servers.running("stub", upstream, servers.stub(folder, upstream)))
    environment = {"BENCH_UPSTREAM": f"http://127.0.0.1:{upstream}"}
    commands = (
        ("smart-gateway", servers.gateway(folder, own[0], upstream, tokens)),
        ("no enforcement", servers.uvicorn("bare", own[1])),
        ("Starlette + httpx", servers.uvicorn("httpx_proxy", own[2])),
        ("nginx proxy_pass", servers.nginx_proxy(folder, own[3], upstream)),
    )
    return [
        stack.enter_context(servers.running(name, port, command, environment)) for (name, command), port in zip(commands, own, strict=True)
    ]


if __name__ == "__main__":
    main()
