"""Decisions as docs/semantics.md words them, one request each, written from its sentences alone: ``explain`` must say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.cli import main

DECISIONS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "decisions.json").read_text())
WHO = ("scope", "patient", "fhir_user", "client")
# Refusals for which nothing but the request line as a whole is at fault.
BY_THE_PATH = {"insufficient-scope", "not-found", "operation-not-opened", "operation-not-narrowed", "second-question-mark"}


def explained(case: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The object that ``explain`` prints for a case."""
    options = [option for name in WHO if case.get(name) for option in (f"--{name.replace('_', '-')}", case[name])]
    options += [option for header in case.get("headers", ()) for option in ("--header", header)]
    if "body" in case:
        body = folder / "body"
        body.write_text(case["body"] if isinstance(case["body"], str) else json.dumps(case["body"]))
        options += ["--body", str(body)]
    code = main(["explain", "--format", "json", case["method"], case["target"], *options])
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (0 if shown["decision"] == "permit" else 3)
    return shown


def named(case: dict[str, Any]) -> str:
    return f"{case['method']} {case['target'][:60]} {case['scope']}"


@pytest.mark.parametrize("case", DECISIONS, ids=named)
def test_the_decision_is_what_the_semantics_say(case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = explained(case, tmp_path, capsys)
    assert (shown["status"] or shown["decision"]) == case["decision"], shown
    sent = json.dumps(shown["upstream"])
    assert all(part in sent for part in case.get("upstream", ())), sent


def test_there_are_decisions_of_every_kind() -> None:
    assert len(DECISIONS) > 200
    assert {400, 401, 403, 404, 405, 406, 412, 415, "permit"} == {case["decision"] for case in DECISIONS}


@pytest.mark.parametrize("case", [case for case in DECISIONS if "?" in case["target"] and case["decision"] in {400, 403, 406}], ids=named)
def test_a_refusal_for_a_parameter_names_it(case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = explained(case, tmp_path, capsys)
    assert shown["expressions"] or shown["code"] in BY_THE_PATH, shown
