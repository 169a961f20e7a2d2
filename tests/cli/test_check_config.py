"""check-config: everything that serve would refuse, and with --online what the network says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.cli import main
from tests.support.issuer import ScriptedIssuer, serve

GOOD = """server: {public_url: https://fhir.example.org/fhir, sealing: {keys: [{from_env: SEAL}]}}
upstream: {url: "%s", fhir_version: R4}
issuers: [{issuer: "%s"}]
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAL", "0123456789012345678901234567890123456789")


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    return str(path)


def test_good_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD % ("http://127.0.0.1:8090/fhir", "https://idp.example.org"))
    assert main(["check-config", path]) == 0
    assert capsys.readouterr() == (f"{path}: can be served\n", "")


def test_bad_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "server: {managment: x}\nupstream: {fhir_version: r5}\n")
    assert main(["check-config", path]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}:1:1: error: issuers: is missing"
    assert f'{path}:1:10: error: server.managment: unknown key; did you mean "management"?' in lines
    assert f'{path}:2:26: error: upstream.fhir_version: must be R4, R4B or R5; did you mean "R5"?' in lines
    assert lines[-1] == f"{path}: is refused"


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD % ("http://127.0.0.1:8090/fhir", "https://idp.example.org") + "nonsense: 1\n")
    assert main(["check-config", path, "--format", "json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["valid"], shown["files"]) == (False, [path])
    assert [(f["line"], f["column"], f["key"], f["severity"]) for f in shown["findings"]] == [(4, 1, "nonsense", "error")]


def test_options_and_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD % ("http://127.0.0.1:8090/fhir", "https://idp.example.org"))
    monkeypatch.setenv("SMART_GATEWAY_CONFIG", path)
    assert main(["check-config"]) == 0
    assert main(["check-config", "--set", "upstream.url=nonsense"]) == 1
    assert "--set upstream.url: error: upstream.url: must be an absolute http or https URL" in capsys.readouterr().out


def test_middleware_needs_no_upstream(tmp_path: Path) -> None:
    path = written(tmp_path, (GOOD % ("x", "https://idp.example.org")).replace('url: "x", ', ""))
    assert main(["check-config", path]) == 1
    assert main(["check-config", path, "--middleware"]) == 0
    assert main(["check-config", path, "--middleware", "--set", "issuers.0.jwks_file=none.json"]) == 1


@contextmanager
def upstream(status: int, document: Any) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(document).encode()
            self.send_response(status if self.path == "/fhir/metadata" else 404)
            self.send_header("content-type", "application/fhir+json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/fhir"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def statement(version: Any) -> dict[str, Any]:
    resource = {"type": "Patient", "interaction": [{"code": "read"}], "searchParam": [{"name": "family", "type": "string"}]}
    return {"resourceType": "CapabilityStatement", "fhirVersion": version, "rest": [{"mode": "server", "resource": [resource]}]}


def test_online_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(ScriptedIssuer()) as issuer, upstream(200, statement("4.0.1")) as url:
        path = written(tmp_path, GOOD % (url, issuer.issuer))
        assert main(["check-config", path, "--online"]) == 0
    assert capsys.readouterr().out == f"{path}: can be served\n"


@pytest.mark.parametrize(
    ("status", "document", "says"),
    [
        (200, statement("5.0.0"), "error: upstream.fhir_version: R4 is FHIR 4.0.1; the upstream says that it is 5.0.0"),
        (200, statement("\x1b[31m"), "the upstream says that it is unknown"),
        (200, statement(4), "the upstream says that it is unknown"),
        (200, [], "the upstream says that it is unknown"),
        (404, {}, "upstream.url: its metadata cannot be had: it answered 404 for its metadata"),
    ],
)
def test_online_the_upstream_is_another(tmp_path: Path, status: int, document: Any, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(ScriptedIssuer()) as issuer, upstream(status, document) as url:
        path = written(tmp_path, GOOD % (url, issuer.issuer))
        assert main(["check-config", path, "--online"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{path}:2:")
    assert says in lines[0]


def test_online_an_issuer_without_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(ScriptedIssuer(published=[])) as issuer, upstream(200, statement("4.0.1")) as url:
        path = written(tmp_path, GOOD % (url, issuer.issuer))
        assert main(["check-config", path, "--online"]) == 1
    assert (
        capsys.readouterr().out.splitlines()[0]
        == f"{path}:3:20: error: issuers[0].issuer: its keys cannot be had, or none of them can be used"
    )


def test_online_as_middleware_asks_no_upstream(tmp_path: Path) -> None:
    with serve(ScriptedIssuer()) as issuer:
        path = written(tmp_path, (GOOD % ("x", issuer.issuer)).replace('url: "x", ', ""))
        assert main(["check-config", path, "--online", "--middleware"]) == 0


@pytest.mark.parametrize(
    ("text", "told"), [("clients: {app: {}}", True), ("clients: {app: {}}\nserver: {}", False), ("nonsense: 1", False)]
)
def test_a_policy_alone_is_told_from_broken_settings(text: str, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", written(tmp_path, text), "--format", "json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["valid"] is False
    assert err.startswith("This is a policy alone") == told
