"""A secret is shown to nobody: not in a repr, an error, a finding, a log or a schema."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.errors import SettingsError
from smart_gateway.gateway.credentials import Asking
from smart_gateway.settings.building.snapshot import build
from smart_gateway.settings.loading import examine, load_settings
from smart_gateway.settings.sections.secret import MAX_SECRET_BYTES, Secret

SECRET = "hunter2-hunter2-hunter2-hunter2-hunter2"


def settings(**upstream: Any) -> dict[str, Any]:
    return {
        "server": {"public_url": "https://fhir.example.org/fhir"},
        "upstream": {"fhir_version": "R4", **upstream},
        "issuers": [{"issuer": "https://idp.example.org"}],
    }


def bearer(form: Any, environment: dict[str, str] | None = None) -> Secret:
    loaded = load_settings(settings(authorization={"bearer": form}), environment=environment or {})
    authorization: Any = loaded.upstream.authorization
    assert isinstance(authorization.bearer, Secret)
    return authorization.bearer


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_three_ways_to_a_secret(tmp_path: Path, ending: str) -> None:
    (tmp_path / "secret").write_text(SECRET + ending, newline="")
    assert bearer({"from_file": str(tmp_path / "secret")}).reveal() == SECRET
    assert bearer({"from_env": "TOKEN"}, {"TOKEN": SECRET}).reveal() == SECRET
    assert bearer(SECRET).reveal() == SECRET


def test_paths_start_from_the_directory_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "server: {public_url: https://a.example}\nupstream: {fhir_version: R4, authorization: {bearer: {from_file: secret}}}\n"
        "issuers: [{issuer: https://idp.example.org}]\n"
    )
    authorization: Any = load_settings(file, environment={}).upstream.authorization
    assert authorization.bearer.reveal() == SECRET
    assert tmp_path / "secret" in examine(file, {}).files


@pytest.mark.parametrize("form", [SECRET, {"from_env": "TOKEN"}])
async def test_nothing_that_prints_settings_prints_a_secret(form: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        loaded = load_settings(settings(authorization={"bearer": form}), environment={"TOKEN": SECRET})
    snapshot = build(loaded, recording=False).snapshot
    shown = [repr(loaded), str(loaded), f"{loaded}", repr(loaded.model_dump()), loaded.model_dump_json(), repr(snapshot), caplog.text]
    assert all(SECRET not in text for text in shown)
    assert "Secret(" in repr(loaded)
    assert await snapshot.credentials.authorization.value(Asking(), 0.0) == f"Bearer {SECRET}"


def test_a_secret_goes_nowhere_by_accident() -> None:
    secret = bearer(SECRET)
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    with pytest.raises(TypeError):
        hash(secret)
    assert secret == bearer({"from_env": "T"}, {"T": SECRET})
    assert secret != SECRET
    assert repr(bearer({"from_env": "T"}, {"T": SECRET})) == "Secret(from_env T)"


@pytest.mark.parametrize(
    "form",
    [
        [SECRET],
        {"from_env": SECRET + "x", "from_file": SECRET},
        {"bearer": SECRET},
        {"from_file": 5, SECRET: 1},
        SECRET + "\nInjected: 1",
    ],
)
def test_no_finding_holds_the_value(form: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        bearer(form)
    shown = [str(caught.value), repr(caught.value), *caught.value.__notes__]
    assert all(SECRET not in text for text in shown)
    assert caught.value.__cause__ is None


def test_a_plain_secret_is_warned_of() -> None:
    findings = examine(settings(authorization={"bearer": SECRET}), {}).findings
    assert ("upstream.authorization.bearer", "warning") in [(finding.key, finding.severity) for finding in findings]
    assert all(SECRET not in str(finding) for finding in findings)
    quiet = examine(settings(authorization={"bearer": {"from_env": "T"}}), {"T": SECRET}).findings
    assert "upstream.authorization.bearer" not in [finding.key for finding in quiet]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "the secret is empty"), (b"\xff", "it is not UTF-8 text"), (b"x" * (MAX_SECRET_BYTES + 1), "is larger than 64 KiB")],
)
def test_files_that_hold_no_secret(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        bearer({"from_file": str(tmp_path / "secret")})
    assert says in str(caught.value.findings[0])


def test_a_directory_holds_no_secret(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="refused") as caught:
        bearer({"from_file": str(tmp_path)})
    assert "cannot be read: Is a directory" in str(caught.value.findings[0])
