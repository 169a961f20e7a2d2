"""The command line as a whole: verbs, exit codes, streams."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from smart_gateway import cli
from smart_gateway.cli import main
from smart_gateway.cli.configuration import print_findings
from smart_gateway.errors import SettingsError, SmartGatewayError
from smart_gateway.settings.findings import Finding, Place

ROOT = Path(__file__).parents[2]


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    named = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-m", "smart_gateway", *arguments], capture_output=True, text=True, env=named, timeout=60, check=False
    )


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr()
    assert printed.out == (ROOT / "config" / "gateway.schema.json").read_text()
    assert printed.err == ""


@pytest.mark.parametrize(
    "argv", [[], ["nonsense"], ["test"], ["serve", "--workers", "0"], ["serve", "--workers", "x"], ["schema", "--formt"]]
)
def test_what_cannot_be_meant_is_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "usage: smart-gateway" in printed.err


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for verb in ("serve", "demo", "check-config", "explain", "scopes", "test", "compare", "suggest", "schema", "healthcheck"):
        assert verb in shown
        with pytest.raises(SystemExit) as caught:
            main([verb, "--help"])
        assert caught.value.code == 0
        assert f"smart-gateway {verb}" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == "smart-gateway 0.1.0\n"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (SmartGatewayError("It is so."), 1, "It is so.\n"),
        (SettingsError("Refused.", [Finding(Place("f", 1, 2), "a.b", "is bad")]), 1, "Refused.\nf:1:2: error: a.b: is bad\n"),
    ],
)
def test_no_verb_ends_in_a_traceback(
    raised: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_arguments: object) -> int:
        raise raised

    monkeypatch.setattr("smart_gateway.cli.schema.run", fail)
    assert main(["schema"]) == code
    assert capsys.readouterr() == ("", said)


def test_a_reader_that_leaves_is_no_error_of_ours() -> None:
    schema = f"'{sys.executable}' -m smart_gateway schema"
    shell = f"({schema}; {schema}; echo $? >&2) | head -c 10"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert len(done.stdout) == 10
    assert "Traceback" not in done.stderr
    assert done.stderr.strip() in {"0", "1"}  # the pipe may hold it all


def test_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_arguments: object) -> int:
        raise BrokenPipeError

    left: list[bool] = []
    monkeypatch.setattr("smart_gateway.cli.schema.run", fail)
    monkeypatch.setattr(cli, "_leave_pipe", lambda: left.append(True))
    assert main(["schema"]) == 1
    assert left == [True]


def test_scopes_load_neither_yaml_nor_a_server() -> None:
    program = (
        "import sys; from smart_gateway.cli import main; main(['scopes', 'patient/*.rs']);"
        "print([name for name in ('yaml', 'pydantic', 'uvicorn', 'httpx', 'aiohttp', 'pyreqwest') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_runs_the_same() -> None:
    done = command("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["title"] == "smart-gateway settings"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("no_color", "stream", "coloured"), [("", Terminal(), True), ("1", Terminal(), False), ("", io.StringIO(), False)])
def test_colours_are_for_terminals_that_want_them(
    no_color: str, stream: io.StringIO, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    print_findings([Finding(Place("f"), "k", "is bad")], stream)
    assert ("\x1b[31m" in stream.getvalue()) == coloured
    assert "f: error: k: is bad" in stream.getvalue()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--workers", "0"], "argument --workers: must be a whole number from 1 to 256"),
        (["serve", "--workers", "many"], "argument --workers: must be a whole number from 1 to 256"),
        (["healthcheck", "--timeout", "nan"], "argument --timeout: must be a number from 0.1 to 3600"),
        (["healthcheck", "--timeout", "-1"], "argument --timeout: must be a number from 0.1 to 3600"),
        (["test", "f", "--threshold", "all"], "argument --threshold: must be a number from 0 to 100"),
        (["test", "f", "--threshold", "101"], "argument --threshold: must be a number from 0 to 100"),
    ],
)
def test_options_say_what_they_take(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(says)


@pytest.mark.parametrize(("name", "why"), [("nowhere", "No such file or directory"), (".", "Is a directory")])
def test_a_body_that_cannot_be_read_is_said(name: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "POST", "/Observation", "--body", name]) == 2
    assert capsys.readouterr().err == f"--body: {name} cannot be read: {why}\n"
