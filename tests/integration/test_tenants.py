"""Two tenants of one real gateway in front of real HAPI: each with its own issuer, policy and address."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.app import MakeApp, ids, link, refused
from tests.integration.records import EVERYBODY
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.support.issuer import ScriptedIssuer, make_key, serve


@dataclass(frozen=True, slots=True)
class Both:
    """The gateway, the base of each tenant, and what signs tokens for each."""

    gateway: Gateway
    bases: dict[str, str]
    issuers: dict[str, ScriptedIssuer]

    def token(self, name: str, scope: str = "user/*.rs", **claims: Any) -> str:
        said = {"fhirUser": "Practitioner/doc", "patient": ..., **claims}
        audience = said.pop("audience", self.bases[name])
        return self.issuers[name].token(None, None, time.time(), audience, scope=scope, **said)

    def at(self, name: str) -> Gateway:
        """The tenant as if it were a gateway by itself."""
        return replace(self.gateway, base=self.bases[name])


@pytest.fixture(scope="module")
def issuers() -> Iterator[dict[str, ScriptedIssuer]]:
    with serve(ScriptedIssuer(keys=[make_key("RS256", "n")])) as north, serve(ScriptedIssuer(keys=[make_key("RS256", "s")])) as south:
        yield {"north": north, "south": south}


def tenant(name: str, hapi: Hapi, issuer: ScriptedIssuer, **more: Any) -> dict[str, Any]:
    trusted = {"issuer": issuer.issuer, "jwks_uri": issuer.jwks_uri, "algorithms": ["RS256"]}
    return {"name": name, "path": f"/{name}", "upstream": {"url": hapi.base, "fhir_version": "R4"}, "issuers": [trusted], **more}


@pytest.fixture(scope="module")
def both(gateways: StartGateway, hapi: Hapi, issuers: dict[str, ScriptedIssuer]) -> Both:
    server = {"sealing": {"keys": ["k" * 40]}}
    south = tenant("south", hapi, issuers["south"], policy={"clients": {"*": {"limit": ["user/Patient.rs"]}}})
    gateway = gateways({"server": server, "tenants": [tenant("north", hapi, issuers["north"]), south]})
    return Both(gateway, {name: f"{gateway.base}/{name}" for name in ("north", "south")}, issuers)


def test_each_tenant_answers_its_own_tokens_by_its_own_policy(both: Both, app: MakeApp) -> None:
    north, south = (app(both.token(name), at=both.at(name), sees=EVERYBODY) for name in ("north", "south"))
    assert north.get("/Patient/pat-a").json()["id"] == "pat-a"
    assert south.get("/Patient/pat-a").json()["id"] == "pat-a"
    assert north.get("/Observation?patient=Patient/pat-a&_count=2").status_code == 200
    refused(south.get("/Observation?patient=Patient/pat-a&_count=2"), 403)


def test_a_token_of_one_opens_nothing_at_the_other(both: Both, app: MakeApp) -> None:
    for home, other in (("north", "south"), ("south", "north")):
        for audience in (both.bases[home], both.bases[other]):
            token = both.token(home, audience=audience)
            refused(app(token, at=both.at(other)).get("/Patient/pat-a"), 401)


def test_a_page_of_one_opens_nothing_at_the_other(both: Both, app: MakeApp) -> None:
    north, south = (app(both.token(name, "user/Patient.rs"), at=both.at(name), sees=EVERYBODY) for name in ("north", "south"))
    found = north.get("/Patient?_count=1")
    assert len(ids(found)) == 1
    following = link(found, "next")
    assert following is not None
    assert north.follow(following).status_code == 200
    refused(south.get(following.removeprefix(both.bases["north"])), 403)


def test_links_and_locations_are_those_of_the_tenant(both: Both, app: MakeApp) -> None:
    found = app(both.token("south"), at=both.at("south"), sees=EVERYBODY).get("/Patient?_count=2")
    text = found.text
    assert both.bases["south"] in text
    assert both.bases["north"] not in text
    statement = httpx.get(f"{both.bases['south']}/metadata", trust_env=False).json()
    assert statement["implementation"]["url"] == both.bases["south"]


@pytest.mark.parametrize("path", ["/fhir", "/fhir/Patient/pat-a", "/fhir/north1/Patient/pat-a", "/fhir/North/Patient/pat-a", "/", "/x"])
def test_what_is_nobodys_is_told_nothing(both: Both, path: str) -> None:
    origin = both.gateway.base.removesuffix("/fhir")
    answer = httpx.get(origin + path, headers={"authorization": f"Bearer {both.token('north')}"}, trust_env=False)
    assert answer.status_code == 404
    assert not [name for name in ("north", "south", "pat-a") if name in answer.text]
    (event,) = both.gateway.events_of(answer.headers["x-request-id"])
    assert (event["code"], event["instance"]) == ("unknown-tenant", None)


@pytest.mark.parametrize("path", ["/../south/Patient/pat-a", "/%2e%2e/south/Patient/pat-a", "//south/Patient/pat-a"])
def test_bytes_that_lead_out_of_a_prefix(both: Both, path: str) -> None:
    with socket.create_connection(both.gateway.address, 10) as connection:
        head = f"GET /fhir/north{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {both.token('south')}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"pat-a" not in answer


def test_the_log_says_whose_request_it_was(both: Both, app: MakeApp) -> None:
    for name in ("north", "south"):
        answer = app(both.token(name), at=both.at(name), sees=EVERYBODY).get("/Patient/pat-a")
        (event,) = both.gateway.events_of(answer.headers["x-request-id"])
        assert (event["instance"], event["tenant"], event["status"]) == (name, None, 200)


def test_health_of_each(both: Both) -> None:
    paths = ("/readyz", "/readyz/north", "/readyz/x")
    statuses = {path: httpx.get(both.gateway.management + path, trust_env=False).status_code for path in paths}
    assert statuses == {"/readyz": 200, "/readyz/north": 200, "/readyz/x": 404}


def test_tenants_by_host_behind_a_reload(gateways: StartGateway, hapi: Hapi, issuers: dict[str, ScriptedIssuer]) -> None:
    """A tenant with a host of its own comes with a reload; a broken file changes nothing and is said with the tenant's name."""
    gateway = gateways({"tenants": [tenant("north", hapi, issuers["north"])]})
    port = gateway.address[1]
    written = yaml.safe_load(gateway.config.read_text())
    hosted = {key: value for key, value in tenant("south", hapi, issuers["south"]).items() if key != "path"} | {"host": "south.example.org"}
    base = f"http://south.example.org:{port}/fhir"
    token = issuers["south"].token(None, None, time.time(), base, scope="user/Patient.rs", fhirUser="Practitioner/doc", patient=...)
    headers = {"authorization": f"Bearer {token}", "host": "South.example.org."}
    url = f"http://127.0.0.1:{port}/fhir/Patient/pat-a"

    def ask() -> int:
        return httpx.get(url, headers=headers, trust_env=False).status_code

    assert ask() == 404
    rewrite(gateway, {**written, "tenants": [*written["tenants"], {**hosted, "policy": {"limits": {"entrys": 1}}}]})
    gateway.running.wait_until(lambda: "tenant south: tenants[1].policy.limits.entrys" in gateway.messages(), 30)
    assert ask() == 404
    rewrite(gateway, {**written, "tenants": [*written["tenants"], hosted]})
    gateway.running.wait_until(lambda: ask() == 200, 30)
    assert httpx.get(url, headers={**headers, "host": "other.example.org"}, trust_env=False).status_code == 404
    forged = {**headers, "host": "other.example.org", "x-forwarded-host": "south.example.org"}
    assert httpx.get(url, headers=forged, trust_env=False).status_code == 404
    rewrite(gateway, written)
    gateway.running.wait_until(lambda: ask() == 404, 30)


def rewrite(gateway: Gateway, settings: dict[str, Any]) -> None:
    other = gateway.config.with_suffix(".new")
    other.write_text(json.dumps(settings))
    other.replace(gateway.config)
