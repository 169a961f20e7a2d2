"""examples/issuers: each file loads, and reads a token as that authorization server makes it: real claims, real header, real spelling."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from smart_gateway.errors import TokenError
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import Policy
from smart_gateway.principal import Principal
from smart_gateway.scopes.scope import ResourceScope
from smart_gateway.scopes.spelling import spell_scope
from smart_gateway.settings.building.policy import build_policy
from smart_gateway.settings.building.snapshot import build_issuers
from smart_gateway.settings.loading import examine
from smart_gateway.settings.model import Settings
from smart_gateway.settings.schema import json_schema
from smart_gateway.tokens.verifier import Verifier
from tests.support.issuer import NOW, MemoryTransport, ScriptedIssuer, compact, json_answer, make_key

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "examples" / "issuers"
FILES = sorted(PRESETS.glob("*.yaml"))
ENVIRONMENT = {"SEALING_KEY": "0123456789012345678901234567890123456789"}
BASE = "https://fhir.example.org/fhir"
TENANT, API = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
LAUNCHER = "http://localhost:8443/v/r4/fhir"
TIMES = {"iat": int(NOW), "nbf": int(NOW), "exp": int(NOW) + 3600}
LABORATORY_IN_DOTS = "http:..terminology.hl7.org.CodeSystem.observation-category|laboratory"
CONTEXT = "https://fhir.example.org/claims"


@dataclass(frozen=True)
class Preset:
    """A file, a token for it, and what is to be read there; ``refused``: changes of the claims by which it is none of ours."""

    file: str
    claims: dict[str, Any]
    header: dict[str, Any]
    scopes: list[str]
    client: str
    patient: str | None = None
    user: Reference | None = None
    tenant: str | None = None
    refused: tuple[tuple[dict[str, Any], str], ...] = ()
    other: dict[str, Any] = field(default_factory=dict)


KEYCLOAK = {
    **TIMES,
    "jti": "onrtac:8a1e",
    "iss": "https://idp.example.org/realms/smart",
    "aud": [BASE, "account"],
    "typ": "Bearer",
    "azp": "growth-chart",
    "sub": "5d0f",
    "sid": "Yw",
    "acr": "1",
    "realm_access": {"roles": ["offline_access"]},
    "scope": "openid patient/Observation.rs launch/patient",
    "patient": "123",
    "fhirUser": "Patient/123",
    "preferred_username": "amy",
}
ENTRA_V2 = {
    **TIMES,
    "aud": API,
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "aio": "x",
    "azp": "77777777-0000-0000-0000-000000000001",
    "azpacr": "0",
    "oid": "o",
    "rh": "x",
    "scp": "patient.all.rs patient.Observation.rs?category=" + LABORATORY_IN_DOTS,
    "sub": "pairwise",
    "tid": TENANT,
    "uti": "u1",
    "ver": "2.0",
    "extn.patient": "123",
    "extn.fhirUser": "Patient/123",
    "roles": ["system.all.cruds"],
}
ENTRA_APP = {
    **TIMES,
    "aud": API,
    "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "azp": "99999999-8888-7777-6666-555555555555",
    "azpacr": "2",
    "oid": "sp",
    "idtyp": "app",
    "roles": ["system.Patient.rs", "system.all.rs"],
    "sub": "sp",
    "tid": TENANT,
    "uti": "u2",
    "ver": "2.0",
}
ENTRA_V1 = {
    **TIMES,
    "aud": f"api://{API}",
    "iss": f"https://sts.windows.net/{TENANT}/",
    "acr": "1",
    "amr": ["pwd"],
    "appid": "77777777-0000-0000-0000-000000000001",
    "appidacr": "0",
    "ipaddr": "192.0.2.1",
    "scp": rf"patient-Observation.r?_id=Id\-With\-Dashes api://{API}/patient-all.rs",
    "sub": "pairwise",
    "tid": TENANT,
    "unique_name": "amy@example.org",
    "uti": "u3",
    "ver": "1.0",
    "extension_patient": "123",
    "extension_fhirUser": "Patient/123",
}
OKTA = {
    **TIMES,
    "ver": 1,
    "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
    "iss": "https://example.okta.com/oauth2/aus1a2b3c4d5e6f7g8h9",
    "aud": BASE,
    "sub": "amy@example.org",
    "cid": "0oa1growthchart",
    "uid": "00u1",
    "scp": ["openid", "launch/patient", "patient/Observation.rs"],
    "launch_response_patient": "123",
    "fhirUser": "Patient/123",
}
AUTH0 = {
    **TIMES,
    "iss": "https://example.eu.auth0.com/",
    "sub": "auth0|5f7c",
    "aud": [BASE, "https://example.eu.auth0.com/userinfo"],
    "azp": "GrowthChart01",
    "scope": "openid patient/Observation.rs",
    "org_id": "org_north",
    "permissions": ["user/*.cruds"],
    CONTEXT: {"patient": "123", "fhirUser": "Patient/123", "fhirContext": [{"reference": "ImagingStudy/1"}]},
}
COGNITO = {
    **TIMES,
    "sub": "aaaaaaaa-bbbb",
    "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI",
    "aud": BASE,
    "version": 2,
    "client_id": "1growthchart1client1id",
    "origin_jti": "x",
    "token_use": "access",
    "auth_time": int(NOW),
    "jti": "c1",
    "username": "amy",
    "scope": f"openid {BASE}/patient-*.rs {BASE}/patient-Observation.rs?code=http:--loinc.org|8867-4",
    "patient": "123",
    "fhirUser": "Patient/123",
}
COGNITO_MACHINE = {
    **{name: value for name, value in COGNITO.items() if name not in {"aud", "username", "patient", "fhirUser"}},
    "sub": "4nightlyexport0client1id",
    "client_id": "4nightlyexport0client1id",
    "scope": f"{BASE}/system-Patient.rs",
}
LAUNCHED = {
    **TIMES,
    "iss": LAUNCHER,
    "aud": "http://localhost:8080/fhir",
    "client_id": "my_app",
    "scope": "openid fhirUser launch patient/Observation.rs",
    "fhirUser": f"{LAUNCHER}/Practitioner/7",
    "patient": "123",
    "encounter": "e1",
}
JWT, KID = {"typ": "JWT"}, {"typ": ...}
ELSEWHERE = ({"aud": "https://elsewhere.example"}, "wrong-audience")

TOKENS = [
    Preset(
        "keycloak",
        KEYCLOAK,
        JWT,
        ["patient/Observation.rs"],
        "growth-chart",
        "123",
        Reference("Patient", "123"),
        refused=(
            ELSEWHERE,
            ({"aud": "account"}, "wrong-audience"),
            ({"typ": "ID"}, "wrong-token-type"),
            ({"typ": "Refresh"}, "wrong-token-type"),
        ),
    ),
    Preset(
        "entra-v2",
        ENTRA_V2,
        JWT,
        ["patient/*.rs", "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"],
        "77777777-0000-0000-0000-000000000001",
        "123",
        Reference("Patient", "123"),
        TENANT,
        refused=(
            ({"aud": f"api://{API}"}, "wrong-audience"),
            ({"nonce": "n"}, "id-token"),
            ({"iss": "https://login.microsoftonline.com/99999999-2222-3333-4444-555555555555/v2.0"}, "unknown-issuer"),
        ),
    ),
    Preset("entra-v2", ENTRA_APP, JWT, ["system/Patient.rs", "system/*.rs"], "99999999-8888-7777-6666-555555555555", tenant=TENANT),
    Preset(
        "entra-v1",
        ENTRA_V1,
        {"typ": "JWT", "x5t": "kid"},
        ["patient/Observation.r?_id=Id-With-Dashes", "patient/*.rs"],
        "77777777-0000-0000-0000-000000000001",
        "123",
        Reference("Patient", "123"),
        TENANT,
        refused=(({"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0"}, "unknown-issuer"), ELSEWHERE),
    ),
    Preset(
        "okta",
        OKTA,
        KID,
        ["patient/Observation.rs"],
        "0oa1growthchart",
        "123",
        Reference("Patient", "123"),
        refused=(ELSEWHERE, ({"iss": "https://example.okta.com"}, "unknown-issuer")),
    ),
    Preset(
        "auth0",
        AUTH0,
        JWT,
        ["patient/Observation.rs"],
        "GrowthChart01",
        "123",
        Reference("Patient", "123"),
        "org_north",
        refused=(
            ({"aud": ["https://example.eu.auth0.com/userinfo"]}, "wrong-audience"),
            ({"iss": "https://example.eu.auth0.com"}, "unknown-issuer"),
        ),
    ),
    Preset(
        "auth0",
        {
            **{name: value for name, value in AUTH0.items() if name not in {"azp", CONTEXT}},
            "client_id": "GrowthChart01",
            "jti": "a1",
            f"{CONTEXT}/patient": "123",
        },
        {"typ": "at+jwt"},
        ["patient/Observation.rs"],
        "GrowthChart01",
        "123",
        tenant="org_north",
    ),
    Preset(
        "cognito",
        COGNITO,
        KID,
        ["patient/*.rs", "patient/Observation.rs?code=http://loinc.org|8867-4"],
        "1growthchart1client1id",
        "123",
        Reference("Patient", "123"),
        refused=(
            ({"aud": ...}, "wrong-audience"),
            ({"aud": "1growthchart1client1id"}, "wrong-audience"),
            ({"token_use": "id"}, "wrong-token-type"),
        ),
    ),
    Preset(
        "cognito",
        COGNITO_MACHINE,
        KID,
        ["system/Patient.rs"],
        "4nightlyexport0client1id",
        refused=(({"client_id": "another-machine"}, "wrong-audience"), ({"aud": "https://elsewhere.example"}, "wrong-audience")),
    ),
    Preset(
        "smart-launcher", LAUNCHED, JWT, ["patient/Observation.rs"], "my_app", "123", Reference("Practitioner", "7"), refused=(ELSEWHERE,)
    ),
]


def spelled(scope: ResourceScope) -> str:
    """The scope in SMART's own spelling."""
    return spell_scope(scope.context, scope.type, scope.permissions, scope.params)


