"""``examples/sidecar-hapi-keycloak`` does what its README says: its realm in real Keycloak, its settings, its shell lines word for word."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.app import MakeApp, ids, refused, required_scopes
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.keycloak import Keycloak

EXAMPLE = Path(__file__).parents[2] / "examples" / "sidecar-hapi-keycloak"
WRITTEN = ("Patient/amy", "Patient/ben")
# Bodies go to standard output as the README has them; this line tells each request and its status beside.
TOLD = "curl() { command curl -sS -w '%{stderr}%{method} %{url_effective} %{http_code}\\n' \"$@\"; }\n"


@pytest.fixture(scope="module")
def issuer(keycloak: Keycloak) -> str:
    """The example's realm, under a name that the other tests do not use."""
    return keycloak.import_realm({**json.loads((EXAMPLE / "realm.json").read_text()), "realm": "sidecar"})


@pytest.fixture(scope="module")
def sidecar(issuer: str, hapi: Hapi, gateways: StartGateway) -> Iterator[Gateway]:
    """The example's gateway, only its addresses changed. Whom the README writes is taken back in the end."""
    settings: dict[str, Any] = yaml.safe_load((EXAMPLE / "gateway.yaml").read_text())
    for address in ("listen", "public_url", "management"):  # the fixture gives it free ones
        del settings["server"][address]
    settings["upstream"]["url"] = hapi.base
    settings["issuers"][0] |= {"issuer": issuer, "jwks_uri": f"{issuer}/protocol/openid-connect/certs"}
    settings["policy"] = str(EXAMPLE / settings["policy"])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SEALING_KEY", "c2lkZWNhci1leGFtcGxlLXNpZGVjYXItZXhhbXBsZSE=")
        yield gateways(settings)
    for written in WRITTEN:
        httpx.delete(f"{hapi.base}/{written}", timeout=60, trust_env=False)


def shell_lines() -> str:
    """What the README has its reader type once the containers run."""
    blocks = (EXAMPLE / "README.md").read_text().split("```\n")[1::2]
    (lines,) = [block for block in blocks if block.startswith("token()")]
    return lines


def carried_out(lines: str) -> tuple[list[str], list[dict[str, Any]]]:
    """``METHOD url status`` of every request that ``lines`` make in a shell, and the JSON documents that they print."""
    environment = {**os.environ, "NO_PROXY": "*"}
    done = subprocess.run(["bash", "-euc", TOLD + lines], capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    documents, rest = [], done.stdout.strip()
    while rest:
        document, end = json.JSONDecoder().raw_decode(rest)
        documents.append(document)
        rest = rest[end:].lstrip()
    return done.stderr.splitlines(), documents


@pytest.fixture(scope="module")
def tour(sidecar: Gateway, issuer: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The README's lines, carried out here: requests without the base, and what they printed."""
    lines = shell_lines()
    for theirs, ours in (("http://localhost:8180/realms/smart", issuer), ("http://localhost:8080/fhir", sidecar.base)):
        assert theirs in lines
        lines = lines.replace(theirs, ours)
    requests, documents = carried_out(lines)
    return [request.replace(sidecar.base, "").replace(issuer, "") for request in requests], documents


def test_every_request_of_the_readme_has_the_status_that_it_says(tour: tuple[list[str], list[dict[str, Any]]]) -> None:
    assert tour[0] == [
        "POST /protocol/openid-connect/token 200",
        "PUT /Patient/amy 201",
        "PUT /Patient/ben 201",
        "POST /protocol/openid-connect/token 200",
        "GET /Patient/amy 200",
        "GET /Patient 200",
        "GET /Patient/ben 404",
        "DELETE /Patient/amy 403",
    ]


def test_amy_finds_herself_alone_and_is_told_what_would_help(tour: tuple[list[str], list[dict[str, Any]]]) -> None:
    *_, amy, found, absent, forbidden = tour[1]
    assert (amy["resourceType"], amy["id"]) == ("Patient", "amy")
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["amy"]
    assert [issue["details"]["coding"][0]["code"] for issue in absent["issue"]] == ["not-found"]
    assert required_scopes(forbidden) == ["patient/Patient.d"]


def test_the_hint_can_be_followed(tour: tuple[list[str], list[dict[str, Any]]], app: MakeApp, sidecar: Gateway, issuer: str) -> None:
    (hint,) = required_scopes(tour[1][-1])
    amy = app(token(issuer, f"openid launch/patient {hint}", client_id="growth-chart", username="amy", password="amy"), at=sidecar)
    assert amy("DELETE", "/Patient/amy").status_code in {200, 204}
    refused(amy("DELETE", "/Patient/ben"), 404, "not-found")


def token(issuer: str, scope: str, **credentials: str) -> str:
    """An access token of the example's realm."""
    form = {"grant_type": "password" if "username" in credentials else "client_credentials", "scope": scope, **credentials}
    answer = httpx.post(f"{issuer}/protocol/openid-connect/token", data=form, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    given: str = answer.json()["access_token"]
    return given


def test_the_realm_takes_the_scope_with_a_filter(tour: object, app: MakeApp, sidecar: Gateway, issuer: str) -> None:
    scope = "openid launch/patient patient/Observation.rs?category=laboratory"
    amy = app(token(issuer, scope, client_id="growth-chart", username="amy", password="amy"), at=sidecar)
    assert ids(amy.get("/Observation")) == []
    refused(amy.get("/Patient/amy"), 403, "insufficient-scope")


def test_the_backend_service_reads_and_never_writes(tour: object, app: MakeApp, sidecar: Gateway, issuer: str) -> None:
    secret = {"client_id": "backend-service", "client_secret": "backend-service"}
    service = app(token(issuer, "system/*.rs", **secret), at=sidecar)
    assert service.get("/Patient/ben").status_code == 200
    refused(service.send("PUT", "/Patient/ben", {"resourceType": "Patient", "id": "ben"}), 403, "insufficient-scope")
    doctors = app(token(issuer, "user/*.cruds", **secret), at=sidecar)
    refused(doctors.get("/Patient/ben"), 403, "insufficient-scope")
