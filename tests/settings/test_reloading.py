"""All of the new settings count, or all of the old."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

from smart_gateway.errors import SettingsError
from smart_gateway.settings.model import Settings
from smart_gateway.settings.reloading import Reloader, SettingsFile

TEXT = """server: {{public_url: https://fhir.example.org/fhir, listen: 127.0.0.1:{port}}}
upstream: {{url: http://127.0.0.1:8090/fhir, fhir_version: R4, authorization: {{bearer: {{from_file: token}}}}}}
issuers: [{{issuer: https://idp.example.org, jwks_file: keys.json}}]
policy: policy.yaml
"""


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    (tmp_path / "gateway.yaml").write_text(TEXT.format(port=8080))
    (tmp_path / "policy.yaml").write_text("limits: {entries: 1}\n")
    (tmp_path / "token").write_text("t-1")
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [{"kty": "RSA"}]}))
    return SettingsFile(tmp_path / "gateway.yaml", {})


def rewrite(path: Path, text: str) -> None:
    """As editors and ConfigMaps do: another file takes the name."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


class Adopted(list[Settings]):
    @property
    def entries(self) -> list[int]:
        return [settings.policy.limits.entries for settings in self]


@pytest.mark.parametrize("name", ["gateway.yaml", "policy.yaml", "token", "keys.json"])
def test_every_file_that_was_read_is_watched(file: SettingsFile, tmp_path: Path, name: str) -> None:
    file.read()
    assert not file.changed()
    rewrite(tmp_path / name, (tmp_path / name).read_text())
    assert file.changed()
    file.read()
    assert not file.changed()
    (tmp_path / name).unlink()
    assert file.changed()


def test_a_refused_file_is_read_again_only_when_it_changes(file: SettingsFile, tmp_path: Path) -> None:
    file.read()
    rewrite(tmp_path / "policy.yaml", "nonsense: 1\n")
    assert file.changed()
    with pytest.raises(SettingsError):
        file.read()
    assert not file.changed()
    rewrite(tmp_path / "policy.yaml", "limits: {entries: 2}\n")
    assert file.changed()
    assert file.read()[0].policy.limits.entries == 2


async def test_good_settings_are_adopted(file: SettingsFile, tmp_path: Path) -> None:
    adopted = Adopted()
    reloader = Reloader(file, file.read()[0], adopted.append)
    rewrite(tmp_path / "policy.yaml", "limits: {entries: 2}\n")
    assert await reloader.reload()
    assert adopted.entries == [2]


async def test_bad_settings_are_not_and_the_log_says_why(file: SettingsFile, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    adopted = Adopted()
    reloader = Reloader(file, file.read()[0], adopted.append)
    rewrite(tmp_path / "policy.yaml", "limit: {}\n")
    assert not await reloader.reload()
    assert adopted == []
    assert "the old ones stay in force" in caplog.text
    assert 'policy.yaml:1:1: error: policy.limit: unknown key; did you mean "limits"?' in caplog.text


async def test_what_cannot_be_put_in_force_leaves_the_old(file: SettingsFile, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_settings: Settings) -> None:
        raise PermissionError(13, "no audit file for you")

    assert not await Reloader(file, file.read()[0], fail).reload()
    assert "the settings cannot be put in force: the old ones stay" in caplog.text


async def test_other_addresses_wait_for_the_next_start(file: SettingsFile, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reloader = Reloader(file, file.read()[0], Adopted().append)
    rewrite(tmp_path / "gateway.yaml", TEXT.format(port=8081))
    with caplog.at_level(logging.INFO):
        assert await reloader.reload()
    assert "where the gateway listens, or how it asks for certificates there, is another" in caplog.text
    assert "server.management" not in caplog.text


async def test_a_changed_file_is_noticed(file: SettingsFile, tmp_path: Path) -> None:
    adopted: asyncio.Queue[Settings] = asyncio.Queue()
    watch = asyncio.create_task(Reloader(file, file.read()[0], adopted.put_nowait).watch(0.001))
    rewrite(tmp_path / "policy.yaml", "limits: {entries: 5}\n")
    assert (await asyncio.wait_for(adopted.get(), 10)).policy.limits.entries == 5
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch
