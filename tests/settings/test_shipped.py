"""What the repository ships loads, and is what the models say: config/, examples/, the schema, the reference page."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from smart_gateway.settings.building.snapshot import build
from smart_gateway.settings.findings import Severity
from smart_gateway.settings.loading import examine
from smart_gateway.settings.schema import json_schema
from tests.support.udap import make, statement

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"SEALING_KEY": "0123456789012345678901234567890123456789"}
EXAMPLES = sorted((ROOT / "examples").glob("*/gateway.yaml"))
SCHEMA = json_schema()


def policy_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def test_there_are_examples() -> None:
    assert {path.parent.name for path in EXAMPLES} == {
        "azure-ad",
        "hooks",
        "middleware_starlette",
        "sidecar-hapi-keycloak",
        "smart-launcher",
    }


@pytest.mark.parametrize("path", [*EXAMPLES, ROOT / "config" / "gateway.yaml"], ids=lambda path: path.parent.name)
def test_every_shipped_file_loads_and_is_valid_by_the_schema(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "copy"
    monkeypatch.syspath_prepend(str(folder))
    shutil.copytree(path.parent, folder)
    if (folder / "make_token.py").exists():
        subprocess.run([sys.executable, folder / "make_token.py"], check=True, capture_output=True)
    examination = examine(folder / path.name, ENVIRONMENT, proxying=path.parent.name != "middleware_starlette")
    assert examination.settings is not None, [str(finding) for finding in examination.findings]
    build(examination.settings, recording=False)
    jsonschema.validate(yaml.safe_load(path.read_text()), SCHEMA, jsonschema.Draft7Validator)


def test_the_shipped_policies_are_valid_by_the_schema() -> None:
    policy = {"definitions": SCHEMA["definitions"], **SCHEMA["definitions"]["PolicySettings"]}
    for path in (ROOT / "config" / "policy.yaml", ROOT / "examples" / "sidecar-hapi-keycloak" / "policy.yaml"):
        jsonschema.validate(policy_of(path), policy, jsonschema.Draft7Validator)


def test_the_shipped_config_shows_every_key_of_a_policy() -> None:
    later = {name for name, member in SCHEMA["definitions"]["PolicySettings"]["properties"].items() if "not" in member}
    keys = set(SCHEMA["definitions"]["PolicySettings"]["properties"]) - later
    file = ROOT / "config" / "policy.yaml"
    commented = re.findall(r"^# ([a-z_]+):", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert {*policy_of(file), *commented} == keys


def policy_sections() -> Iterator[str]:
    """Every key of the policy, and of the sections below it."""
    reached, ahead = set[str](), ["PolicySettings"]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            yield from SCHEMA["definitions"][name].get("properties", {})
            ahead += re.findall(r"#/definitions/(\w+(?:Settings|Sink))", json.dumps(SCHEMA["definitions"][name]))


def test_the_shipped_policy_names_every_key_of_its_sections() -> None:
    text = (ROOT / "config" / "policy.yaml").read_text(encoding="utf-8")
    assert sorted({key for key in policy_sections() if not re.search(rf"\b{key}:", text)}) == []


def commented_of_the_policy() -> list[tuple[str, str]]:
    """Each section that is commented out at the level of the file, with its text; what stands below a section counts with it."""
    text = (ROOT / "config" / "policy.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^# ([a-z_]+): .*\n(?:#   .*\n)*", text, re.MULTILINE)
    blocks = [match[0] for match in re.finditer(r"^# [a-z_]+: .*\n(?:#   .*\n)*", text, re.MULTILINE)]
    whole = [(key, re.sub(r"^# ", "", block, flags=re.MULTILINE)) for key, block in zip(found, blocks, strict=True)]
    below = re.finditer(r"^([a-z_]+):.*\n(?:  .*\n)*((?:#   .*\n)+)", text, re.MULTILINE)
    return [*whole, *((match[1], f"{match[1]}:\n" + re.sub(r"^# ", "", match[2], flags=re.MULTILINE)) for match in below)]


@pytest.mark.parametrize(("key", "text"), commented_of_the_policy(), ids=lambda value: value.partition("\n")[0][:40])
def test_what_is_commented_out_in_the_shipped_policy_is_taken(key: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "clients.d").mkdir()
    (tmp_path / "clients.d" / "one.yaml").write_text("clients: {}\n")
    (tmp_path / "audit-token").write_text("made-up")
    certifiers = make("Certifiers", ca=True, days=3650)
    (tmp_path / "udap-root.pem").write_bytes(certifiers.pem)
    (tmp_path / "backend-3.jwt").write_text(statement(certifiers.issue("Certifier")))
    policy = yaml.safe_load(text.replace('"..."', f'"{"AB" * 32}"'))
    assert list(policy) == [key]
    base = {"upstream": {"fhir_version": "R4"}, "server": {"public_url": "https://a.example"}, "issuers": [{"issuer": "https://b.example"}]}
    found = examine({**base, "policy": policy}, {}, directory=tmp_path).findings
    assert [str(finding) for finding in found if finding.severity is Severity.ERROR] == []


TOLD_ELSEWHERE = {"SmartConfigurationSettings"}  # members that stand in for what an issuer says of itself: docs/settings.md


def shown_sections() -> Iterator[tuple[str, str]]:
    """Every section below ``server``, ``upstream``, ``issuers``, ``revocation`` and ``hooks`` with each of its keys."""
    reached, ahead = set[str](), ["ServerSettings", "UpstreamSettings", "IssuerSettings", "RevocationSettings", "HooksSettings"]
    while ahead:
        name = ahead.pop()
        if name in reached | TOLD_ELSEWHERE:
            continue
        reached.add(name)
        yield from ((name, key) for key in SCHEMA["definitions"][name].get("properties", {}))
        ahead += re.findall(r"#/definitions/(\w+Settings)", json.dumps(SCHEMA["definitions"][name]))


def test_the_shipped_config_shows_every_key() -> None:
    text = (ROOT / "config" / "gateway.yaml").read_text(encoding="utf-8")
    shown = set(re.findall(r"\b([a-z_0-9]+): ?", text))
    assert sorted(set(SCHEMA["properties"]) - shown) == []
    assert sorted({f"{section}.{key}" for section, key in shown_sections() if key not in shown}) == []


def commented() -> list[tuple[str, list[int]]]:
    """The keys that are commented out, each with the numbers of its lines."""
    lines = (ROOT / "config" / "gateway.yaml").read_text(encoding="utf-8").splitlines()
    found: list[tuple[str, list[int]]] = []
    for number, line in enumerate(lines[11:], 11):
        if key := re.match(r" *# ([a-z_0-9]+):(?: |$)", line):
            found.append((key[1], [number]))
        elif found and re.match(r" *#   ", line) and found[-1][1][-1] == number - 1:
            found[-1][1].append(number)
    return found


@pytest.mark.parametrize(("key", "numbers"), commented(), ids=lambda value: value if isinstance(value, str) else str(value[0] + 1))
def test_what_is_commented_out_in_the_shipped_config_is_valid_by_the_schema(key: str, numbers: list[int]) -> None:
    lines = (ROOT / "config" / "gateway.yaml").read_text(encoding="utf-8").splitlines()
    for number in numbers:
        lines[number] = lines[number].replace("# ", "", 1)
    document = yaml.safe_load("\n".join(lines))
    jsonschema.validate(document, SCHEMA, jsonschema.Draft7Validator)
    sections = (document, document["server"], document["upstream"], document["issuers"][0])
    assert any(key in section and section[key] not in (None, "none") for section in sections)


def test_the_shipped_policy_changes_no_default_but_the_clients_and_actors() -> None:
    shown = policy_of(ROOT / "config" / "policy.yaml")
    shown.pop("clients")
    shown.pop("actors")
    base = {"upstream": {"fhir_version": "R4"}, "server": {"public_url": "https://a.example"}, "issuers": [{"issuer": "https://b.example"}]}
    with_defaults, with_nothing = (examine({**base, "policy": policy}, {}).settings for policy in (shown, {}))
    assert with_defaults is not None
    assert with_nothing is not None
    assert build(with_defaults, recording=False).snapshot.policy == build(with_nothing, recording=False).snapshot.policy
    assert build(with_defaults, recording=False).snapshot.limits == build(with_nothing, recording=False).snapshot.limits


def test_the_schema_in_the_repository_is_that_of_the_models() -> None:
    assert json.loads((ROOT / "config" / "gateway.schema.json").read_text()) == SCHEMA
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_the_reference_page_is_that_of_the_models() -> None:
    spec = importlib.util.spec_from_file_location("settings_reference", ROOT / "tools" / "settings_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "settings.md").read_text() == module.render(), "run tools/settings_reference.py"


def descriptions(schema: dict[str, Any]) -> Iterator[str]:
    for name, member in schema.get("properties", {}).items():
        if not ({"not", "const"} & set(member)) and member != {"type": "null"} and member.get("maxItems") != 0:
            yield f"{name}: {member.get('description', '')}"


def test_every_key_is_described() -> None:
    bare = [text for section in SCHEMA["definitions"].values() for text in descriptions(section) if text.endswith(": ")]
    assert set(bare) <= {"search: ", "writes: ", "audit: "}  # sections, described where their keys are
