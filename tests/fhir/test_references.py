"""Literal references: what names a resource of this server without doubt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.fhir.references import Bases, Reference, is_id, parse_reference

BASES = Bases("https://fhir.example.org/fhir", "http://127.0.0.1:8090/fhir")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", Reference("Patient", "1")),
        ("Patient/a-B.9", Reference("Patient", "a-B.9")),
        ("Patient/1/_history/2", Reference("Patient", "1", "2")),
        ("https://fhir.example.org/fhir/Patient/1", Reference("Patient", "1")),
        ("http://127.0.0.1:8090/fhir/Patient/1/_history/7", Reference("Patient", "1", "7")),
    ],
)
def test_names_a_resource(text, expected):
    assert parse_reference(text, BASES) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "#p",
        "#Patient/1",
        "Patient",
        "Patient/",
        "Patient/.",
        "Patient/..",
        "/Patient/1",
        "./Patient/1",
        "../Patient/1",
        "patient/1",
        "Patient/1/",
        "Patient//1",
        "Patient/1?x=y",
        "Patient?identifier=1",
        "Patient/1#x",
        "Patient/1|2",
        "Patient/1/_history",
        "Patient/1/_history/",
        "Patient/1/Observation/2",
        "Patient/1\n",
        " Patient/1",
        "Patient/%31",
        "Patient/1\x00",
        "Patient/" + "1" * 65,
        "Patient/é",
        "urn:uuid:3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "urn:Patient/1",
        "https://other.example/fhir/Patient/1",
        "https://fhir.example.org/fhirx/Patient/1",
        "https://fhir.example.org/fhir/../Patient/1",
        "https://fhir.example.org/Patient/1",
        "HTTPS://fhir.example.org/fhir/Patient/1",
        "https://fhir.example.org/fhir",
        "https://fhir.example.org/fhir/",
        "https://fhir.example.org/fhir/https://fhir.example.org/fhir/Patient/1",
        "https://fhir.example.org@other.example/fhir/Patient/1",
    ],
)
def test_names_nothing(text):
    assert parse_reference(text, BASES) is None


@given(st.text(max_size=40))
def test_what_is_parsed_says_what_was_written(text):
    found = parse_reference(text, BASES)
    if found is not None:
        assert text in (str(found), f"{found}/_history/{found.version}")
        assert is_id(found.id)


@pytest.mark.parametrize(("text", "expected"), [("a-Z.9", True), ("", False), ("a_b", False), ("a" * 64, True), ("a" * 65, False)])
def test_ids(text, expected):
    assert is_id(text) is expected
