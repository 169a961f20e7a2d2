"""``server.listeners`` and ``policy.clients.NAME.certificates``: what is built of them, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smart_gateway.gateway.callers.listeners import Choice, Choices, Listener
from smart_gateway.settings.building.listeners import build_doors
from smart_gateway.settings.building.snapshot import build
from tests.settings.test_credentials import findings, load
from tests.support.certificates import authority
from tests.support.deciding import scopes

OPEN = {"name": "open", "listen": "127.0.0.1:8081"}
HEADER = {"client_certificate_header": {"format": "nginx"}, "trusted_proxies": ["10.0.0.0/8"]}


def server(*listeners: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"server": {"listeners": list(listeners), **more}}


def secure(folder: Path, **more: Any) -> dict[str, Any]:
    root = authority()
    root.issue("Server").write(folder, "server")
    (folder / "ca.pem").write_bytes(root.pem)
    tls = {"certificate": "server.pem", "key": "server.key", "client_ca": "ca.pem", "client_certificates": "optional"}
    return {"name": "secure", "listen": "127.0.0.1:8443", "tls": tls, **more}


def test_listeners_are_built_as_they_are_said(tmp_path: Path) -> None:
    strict = {"certificate": {"missing": "reject", "unknown": "limit"}, "token": {"missing": "ignore", "unknown": "limit"}}
    said = server(OPEN, secure(tmp_path, **strict, limit=["system/Observation.rs"]))
    assert findings(tmp_path, **said) == {}
    settings = load(tmp_path, **said)
    assert [(door.name, str(door.address), door.tls is not None) for door in build_doors(settings)] == [
        ("open", "127.0.0.1:8081", False),
        ("secure", "127.0.0.1:8443", True),
    ]
    held = build(settings, recording=False).snapshot.listeners
    assert held.of({"smart_gateway.listener": "open"}) == Listener(
        "open", Choices(Choice.IGNORE, Choice.REJECT), Choices(Choice.LIMIT, Choice.REJECT)
    )
    assert held.of({"smart_gateway.listener": "secure"}) == Listener(
        "secure",
        Choices(Choice.REJECT, Choice.LIMIT),
        Choices(Choice.IGNORE, Choice.LIMIT),
        scopes("system/Observation.rs"),
    )
    assert held.of({}).token == Choices(Choice.REJECT, Choice.REJECT)


def test_without_listeners_there_is_the_one(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert [(door.name, str(door.address)) for door in build_doors(settings)] == [("", "127.0.0.1:8080")]
    assert build(settings, recording=False).snapshot.listeners.of({}) == Listener()


def test_beside_listeners_the_one_is_there_only_where_it_is_said(tmp_path: Path) -> None:
    settings = load(tmp_path, **server(OPEN, listen="127.0.0.1:8082"))
    assert [door.name for door in build_doors(settings)] == ["", "open"]
    assert build(settings, recording=False).snapshot.listeners.of({"smart_gateway.listener": ""}) == Listener()


def test_files_of_listeners_are_watched(tmp_path: Path) -> None:
    from smart_gateway.settings.loading import examine

    load(tmp_path, **server(secure(tmp_path)))
    assert {"server.pem", "server.key", "ca.pem"} <= {path.name for path in examine(tmp_path / "gateway.yaml", {"S": "x" * 40}).files}


@pytest.mark.parametrize(
    ("sections", "key", "says"),
    [
        (server(), "server.listeners", "must not be empty"),
        (server({"listen": "127.0.0.1:1"}), "server.listeners[0].name", "is missing"),
        (server({**OPEN, "name": "a b"}), "server.listeners[0].name", "must be a name"),
        (server(OPEN, {**OPEN, "listen": "127.0.0.1:9"}), "server.listeners[1].name", "is there already"),
        (server(OPEN, {**OPEN, "name": "b"}), "server.listeners[1].listen", "is there already"),
        (server(OPEN, listen="127.0.0.1:8081"), "server.listeners[0].listen", "is there already"),
        (server(OPEN, management="127.0.0.1:8081"), "server.listeners[0].listen", "another address than server.management"),
        (server({**OPEN, "certificate": {"missing": "reject"}}), "server.listeners[0].certificate.missing", "lets nobody in"),
        (server({**OPEN, "certificate": {"missing": "allow"}}), "server.listeners[0].certificate.missing", "must be reject"),
        (server({**OPEN, "token": {"absent": "reject"}}), "server.listeners[0].token.absent", "unknown key"),
        (server({**OPEN, "limit": "everything"}), "server.listeners[0].limit", "must be public"),
        (server({**OPEN, "limit": []}), "server.listeners[0].limit", "warning: is empty"),
        (server({**OPEN, "limit": ["system/Observatin.rs"]}), "server.listeners[0].limit[0]", "no resource type"),
        (server({**OPEN, "tls": {"certificate": "no.pem", "key": "no.key"}}), "server.listeners[0].tls.certificate", "cannot be read"),
        (server(OPEN, tls={"certificate": "no.pem", "key": "no.key"}), "server.tls", "has no effect"),
    ],
)
def test_what_cannot_be_meant_of_listeners(tmp_path: Path, sections: dict[str, Any], key: str, says: str) -> None:
    found = findings(tmp_path, **sections)
    assert says in found.get(key, ""), found


def test_certificates_that_a_terminator_tells_can_be_required(tmp_path: Path) -> None:
    assert findings(tmp_path, **server({**OPEN, "certificate": {"missing": "reject"}}, **HEADER)) == {}


FINGERPRINT = ":".join(["aB"] * 32)


def clients(*certificates: Any, name: str = "lab") -> dict[str, Any]:
    return {"policy": {"clients": {name: {"certificates": list(certificates)}}}}


@pytest.mark.parametrize(
    ("sections", "key", "says"),
    [
        (clients({}), "policy.clients.lab.certificates[0]", "needs sha256, subject or dns"),
        (clients(), "policy.clients.lab.certificates", "must not be empty"),
        (clients({"sha256": "abc"}), "policy.clients.lab.certificates[0].sha256", "64 hexadecimal"),
        (clients({"sha1": "abc"}), "policy.clients.lab.certificates[0].sha1", "unknown key"),
        (clients({"dns": "a"}, {"dns": "a"}), "policy.clients.lab.certificates[1]", "is there already"),
        (clients({"dns": "a"}, name="*"), "policy.clients.*.certificates[0]", "names no client"),
    ],
)
def test_what_cannot_be_meant_of_certificates(tmp_path: Path, sections: dict[str, Any], key: str, says: str) -> None:
    found = findings(tmp_path, **sections)
    assert says in found.get(key, ""), found


def test_fingerprints_are_read_as_openssl_writes_them(tmp_path: Path) -> None:
    settings = load(tmp_path, **clients({"sha256": FINGERPRINT}, {"subject": "CN=Lab", "dns": "lab.example"}))
    assert settings.policy.clients is not None
    one, other = settings.policy.clients["lab"].certificates or ()
    assert (one.fingerprint, other.fingerprint) == ("ab" * 32, None)
