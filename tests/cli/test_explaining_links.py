"""explain on the command line: links where the settings hold the sealing keys, encoded bodies, claims, and what cannot be asked."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.cli import main

KEY = "0123456789012345678901234567890123456789"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEALING_KEY", KEY)
    (tmp_path / "gateway.yaml").write_text(
        "server: {public_url: https://fhir.example.org/fhir, sealing: {keys: [{from_env: SEALING_KEY}]}}\n"
        "upstream: {url: http://127.0.0.1:8090/fhir, fhir_version: R4}\n"
        "issuers: [{issuer: https://idp.example.org}]\n"
        "policy:\n"
        "  users:\n"
        "    - when: {fhir_user: Practitioner, claim: {organization: north}}\n"
        "      boundary: everything\n"
    )
    return tmp_path / "gateway.yaml"


def explained(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    code = main(["explain", "--format", "json", *options])
    return code, json.loads(capsys.readouterr().out or "{}")


@pytest.mark.parametrize("target", ["/Observation?_page=garbage", "/?_page=garbage"])
def test_with_the_keys_a_link_is_judged(config: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    who = ("--scope", "patient/Observation.rs", "--patient", "123")
    code, shown = explained(capsys, "GET", target, *who, "--config", str(config))
    assert (code, shown["status"], shown["code"]) == (3, 403, "foreign-page")
    code, shown = explained(capsys, "GET", target, *who)
    assert (code, shown["decision"]) == (0, "permit")
    assert any(check.startswith("to be checked: without the sealing keys") for check in shown["checks"])


def test_a_made_up_key_opens_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace(", sealing: {keys: [{from_env: SEALING_KEY}]}", ""))
    who = ("--scope", "patient/Observation.rs", "--patient", "123", "--config", str(config))
    assert explained(capsys, "GET", "/Observation?_page=garbage", *who)[1]["decision"] == "permit"


@pytest.mark.parametrize(("patient", "code"), [("123", None), ("999", "outside-boundary")])
def test_a_body_in_its_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str], patient: str, code: str | None) -> None:
    body = tmp_path / "body.json.gz"
    body.write_bytes(gzip.compress(json.dumps({"resourceType": "Observation", "subject": {"reference": f"Patient/{patient}"}}).encode()))
    who = ("--scope", "patient/Observation.c", "--patient", "123")
    sent = ("--body", str(body), "--header", "Content-Encoding: gzip", "--header", "Content-Type: application/fhir+json")
    assert explained(capsys, "POST", "/Observation", *who, *sent)[1]["code"] == code


@pytest.mark.parametrize(("organization", "decision"), [("north", "permit"), ("south", "deny")])
def test_claims(config: Path, capsys: pytest.CaptureFixture[str], organization: str, decision: str) -> None:
    who = ("--scope", "user/Patient.rs", "--fhir-user", "Practitioner/7", "--claims", json.dumps({"organization": organization}))
    shown = explained(capsys, "GET", "/Patient", *who, "--config", str(config))[1]
    assert shown["decision"] == decision


@pytest.mark.parametrize(
    "options",
    [
        ("--claims", "[]"),
        ("--claims", "{"),
        ("--claims", '{"a": 1, "a": 2}'),
        ("--header", "Authorization: Bearer x"),
        ("--patient", "a/b"),
    ],
)
def test_what_cannot_be_asked(capsys: pytest.CaptureFixture[str], options: tuple[str, str]) -> None:
    assert main(["explain", "GET", "/Patient/1", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Bearer" not in said.err


def test_in_words_with_the_place(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    who = ("--scope", "user/Patient.rs", "--fhir-user", "Practitioner/7", "--claims", '{"organization": "south"}')
    assert main(["explain", "GET", "/Patient", *who, "--config", str(config)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "deny 403 insufficient-scope: search-type Patient"
    assert any(line.startswith("  + user users: limits: ") and line.endswith("gateway.yaml:5:3)") for line in lines), lines


def test_entries_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = tmp_path / "batch.json"
    entries = [{"request": {"method": "GET", "url": url}} for url in ("Observation/1", "Condition/1")]
    body.write_text(json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries}))
    assert main(["explain", "POST", "/", "--scope", "patient/Observation.r", "--patient", "123", "--body", str(body)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  entry 0: permit: read Observation" in lines
    assert "  entry 1: deny 403 insufficient-scope: read Condition" in lines
    assert "    may help: patient/Condition.r" in lines
