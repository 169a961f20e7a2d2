"""Gateways of several tenants before scripted FHIR servers: settings in a real file, issuers with keys of their own, a log for each."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import smart_gateway.app
from smart_gateway import Tenants, load_settings
from smart_gateway.app import Patterns
from smart_gateway.settings.model import Settings
from tests.support.asgi import Asked, Reply, ScriptedUpstream
from tests.support.issuer import ScriptedIssuer, make_key

CALM = Patterns(first=60.0, most=60.0, refresh=60.0)
NORTH, SOUTH = ScriptedIssuer("https://north.example.org"), ScriptedIssuer("https://south.example.org", [make_key("RS256", "key-2")])
BASES = {"north": "https://fhir.example.org/fhir/north", "south": "https://south.example.org/fhir"}
SEAL = "0123456789012345678901234567890123456789"
SHARED = "https://one-audience.example.org"


def record(name: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "123", "name": [{"family": f"of-{name}"}]}


def page(name: str, base: str) -> Reply:
    entries = [{"fullUrl": f"{base}/Patient/123", "resource": record(name), "search": {"mode": "match"}}]
    links = [{"relation": "next", "url": f"{base}?_getpages=abc&_count=1"}]
    return Reply(200, {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries})


class House:
    """The FHIR servers of the tenants, by the URL of each, and the settings file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "gateway.yaml"
        self.folder = folder
        self.servers: dict[str, ScriptedUpstream] = {}
        for issuer, name in ((NORTH, "north"), (SOUTH, "south")):
            (folder / f"{name}.json").write_text(json.dumps(issuer.jwks()))

    def tenant(self, name: str, issuer: ScriptedIssuer | None = None, **more: Any) -> dict[str, Any]:
        where = {"host": "south.example.org"} if name == "south" else {"path": f"/{name}"}
        issuer = issuer or (SOUTH if name == "south" else NORTH)
        keys = "south.json" if issuer is SOUTH else "north.json"
        sinks = {"audit": {"sinks": [{"file": f"{name}.ndjson"}]}}
        return {
            "name": name,
            **where,
            "upstream": {"url": f"http://127.0.0.1:9/{name}", "fhir_version": "R4"},
            "issuers": [{"issuer": issuer.issuer, "jwks_file": keys, **more.pop("issuer_keys", {})}],
            "policy": {**sinks, **more.pop("policy", {})},
            **more,
        }

    def write(self, *tenants: Mapping[str, Any], **server: Any) -> None:
        said = {"public_url": "https://fhir.example.org/fhir", "sealing": {"keys": [SEAL]}, **server}
        other = self.file.with_suffix(".new")
        other.write_text(yaml.safe_dump({"server": said, "tenants": list(tenants)}))
        other.replace(self.file)

    def load(self, *tenants: Mapping[str, Any], **server: Any) -> Settings:
        self.write(*tenants, **server)
        return load_settings(self.file, environment={})

    def server(self, settings: Settings) -> Any:
        url = settings.upstream.url or ""
        name = url.rpartition("/")[2]
        base = smart_gateway.app.urlsplit(settings.server.public_url).path
        if name not in self.servers:
            made = self.servers[name] = ScriptedUpstream(record(name), base=base)
            made.replies["GET /Patient"] = page(name, url)
        return self.servers[name]

    def asked(self, name: str) -> list[Asked]:
        return [asked for asked in self.servers[name].asked if asked.path != "/metadata"]

    def events(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.ndjson"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Lines(list[bytes]):
    """A sink of the process."""

    def write(self, line: bytes) -> int:
        self.append(line)
        return len(line)


@asynccontextmanager
async def serving(settings: Settings, sink: Lines | None = None, **more: Any) -> AsyncIterator[Tenants]:
    app = Tenants(settings, patterns=CALM, sink=Lines() if sink is None else sink, **more)
    try:
        yield app
    finally:
        await app.aclose()


def token(at: str, issuer: ScriptedIssuer, scope: str = "patient/Patient.rs", **claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {issuer.token(now=time.time(), audience=at, scope=scope, **claims)}"}


async def ask(
    app: Any, url: str, headers: Mapping[str, str] | None = None, method: str = "GET", client: str = "192.0.2.7"
) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app, client=(client, 1))) as asking:
        return await asking.request(method, url, headers=dict(headers or {}))


def built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house whose gateways ask its servers instead of addresses."""
    made = House(folder)
    monkeypatch.setattr(smart_gateway.app, "proxy_to", made.server)
    return made
