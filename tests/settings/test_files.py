"""Names of files that no file can have, wherever the settings take one: a finding each, and never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from smart_gateway.errors import SettingsError
from smart_gateway.settings.files import is_file_name, read_named
from smart_gateway.settings.loading import examine
from smart_gateway.settings.reloading import SettingsFile

NAME = "a\0b"
TLS = {"certificate": NAME, "key": NAME}
ASKING = {"client_id": "g", "key_file": NAME}
PLACES: list[tuple[str, dict[str, Any]]] = [
    ("issuers[0].jwks_file", {"issuers": [{"issuer": "https://idp.example.org", "jwks_file": NAME}]}),
    (
        "issuers[0].introspection.key_file",
        {
            "issuers": [
                {"issuer": "https://idp.example.org", "mode": "introspection", "introspection": {"client_id": "g", "key_file": NAME}}
            ]
        },
    ),
    ("revocation.file", {"revocation": {"file": NAME}}),
    ("", {"policy": NAME}),
    ("policy.value_sets.files[0]", {"policy": {"value_sets": {"files": [NAME]}}}),
    ("policy.audit.sinks[0].file", {"policy": {"audit": {"sinks": [{"file": NAME}]}}}),
    ("policy.udap.anchors", {"policy": {"udap": {"anchors": [NAME]}}}),
    ("server.tls.certificate", {"server": {"tls": TLS}}),
    ("server.tls.client_ca", {"server": {"tls": {"certificate": "c", "key": "k", "client_ca": NAME, "client_certificates": "optional"}}}),
    ("server.listeners[0].tls.key", {"server": {"listeners": [{"name": "a", "listen": "127.0.0.1:1", "tls": TLS}]}}),
    ("upstream.authorization.bearer", {"upstream": {"authorization": {"bearer": {"from_file": NAME}}}}),
    ("upstream.authorization.client_credentials.key_file", {"upstream": {"authorization": {"client_credentials": {"key_file": NAME}}}}),
    ("upstream.identity_headers.key_file", {"upstream": {"identity_headers": {"assertion": "X-Who", "key_file": NAME}}}),
]


def written(folder: Path, sections: dict[str, Any]) -> Path:
    content: dict[str, Any] = {
        "server": {"public_url": "https://fhir.example.org/fhir"},
        "upstream": {"url": "http://127.0.0.1:8090/fhir", "fhir_version": "R4"},
        "issuers": [{"issuer": "https://idp.example.org"}],
    }
    for name, section in sections.items():
        content[name] = {**content[name], **section} if isinstance(content.get(name), dict) else section
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(("key", "sections"), PLACES, ids=[key for key, _ in PLACES])
def test_a_name_with_a_null_character_is_refused_where_it_stands(tmp_path: Path, key: str, sections: dict[str, Any]) -> None:
    found = {finding.key: finding.text for finding in examine(written(tmp_path, sections), {}, proxying=True).findings}
    assert "not a file name" in found[key], found


async def test_such_a_name_does_not_end_the_watch_for_changes(tmp_path: Path) -> None:
    path = written(tmp_path, {})
    file = SettingsFile(path, {})
    file.read()
    written(tmp_path, {"policy": NAME})
    assert file.changed()
    with pytest.raises(SettingsError):
        file.read()
    assert not file.changed()


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 1024)
    assert len(read_named(path, "f", 1024)) == 1024
    path.write_bytes(b"x" * 1025)
    with pytest.raises(SettingsError) as refused:
        read_named(path, "f", 1024)
    assert refused.value.text == "the file f is larger than 1 KiB"
    for other in (tmp_path, tmp_path / "none", Path(NAME), Path("\ud800")):
        with pytest.raises(SettingsError, match="the file f cannot be read: "):
            read_named(other, "f", 1024)


def test_what_is_a_file_name() -> None:
    assert [is_file_name(name) for name in ("a", "ä", NAME, "\ud800")] == [True, True, False, False]
