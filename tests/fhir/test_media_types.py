"""Media types: Content-Type, Accept, _format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.fhir.media import MediaType, content_type, is_fhir, is_json_body, media_of_accept, media_of_format, parse_media_type

R4 = "4.0.1"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a/b", MediaType("a/b")),
        (" A/B ", MediaType("a/b")),
        ("a/b;C=D", MediaType("a/b", (("c", "D"),))),
        ('a/b ; c="d;e\\"f" ;g=h', MediaType("a/b", (("c", 'd;e"f'), ("g", "h")))),
        ("a/b;", MediaType("a/b")),
        ("a/b;;c=d", MediaType("a/b", (("c", "d"),))),
    ],
)
def test_a_media_type(text: str, parsed: MediaType) -> None:
    assert parse_media_type(text) == parsed


@pytest.mark.parametrize("text", ["", "a", "a/", "/b", "a/b/c", "a/b c", "a/b;c", "a/b;c=", 'a/b;c="', "a/b,c/d", "a /b", "a/b;c =d"])
def test_what_is_no_media_type(text: str) -> None:
    assert parse_media_type(text) is None
    assert content_type(text, R4) is None


def test_the_first_parameter_of_a_name_counts() -> None:
    parsed = parse_media_type("a/b;q=1;q=0")
    assert parsed is not None
    assert (parsed.get("q"), parsed.get("x")) == ("1", None)


@pytest.mark.parametrize(
    ("text", "json", "fhir"),
    [
        ("application/fhir+json", True, True),
        ("application/json; charset=utf-8", True, True),
        ("application/json+fhir", True, True),
        ("application/fhir+json;fhirVersion=4.0.1", True, True),
        ("application/fhir+json;fhirVersion=5.0", False, True),
        ("application/fhir+json;charset=utf-16", False, True),
        ("text/json", False, True),
        ("application/fhir+xml", False, True),
        ("text/xml", False, True),
        ("application/json-patch+json", False, False),
        ("image/png", False, False),
        ("application/fhir+json2", False, False),
    ],
)
def test_bodies(text: str, json: bool, fhir: bool) -> None:
    held = content_type(text, R4)
    assert held is not None
    assert (is_json_body(held), is_fhir(held)) == (json, fhir)


def test_no_body_type_is_no_json() -> None:
    assert not is_json_body(None)


@pytest.mark.parametrize(
    ("value", "media"),
    [
        ("json", "json"),
        ("JSON", "json"),
        ("application/json", "json"),
        ("application/fhir+json", "json"),
        ("application/fhir json", "json"),
        ("application/json fhir", "json"),
        ("text/json", "json"),
        ("application/fhir+json; fhirVersion=4.0", "json"),
        ("application/fhir+json; fhirVersion=3.0", "other"),
        ("application/fhir+json;charset=utf-16", "other"),
        ("xml", "xml"),
        ("text/xml", "xml"),
        ("application/fhir xml", "xml"),
        ("ttl", "turtle"),
        ("turtle", "turtle"),
        ("text/turtle", "turtle"),
        ("html", "other"),
        ("html/json", "other"),
        ("text/html", "other"),
        ("", "other"),
        ("*/*", "other"),
        ("json,xml", "other"),
    ],
)
def test_format(value: str, media: str) -> None:
    assert media_of_format(value, R4) == media


def test_without_a_version_to_compare_with_none_fits() -> None:
    assert media_of_format("application/fhir+json;fhirVersion=4.0", None) == "other"


@pytest.mark.parametrize(
    ("value", "media"),
    [
        ("", "any"),
        (" , ", "any"),
        ("*/*", "any"),
        ("application/*", "any"),
        ("application/fhir+json", "json"),
        ("application/fhir+json, */*", "json"),
        ("application/fhir+xml, application/fhir+json;q=0.1", "json"),
        ("application/fhir+xml, */*;q=0.1", "any"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "any"),
        ("application/fhir+xml", "xml"),
        ("application/fhir+xml, application/fhir+turtle", "xml"),
        ("application/fhir+turtle", "turtle"),
        ("application/fhir+json;q=0, application/fhir+xml", "xml"),
        ("application/fhir+json;q=0, */*", "other"),
        ("application/fhir+json;q=0, application/json;q=0.5", "json"),
        ("application/fhir+json;q=0.000", "other"),
        ("*/*;q=0", "other"),
        ("text/*", "other"),
        ("text/csv", "csv"),
        ("application/fhir+json; fhirVersion=4.0", "json"),
        ("application/fhir+json; fhirVersion=4.3", "other"),
        ('application/fhir+json; charset="UTF-8"', "json"),
        ("application/fhir+json; charset=utf-16", "other"),
        (",application/fhir+json,,", "json"),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "any"),
        ("*", "any"),
        ("application/fhir+json;q=.0, application/fhir+xml;q=0.00001", "xml"),
    ],
)
def test_accept(value: str, media: str) -> None:
    assert media_of_accept(value, R4) == media


@pytest.mark.parametrize(
    "value", ["json", "a/b c/d", "a/b;q=2", "a/b;q=-1", "a/b;q=", "a/b;x", "**", "a/b,c", "application/fhir+json;q=1.5"]
)
def test_a_malformed_accept(value: str) -> None:
    assert media_of_accept(value, R4) is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60) | st.text(max_size=30))
def test_any_text_is_read_without_fail(text: str) -> None:
    assert media_of_accept(text, R4) in {"json", "xml", "turtle", "any", "other", None}
    assert media_of_format(text, R4) in {"json", "xml", "turtle", "other"}
    held = content_type(text, R4)
    assert held is None or isinstance(is_fhir(held), bool)
