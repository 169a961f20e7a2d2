"""Elements: what paths find in resources, against expectations by hand; and that no JSON makes them raise."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.fhir.elements import Element, elements, top_members
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary

CODE = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
OTHER = {"coding": [{"code": "x"}]}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o1",
    "meta": {"lastUpdated": "2024-01-01T00:00:00Z", "tag": [{"code": "a"}, {"code": "b"}]},
    "code": CODE,
    "category": [OTHER, None, CODE],
    "subject": {"reference": "Patient/1"},
    "effectiveDateTime": "2024-01-01",
    "_effectiveDateTime": {"extension": []},
    "valueQuantity": {"value": 72.5, "unit": "kg"},
    "component": [{"code": OTHER, "valueQuantity": {"value": 1}}, "garbage", {"code": CODE}, None],
}


def found(resource, name, release=Release.R4):
    parameter = load_vocabulary(release).parameter(resource["resourceType"], name)
    return [(element.type, element.value) for element in elements(resource, parameter.paths)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("code", [("CodeableConcept", CODE)]),
        ("category", [("CodeableConcept", OTHER), ("CodeableConcept", CODE)]),
        ("combo-code", [("CodeableConcept", CODE), ("CodeableConcept", OTHER), ("CodeableConcept", CODE)]),
        ("component-code", [("CodeableConcept", OTHER), ("CodeableConcept", CODE)]),
        ("date", [("dateTime", "2024-01-01")]),
        ("value-quantity", [("Quantity", {"value": 72.5, "unit": "kg"})]),
        ("_id", [("id", "o1")]),
        ("_tag", [("Coding", {"code": "a"}), ("Coding", {"code": "b"})]),
        ("_lastUpdated", [("instant", "2024-01-01T00:00:00Z")]),
        ("performer", []),
        ("value-string", []),
    ],
)
def test_observation(name, expected):
    assert found(OBSERVATION, name) == expected


def test_condition_on_a_member_selects_items():
    patient = {
        "resourceType": "Patient",
        "telecom": [
            {"system": "email", "value": "a@example.org"},
            {"system": "phone", "value": "1"},
            {"value": "2"},
            "phone",
            {"system": ["phone"], "value": "3"},
            {"system": "phone", "value": "4"},
        ],
    }
    expected = [("ContactPoint", {"system": "phone", "value": "1"}), ("ContactPoint", {"system": "phone", "value": "4"})]
    assert found(patient, "phone") == expected


def test_extension_by_its_url():
    alias = "http://hl7.org/fhir/StructureDefinition/careteam-alias"
    team = {
        "resourceType": "CareTeam",
        "name": "A",
        "extension": [{"url": alias, "valueString": "B"}, {"url": "http://example.org/other", "valueString": "C"}],
    }
    assert found(team, "name", Release.R5) == [("string", "A"), ("string", "B")]


def test_r5_codeable_reference():
    request = {"resourceType": "MedicationRequest", "medication": {"concept": CODE, "reference": {"reference": "Medication/1"}}}
    assert found(request, "code", Release.R5) == [("CodeableConcept", CODE)]
    assert found(request, "medication", Release.R5) == [("Reference", {"reference": "Medication/1"})]


def test_targets_are_passed_on_for_the_reader_to_judge():
    parameter = load_vocabulary(Release.R4).parameter("Observation", "patient")
    subject = {"reference": "Group/1"}
    assert list(elements({"subject": subject}, parameter.paths)) == [Element("Reference", subject, frozenset({"Patient"}))]


def test_components_are_found_below_the_elements_of_a_composite():
    parameter = load_vocabulary(Release.R4).parameter("Observation", "combo-code-value-quantity")
    code, value = (component.paths for component in parameter.components)
    pairs = [
        ([e.value for e in elements(whole.value, code)], [e.value for e in elements(whole.value, value)])
        for whole in elements(OBSERVATION, parameter.paths)
        if isinstance(whole.value, dict)
    ]
    assert pairs == [([CODE], [{"value": 72.5, "unit": "kg"}]), ([OTHER], [{"value": 1}]), ([CODE], [])]


def test_any_mapping_will_do():
    parameter = load_vocabulary(Release.R4).parameter("Observation", "code")
    assert [e.value for e in elements(MappingProxyType({"code": CODE}), parameter.paths)] == [CODE]


@pytest.mark.parametrize("value", [None, [], [None], [[CODE]], [[]]])
def test_nothing_is_found_in_nulls_and_arrays_of_arrays(value):
    assert found({"resourceType": "Observation", "code": value}, "code") == []


@pytest.mark.parametrize("value", ["x", 1, True, {}, 1.5, ""])
def test_the_end_of_a_path_is_given_as_it_is(value):
    assert found({"resourceType": "Observation", "code": value}, "code") == [("CodeableConcept", value)]


@pytest.mark.parametrize(
    ("type", "code", "members"),
    [
        ("Observation", "code", {"code"}),
        ("Observation", "combo-code", {"code", "component"}),
        ("Observation", "combo-code-value-quantity", {"code", "component", "valueQuantity"}),
        ("Observation", "component-code-value-quantity", {"component"}),
        ("Observation", "_lastUpdated", {"meta"}),
        ("Observation", "date", {"effectiveDateTime", "effectivePeriod", "effectiveTiming", "effectiveInstant"}),
        ("MolecularSequence", "chromosome-variant-coordinate", {"variant", "referenceSeq"}),
        ("Patient", "deceased", set()),
    ],
)
def test_top_members(type, code, members):
    assert top_members(load_vocabulary(Release.R4).parameter(type, code)) == members


NAMES = st.sampled_from(
    "resourceType id meta tag code category subject performer component telecom system value valueQuantity reference type coding agent who "
    "identifier extension url contained".split()
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["phone", "Patient/1", "#a"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=25)


@pytest.mark.parametrize("release", Release)
@given(content=st.dictionaries(NAMES, JSON, max_size=8))
def test_no_json_makes_it_raise(release, content):
    for type in ("Observation", "Patient", "AuditEvent"):
        for parameter in load_vocabulary(release).parameters(type).values():
            for element in elements(content, parameter.paths):
                assert element.value is not None
                assert not isinstance(element.value, list)


@pytest.mark.parametrize("release", Release)
@given(data=st.data())
def test_what_is_read_lies_in_the_top_members(release, data):
    vocabulary = load_vocabulary(release)
    parameter = data.draw(st.sampled_from(list(vocabulary.parameters("Observation").values())))
    content = data.draw(st.dictionaries(NAMES, JSON, max_size=8))
    kept = {name: value for name, value in content.items() if name in top_members(parameter)}
    if all(path.steps for path in parameter.paths):
        # repr, since NaN is not equal to itself
        assert repr(list(elements(kept, parameter.paths))) == repr(list(elements(content, parameter.paths)))