IDS = [f"{preset.file}-{preset.client[:8]}-{number}" for number, preset in enumerate(TOKENS)]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Settings]:
    key = ec.generate_private_key(ec.SECP384R1())
    (tmp_path / "ehr-client-key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def load(name: str) -> Settings:
        shutil.copy(PRESETS / f"{name}.yaml", tmp_path)
        examination = examine(tmp_path / f"{name}.yaml", ENVIRONMENT, proxying=True)
        assert examination.settings is not None, [str(finding) for finding in examination.findings]
        assert not examination.findings, [str(finding) for finding in examination.findings]
        return examination.settings

    return load


@dataclass
class Stand:
    """The issuer of a preset under a test's control, and the verifier that the preset makes."""

    issuer: ScriptedIssuer
    verifier: Verifier
    policy: Policy

    async def read(self, preset: Preset, **changes: Any) -> Principal:
        key = self.issuer.keys[0]
        header = {"alg": "RS256", "kid": key.kid, **preset.header}
        claims = {**preset.claims, **changes}
        token = compact(*({name: value for name, value in part.items() if value is not ...} for part in (header, claims)), key)
        return await self.verifier.verify(token, NOW)


@pytest.fixture
async def stand(load: Callable[[str], Settings], request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    settings = load(request.param.file)
    (config,) = build_issuers(settings)
    issuer = ScriptedIssuer(config.issuer, keys=[make_key("RS256")])
    transport = MemoryTransport(issuer)
    transport.answers[config.issuer.rstrip("/") + "/.well-known/openid-configuration"] = issuer.discovery()
    if config.jwks_uri is not None:
        transport.answers[config.jwks_uri] = issuer.jwks()
    policy = build_policy(settings)
    verifier = Verifier([config], policy.bases, transport)
    yield Stand(issuer, verifier, policy)
    await verifier.aclose()


def test_every_file_has_a_token_and_a_place_in_the_table() -> None:
    named = {path.stem for path in FILES}
    assert named == {preset.file for preset in TOKENS} | {"epic"}
    readme = (PRESETS / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in FILES if f"]({path.name})" in readme} == {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_loads_without_a_finding_and_says_where_its_facts_come_from(path: Path, load: Callable[[str], Settings]) -> None:
    load(path.stem)
    text = path.read_text(encoding="utf-8")
    assert "Facts: " in text.partition("\nserver:")[0]
    jsonschema.validate(yaml.safe_load(text), json_schema(), jsonschema.Draft7Validator)


@pytest.mark.parametrize(("stand", "preset"), [(preset, preset) for preset in TOKENS], indirect=["stand"], ids=IDS)
async def test_a_token_as_that_server_makes_it(stand: Stand, preset: Preset) -> None:
    who = await stand.read(preset)
    assert [spelled(scope) for scope in who.scopes.resources] == preset.scopes
    assert who.scopes.malformed == ()
    assert (who.client_id, who.patient, who.fhir_user, who.tenant) == (preset.client, preset.patient, preset.user, preset.tenant)
    assert Access(who, stand.policy).client is not None


@pytest.mark.parametrize(
    ("stand", "preset", "changes", "reason"),
    [(preset, preset, changes, reason) for preset in TOKENS for changes, reason in preset.refused],
    indirect=["stand"],
)
async def test_a_token_of_that_server_for_somebody_else(stand: Stand, preset: Preset, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(TokenError) as refused:
        await stand.read(preset, **changes)
    assert refused.value.reason == reason


@pytest.mark.parametrize("stand", [TOKENS[1]], indirect=True)
async def test_the_roles_of_a_user_add_nothing_to_their_scopes(stand: Stand) -> None:
    who = await stand.read(TOKENS[1], scp="")
    assert who.scopes.resources == ()


EHR = "https://ehr.example.org/interconnect-fhir-oauth/oauth2"
ASKED = {
    "active": True,
    "scope": "openid fhirUser launch",
    "client_id": "growth-chart-app",
    "sub": "u1",
    "iss": EHR,
    "exp": int(NOW) + 600,
    "patient": "123",
}
# A token of this kind as it was seen: nothing of scopes and patient; what a client could add to it would not count.
EPIC = {
    **TIMES,
    "aud": BASE,
    "iss": EHR,
    "client_id": "growth-chart-app",
    "sub": "u1",
    "jti": "j1",
    "epic.eci": "x",
    "epic.tokentype": "access",
}


@pytest.mark.parametrize("token", ["opaque", "jwt", "jwt-with-context"])
async def test_scopes_are_pinned_and_the_patient_comes_from_the_answer_alone(load: Callable[[str], Settings], token: str) -> None:
    settings = load("epic")
    (config,) = build_issuers(settings)
    issuer = ScriptedIssuer(EHR, keys=[make_key("RS256")])
    transport = MemoryTransport(issuer)
    assert config.introspection is not None
    assert config.introspection.url is not None
    user = "https://ehr.example.org/interconnect-fhir-oauth/api/FHIR/R4/Practitioner/7"
    transport.endpoints[config.introspection.url] = lambda posted: json_answer({**ASKED, "fhirUser": user})
    policy = build_policy(settings)
    verifier = Verifier([config], policy.bases, transport)
    added = {"patient": "999", "scope": "user/*.cruds"} if token == "jwt-with-context" else {}
    sent = "opaque-token-1" if token == "opaque" else compact({"alg": "RS256", "kid": "key-1"}, {**EPIC, **added}, issuer.keys[0])
    who = await verifier.verify(sent, NOW)
    assert (who.client_id, who.patient, who.fhir_user) == ("growth-chart-app", "123", Reference("Practitioner", "7"))
    assert [spelled(scope) for scope in Access(who, policy).scopes] == ["patient/Patient.r", "patient/Observation.rs?category=vital-signs"]
    (posted,) = transport.posted
    assert posted.form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert posted.form["token"] == sent
    await verifier.aclose()


async def test_an_inactive_token_and_a_client_that_is_not_named_open_nothing(load: Callable[[str], Settings]) -> None:
    settings = load("epic")
    (config,) = build_issuers(settings)
    transport = MemoryTransport()
    assert config.introspection is not None
    policy = build_policy(settings)
    verifier = Verifier([config], policy.bases, transport)
    transport.endpoints[str(config.introspection.url)] = lambda posted: json_answer({**ASKED, "client_id": "another-app"})
    assert Access(await verifier.verify("opaque-token-1", NOW), policy).client is None
    transport.endpoints[str(config.introspection.url)] = lambda posted: json_answer({"active": False})
    with pytest.raises(TokenError):
        await verifier.verify("opaque-token-2", NOW)
    await verifier.aclose()
