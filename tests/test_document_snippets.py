"""What README.md and the pages show is taken by the code: YAML as settings, policy or cases, commands by the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from smart_gateway.cli import _parser, main
from smart_gateway.settings.cases import read_cases
from smart_gateway.settings.loading import examine
from smart_gateway.settings.model import Settings
from smart_gateway.settings.sections.policy import PolicySettings
from tests.support.certificates import authority
from tests.support.udap import make, statement

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for folder in ("", "docs/", "examples/*/", "benchmarks/") for path in ROOT.glob(f"{folder}*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
AROUND: dict[str, Any] = {
    "server": {"public_url": "https://fhir.example.org/fhir"},
    "upstream": {"url": "http://127.0.0.1:8090/fhir", "fhir_version": "R4"},
    "issuers": [{"issuer": "https://idp.example.org"}],
}
ENVIRONMENT = {"REDIS_URL": "redis://127.0.0.1:6379/0"} | dict.fromkeys(
    ("SEALING_KEY", "GATEWAY_SECRET", "IDENTITY_SECRET"), "invented-" * 5
)
FILES = {
    "policy.d/clients.yaml": "clients: {portal: {}}",
    "clients.d/portal.yaml": "clients: {portal: {}}",
    "emergency.yaml": "break_glass: {scope: __break-glass, lifts: [users], purposes: [BTG]}",
    "north.yaml": "users: {Practitioner: everything}",
    "policies/south/users.yaml": "users: {Practitioner: everything}",
    "east.yaml": "{name: east, path: /east, upstream: {url: http://127.0.0.1:8091/fhir, fhir_version: R4}, issuers: [{issuer: https://e.example}]}",
    "audit": "invented",
}
ELISIONS = {'"AB:CD:..."': f'"{"AB" * 32}"'}


@dataclass(frozen=True)
class Block:
    """A fenced part of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            yield Block(page.relative_to(ROOT).as_posix(), text.count("\n", 0, found.start()) + 2, found[1], found[2])


BLOCKS = tuple(blocks())
DOCUMENTS = [block for block in BLOCKS if block.language == "yaml" and isinstance(yaml.safe_load(block.text), dict)]


def commands() -> Iterator[tuple[str, str]]:
    """Each command line of the gateway in a block: what follows `smart-gateway`, continued lines put together."""
    for block in BLOCKS:
        if block.language not in ("", "yaml", "sh"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:^|\$ |&& |\s)smart-gateway ((?!-)[a-z-]+(?: .*)?)$", line)
            if found and not line.lstrip().startswith("#"):
                yield str(block), found[1]


def completed(shown: dict[str, Any]) -> dict[str, Any]:
    """Settings of which a page shows a part."""
    if set(shown) <= {field.alias or name for name, field in PolicySettings.model_fields.items()} | {"include"}:
        shown = {"policy": shown}
    assert set(shown) <= {field.alias or name for name, field in Settings.model_fields.items()}
    around = {"server": AROUND["server"]} if "tenants" in shown else AROUND
    for key, section in around.items():
        match section, shown.get(key):
            case dict(), dict() as said:
                shown = {**shown, key: {**section, **said}}
            case _, None:
                shown = {**shown, key: section}
    return shown


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the pages name."""
    directory = tmp_path_factory.mktemp("shown")
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    certifiers = make("Certifiers", ca=True, days=3650)
    (directory / "udap-root.pem").write_bytes(certifiers.pem)
    (directory / "backend-3.jwt").write_text(statement(certifiers.issue("Certifier")), encoding="utf-8")
    authority().write(directory, "clients")
    authority().issue("localhost").write(directory, "tls")
    return directory


@pytest.mark.parametrize("block", DOCUMENTS, ids=str)
def test_yaml_is_taken_as_it_is_shown(block: Block, surroundings: Path, tmp_path: Path) -> None:
    text = block.text.replace("/run/secrets", str(surroundings))
    for short, whole in ELISIONS.items():
        text = text.replace(short, whole)
    shown = yaml.safe_load(text)
    if "cases" in shown:
        (tmp_path / "cases.yaml").write_text(block.text, encoding="utf-8")
        assert read_cases(tmp_path / "cases.yaml").cases
        return
    found = examine(completed(shown), ENVIRONMENT, directory=surroundings, proxying=True)
    assert not [str(finding) for finding in found.findings if finding.severity.value == "error"]


def sessions() -> Iterator[tuple[str, str, str]]:
    """Each command with what is shown below it; `...` stands for lines that are left out before the rest."""
    for block in BLOCKS:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if shown:
                yield str(block), command, shown


@pytest.mark.parametrize(("place", "command", "shown"), list(sessions()))
def test_commands_print_what_stands_below_them(
    place: str, command: str, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    main(shlex.split(command)[1:])
    printed = capsys.readouterr().out
    assert printed.endswith(f"\n{shown[4:]}") if shown.startswith("...\n") else printed == shown, printed


PORTAL = "clients: {portal: {limit: [patient/*.rs]}}"
INDEX = """
clients: {index: {role: system}, other: {}}
fields:
  - {type: Patient, permissions: u, only: ["identifier.where(system='urn:own')"], when: {client: index}}
break_glass: {scope: __break-glass, lifts: [users], purposes: [BTG], max_duration: 30m}
"""
COMPARED = [
    (PORTAL, PORTAL.replace("rs]", "rs, patient/Observation.cu]")),
    (INDEX, INDEX.replace("\"identifier.where(system='urn:own')\"", "identifier").replace("30m", "1h")),
]


@pytest.mark.parametrize(("number", "policies"), list(enumerate(COMPARED)))
def test_compare_prints_what_its_page_shows(
    number: int, policies: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in zip(("old.yaml", "new.yaml"), policies, strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert main(["compare", "old.yaml", "new.yaml"]) == 3
    shown = [block.text for block in BLOCKS if block.page == "docs/policy-testing.md" and block.text.startswith("opens: ")]
    assert capsys.readouterr().out.startswith(shown[number])


def test_the_finding_of_a_tenant_is_as_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "north.yaml").write_text("clients:\n  a: {limits: [patient/*.rs]}\n")
    tenant = {"name": "north", "path": "/north", "policy": "north.yaml", "upstream": AROUND["upstream"], "issuers": AROUND["issuers"]}
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump({"server": AROUND["server"], "tenants": [tenant]}))
    assert main(["check-config", "gateway.yaml"]) == 1
    shown = [block.text for block in BLOCKS if block.page == "docs/tenants.md" and "error: tenant" in block.text]
    assert len(shown) == 1
    assert shown[0] in capsys.readouterr().out


@pytest.mark.parametrize(("place", "command"), list(commands()))
def test_commands_are_understood(place: str, command: str) -> None:
    argv = shlex.split(command, comments=True)
    argv = argv[: next((index for index, word in enumerate(argv) if word in ("&&", "|", ">")), len(argv))]
    _parser(argv).parse_args(argv)
