"""README.md and docs/ say what is so: links lead somewhere, options are those of the verbs, examples print what stands below them."""

from __future__ import annotations

import argparse
import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from smart_gateway.cli import main
from smart_gateway.observe.events import DecisionEvent

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for folder in ("", "docs", "examples/*", "smart_gateway/fhir/data") for path in ROOT.glob(f"{folder}/*.md".lstrip("/")))
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
COMMANDS = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
PYTHON = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
VERBS = ("serve", "demo", "check-config", "explain", "scopes", "test", "compare", "suggest", "schema", "healthcheck")


def section(verb: str) -> str:
    """The text below the heading of ``verb``."""
    return COMMANDS.partition(f"\n## `{verb}`\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_readme_names_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert pages
    assert pages <= set(LINK.findall(readme))


@pytest.mark.parametrize("verb", VERBS)
def test_the_options_of_a_verb_are_those_listed(verb: str) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    import_module(f"smart_gateway.cli.{verb.replace('-', '_')}").add_arguments(parser)
    taken = {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"^\| `(--[a-z-]+)", section(verb), re.MULTILINE)) == taken


def test_every_verb_is_described() -> None:
    assert tuple(re.findall(r"^## `([a-z-]+)`$", COMMANDS, re.MULTILINE)) == VERBS


@pytest.mark.parametrize(
    ("verb", "argv"),
    [
        ("explain", ["GET", "/Observation?code=8867-4", "--scope", "patient/Observation.rs", "--patient", "123"]),
        ("scopes", ["patient/Observation.rs?category=laboratory"]),
    ],
)
def test_the_json_is_as_shown(verb: str, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--format", "json", *argv]) == 0
    shown = section(verb).partition("```json\n")[2].partition("```")[0]
    assert json.loads(capsys.readouterr().out) == json.loads(shown)


def test_the_decision_in_python_prints_what_stands_below_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gateway.yaml").write_text(
        "server: {public_url: https://fhir.example.org/fhir}\n"
        "upstream: {url: http://127.0.0.1:8090/fhir, fhir_version: R4}\n"
        "issuers: [{issuer: https://idp.example.org}]\n"
    )
    monkeypatch.chdir(tmp_path)
    code, _, below = PYTHON.partition("## One decision")[2].partition("```python\n")[2].partition("```\n")
    exec(compile(code, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out == below.partition("```\n")[2].partition("```")[0]


def test_the_record_of_a_decision_is_described() -> None:
    section = (ROOT / "docs" / "decision.md").read_text(encoding="utf-8").partition("## The record")[2].partition("\n## ")[0]
    keys = [key for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)]
    assert sorted(keys) == sorted(DecisionEvent.__struct_fields__)


def test_the_architecture_names_rooms_and_modules_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "smart_gateway"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    listed = set(re.findall(r"^  (\w+)/ ", text, re.MULTILINE))
    assert listed == rooms
    named = re.findall(rf"`((?:{'|'.join(rooms)})(?:\.\w+)+)", text)
    assert len(named) > 10
    places = [package.joinpath(*name.split(".")) for name in named]
    missing = [place for place in places if not (place.with_suffix(".py").exists() or place.is_dir())]
    # The last part may be what a module holds: `gateway.upstream.Upstream`.
    assert not [place for place in missing if not place.parent.with_suffix(".py").exists()]
