"""What stands on a command line may be any bytes: ``explain`` answers all of them as the gateway would."""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path

import pytest

from smart_gateway.cli import main
from smart_gateway.cli.explain import add_arguments, run

OURS, THEIRS = ({"resourceType": "Observation", "subject": {"reference": f"Patient/{id}"}} for id in ("123", "999"))


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


def test_a_body_is_refused_by_the_code_that_the_gateway_answers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/999"}}')
    status, shown = explained(capsys, "POST", "/Observation", "--scope", "patient/Observation.c", "--body", str(body))
    assert (status, shown["status"], shown["code"]) == (3, 403, "outside-boundary")


@pytest.mark.parametrize(
    ("method", "target", "body", "code"),
    [
        (
            "PUT",
            "/Observation?identifier=x|1",
            {"resourceType": "Observation", "subject": {"reference": "Patient/999"}},
            "outside-boundary",
        ),
        ("PUT", "/Observation?identifier=x|1", OURS, None),
        ("PUT", "/Observation?identifier=x|1", {"resourceType": "Condition"}, "type-mismatch"),
        ("PATCH", "/Observation?identifier=x|1", {"resourceType": "Parameters"}, "unsupported-media-type"),
        ("PATCH", "/Observation?identifier=x|1", [{"op": "add", "path": "/status", "value": "final"}], None),
        ("POST", "/Provenance", {"resourceType": "Provenance", "target": [{"reference": "Observation/1"}]}, None),
        ("POST", "/Provenance", {"resourceType": "Provenance", "target": [{"reference": "Patient/999"}]}, "outside-boundary"),
    ],
)
def test_a_body_is_refused_that_would_be_whatever_is_stored(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, method: str, target: str, body: object, code: str | None
) -> None:
    """Criteria may match or not, and what a body depends on may be inside or not: a refusal is said where it is certain."""
    file = tmp_path / "body.json"
    file.write_text(json.dumps(body))
    shown = explained(capsys, method, target, "--scope", "patient/*.cruds", "--body", str(file))[1]
    assert shown["code"] == code
    file.write_text(json.dumps(batch(method, target, body)))
    of_batch = explained(capsys, "POST", "/", "--scope", "patient/*.cruds", "--body", str(file))[1]
    assert [entry["code"] for entry in of_batch["entries"]] == [code]


def batch(method: str, target: str, body: object) -> dict[str, object]:
    """One entry; a JSON Patch comes in a Binary."""
    data = base64.b64encode(json.dumps(body).encode()).decode()
    held = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data} if isinstance(body, list) else body
    entry = {"request": {"method": method, "url": target.removeprefix("/")}, "resource": held}
    return {"resourceType": "Bundle", "type": "batch", "entry": [entry]}


def test_the_base_itself_is_a_target(capsys: pytest.CaptureFixture[str]) -> None:
    for target in ("?_type=Patient", "/?_type=Patient"):
        status, shown = explained(capsys, "GET", target, "--scope", "patient/Patient.s")
        assert (status, shown["interaction"]) == (0, "search-system")


def test_a_media_type_that_nobody_gives_is_refused_as_the_gateway_does(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--scope", "system/*.cruds", "--header", "Accept: text/html")
    for method, target in (("GET", "/Patient/1"), ("GET", "/Patient/1/$everything"), ("DELETE", "/Patient/1"), ("GET", "/Patient?name=x")):
        status, shown = explained(capsys, method, target, *asked)
        assert (status, shown["status"], shown["code"]) == (3, 406, "not-acceptable")


def test_the_form_of_a_search_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "POST", "/Observation/_search", "--scope", "patient/Observation.s", "--patient", "123"]) == 0
    assert "upstream: POST /Observation/_search patient=Patient/123\n" in capsys.readouterr().out


def test_refused_settings_are_told_with_their_findings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("server: {public_ur: https://fhir.example.org/fhir}\n")
    assert main(["explain", "--config", str(file), "GET", "/Patient"]) == 1
    assert 'unknown key; did you mean "public_url"?' in capsys.readouterr().err


def test_explaining_opens_no_audit_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "server: {public_url: https://fhir.example.org/fhir}\n"
        "upstream: {url: http://127.0.0.1:8090/fhir, fhir_version: R4}\n"
        "issuers: [{issuer: https://idp.example.org}]\n"
        "policy: {audit: {sinks: [{file: audit.ndjson}]}}\n"
    )
    assert main(["explain", "--config", str(file), "GET", "/metadata"]) == 0
    assert "permit" in capsys.readouterr().out
    assert not (tmp_path / "audit.ndjson").exists()
