"""Claims where Keycloak's mappers put them: nested, in arrays, as JSON and as a text that holds JSON; in front of real HAPI."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.integration.app import MakeApp, refused
from tests.integration.servers import realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.keycloak import Keycloak

SHAPES = {
    "nested": ("smart.context.patient", {}, "smart.context.patient"),
    "in-an-array": ("patients", {"multivalued": "true"}, "patients[0]"),
    "as-json": ("context", {"jsonType.label": "JSON"}, "context.patient"),
    "as-a-text": ("context_text", {}, "context_text.patient"),
    "namespaced": (r"https://fhir\.example\.org/patient", {}, "https://fhir.example.org/patient"),
}
JSON_SHAPES = frozenset({"as-json", "as-a-text"})


def shaped(shape: str) -> dict[str, Any]:
    """The realm of the tests, with the patient of the launch context in another place."""
    claim, config, _ = SHAPES[shape]
    made: dict[str, Any] = {**json.loads(realm.realm()), "realm": f"claims-{shape}"}
    launch = next(scope for scope in made["clientScopes"] if scope["name"] == "launch/patient")
    mapper = launch["protocolMappers"][0]
    mapper["config"] = {**mapper["config"], "claim.name": claim, **config}
    if shape in JSON_SHAPES:
        for user in made["users"]:
            user["attributes"]["patient"] = [json.dumps({"patient": value}) for value in user["attributes"].get("patient", ())]
    return made


@pytest.fixture(scope="module")
def issuers(keycloak: Keycloak) -> dict[str, str]:
    return {shape: keycloak.import_realm(shaped(shape)) for shape in SHAPES}


@pytest.fixture(scope="module")
def reading(gateways: StartGateway, settings: dict[str, Any], issuers: dict[str, str]) -> Gateway:
    """A gateway that knows for each realm where the patient stands."""
    listed = [
        {"issuer": issuer, "audiences": [realm.AUDIENCE], "claims": {"patient": [SHAPES[shape][2]], "tenant": ["iss"]}}
        for shape, issuer in issuers.items()
    ]
    return gateways({**settings, "issuers": listed})


def token(issuer: str, user: str) -> str:
    form = {"grant_type": "password", "client_id": realm.APP, "username": user, "password": f"{user}-test-only"}
    answer = httpx.post(f"{issuer}/protocol/openid-connect/token", data={**form, "scope": "openid launch/patient patient/*.rs"})
    made: str = answer.json()["access_token"]
    return made


@pytest.mark.parametrize("shape", SHAPES)
def test_the_patient_is_found_where_the_settings_say(app: MakeApp, reading: Gateway, issuers: dict[str, str], shape: str) -> None:
    amy = app(token(issuers[shape], "amy"), sees="a", at=reading)
    assert amy.get("/Patient/pat-a").status_code == 200
    refused(amy.get("/Patient/pat-b"), 404)
    found = amy.get("/Observation").json()
    assert found["entry"]
    assert all(entry["resource"]["subject"]["reference"].endswith("Patient/pat-a") for entry in found["entry"])


@pytest.mark.parametrize("shape", SHAPES)
def test_who_has_no_patient_there_sees_nothing(app: MakeApp, reading: Gateway, issuers: dict[str, str], shape: str) -> None:
    nobody = app(token(issuers[shape], "nobody"), at=reading)
    refused(nobody.get("/Patient/pat-a"), 403)
