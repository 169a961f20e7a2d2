"""``--tenant NAME`` where verbs read settings: one tenant's rules, and never those of nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smart_gateway.cli import main

TEXT = """server: {public_url: https://fhir.example.org/fhir}
tenants:
  - {name: north, path: /north, upstream: {url: http://127.0.0.1:9/n, fhir_version: R4}, issuers: [{issuer: https://a.example}]}
  - name: south
    path: /south
    upstream: {url: http://127.0.0.1:9/s, fhir_version: R5}
    issuers: [{issuer: https://b.example, scope_format: {slash: "-"}}]
    policy: {clients: {app: {limit: [patient/Patient.rs]}}}
"""
ASKED = ["GET", "/Observation", "--scope", "patient/Observation.rs", "--patient", "1", "--client", "app"]


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "gateway.yaml").write_text(TEXT)
    return str(tmp_path / "gateway.yaml")


@pytest.mark.parametrize(("name", "code"), [("north", 0), ("south", 3)])
def test_explain_goes_by_the_tenants_policy(config: str, name: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--config", config, "--tenant", name, *ASKED, "--format", "json"]) == code
    shown = json.loads(capsys.readouterr().out)
    limits = [ground["place"] for ground in shown["grounds"] if "place" in ground]
    assert all(place.startswith(f"{config}:8:") for place in limits)
    assert bool(limits) == (name == "south")


@pytest.mark.parametrize("argv", [["explain", *ASKED], ["scopes", "patient/Patient.rs"]], ids=["explain", "scopes"])
def test_without_it_nothing_is_said_of_tenants(config: str, argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*argv, "--config", config]) == 1
    assert "--tenant (north, south)" in capsys.readouterr().err
    assert main([*argv, "--config", config, "--tenant", "east"]) == 1
    assert "know no tenant 'east'" in capsys.readouterr().err
    assert main([*argv, "--tenant", "north"]) == 2
    assert "--tenant needs --config" in capsys.readouterr().err


def test_scopes_are_read_as_the_tenants_issuer_spells_them(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["scopes", "patient-Patient.rs", "--config", config, "--tenant", "south", "--issuer", "https://b.example", "--format", "json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)[0]["valid"]
    asked = ["scopes", "patient-Patient.rs", "--config", config, "--issuer", "https://b.example", "--format", "json"]
    assert main([*asked, "--tenant", "south"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["valid"]
    assert main([*asked, "--tenant", "north"]) == 2


def test_compare_holds_one_tenant_to_itself(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wider = tmp_path / "wider.yaml"
    wider.write_text(TEXT.replace("patient/Patient.rs", "patient/*.rs"))
    assert main(["compare", config, str(wider), "--tenant", "north"]) == 0
    assert main(["compare", config, str(wider), "--tenant", "south"]) == 3
    assert main(["compare", config, str(wider)]) == 1
    assert "--tenant (north, south)" in capsys.readouterr().err


def test_suggest_reads_the_records_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = {
        "outcome": "permit",
        "method": "GET",
        "interaction": "read",
        "rules": ["patient/Patient.r"],
        "type": "Patient",
        "request_id": "r",
        "issuer": "i",
    }
    log = tmp_path / "log"
    log.write_text("".join(json.dumps({**line, "client_id": f"app-{name}", "instance": name}) + "\n" for name in ("north", "south")))
    assert main(["suggest", str(log), "--tenant", "south", "--format", "json"]) == 0
    assert [one["client"] for one in json.loads(capsys.readouterr().out)["clients"]] == ["app-south"]
