"""Names of parameters and their parts."""

from __future__ import annotations

import pytest

from smart_gateway.errors import RequestError
from smart_gateway.request.model import QueryParameter
from smart_gateway.request.parameters import read_parameter, read_parameters, requested_format


@pytest.mark.parametrize(
    ("key", "name", "modifier", "chain"),
    [
        ("code", "code", None, ()),
        ("_lastUpdated", "_lastUpdated", None, ()),
        ("value-quantity", "value-quantity", None, ()),
        ("code:not-in", "code", "not-in", ()),
        ("subject:Patient", "subject", "Patient", ()),
        ("subject.name", "subject", None, ("name",)),
        ("subject:Patient.name:exact", "subject", "Patient", ("name:exact",)),
        ("encounter.patient.name", "encounter", None, ("patient", "name")),
        ("encounter:Encounter.patient:Patient.name", "encounter", "Encounter", ("patient:Patient", "name")),
        ("_has:Observation:patient:code", "_has", "Observation:patient:code", ()),
        ("_has:Observation:patient:_has:Provenance:target:agent.name", "_has", "Observation:patient:_has:Provenance:target:agent.name", ()),
        ("patient._has:Group:member:_id", "patient", None, ("_has:Group:member:_id",)),
        ("_include:iterate", "_include", "iterate", ()),
        ("code:a:b", "code", "a:b", ()),
        ("code[x]", "code[x]", None, ()),
        ("_hasx", "_hasx", None, ()),
    ],
)
def test_a_name_has_parts(key: str, name: str, modifier: str | None, chain: tuple[str, ...]) -> None:
    assert read_parameter(key, "v") == QueryParameter(key, name, "v", modifier, chain)


@pytest.mark.parametrize(
    "key", ["a b", "a\u00e9", "\u212a", "a\u200b", "", ":x", "code:", ".name", "subject.", "subject..name", "_has:", "a\t"]
)
def test_a_malformed_name_is_refused(key: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_parameter(key, "v")
    assert caught.value.reason == "malformed-parameter"


@pytest.mark.parametrize("key", ["access_token", "ACCESS_TOKEN", "Access_Token", "access_token:exact", "access_token.x"])
def test_a_token_is_no_parameter(key: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_parameters([("code", "1"), (key, "secret")])
    assert caught.value.reason == "token-in-parameters"
    assert "secret" not in caught.value.text


def test_format_stands_once() -> None:
    assert requested_format(read_parameters([("a", "b"), ("_format", "xml")])) == "xml"
    assert requested_format(read_parameters([("a", "b")])) is None
    for pairs in (
        [("_format", "xml"), ("_format", "xml")],
        [("_format:x", "xml")],
        [("_format.x", "xml")],
        [("_format", "a"), ("_format:y", "b")],
    ):
        with pytest.raises(RequestError) as caught:
            read_parameters(pairs)
        assert caught.value.reason == "duplicate-parameter"


def test_order_and_repetition_are_kept() -> None:
    found = read_parameters([("date", "ge1"), ("code", "x"), ("date", "le2")])
    assert [(p.key, p.value) for p in found] == [("date", "ge1"), ("code", "x"), ("date", "le2")]
