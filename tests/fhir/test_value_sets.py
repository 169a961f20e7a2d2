"""ValueSets as codes: whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.fhir.value_sets import ValueSet, ValueSetError, ValueSets, read_value_set

URL, SYSTEM = "http://example.org/vs", "http://one"


def value_set(**members: Any) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "url": URL, **members}


def contains(*codes: str, **members: Any) -> list[dict[str, Any]]:
    return [{"system": SYSTEM, "code": code, **members} for code in codes]


def include(*codes: str, **members: Any) -> dict[str, Any]:
    return {"system": SYSTEM, "concept": [{"code": code, "display": code.upper()} for code in codes], **members}


@pytest.mark.parametrize(
    ("members", "codes"),
    [
        ({"compose": {"include": [include("a", "b")]}}, "ab"),
        ({"compose": {"include": [include("a", "b"), include("c")], "exclude": [include("b")]}}, "ac"),
        ({"compose": {"include": [include("a")], "exclude": [{"system": SYSTEM}]}}, ""),
        ({"compose": {"include": [include("a")], "exclude": [{"system": "http://two"}]}}, "a"),
        ({"expansion": {"contains": contains("a", "b"), "total": 2}}, "ab"),
        ({"expansion": {"contains": contains("a"), "total": 1, "offset": 0, "parameter": [{"name": "count", "valueInteger": 10}]}}, "a"),
        ({"expansion": {"contains": contains("a"), "offset": 0, "parameter": [{"name": "count", "valueInteger": 1000}]}}, "a"),
        ({"expansion": {"contains": [{"display": "group", "contains": contains("a")}, *contains("b")]}}, "ab"),
        ({"expansion": {"contains": [*contains("a", abstract=True, contains=contains("b"))]}}, "b"),
        ({"expansion": {}}, ""),
        # the expansion counts, whatever the compose would need
        ({"compose": {"include": [{"system": SYSTEM}]}, "expansion": {"contains": contains("a")}}, "a"),
    ],
)
def test_the_codes_of_a_set_that_lists_them(members: dict[str, Any], codes: str) -> None:
    assert read_value_set(value_set(**members)).codes == {(SYSTEM, code) for code in codes}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"compose": {"include": [{"system": SYSTEM}]}},
        {"compose": {"include": [{"system": SYSTEM, "filter": [{"property": "concept", "op": "is-a", "value": "x"}]}]}},
        {"compose": {"include": [include("a", valueSet=["http://example.org/other"])]}},
        {"compose": {"include": [include("a")], "exclude": [{"valueSet": ["http://example.org/other"]}]}},
        {"compose": {"include": [{"concept": [{"code": "a"}]}]}},
        {"compose": {"include": "all"}},
        {"expansion": {"contains": contains("a"), "total": 2}},
        {"expansion": {"contains": contains("a"), "offset": 1}},
        {"expansion": {"contains": contains("a"), "parameter": [{"name": "count", "valueInteger": 1}]}},
        {"expansion": {"contains": contains("a"), "parameter": [{"name": "count"}]}},
        {"expansion": {"contains": contains("a"), "parameter": [{"name": "filter", "valueString": "a"}]}},
        {"expansion": {"contains": contains("a"), "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/valueset-toocostly"}]}},
        {"expansion": {"contains": contains("a"), "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/valueset-unclosed"}]}},
        {"expansion": {"contains": [{"code": "a"}]}},
        {"expansion": {"contains": ["a"]}},
        {"expansion": []},
    ],
)
def test_half_a_set_is_none(members: dict[str, Any]) -> None:
    """What is missing from it would be admitted by ``:not-in``."""
    with pytest.raises(ValueSetError):
        read_value_set(value_set(**members))


@pytest.mark.parametrize("resource", [None, [], {"resourceType": "CodeSystem", "url": URL}, {"resourceType": "ValueSet"}, value_set(url=1)])
def test_what_is_no_value_set_is_none(resource: Any) -> None:
    with pytest.raises(ValueSetError):
        read_value_set(resource)


def test_sets_are_found_by_url_and_by_version() -> None:
    one, two = frozenset({(SYSTEM, "a")}), frozenset({(SYSTEM, "b")})
    sets = ValueSets.of([ValueSet(URL, "1", one), ValueSet("http://example.org/other", None, two)])
    assert sets.together([URL]) == sets.together([f"{URL}|1"]) == one
    assert sets.together([URL, "http://example.org/other"]) == one | two
    assert sets.together([f"{URL}|2"]) is None
    assert sets.together([URL, "http://example.org/unknown"]) is None


def test_of_two_versions_none_is_the_one() -> None:
    sets = ValueSets.of([ValueSet(URL, "1", frozenset()), ValueSet(URL, "2", frozenset({(SYSTEM, "a")}))])
    assert sets.together([URL]) is None
    assert sets.together([f"{URL}|2"]) == {(SYSTEM, "a")}
    with pytest.raises(ValueSetError):
        ValueSets.of([ValueSet(URL, "1", frozenset()), ValueSet(URL, "1", frozenset())])


def test_a_deep_expansion_is_read() -> None:
    nested: dict[str, Any] = {"system": SYSTEM, "code": "a"}
    for _ in range(5000):
        nested = {"contains": [nested]}
    assert read_value_set(value_set(expansion={"contains": [nested]})).codes == {(SYSTEM, "a")}
