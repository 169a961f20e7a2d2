"""The syntax of search values: what is split comes together again, and no text breaks a reader."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.search_values import ValueSyntaxError, escape, split_at, split_values, undecidable, unescape
from smart_gateway.fhir.search_values_dates import parse_date
from smart_gateway.fhir.search_values_numbers import parse_number, parse_quantity
from smart_gateway.fhir.search_values_tokens import parse_token, parse_typed_identifier
from smart_gateway.fhir.vocabulary import load_vocabulary

R4 = load_vocabulary(Release.R4)
PARAMETERS = [
    parameter
    for type in ("Observation", "Patient", "MolecularSequence", "Location", "ValueSet")
    for parameter in R4.parameters(type).values()
]
MODIFIERS = [
    None,
    "",
    "not",
    "missing",
    "exact",
    "contains",
    "text",
    "of-type",
    "identifier",
    "above",
    "below",
    "in",
    "Patient",
    "Patient.name",
]


@given(st.lists(st.text(), min_size=1))
def test_escaped_values_are_split_as_they_were_joined(values: list[str]) -> None:
    parts = split_values(",".join(escape(value) for value in values))
    assert [unescape(part) for part in parts] == values


@given(st.text(), st.sampled_from(",|$"))
def test_parts_joined_are_the_text(text: str, separator: str) -> None:
    assert separator.join(split_at(text, separator)) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (r"a\,b", [r"a\,b"]),
        (r"a\\,b", [r"a\\", "b"]),
        (",", ["", ""]),
        ("a\\", ["a\\"]),
        (r"\,,", [r"\,", ""]),
    ],
)
def test_split(text: str, parts: list[str]) -> None:
    assert list(split_values(text)) == parts


@pytest.mark.parametrize("text", ["\\", r"a\b", r"\\\x", "a\\"])
def test_other_escapes_are_no_escapes(text: str) -> None:
    with pytest.raises(ValueSyntaxError):
        unescape(text)


@given(st.text(alphabet="0123456789-:.TZ+eglnsatb|,$\\ \u0661Ee") | st.text())
@pytest.mark.parametrize("parse", [parse_date, parse_number, parse_quantity, parse_token, parse_typed_identifier])
def test_a_reader_reads_or_says_why_not(parse: Callable[[str], object], text: str) -> None:
    try:
        parse(text)
    except ValueSyntaxError as error:
        assert str(error)  # noqa: PT017  # either outcome is right, any other exception is not


@given(st.sampled_from(PARAMETERS), st.sampled_from(MODIFIERS), st.text(max_size=12))
def test_any_filter_is_decidable_or_not(parameter: object, modifier: str | None, text: str) -> None:
    reason = undecidable(parameter, modifier, split_values(text))  # type: ignore[arg-type]
    assert reason is None or reason.endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "0000",
        "2020-00",
        "2020-02-30",
        "2020-1-1",
        "2020-01-01T24:00:00Z",
        "2020-01-01T10:60Z",
        "2020-01-01T10:00:60Z",
        "2020-01-01T10:00:00",
        "2020-01-01T10:00:00+15:00",
        "2020-01-01T10:00:00+01:60",
        "20200101",
        "2020-01-01T10Z",
        "2020-01-01Z",
        "",
        "eq",
        "EQ2020",
        "ap2020",
        "xx2020",
        "2020-01-01T10:00:00.1234567890Z",
        "\u0662\u0660\u0662\u0660",
        "2020\n",
        "eqeq2020",
        " 2020",
    ],
)
def test_no_dates(text: str) -> None:
    with pytest.raises(ValueSyntaxError):
        parse_date(text)


@pytest.mark.parametrize(
    "text", ["", ".5", "5.", "1e", "1e9999", "0x1", "1_0", "NaN", "Infinity", "gt", "ap5", "ne1e2", "1" * 33, "\u0665", "5 ", "--5"]
)
def test_no_numbers(text: str) -> None:
    with pytest.raises(ValueSyntaxError):
        parse_number(text)


def test_no_values_at_all_are_undecidable() -> None:
    parameter = R4.parameter("Observation", "code")
    assert parameter is not None
    assert undecidable(parameter, None, ()) is not None
