"""No configuration gives a traceback, and none with a finding that refuses is ever loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smart_gateway.settings.building.policy import build_policy
from smart_gateway.settings.findings import has_errors
from smart_gateway.settings.loading import examine
from smart_gateway.settings.schema import json_schema

_SCHEMA = json_schema()


def _names(schema: Any) -> set[str]:
    """Every key that the settings know anywhere."""
    if isinstance(schema, list):
        return set().union(*(_names(item) for item in schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})).union(*(_names(value) for value in schema.values()))


_KEYS = st.sampled_from([*sorted(_names(_SCHEMA)), "*", "app", "Device", "nonsense", ""])
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 500)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(
        [
            "R4",
            "R5",
            "https://a.example/fhir",
            "http://127.0.0.1:1/x",
            "127.0.0.1:80",
            "[::1]:0",
            "30s",
            "1KiB",
            "patient/*.rs",
            "system/Patient.r?_id=1",
            "Device",
            "patient",
            "everything",
            "compartment",
            "10.0.0.0/8",
            "log",
            "jwt",
            "union",
            "no",
        ]
    )
)
_VALUES = st.recursive(_SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=4), max_leaves=12)


def _conforming(schema: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of the schema's own shape, now and then another: what gets past the model, so that the checks are met too."""
    if "$ref" in schema:
        return _conforming(_SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]], depth)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return st.one_of([_conforming(branch, depth) for branch in schema[key]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    match schema.get("type"):
        case "object" if "properties" in schema:
            return _mapping(schema, depth)
        case "object":
            return st.dictionaries(_KEYS, _conforming(schema["additionalProperties"], depth + 1), max_size=2)
        case "array":
            return st.lists(_conforming(schema.get("items", {"type": "string"}), depth + 1), min_size=schema.get("minItems", 0), max_size=2)
        case "integer":
            return st.integers(-1, 300)
        case "boolean":
            return st.booleans()
        case _:
            return _SCALARS


def _mapping(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    members = {name: _conforming(member, depth + 1) for name, member in schema["properties"].items() if "not" not in member}
    required = {name: members.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=members)


def judge(source: Any) -> None:
    examination = examine(source, {}, proxying=True)
    assert (examination.settings is None) == has_errors(examination.findings)
    assert all(str(finding) and finding.as_json() for finding in examination.findings)
    if examination.settings is not None:
        build_policy(examination.settings)


@given(st.dictionaries(_KEYS, _VALUES, max_size=5))
@settings(max_examples=150, deadline=None)
def test_no_mapping_raises(source: dict[str, Any]) -> None:
    judge(source)


_ALONE = {**{key: value for key, value in _SCHEMA.items() if key != "anyOf"}, "required": ["server", "upstream", "issuers"]}
_SHARED = {**_ALONE, "required": ["server", "tenants"]}


@given(_conforming(_ALONE) | _conforming(_SHARED))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_what_has_the_schemas_shape_is_loaded_or_refused(source: dict[str, Any]) -> None:
    judge(source)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "gateway.yaml"


@given(value=st.dictionaries(_KEYS, _VALUES, max_size=4), cut=st.integers(0, 400), noise=st.binary(max_size=4))
@settings(max_examples=150, deadline=None)
def test_no_file_raises(file: Path, value: Any, cut: int, noise: bytes) -> None:
    text = yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
    file.write_bytes(text[:cut] + noise + text[cut:])
    judge(file)


_VARIABLES = st.lists(
    st.sampled_from(["SERVER", "UPSTREAM", "ISSUERS", "POLICY", "0", "1", "CLIENTS", "LIMITS", "URL", ""]), min_size=1, max_size=4
)


@given(st.dictionaries(_VARIABLES.map(lambda parts: "SMART_GATEWAY_" + "__".join(parts)), st.text(max_size=20), max_size=3))
@settings(max_examples=150, deadline=None)
def test_no_variable_raises(environment: dict[str, str]) -> None:
    source = {
        "server": {"public_url": "https://a.example"},
        "upstream": {"fhir_version": "R4"},
        "issuers": [{"issuer": "https://b.example"}],
    }
    examination = examine(source, environment)
    assert (examination.settings is None) == has_errors(examination.findings)
