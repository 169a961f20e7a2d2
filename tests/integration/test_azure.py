"""An Azure-style issuer: scopes with replaced characters and a prefix, claims by other names, no ``patient`` of its own (semantics 3)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.app import App, MakeApp, ids, refused, required_scopes
from tests.integration.records import LABS
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.support.issuer import ScriptedIssuer, serve

AUDIENCE = "api://fhir-app"


@pytest.fixture(scope="module")
def entra() -> Iterator[ScriptedIssuer]:
    with serve(ScriptedIssuer()) as running:
        yield running


@pytest.fixture(scope="module")
def azure(gateways: StartGateway, settings: dict[str, Any], entra: ScriptedIssuer) -> Gateway:
    issuer = {
        "issuer": entra.issuer,
        "jwks_uri": entra.jwks_uri,
        "audiences": [AUDIENCE],
        "algorithms": ["RS256"],
        "scope_format": {"slash": "-", "star": "all", "strip_prefix": "api://fhir-app/", "escapes": "backslash"},
        "claims": {"patient": ["extn.patient"], "fhir_user": ["extn.fhirUser"], "scope": ["scp"], "client": ["appid"]},
    }
    return gateways({**settings, "issuers": [issuer]})


@pytest.fixture
def as_entra(app: MakeApp, entra: ScriptedIssuer, azure: Gateway) -> MakeApp:
    """An app with a token of the scopes given, spelled the Azure way."""

    def make(*scopes: str, sees: str = "", **claims: Any) -> App:
        azure_claims = {"scope": ..., "client_id": ..., "patient": ..., "appid": "app-1", "scp": " ".join(scopes), "extn.patient": "pat-a"}
        return app(entra.token(None, {"typ": "JWT"}, time.time(), AUDIENCE, **{**azure_claims, **claims}), sees=sees, at=azure)

    return make


@pytest.mark.parametrize(
    "scope",
    [
        "patient-all.rs",
        "api://fhir-app/patient-all.rs",
        "patient-Observation.rs",
        "patient-Observation.read",
        r"patient-Observation.rs?_id=lab\-0\-chart\-a,lab\-1\-chart\-a,vital\-0\-chart\-a",
    ],
)
def test_replaced_characters_are_restored(as_entra: MakeApp, scope: str) -> None:
    app = as_entra(scope, sees="a")
    assert app.get("/Observation/lab-0-chart-a").status_code == 200
    assert "Observation/vital-0-chart-a" in ids(app.get("/Observation"))
    refused(app.get("/Observation/lab-0-chart-b"), 404)


def test_a_filter_with_an_escaped_url_bounds(as_entra: MakeApp) -> None:
    app = as_entra(r"patient-Observation.rs?category=http:--terminology.hl7.org-CodeSystem-observation\-category|laboratory", sees="a")
    assert set(ids(app.get("/Observation"))) == {f"Observation/lab-{n}-chart-a" for n in range(LABS)}
    refused(app.get("/Observation/vital-0-chart-a"), 404)


@pytest.mark.parametrize("scope", ["patient-Observation-rs", "api://other/patient-all.rs", "patient_all.rs", "patientall.rs", ""])
def test_what_does_not_restore_to_a_scope_opens_nothing(as_entra: MakeApp, scope: str) -> None:
    refused(as_entra(scope).get("/Observation"), 403)


@pytest.mark.parametrize(
    "claims",
    [
        {"extn.patient": ...},
        {"extn.patient": ..., "patient": "pat-a"},  # another issuer's claim name means nothing here
        {"extn.patient": ["pat-a", "pat-b"]},
        {"scp": ..., "scope": "patient/*.rs"},
        {"aud": "api://other"},
    ],
    ids=str,
)
def test_only_the_mapped_claims_count(as_entra: MakeApp, claims: dict[str, Any]) -> None:
    assert as_entra("patient-all.rs", **claims).get("/Observation").status_code in {401, 403}


def test_a_refusal_hints_in_the_spelling_of_smart(as_entra: MakeApp) -> None:
    answer = as_entra("patient-Patient.rs").get("/Observation")
    assert required_scopes(refused(answer, 403, "insufficient-scope")) == ["patient/Observation.s"]
