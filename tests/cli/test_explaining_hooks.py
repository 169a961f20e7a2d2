"""explain --token shows the token to the hook, as the running gateway does."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.cli import main
from tests.support.issuer import AUDIENCE, ISSUER, ScriptedIssuer

HOOK = """
from smart_gateway import Amendment, Refusal

async def hook(principal):
    if principal.patient == "456":
        return Refusal("Not this patient.")
    if principal.patient == "789":
        raise RuntimeError("secret")
    return Amendment(limit=["patient/Observation.rs?category=laboratory"])
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "explained_hooks.py").write_text(HOOK)
    (tmp_path / "keys.json").write_text(json.dumps(ScriptedIssuer().jwks()))
    (tmp_path / "gateway.yaml").write_text(
        f"server: {{public_url: '{AUDIENCE}'}}\n"
        "upstream: {url: http://127.0.0.1:8090/fhir, fhir_version: R4}\n"
        f"issuers: [{{issuer: '{ISSUER}', jwks_file: keys.json}}]\n"
        "hooks: {principal: 'explained_hooks:hook'}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "gateway.yaml"
    sys.modules.pop("explained_hooks", None)


def explained(config: Path, capsys: pytest.CaptureFixture[str], patient: str) -> tuple[int, dict[str, Any], str]:
    token = ScriptedIssuer().token(now=time.time(), patient=patient)
    code = main(["explain", "GET", "/Observation", "--config", str(config), "--token", token, "--format", "json"])
    said = capsys.readouterr()
    return code, json.loads(said.out or "{}"), said.err


def test_a_limit_shows(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = explained(config, capsys, "123")
    assert (code, shown["decision"]) == (0, "permit")
    assert "category=laboratory" in shown["upstream"][0]["target"]
    assert "the hook" in json.dumps(shown["grounds"])


def test_a_refusal_shows(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = explained(config, capsys, "456")
    assert code == 3
    assert shown["decision"] == "deny"
    assert (shown["status"], shown["code"], shown["reasons"]) == (403, "refused-by-hook", ["Not this patient."])
    assert (shown["interaction"], shown["grounds"], shown["upstream"]) == (None, [], [])


def test_a_failure_is_none_of_the_tokens(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, said = explained(config, capsys, "789")
    assert (code, shown) == (1, {})
    assert "secret" not in said
