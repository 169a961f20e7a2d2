"""Which resource scopes grant nothing, and that the reason names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scope import ResourceScope
from smart_gateway.scopes.validity import objection, objection_on

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "scopes.json").read_text())
RESOURCES: list[dict[str, Any]] = [vector for vector in VECTORS if vector["kind"] == "resource"]
R4 = load_vocabulary(Release.R4)


def resource_scope(text: str) -> ResourceScope:
    scope = parse_scope(text)
    assert isinstance(scope, ResourceScope)
    return scope


@pytest.mark.parametrize("vector", RESOURCES, ids=lambda v: ascii(v["scope"]))
def test_vector(vector: dict[str, Any]) -> None:
    reason = objection(resource_scope(vector["scope"]), R4)
    assert (reason is None) == vector["valid"], reason
    assert reason is None or reason.endswith(".")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("patient/Foo.rs", "no resource type Foo"),
        ("patient/Observation.rs?nosuch=1", "no search parameter nosuch"),
        ("patient/Observation.rs?code:in=x", ":in"),
        ("patient/Observation.rs?code:not-in=x", ":not-in"),
        ("patient/Observation.rs?date=ap2020", "ap"),
        ("patient/Observation.rs?subject=123", "Type/id"),
        ("patient/Observation.rs?subject:Medication=123", "never refers to Medication"),
        ("patient/Observation.rs?subject.name=x", "chain subject.name"),
        ("patient/Observation.rs?_has:Provenance:target:agent=x", "reverse chain"),
        ("patient/Observation.rs?_count=1", "no search parameter _count"),
        ("patient/Observation.rs?_text=x", "_text cannot be evaluated"),
        ("patient/Patient.rs?deceased=true", "deceased cannot be evaluated"),
        ("patient/Observation.rs?code:of-type=a|b|c", ":of-type"),
        ("patient/Observation.rs?status:text=x", ":text"),
        ("patient/Observation.rs?category=a&nosuch=1", "nosuch"),
        ("patient/*.rs?nosuch=1", "No resource type"),
    ],
)
def test_the_reason_names_it(text: str, part: str) -> None:
    assert part in str(objection(resource_scope(text), R4))


def test_a_wildcard_is_judged_type_by_type() -> None:
    scope = resource_scope("patient/*.rs?category=laboratory")
    assert objection(scope, R4) is None
    assert objection_on(scope, "Observation", R4) is None
    assert objection_on(scope, "Patient", R4) is not None


@pytest.mark.parametrize(("release", "valid"), [(Release.R4, True), (Release.R4B, True), (Release.R5, False)])
def test_types_are_those_of_the_release(release: Release, valid: bool) -> None:
    assert (objection(resource_scope("patient/Media.rs"), load_vocabulary(release)) is None) is valid
