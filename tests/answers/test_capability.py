from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.answers.capability import capability_statement, facts
from smart_gateway.errors import UpstreamError
from smart_gateway.policy.authorize import _PLANNERS
from smart_gateway.policy.model import Capabilities
from smart_gateway.policy.requirements import SERVED_ON_TYPES, SERVED_OVER_ALL
from tests.answers.conftest import BASES, PUBLIC, UPSTREAM, compact

DISCOVERY = {
    "issuer": "https://idp.example",
    "jwks_uri": "https://idp.example/jwks",
    "authorization_endpoint": "https://idp.example/authorize",
    "token_endpoint": "https://idp.example/token",
    "introspection_endpoint": "https://idp.example/introspect",
    "registration_endpoint": "javascript:alert(1)",
    "grant_types_supported": ["authorization_code", "implicit", "client_credentials"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
    "scopes_supported": ["openid", "patient/*.rs"],
    "subject_types_supported": ["public"],
}
STATEMENT: dict[str, Any] = {
    "resourceType": "CapabilityStatement",
    "text": {"div": UPSTREAM},
    "url": f"{UPSTREAM}/metadata",
    "fhirVersion": "4.0.1",
    "kind": "instance",
    "implementation": {"description": "HAPI", "url": UPSTREAM},
    "rest": [
        {"mode": "client"},
        {
            "mode": "server",
            "security": {"cors": True, "service": [{"text": "Basic"}]},
            "interaction": [{"code": "transaction"}, {"code": "history-system"}, {"code": "shout"}],
            "operation": [{"name": "expunge"}, {"name": "export", "definition": "x"}, {"name": "everything"}, {"name": "meta"}],
            "searchParam": [{"name": "_lastUpdated", "type": "date"}],
            "resource": [
                {
                    "type": "Observation",
                    "interaction": [{"code": "read"}, {"code": "patch"}, {"code": "search-type"}, {"code": "shout"}],
                    "conditionalCreate": True,
                    "conditionalDelete": "multiple",
                    "operation": [
                        {"name": "lastn", "definition": f"{UPSTREAM}/OperationDefinition/lastn", "secret": 1},
                        {"name": "$validate"},
                        {"name": "export"},
                        {"name": "meta-add"},
                        {"name": 7},
                    ],
                    "searchParam": [{"name": "patient", "type": "reference"}, {"name": 7}],
                },
                {"type": "Patient", "operation": [{"name": "everything"}, {"name": "export"}, {"name": "merge"}]},
                {"type": 7, "operation": [{"name": "meta"}]},
            ],
        },
    ],
}


def test_the_statement_says_what_is_served() -> None:
    made = json.loads(capability_statement(compact(STATEMENT), BASES, DISCOVERY))
    assert UPSTREAM not in json.dumps(made)
    assert made["implementation"] == {"description": "HAPI", "url": PUBLIC}
    assert made["url"] == f"{PUBLIC}/metadata"
    (rest,) = made["rest"]
    assert rest["interaction"] == [{"code": "search-system"}, {"code": "transaction"}, {"code": "history-system"}]
    assert rest["operation"] == [{"name": "export", "definition": "x"}, {"name": "meta"}]
    observation, patient, odd = rest["resource"]
    assert observation["interaction"] == [{"code": "read"}, {"code": "patch"}, {"code": "search-type"}]
    assert (observation["conditionalCreate"], observation["conditionalUpdate"], observation["conditionalDelete"]) == (True, True, "single")
    assert observation["operation"] == [{"name": "lastn", "definition": f"{PUBLIC}/OperationDefinition/lastn"}, {"name": "$validate"}]
    assert patient["operation"] == [{"name": "everything"}, {"name": "export"}]
    assert "operation" not in odd


def test_what_is_served_has_a_planner() -> None:
    planned = {str(interaction) for interaction in _PLANNERS}
    assert planned >= SERVED_ON_TYPES
    assert planned | {"transaction"} >= SERVED_OVER_ALL
    on_types = "read vread update patch delete history-instance history-type create search-type"  # FHIR R4, type-restful-interaction
    assert set(on_types.split()) == SERVED_ON_TYPES
    assert {"transaction", "batch", "search-system", "history-system"} == SERVED_OVER_ALL


def test_the_statement_names_the_issuer() -> None:
    security = json.loads(capability_statement(compact(STATEMENT), BASES, DISCOVERY))["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    uris = {uri["url"]: uri["valueUri"] for uri in security["extension"][0]["extension"]}
    assert uris == {
        "authorize": "https://idp.example/authorize",
        "token": "https://idp.example/token",
        "introspect": "https://idp.example/introspect",
    }


@pytest.mark.parametrize("missing", [None, "authorization_endpoint", "token_endpoint"])
def test_without_both_addresses_there_is_no_extension(missing: str | None) -> None:
    known = None if missing is None else {name: value for name, value in DISCOVERY.items() if name != missing}
    security = json.loads(capability_statement(compact(STATEMENT), BASES, known))["rest"][0]["security"]
    assert "extension" not in security


@pytest.mark.parametrize("cors", [True, False])
def test_the_statement_says_whether_browser_apps_may_call(cors: bool) -> None:
    security = json.loads(capability_statement(compact(STATEMENT), BASES, DISCOVERY, cors=cors))["rest"][0]["security"]
    assert security.get("cors", False) is cors


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"\xff", compact({"resourceType": "Patient"}), b'{"resourceType":"CapabilityStatement","rest":[],"rest":[]}']
)
def test_anything_else_is_an_upstream_error(raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        capability_statement(raw, BASES, DISCOVERY)


def test_a_bare_statement_is_completed() -> None:
    made = json.loads(capability_statement(b'{"resourceType":"CapabilityStatement"}', BASES, None))
    assert made["implementation"] == {"url": PUBLIC, "description": "FHIR server behind smart-gateway"}
    assert made["rest"] == []


def test_facts() -> None:
    assert facts(compact(STATEMENT)) == Capabilities(
        {"Observation": frozenset({"patient", "_lastUpdated"}), "Patient": frozenset({"_lastUpdated"})}, searches_all=False
    )
    able = [rest | {"interaction": [{"code": "search-system"}]} for rest in STATEMENT["rest"]]
    assert facts(compact({**STATEMENT, "rest": able})).searches_all


@pytest.mark.parametrize(
    "raw", [b"", b"7", b"{}", compact({"resourceType": "Patient", "rest": [{"mode": "server"}]}), compact({**STATEMENT, "rest": "x"})]
)
def test_garbage_gives_no_facts(raw: bytes) -> None:
    assert facts(raw) == Capabilities(None)
