"""``smart-gateway scopes``: the JSON of docs/command-line.md, the text, and what --config changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.cli import main

SETTINGS = """
server: {public_url: "https://fhir.example.org/fhir"}
upstream: {url: "http://127.0.0.1:8090/fhir", fhir_version: R5}
issuers:
  - issuer: https://idp.example.org/azure
    scope_format: {slash: "-", star: all}
    v1_write: cu
  - issuer: https://idp.example.org/plain
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["scopes", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code, out, err = run(capsys, "--format", "json", *arguments)
    assert (code, err) == (0, "")
    shown: list[dict[str, Any]] = json.loads(out)
    return shown


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "gateway.yaml"
    path.write_text(SETTINGS)
    return str(path)


def test_the_object_of_the_interface(capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = read(capsys, "patient/Observation.rs?category=laboratory")
    assert shown == {
        "scope": "patient/Observation.rs?category=laboratory",
        "kind": "resource",
        "valid": True,
        "context": "patient",
        "type": "Observation",
        "permissions": "rs",
        "params": [["category", "laboratory"]],
        "syntax": "v2",
        "reason": None,
    }
    assert list(shown) == ["scope", "kind", "valid", "context", "type", "permissions", "params", "syntax", "reason"]


@pytest.mark.parametrize(
    ("scope", "kind", "valid", "part"),
    [
        ("user/*.read", "resource", True, None),
        ("patient/Foo.rs", "resource", False, "Foo"),
        ("patient/Observation.rs?code:in=x", "resource", False, ":in"),
        ("launch/patient", "context", False, "launch context"),
        ("openid", "identity", False, "who the user is"),
        ("offline_access", "refresh", False, "refresh"),
        ("__x", "extension", False, "no FHIR scope"),
        ("patient/Observation.sr", "malformed", False, "cruds"),
        ("", "malformed", False, "empty"),
    ],
)
def test_kinds(capsys: pytest.CaptureFixture[str], scope: str, kind: str, valid: bool, part: str | None) -> None:
    (shown,) = read(capsys, scope)
    assert (shown["kind"], shown["valid"]) == (kind, valid)
    assert shown["reason"] is None if part is None else part in shown["reason"]
    if kind != "resource":
        assert (shown["context"], shown["type"], shown["permissions"], shown["params"], shown["syntax"]) == (None, None, None, [], None)


def test_one_object_a_scope_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert [shown["scope"] for shown in read(capsys, "openid", "patient/*.rs", "openid")] == ["openid", "patient/*.rs", "openid"]


def test_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "patient/Observation.rs?category=laboratory", "patient/Observation.sr")
    assert code == 0
    assert "resource (v2): patient, Observation, permissions rs, category = laboratory" in out
    assert "grants access to resources" in out
    assert "grants no resources: After the dot" in out


def test_the_issuer_says_how_scopes_are_spelled(capsys: pytest.CaptureFixture[str], config: str) -> None:
    azure = ("--config", config, "--issuer", "https://idp.example.org/azure")
    (shown,) = read(capsys, *azure, "patient-all.write")
    assert (shown["scope"], shown["valid"], shown["type"], shown["permissions"]) == ("patient-all.write", True, "*", "cu")
    (shown,) = read(capsys, "--config", config, "--issuer", "https://idp.example.org/plain", "patient-all.write")
    assert shown["kind"] == "extension"


def test_the_settings_say_which_release(capsys: pytest.CaptureFixture[str], config: str) -> None:
    assert not read(capsys, "--config", config, "patient/Media.rs")[0]["valid"]
    assert read(capsys, "patient/Media.rs")[0]["valid"]


def test_bad_options_and_bad_settings(capsys: pytest.CaptureFixture[str], config: str, tmp_path: Path) -> None:
    code, out, err = run(capsys, "--issuer", "https://idp.example.org/azure", "openid")
    assert (code, out) == (2, "")
    assert "--config" in err
    code, out, err = run(capsys, "--config", config, "--issuer", "https://unknown.example", "openid")
    assert (code, out) == (2, "")
    assert "https://unknown.example" in err
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("server: 7\n")
    code, out, err = run(capsys, "--config", str(wrong), "openid")
    assert (code, out) == (1, "")
    assert "wrong.yaml" in err
