"""Scopes filtered by a value set that HAPI expands: search, read and write alike."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.app import App, MakeApp, ids, refused
from tests.integration.records import LABS, LOINC, VITALS
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.support.issuer import AUDIENCE, ScriptedIssuer, serve

SET, UNKNOWN = "http://example.org/ValueSet/glucose", "http://example.org/ValueSet/never-was"
LABORATORY = {f"Observation/lab-{n}-chart-a" for n in range(LABS)}
VITAL = {f"Observation/vital-{n}-chart-a" for n in range(VITALS)}


@pytest.fixture(scope="module")
def issuer() -> Iterator[ScriptedIssuer]:
    with serve(ScriptedIssuer()) as running:
        yield running


@pytest.fixture(scope="module")
def expanding(hapi: Hapi, gateways: StartGateway, issuer: ScriptedIssuer) -> Gateway:
    include = {"system": LOINC, "concept": [{"code": "2339-0"}]}
    value_set = {"resourceType": "ValueSet", "id": "glucose", "url": SET, "status": "active", "compose": {"include": [include]}}
    entry = {"resource": value_set, "request": {"method": "PUT", "url": "ValueSet/glucose"}}
    hapi.put({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    trusted = {"issuer": issuer.issuer, "jwks_uri": issuer.jwks_uri, "audiences": [AUDIENCE], "algorithms": ["RS256", "ES256"]}
    sets = {"from_upstream": [SET, UNKNOWN]}
    gateway = gateways({"upstream": {"url": hapi.base, "fhir_version": "R4"}, "issuers": [trusted], "policy": {"value_sets": sets}})
    headers = {"authorization": f"Bearer {token(issuer, f'patient/Observation.rs?code:in={SET}')}"}
    deadline = time.monotonic() + 30
    while httpx.get(f"{gateway.base}/Observation?_count=1", headers=headers, trust_env=False).status_code != 200:
        assert time.monotonic() < deadline, "the value set was not had"
    return gateway


def token(issuer: ScriptedIssuer, *scopes: str) -> str:
    return issuer.token(None, {"typ": "JWT"}, time.time(), AUDIENCE, scope=" ".join(scopes), patient="pat-a")


def test_a_scope_by_a_value_set_opens_what_the_set_holds(expanding: Gateway, issuer: ScriptedIssuer, app: MakeApp) -> None:
    inside = app(token(issuer, f"patient/Observation.rs?code:in={SET}"), sees="a", at=expanding)
    assert set(ids(inside.get("/Observation?_count=50"))) == LABORATORY
    assert ids(inside.get("/Observation?code=8867-4")) == []
    for target in LABORATORY | VITAL:
        assert inside.get(f"/{target}").status_code == (200 if target in LABORATORY else 404), target


def test_and_its_opposite_the_rest(expanding: Gateway, issuer: ScriptedIssuer, app: MakeApp) -> None:
    outside = app(token(issuer, f"patient/Observation.rs?code:not-in={SET}"), sees="a", at=expanding)
    assert set(ids(outside.get("/Observation?_count=50"))) == VITAL
    for target in LABORATORY | VITAL:
        assert outside.get(f"/{target}").status_code == (200 if target in VITAL else 404), target


def test_a_set_that_the_server_cannot_expand_opens_nothing(expanding: Gateway, issuer: ScriptedIssuer, app: MakeApp) -> None:
    for name in (UNKNOWN, "http://example.org/ValueSet/never-listed"):
        for modifier in ("in", "not-in"):
            closed: App = app(token(issuer, f"patient/Observation.rs?code:{modifier}={name}"), at=expanding)
            refused(closed.get("/Observation"), 403, "insufficient-scope")


def test_the_clients_own_value_set_is_the_servers_to_answer(expanding: Gateway, issuer: ScriptedIssuer, app: MakeApp) -> None:
    amy = app(token(issuer, "patient/Observation.rs"), sees="a", at=expanding)
    assert set(ids(amy.get(f"/Observation?code:in={SET}&_count=50"))) == LABORATORY
    refused(amy.get("/Observation?code:in=Patient/pat-b"), 400, "malformed-parameter")
