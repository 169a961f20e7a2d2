"""serve and healthcheck as processes: start, requests, reload, dry run, several workers, graceful stop."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from smart_gateway.cli import main
from smart_gateway.cli.serving import bind
from smart_gateway.errors import SmartGatewayError
from smart_gateway.settings.sections.addresses import ListenAddress
from tests.cli.test_check_config import statement, upstream
from tests.support.issuer import ScriptedIssuer

PUBLIC = "http://gateway.example/fhir"
ISSUER = ScriptedIssuer("https://idp.example.org")
WITHIN = 30.0  # seconds


class Process:
    """A running ``smart-gateway serve`` on free ports."""

    def __init__(self, config: Path, *options: str) -> None:
        self.log = config.parent / "stderr"
        self.decisions = config.parent / "stdout"
        with self.log.open("wb") as err, self.decisions.open("wb") as out:
            command = [sys.executable, "-m", "smart_gateway", "serve", "--config", str(config), *options]
            self.process = subprocess.Popen(command, stdout=out, stderr=err, cwd=Path(__file__).parents[2])
        address = self.said(r"serving \S+ on (\S+)")
        self.base = f"http://{address}/fhir"
        self.management = self.said(r"health on (\S+)")
        self.until(lambda: self.probe("/livez") == 200)

    def said(self, pattern: str, count: int = 1) -> str:
        """Waits for a line on standard error; its group, or all of it."""
        self.until(lambda: len(re.findall(pattern, self.log.read_text())) >= count)
        match = re.search(pattern, self.log.read_text())
        assert match is not None
        return match[match.lastindex or 0]

    def until(self, holds: object) -> None:
        end = time.monotonic() + WITHIN
        while not holds():  # type: ignore[operator]
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)

    def probe(self, path: str) -> int:
        try:
            return httpx.get(f"http://{self.management}{path}", timeout=5, trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def get(self, target: str, **claims: str) -> httpx.Response:
        token = ISSUER.token(now=time.time(), audience=PUBLIC, **claims)
        return httpx.get(self.base + target, headers={"authorization": f"Bearer {token}"}, timeout=10, trust_env=False)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(WITHIN)


@contextmanager
def serving(config: Path, *options: str) -> Iterator[Process]:
    process = Process(config, *options)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "keys.json").write_text(json.dumps(ISSUER.jwks()))
    path = tmp_path / "gateway.yaml"
    with upstream(200, statement("4.0.1")) as url:
        path.write_text(
            f"server: {{public_url: {PUBLIC}, listen: '127.0.0.1:0', management: '127.0.0.1:0'}}\n"
            f"upstream: {{url: '{url}', fhir_version: R4}}\n"
            f"issuers: [{{issuer: {ISSUER.issuer}, jwks_file: keys.json}}]\n"
        )
        yield path


def test_one_process_from_start_to_stop(config: Path) -> None:
    with serving(config) as gateway:
        assert gateway.probe("/readyz") == 200
        assert httpx.get(f"{gateway.base}/Patient/123", trust_env=False).status_code == 401
        assert gateway.get("/Patient/123", scope="patient/Observation.r").status_code == 403
        assert gateway.get("/Patient/123", scope="patient/Patient.r").status_code == 404  # the upstream has no such path
        assert httpx.get(f"{gateway.base}/metadata", trust_env=False).json()["fhirVersion"] == "4.0.1"
        _raw_fragment_is_refused(gateway)
        address = ["--set", f"server.management={gateway.management}"]
        assert main(["healthcheck", "--config", str(config), *address]) == 0
        assert main(["healthcheck", "--config", str(config), "--live", *address]) == 0
        gateway.said("CapabilityStatement was read")
        assert gateway.stop() == 0
        assert main(["healthcheck", "--config", str(config), *address]) == 1
    decided = [json.loads(line)["status"] for line in gateway.decisions.read_text().splitlines()]
    assert decided == [401, 403, 404, 200, 400]
    assert "Traceback" not in gateway.log.read_text()


def _raw_fragment_is_refused(gateway: Process) -> None:
    host, _, port = gateway.base.removeprefix("http://").partition("/")[0].partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET /fhir/Patient/123#x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_settings_are_reloaded_whole_or_not_at_all(config: Path) -> None:
    good = config.read_text()
    with serving(config) as gateway:
        assert gateway.get("/Patient/123", scope="patient/Patient.r").status_code == 404
        config.write_text(good + "polcy: {}\n")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.said("the old ones stay in force")
        assert 'polcy: unknown key; did you mean "policy"?' in gateway.log.read_text()
        assert main(["healthcheck", "--config", str(config), "--set", f"server.management={gateway.management}"]) == 0
        assert gateway.get("/Patient/123", scope="patient/Patient.r").status_code == 404
        config.write_text(good + "policy: {clients: {another: {}}}\n")  # nobody says so: the change itself is noticed
        gateway.said("the settings were read anew and are in force")
        assert gateway.get("/Patient/123", scope="patient/Patient.r").status_code == 403
        assert gateway.stop(signal.SIGINT) == 0


def test_several_workers_share_the_ports_and_are_looked_after(config: Path) -> None:
    with serving(config, "--workers", "2") as gateway:
        gateway.said("CapabilityStatement was read", count=2)
        first, _ = children = _children(gateway.process.pid)
        assert gateway.get("/Patient/123", scope="patient/Observation.r").status_code == 403
        gateway.process.send_signal(signal.SIGHUP)
        gateway.said("read anew and are in force", count=2)
        os.kill(first, signal.SIGKILL)
        gateway.said("ended with code 137")
        gateway.until(lambda: len(_children(gateway.process.pid)) == 2 and _children(gateway.process.pid) != children)
        assert gateway.get("/Patient/123", scope="patient/Observation.r").status_code == 403
        gateway.until(lambda: _handles_signals(gateway.process.pid))
        assert gateway.stop() == 0


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _handles_signals(pid: int) -> bool:
    """Whether every worker has come so far that SIGTERM is handled and not deadly."""
    for child in _children(pid):
        caught = re.search(r"SigCgt:\t([0-9a-f]+)", Path(f"/proc/{child}/status").read_text())
        if caught is None or not int(caught[1], 16) & (1 << (signal.SIGTERM - 1)):
            return False
    return True


def test_a_dry_run_says_so_loudly(config: Path) -> None:
    with serving(config, "--dry-run") as gateway:
        assert "DRY RUN: decisions are logged and NOT ENFORCED" in gateway.log.read_text()
        assert gateway.get("/Patient/123", scope="patient/Observation.r").status_code == 404  # the upstream's own answer
        assert gateway.stop() == 0
    assert json.loads(gateway.decisions.read_text())["dry_run"] is True


def test_bad_settings_stop_the_start(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("server: {managment: x}\n")
    assert main(["serve", "--config", str(config)]) == 1
    assert 'server.managment: unknown key; did you mean "management"?' in capsys.readouterr().err


def test_a_port_that_is_taken_stops_the_start(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--config", str(config), "--set", f"server.listen=127.0.0.1:{port}"]) == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


def test_binding_by_name_and_version() -> None:
    bind(ListenAddress("localhost", 0)).close()
    with pytest.raises(SmartGatewayError, match=r"cannot listen on \[2001:db8::1\]:0"):
        bind(ListenAddress("2001:db8::1", 0))


def test_a_healthcheck_without_management_knocks_at_the_door(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.yaml"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        path.write_text(f"server: {{listen: '0.0.0.0:{port}'}}\n")
        assert main(["healthcheck", "--config", str(path)]) == 0
    assert main(["healthcheck", "--config", str(path)]) == 1
    path.write_text("server: {listen: nonsense}\n")
    assert main(["healthcheck", "--config", str(path)]) == 1
    assert "says no address that can be asked" in capsys.readouterr().err
