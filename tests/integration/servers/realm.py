"""The Keycloak realm ``smart`` of the tests: users with their launch context, two clients, and every scope that a test asks for.

Keycloak takes a scope with a filter (``patient/Observation.rs?category=...``) as a name, so each one is declared here; narrowing is the
gateway's work. A realm that lists ``clientScopes`` gets none of Keycloak's own, hence ``basic``, which carries ``sub``.
"""

from __future__ import annotations

import json
from typing import Any

AUDIENCE = "https://fhir.example.test/r4"
LAB = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"

APP = "growth-chart"  # public client; users log in by the password grant
SERVICE = "backend-service"  # client_credentials
SERVICE_SECRET = "backend-secret-test-only"
MTLS_SERVICE = "backend-mtls"  # client_credentials by its certificate, to which its tokens are bound
ADMIN, ADMIN_PASSWORD = "admin", "admin-test-only"

# name -> (patient in launch context, fhirUser); the password is the name and "-test-only"
USERS: dict[str, tuple[str | None, str | None]] = {
    "amy": ("pat-a", "Patient/pat-a"),
    "ben": ("pat-b", "Patient/pat-b"),
    "wanda": ("pat-w", "Patient/pat-w"),
    "dr-house": (None, "Practitioner/prac-1"),
    "dr-wilson": ("pat-a", "Practitioner/prac-2"),
    "rita": ("pat-a", "RelatedPerson/rel-a"),
    "nobody": (None, None),
}

SCOPES = (
    "openid",
    "patient/*.rs",
    "patient/*.cruds",
    "patient/*.r",
    "patient/*.s",
    "patient/*.read",
    "patient/*.write",
    "patient/*.*",
    "patient/Patient.r",
    "patient/Patient.rs",
    "patient/Patient.rus",
    "patient/Patient.read",
    "patient/Observation.r",
    "patient/Observation.s",
    "patient/Observation.rs",
    "patient/Observation.read",
    "patient/Observation.write",
    "patient/Observation.*",
    "patient/Observation.c",
    "patient/Observation.cu",
    "patient/Observation.crus",
    "patient/Observation.cruds",
    "patient/Observation.rs?category=laboratory",
    f"patient/Observation.rs?category={LAB}",
    "patient/Observation.rs?category=vital-signs",
    "patient/Observation.rs?code=http://loinc.org|8867-4&status=final",
    "patient/Observation.rs?nonsense=1",
    "patient/Condition.rs",
    "patient/Encounter.rs",
    "patient/Practitioner.rs",
    "patient/Nonsense.rs",
    "user/*.cruds",
    "user/*.rs",
    "user/*.read",
    "user/Patient.rs",
    "user/Observation.rs",
    "user/Observation.rs?status=final",
    "user/Observation.cruds",
    "user/Organization.read",
    "system/*.r",
    "system/*.rs",
    "system/*.cruds",
    "system/*.read",
    "system/Patient.s",
    "system/Patient.rs",
    "system/Observation.cruds",
    "system/Observation.rs",
    "system/Observation.rs?category=laboratory",
)


def realm() -> bytes:
    """The realm file for ``kc.sh start --import-realm``."""
    optional = [*SCOPES, "launch/patient", "fhirUser"]
    return json.dumps(
        {
            "realm": "smart",
            "enabled": True,
            "sslRequired": "none",
            "accessTokenLifespan": 3600,
            "ssoSessionIdleTimeout": 7200,
            "defaultSignatureAlgorithm": "RS256",
            "components": {"org.keycloak.userprofile.UserProfileProvider": [_profile()]},
            "clientScopes": [
                _scope("basic", _mapper("sub", "oidc-sub-mapper", {}), listed=False),
                _scope("fhir-audience", _mapper("aud", "oidc-audience-mapper", {"included.custom.audience": AUDIENCE}), listed=False),
                _scope("launch/patient", _attribute("patient")),
                _scope("fhirUser", _attribute("fhirUser")),
                *(_scope(name) for name in SCOPES),
            ],
            "defaultDefaultClientScopes": ["basic", "fhir-audience"],
            "clients": [
                _client(APP, optional, publicClient=True, directAccessGrantsEnabled=True, redirectUris=["http://127.0.0.1/*"]),
                _client(
                    MTLS_SERVICE,
                    optional,
                    publicClient=False,
                    serviceAccountsEnabled=True,
                    clientAuthenticatorType="client-x509",
                    attributes={
                        "x509.subjectdn": f"CN={MTLS_SERVICE},O=smart-test",
                        "x509.allow.regex.pattern.comparison": "false",
                        "tls.client.certificate.bound.access.tokens": "true",
                    },
                ),
                _client(SERVICE, optional, publicClient=False, serviceAccountsEnabled=True, secret=SERVICE_SECRET),
            ],
            "users": [_user(name, patient, fhir_user) for name, (patient, fhir_user) in USERS.items()],
        }
    ).encode()


def _scope(name: str, *mappers: dict[str, Any], listed: bool = True) -> dict[str, Any]:
    attributes = {"include.in.token.scope": str(listed).lower(), "display.on.consent.screen": "false"}
    return {"name": name, "protocol": "openid-connect", "attributes": attributes, "protocolMappers": list(mappers)}


def _mapper(name: str, kind: str, config: dict[str, str]) -> dict[str, Any]:
    everywhere = {"access.token.claim": "true", "introspection.token.claim": "true"}
    return {"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": {**everywhere, **config}}


def _attribute(name: str) -> dict[str, Any]:
    config = {"user.attribute": name, "claim.name": name, "jsonType.label": "String", "id.token.claim": "true"}
    return _mapper(name, "oidc-usermodel-attribute-mapper", config)


def _client(name: str, optional: list[str], **more: Any) -> dict[str, Any]:
    return {
        "clientId": name,
        "enabled": True,
        "protocol": "openid-connect",
        "defaultClientScopes": ["basic", "fhir-audience"],
        "optionalClientScopes": optional,
        **more,
    }


def _user(name: str, patient: str | None, fhir_user: str | None) -> dict[str, Any]:
    attributes = {key: [value] for key, value in (("patient", patient), ("fhirUser", fhir_user)) if value is not None}
    return {
        "username": name,
        "enabled": True,
        "attributes": attributes,
        "credentials": [{"type": "password", "value": f"{name}-test-only", "temporary": False}],
    }


def _profile() -> dict[str, Any]:
    """A user profile that knows our two attributes and requires neither email nor names, so that a bare user can log in."""
    editable = {"view": ["admin", "user"], "edit": ["admin"]}
    names = ("username", "email", "firstName", "lastName", "patient", "fhirUser")
    profile = {"attributes": [{"name": name, "permissions": editable} for name in names]}
    return {
        "providerId": "declarative-user-profile",
        "subComponents": {},
        "config": {"kc.user.profile.config": [json.dumps(profile)]},
    }
