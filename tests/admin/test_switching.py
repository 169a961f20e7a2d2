"""The explain page of a running gateway: off by default, on and off without a restart, and as a process says it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.test_check_config import statement, upstream
from tests.cli.test_serve import ISSUER, PUBLIC, Process, serving


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "keys.json").write_text(json.dumps(ISSUER.jwks()))
    with upstream(200, statement("4.0.1")) as url:
        (tmp_path / "gateway.yaml").write_text(
            f"server: {{public_url: {PUBLIC}, listen: '127.0.0.1:0', management: '127.0.0.1:0', explain: false}}\n"
            f"upstream: {{url: '{url}', fhir_version: R4}}\n"
            f"issuers: [{{issuer: {ISSUER.issuer}, jwks_file: keys.json}}]\n"
        )
        yield tmp_path / "gateway.yaml"


def ask(gateway: Process, **who: object) -> httpx.Response:
    question = {"method": "GET", "target": "/Patient/123", **who}
    return httpx.post(f"http://{gateway.management}/explain", json=question, timeout=10, trust_env=False)


def switch(gateway: Process, config: Path, before: str, after: str, times: int) -> None:
    config.write_text(config.read_text().replace(f"explain: {before}", f"explain: {after}"))
    gateway.process.send_signal(signal.SIGHUP)
    gateway.said("read anew", times)


def test_on_and_off_without_a_restart(config: Path) -> None:
    with serving(config) as gateway:
        assert [ask(gateway).status_code, gateway.probe("/explain")] == [404, 404]
        switch(gateway, config, "false", "true", 1)
        token = ISSUER.token(now=time.time(), audience=PUBLIC, scope="patient/Patient.r")
        answer = ask(gateway, token=token)
        assert (answer.status_code, answer.json()["decision"], gateway.probe("/explain")) == (200, "permit", 200)
        assert token not in answer.text
        assert ask(gateway, token=token[:-4] + "AAAA").json()["status"] == 401
        assert (
            httpx.post(f"{gateway.base.rpartition('/')[0]}/explain", json={}, trust_env=False).status_code == 404
        )  # never on the other listener
        switch(gateway, config, "true", "false", 2)
        assert [ask(gateway).status_code, gateway.probe("/explain"), gateway.probe("/readyz")] == [404, 404, 200]
        assert gateway.stop() == 0
    said = gateway.log.read_text() + gateway.decisions.read_text()
    assert token.rpartition(".")[2] not in said
    assert "Traceback" not in said


def test_a_start_says_that_it_is_there(config: Path) -> None:
    config.write_text(config.read_text().replace("explain: false", "explain: true"))
    with serving(config) as gateway:
        assert gateway.said(r"explained at http://(\S+)/explain to everybody on this machine") == gateway.management
        assert ask(gateway).json()["code"] == "token-missing"
