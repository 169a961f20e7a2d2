"""What stands on a command line may be any bytes: ``explain`` answers all of them as the gateway would."""

from __future__ import annotations

import argparse
import json

import pytest

from smart_gateway.cli.explain import add_arguments, run


def explained(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, object]]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    code = run(parser.parse_args([*options, "--patient", "123", "--format", "json"]))
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("target", "code"), [("/Observation?code=\udcff", "malformed-query"), ("/Obs\udcff", "path-character")])
def test_bytes_that_are_no_text_are_refused_like_any_other(capsys: pytest.CaptureFixture[str], target: str, code: str) -> None:
    status, shown = explained(capsys, "GET", target, "--scope", "patient/Observation.rs")
    assert (status, shown["decision"], shown["status"], shown["code"]) == (3, "deny", 400, code)


@pytest.mark.parametrize("header", ["X-Note: \u20ac", "X-Note: \udcff"])
def test_headers_may_be_any_text(capsys: pytest.CaptureFixture[str], header: str) -> None:
    assert explained(capsys, "GET", "/Observation", "--scope", "patient/Observation.rs", "--header", header)[0] == 0
