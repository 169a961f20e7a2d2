"""Real TLS terminators in front of a gateway: nginx, Envoy, Traefik, each as docs/tokens.md says to set it up."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.integration.servers.machine import Running, free_port, start


@dataclass(frozen=True, slots=True)
class Files:
    """What a terminator speaks TLS with: its certificate and key, and the authorities of clients."""

    certificate: Path
    key: Path
    client_ca: Path


@dataclass(frozen=True, slots=True)
class Terminating:
    """A running terminator: ``origin`` is where clients reach it."""

    origin: str
    running: Running


def find(command: str) -> str:
    """The program; the test is skipped without it, but for CI, which must have it."""
    found = shutil.which(command, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None and os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"CI must run the terminators, and this machine has no {command}")
    if found is None:
        pytest.skip(f"needs {command} (Debian's nginx; pip install -e .[terminators])")
    return found


def start_nginx(work: Path, files: Files, port: int, gateway: str) -> Running:
    """nginx with ``$ssl_client_escaped_cert``. ``gateway`` is host:port."""
    (work / "nginx.conf").write_text(f"""
        daemon off; pid {work}/pid; error_log stderr warn; worker_processes 1; user root;
        events {{}}
        http {{
            access_log off; client_body_temp_path {work}/body; proxy_temp_path {work}/proxy;
            fastcgi_temp_path {work}/a; uwsgi_temp_path {work}/b; scgi_temp_path {work}/c;
            server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {files.certificate}; ssl_certificate_key {files.key};
                ssl_client_certificate {files.client_ca}; ssl_verify_client optional;
                location / {{
                    proxy_pass http://{gateway};
                    proxy_http_version 1.1;
                    proxy_set_header Host $http_host;
                    proxy_set_header X-Forwarded-For $remote_addr;
                    proxy_set_header ssl-client-cert $ssl_client_escaped_cert;
                }}
            }}
        }}""")
    return start([find("nginx"), "-p", work, "-c", work / "nginx.conf"], log=work / "log")


def start_envoy(work: Path, files: Files, port: int, gateway: str) -> Running:
    """Envoy with ``forward_client_cert_details: SANITIZE_SET``."""
    return _start_envoy(work, files, port, gateway, "SANITIZE_SET")


def start_appending_envoy(work: Path, files: Files, port: int, gateway: str) -> Running:
    """Envoy set up as it must not be: what the client says stands before what Envoy knows."""
    return _start_envoy(work, files, port, gateway, "APPEND_FORWARD")


def _start_envoy(work: Path, files: Files, port: int, gateway: str, details: str) -> Running:
    context = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": False,
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": {"filename": str(files.certificate)}, "private_key": {"filename": str(files.key)}}],
            "validation_context": {"trusted_ca": {"filename": str(files.client_ca)}},
        },
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "use_remote_address": True,
        "forward_client_cert_details": details,
        "set_current_client_cert_details": {"cert": True, "subject": True, "dns": True, "uri": True, "chain": True},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "gateway"}}]}]
        },
    }
    listener = {
        "address": _socket(f"127.0.0.1:{port}"),
        "filter_chains": [
            {
                "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
            }
        ],
    }
    endpoint = {"endpoint": {"address": _socket(gateway)}}
    assignment = {"cluster_name": "gateway", "endpoints": [{"lb_endpoints": [endpoint]}]}
    cluster = {"name": "gateway", "connect_timeout": "5s", "type": "STATIC", "load_assignment": assignment}
    config = work / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    options = ["--use-dynamic-base-id", "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    return start([find("envoy"), "-c", config, *options], log=work / "log")


def _socket(address: str) -> dict[str, object]:
    host, _, port = address.partition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def start_traefik(work: Path, files: Files, port: int, gateway: str) -> Running:
    """Traefik with ``passTLSClientCert``; its files are JSON, which is YAML too."""
    dynamic = {
        "tls": {
            "certificates": [{"certFile": str(files.certificate), "keyFile": str(files.key)}],
            "options": {"default": {"clientAuth": {"caFiles": [str(files.client_ca)], "clientAuthType": "VerifyClientCertIfGiven"}}},
        },
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "gateway", "middlewares": ["cert"], "tls": {}}},
            "middlewares": {"cert": {"passTLSClientCert": {"pem": True}}},
            "services": {"gateway": {"loadBalancer": {"servers": [{"url": f"http://{gateway}"}]}}},
        },
    }
    (work / "dynamic.yaml").write_text(json.dumps(dynamic))
    (work / "traefik.yaml").write_text(
        json.dumps(
            {
                "entryPoints": {"main": {"address": f"127.0.0.1:{port}"}},
                "providers": {"file": {"filename": str(work / "dynamic.yaml"), "watch": False}},
                "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
                "log": {"level": "WARN"},
            }
        )
    )
    return start([find("traefik"), f"--configFile={work / 'traefik.yaml'}"], log=work / "log")


Start = Callable[[Path, Files, int, str], Running]


def terminate(start_one: Start, work: Path, files: Files, gateway: str, trusted: ssl.SSLContext) -> Terminating:
    """Starts a terminator in front of ``gateway`` (host:port) and waits until it passes requests on."""
    work.mkdir(parents=True)
    origin = f"https://127.0.0.1:{(port := free_port())}"
    running = start_one(work, files, port, gateway)
    running.wait_until(lambda: _passes(origin, trusted), 60)
    return Terminating(origin, running)


def _passes(origin: str, trusted: ssl.SSLContext) -> bool:
    try:
        return httpx.get(f"{origin}/fhir/.well-known/oauth-protected-resource", verify=trusted, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
