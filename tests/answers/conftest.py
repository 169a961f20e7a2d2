"""A policy, tokens and resources to judge answers with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.answers.links import LinkSealer
from smart_gateway.answers.sealing import Sealer
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import Policy
from smart_gateway.principal import Principal
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scopeset import ScopeSet

PUBLIC = "https://fhir.example.org/fhir"
UPSTREAM = "http://127.0.0.1:8090/fhir"
BASES = Bases(PUBLIC, UPSTREAM)
POLICY = Policy(load_vocabulary(Release.R4), BASES)
NOW = 1_800_000_000.0
SEALER = Sealer([b"first key of at least 16 bytes"], 900.0)


def principal(*scopes: str, patient: str | None = "123", subject: str = "sub", client: str = "app") -> Principal:
    scope_set = ScopeSet.of(parse_scope(scope) for scope in scopes)
    return Principal("https://idp.example", subject=subject, client_id=client, scopes=scope_set, patient=patient)


def access(*scopes: str, **facts: Any) -> Access:
    return Access(principal(*scopes, **facts), POLICY)


def links_for(found: Access, self_url: str = f"{PUBLIC}/Observation?code=x") -> LinkSealer:
    return LinkSealer(BASES, found.principal, SEALER, self_url, ("Observation",), NOW, lambda size: b"\x07" * size)


def observation(id: str = "o1", patient: str = "123", category: str = "laboratory", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "category": [{"coding": [{"code": category}]}],
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def searchset(*resources: dict[str, Any], mode: str | None = "match", **more: Any) -> dict[str, Any]:
    entries = [
        {
            "fullUrl": f"{UPSTREAM}/{resource['resourceType']}/{resource.get('id')}",
            "resource": resource,
            **({"search": {"mode": mode}} if mode is not None else {}),
        }
        for resource in resources
    ]
    return {"resourceType": "Bundle", "type": "searchset", **more, **({"entry": entries} if entries else {})}


@pytest.fixture
def lab() -> Access:
    return access("patient/Observation.rs?category=laboratory", "patient/Patient.r")
