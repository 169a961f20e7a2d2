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

from smart_gateway.cli import _parser
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


@pytest.mark.parametrize(("place", "command"), list(commands()))
def test_commands_are_understood(place: str, command: str) -> None:
    argv = shlex.split(command, comments=True)
    argv = argv[: next((index for index, word in enumerate(argv) if word in ("&&", "|", ">")), len(argv))]
    _parser(argv).parse_args(argv)
