"""``server.explain``: off unless it is said, and nowhere but on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from smart_gateway.settings.findings import Severity
from smart_gateway.settings.loading import examine, load_settings
from tests.settings.test_refusals import ENVIRONMENT, server


def write(directory: Path, keys: str) -> Path:
    file = directory / "gateway.yaml"
    file.write_text(server(keys))
    return file


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("explain: true", "needs server.management"),
        ("explain: true\n  management: 0.0.0.0:9090", "loopback address"),
        ("explain: true\n  management: '[::]:9090'", "loopback address"),
        ("explain: true\n  management: 10.0.0.7:9090", "loopback address"),
        ("explain: true\n  management: gateway.internal:9090", "loopback address"),
        ("explain: 1\n  management: 127.0.0.1:9090", ""),
        ("explain: 'true'\n  management: 127.0.0.1:9090", ""),
        ("explain:\n  management: 127.0.0.1:9090", ""),
    ],
)
def test_elsewhere_it_is_refused(tmp_path: Path, keys: str, says: str) -> None:
    errors = [one for one in examine(write(tmp_path, keys), ENVIRONMENT, proxying=True).findings if one.severity is Severity.ERROR]
    assert [error.key for error in errors] == ["server.explain"]
    assert says in errors[0].text
    assert errors[0].place.line == 4


@pytest.mark.parametrize("address", ["127.0.0.1:9090", "'[::1]:9090'", "localhost:9090", "127.8.8.8:9090"])
def test_here_it_may_be(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAL", ENVIRONMENT["SEAL"])
    assert load_settings(write(tmp_path, f"explain: true\n  management: {address}")).server.explain
    assert not load_settings(write(tmp_path, f"management: {address}")).server.explain
