"""A real Chromium before a real gateway."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_check_config import statement, upstream
from tests.cli.test_serve import ISSUER, PUBLIC, Process, serving

ELSEWHERE = "rebound.attacker.example"

POLICY = """\
users:
  - when: {fhir_user: Practitioner, claim: {organization: north}}
    boundary: everything
clients:
  readonly-app: {limit: [patient/Observation.rs]}
  "*": {}
"""


def _lacking(what: str, how: str) -> None:
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"CI must try the page in a browser, and this machine has no {what}")
    pytest.skip(f"needs {what} ({how})")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, for whom a name of an attacker means this machine. Of one module: its event loop is in the way of others."""
    if find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
        _lacking("playwright with axe-core", "pip install -e .[browser]")
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        _lacking("Chromium", "Debian's chromium")
    arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The settings of a gateway that explains; nobody is behind it but for its CapabilityStatement."""
    directory = tmp_path_factory.mktemp("explaining")
    (directory / "keys.json").write_text(json.dumps(ISSUER.jwks()))
    (directory / "policy.yaml").write_text(POLICY)
    with upstream(200, statement("4.0.1")) as url:
        (directory / "gateway.yaml").write_text(
            f"server: {{public_url: {PUBLIC}, listen: '127.0.0.1:0', management: '127.0.0.1:0', explain: true}}\n"
            f"upstream: {{url: '{url}', fhir_version: R4}}\n"
            f"issuers: [{{issuer: {ISSUER.issuer}, jwks_file: keys.json}}]\n"
            "policy: policy.yaml\n"
        )
        yield directory / "gateway.yaml"


@pytest.fixture(scope="module")
def gateway(chromium: Any, settings: Path) -> Iterator[Process]:
    with serving(settings) as process:
        process.said("CapabilityStatement was read")  # which says what searches can be narrowed by
        yield process


@pytest.fixture
def open_page(chromium: Any, gateway: Process) -> Iterator[Callable[..., Any]]:
    """The page in a window of its own; whatever it logs as an error, or asks elsewhere, fails the test."""
    contexts, faults = [], []
    origin = f"http://{gateway.management}"

    def open_(url: str = f"{origin}/explain", **choices: Any) -> Any:
        context = chromium.new_context(**choices)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" and "400" not in message.text else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith((origin, "data:,")) else faults.append(request.url))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert faults == []
