"""The servers that are measured, each one process on loopback, and the nginx stub that plays the FHIR server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.material import ISSUER, Tokens, observation, searchset

_NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx-{port}.pid; error_log {folder}/nginx-{port}.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off; default_type application/fhir+json; keepalive_requests 1000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/b{port}; proxy_temp_path {folder}/p{port}; fastcgi_temp_path {folder}/f{port};
  uwsgi_temp_path {folder}/u{port}; scgi_temp_path {folder}/s{port};
  {http}
  server {{ listen 127.0.0.1:{port}; {server} }}
}}
"""
_STUB = """
  location = /fhir/metadata {{ alias {folder}/metadata.json; }}
  location = /fhir/Observation/o1 {{ add_header ETag 'W/"1"'; alias {folder}/read.json; }}
  location = /fhir/Observation {{ alias {folder}/small.json; }}
  location = /fhir/Condition {{ alias {folder}/large.json; }}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """One running process: what to measure, and where."""

    name: str
    port: int
    pid: int


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(name: str, port: int, command: list[str], environment: dict[str, str] | None = None) -> Iterator[Server]:
    """Starts ``command`` and waits until it listens; ends it at the end."""
    process = subprocess.Popen(command, env=os.environ | (environment or {}), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _wait(process, port, name)
        yield Server(name, port, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    for _ in range(200):
        if process.poll() is not None:
            assert process.stderr is not None
            raise SystemExit(f"{name} ended at once: {process.stderr.read().decode(errors='replace')[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{name} does not listen on {port}")


def stub(folder: Path, port: int) -> list[str]:
    """nginx with three fixed answers: a read, a searchset of 2 kB, one of 50 kB (asked as Condition, so that both are told apart)."""
    large = searchset(27)
    for entry in large["entry"]:
        entry["resource"]["resourceType"] = "Condition"
        entry["fullUrl"] = entry["fullUrl"].replace("Observation", "Condition")
    statement = {"resourceType": "CapabilityStatement", "status": "active", "fhirVersion": "4.0.1", "rest": []}
    for name, content in (("read", observation("o1")), ("small", searchset(1)), ("large", large), ("metadata", statement)):
        (folder / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")))
    return _nginx(folder, port, "", _STUB.format(folder=folder))


def nginx_proxy(folder: Path, port: int, upstream: int) -> list[str]:
    """nginx ``proxy_pass`` with a keep-alive pool."""
    http = f"upstream stub {{ server 127.0.0.1:{upstream}; keepalive 32; }}"
    server = 'location / { proxy_pass http://stub; proxy_http_version 1.1; proxy_set_header Connection ""; }'
    return _nginx(folder, port, http, server)


def _nginx(folder: Path, port: int, http: str, server: str) -> list[str]:
    path = folder / f"nginx-{port}.conf"
    path.write_text(_NGINX.format(folder=folder, port=port, http=http, server=server))
    return ["nginx", "-c", str(path), "-p", str(folder)]


def gateway(folder: Path, port: int, upstream: int, tokens: Tokens) -> list[str]:
    """``smart-gateway serve`` with its decision log on, into a file."""
    path = folder / "gateway.yaml"
    path.write_text(
        f"server: {{listen: '127.0.0.1:{port}', public_url: 'http://127.0.0.1:{port}/fhir'}}\n"
        f"upstream: {{url: 'http://127.0.0.1:{upstream}/fhir', fhir_version: R4}}\n"
        f"issuers: [{{issuer: '{ISSUER}', jwks_file: '{tokens.jwks}'}}]\n"
    )
    return [sys.executable, "-m", "smart_gateway", "serve", "--config", str(path)]


def uvicorn(app: str, port: int) -> list[str]:
    """An app of ``benchmarks.apps`` on the same server, event loop and HTTP parser as the gateway."""
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning", "--loop", "uvloop"]
    return [sys.executable, "-m", "uvicorn", f"benchmarks.apps:{app}", "--http", "httptools", "--factory", *options]
