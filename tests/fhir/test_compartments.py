"""Compartments: whose record a resource is in, and which references of a write name somebody else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smart_gateway.fhir.compartments import CompartmentRules
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary

BASES = Bases("https://fhir.example.org/fhir", "http://127.0.0.1:8090/fhir")
RULES = {release: CompartmentRules(load_vocabulary(release), {"Device": ("patient",)}) for release in Release}
R4, R5 = RULES[Release.R4], RULES[Release.R5]
IDS = frozenset({"1"})


def ref(text):
    return {"reference": text}


def member(resource, compartment="Patient", ids=IDS, rules=R4):
    return rules.is_member(resource, compartment, ids, BASES)


def strays(resource, compartment="Patient", ids=IDS, rules=R4):
    return rules.strays(resource, compartment, ids, BASES)


def observation(subject, **more):
    return {"resourceType": "Observation", "subject": subject, **more}


OWN = [
    ref("Patient/1"),
    ref("Patient/1/_history/3"),
    ref("https://fhir.example.org/fhir/Patient/1"),
    ref("http://127.0.0.1:8090/fhir/Patient/1"),
    {"reference": "Patient/1", "type": "Patient"},
    {"reference": "Patient/1", "type": "http://hl7.org/fhir/StructureDefinition/Patient"},
    {"reference": "Patient/1", "type": None, "display": "x", "identifier": {"value": "v"}},
]
HARMLESS = [  # no members, and shown to name nobody else
    {"display": "Patient/1"},
    {"display": "Jane", "type": "Patient"},
    {},
    None,
    [],
    [None],
    ref("Group/1"),
    {"reference": "Group/1", "type": "Group"},
    {"reference": "Group/1", "type": "Device"},
    ref("Practitioner/1/_history/2"),
    ref("https://fhir.example.org/fhir/Group/1"),
    ref("https://other.example/fhir/Group/1"),
    ref("https://other.example/fhir/Group/1/_history/4"),
    ref("Group?identifier=x"),
    {"identifier": {"value": "v"}, "type": "Group"},
]
STRAYS = [  # no members either, and somebody else or not to be told
    ref("Patient/2"),
    ref("Patient/2/_history/1"),
    ref("Patient/11"),
    ref("https://fhir.example.org/fhir/Patient/2"),
    ref("https://other.example/fhir/Patient/1"),
    ref("https://other.example/fhir/Patient/2"),
    ref("HTTPS://fhir.example.org/fhir/Patient/1"),
    ref("https://other.example/fhir/Patient/1/Group/2"),
    ref("https://other.example/patient/Group/2"),
    ref("https://other.example/../Group/2"),
    ref("https://other.example//Group/2"),
    ref("https://other.example/fhir/Nope/2"),
    ref("https://other.example/Group/2?x"),
    ref("https://other.example/Group/_"),
    ref("https://Group/2"),
    ref("ftp://other.example/Group/2"),
    ref("Patient?identifier=x"),
    ref("Nope?identifier=x"),
    ref("patient/1"),
    ref("Patient/1?x"),
    ref(" Patient/1"),
    ref("/Patient/1"),
    ref("Patient/1/"),
    ref("Patient/%31"),
    ref("Patient/."),
    ref("1"),
    ref(""),
    ref("#"),
    ref("#gone"),
    ref("Nope/1"),
    ref("urn:uuid:3fa85f64-5717-4562-b3fc-2c963f66afa6"),
    {"reference": "urn:uuid:3fa85f64-5717-4562-b3fc-2c963f66afa6", "type": "Group"},
    {"reference": "Patient/1", "type": "Group"},
    {"reference": "Group/1", "type": "Patient"},
    {"reference": "Group/1", "type": "http://hl7.org/fhir/StructureDefinition/Patient"},
    {"reference": "Patient/1", "type": "patient"},
    {"reference": "Patient/1", "type": ["Patient"]},
    {"reference": "Patient/1", "type": ""},
    {"reference": "Group/1", "type": "http://example.org/StructureDefinition/Group"},
    {"identifier": {"value": "v"}},
    {"identifier": {"value": "v"}, "type": "Patient"},
    {"identifier": "v"},
    {"reference": ["Patient/1"]},
    {"reference": {"reference": "Patient/1"}},
    {"reference": 1},
    {"reference": True},
    "Patient/1",
    1,
    True,
    [[ref("Patient/1")]],
    ["Patient/1"],
]


@pytest.mark.parametrize("reference", OWN)
def test_own_reference(reference):
    assert member(observation(reference))
    assert strays(observation(reference)) == ()


@pytest.mark.parametrize("reference", HARMLESS)
def test_reference_to_nobody_of_the_owners_type(reference):
    assert not member(observation(reference))
    assert strays(observation(reference)) == ()


@pytest.mark.parametrize("reference", STRAYS)
def test_stray(reference):
    assert not member(observation(reference))
    assert strays(observation(reference)) == ("subject",)
    assert strays(observation(ref("Patient/1"), performer=[ref("Practitioner/3"), reference])) == ("performer",)


@pytest.mark.parametrize(
    ("contained", "stray"),
    [
        ([{"resourceType": "Patient", "id": "p"}], True),
        ([{"resourceType": "Group", "id": "p"}], False),
        ({"resourceType": "Group", "id": "p"}, False),
        ([{"resourceType": "Group", "id": "#p"}], False),
        ([{"resourceType": "Patient", "id": "#p"}], True),
        ([{"resourceType": "Group", "id": "p"}, {"resourceType": "Patient", "id": "p"}], True),
        ([{"resourceType": "Group", "id": "q"}], True),
        ([{"resourceType": ["Group"], "id": "p"}], True),
        ([{"resourceType": "Nope", "id": "p"}], True),
        ([{"id": "p"}], True),
        (["p", None], True),
        ("p", True),
        (None, True),
    ],
)
def test_contained(contained, stray):
    resource = observation(ref("#p"), contained=contained)
    assert not member(resource)
    assert strays(resource) == (("subject",) if stray else ())


def test_any_inclusion_parameter_makes_a_member():
    assert member(observation(ref("Patient/2"), performer=[ref("Practitioner/1"), ref("Patient/1")]))
    assert strays(observation(ref("Patient/2"), performer=[ref("Patient/1")])) == ("subject",)


def test_other_elements_do_not():
    resource = {"resourceType": "Observation", "focus": [ref("Patient/1")], "note": [{"authorReference": ref("Patient/1")}]}
    assert not member(resource)
    assert strays({**resource, "focus": [ref("Patient/2")]}) == ()


def test_allergy_of_another_patient_recorded_by_the_own_one():
    allergy = {"resourceType": "AllergyIntolerance", "patient": ref("Patient/2"), "recorder": ref("Patient/1")}
    assert member(allergy)
    assert strays(allergy) == ("patient",)


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "AuditEvent", "agent": [{"who": ref("Practitioner/1")}, {"who": ref("Patient/1")}]},
        {"resourceType": "AuditEvent", "entity": [{"what": ref("Patient/1")}]},
        {"resourceType": "Provenance", "target": [ref("Observation/1"), ref("Patient/1")]},
        {"resourceType": "Appointment", "participant": [{"actor": ref("Patient/1")}]},
        {"resourceType": "Group", "member": [{"entity": ref("Patient/1")}]},
        {"resourceType": "Device", "patient": ref("Patient/1")},
        {"resourceType": "Coverage", "payor": [ref("Patient/1")]},
    ],
)
def test_members_below_the_top_and_by_addition(resource):
    assert member(resource)
    assert strays(resource) == ()
    assert not member(resource, ids=("2",))
    assert strays(resource, ids=("2",)) == (list(resource)[1],)


@pytest.mark.parametrize("participant", ["Patient/1", [["x"]], [{"actor": "Patient/2"}], {"actor": ref("Patient/2")}, 7, [True]])
def test_wrong_shapes_on_the_way_are_strays(participant):
    assert strays({"resourceType": "Appointment", "participant": participant}) == ("participant",)


def test_restricted_targets_count_only_for_those():
    """R4 Provenance.patient is target where it resolves to a Patient: other targets are nobody's."""
    provenance = {"resourceType": "Provenance", "target": [ref("Patient/1"), ref("Observation/9")]}
    assert member(provenance)
    assert strays(provenance) == ()


def test_own_type_is_a_member_by_its_id_alone():
    linked = {"resourceType": "Patient", "id": "2", "link": [{"other": ref("Patient/1")}]}
    assert not member(linked)
    assert strays(linked) == ()
    assert member({"resourceType": "Patient", "id": "1"})
    assert member({"resourceType": "Encounter", "id": "e"}, "Encounter", ("e",))
    assert member({"resourceType": "Device", "id": "d"}, "Device", ("d",))


@pytest.mark.parametrize("id", [None, 1, True, ["1"], {"id": "1"}, "", "11", "1 "])
def test_own_type_with_another_id(id):
    assert not member({"resourceType": "Patient", "id": id})


@pytest.mark.parametrize("type", [None, 1, ["Patient"], {"a": 1}, "", "patient", "Nope", "Task", "Organization"])
def test_types_that_are_in_no_compartment(type):
    resource = {"resourceType": type, "id": "1", "patient": ref("Patient/1"), "subject": ref("Patient/1"), "for": ref("Patient/1")}
    assert not member(resource)
    assert strays(resource) == ()


@pytest.mark.parametrize("ids", [(), frozenset(), ("",), ("2", "3")])
def test_no_ids_no_members(ids):
    assert not member(observation(ref("Patient/1")), ids=ids)
    assert not member({"resourceType": "Patient", "id": "1"}, ids=ids)


def test_group_is_no_compartment():
    assert not member({"resourceType": "Group", "id": "1"}, "Group")
    assert not member(observation(ref("Group/1")), "Group")
    assert not R4.covers("Group", "Group")
    assert not R4.covers("Group", "Observation")


@pytest.mark.parametrize(
    ("rules", "resource", "compartment", "id"),
    [
        (R4, {"resourceType": "Observation", "encounter": ref("Encounter/e")}, "Encounter", "e"),
        (R4, {"resourceType": "Observation", "performer": [ref("Practitioner/p")]}, "Practitioner", "p"),
        (R4, {"resourceType": "Observation", "performer": [ref("RelatedPerson/r")]}, "RelatedPerson", "r"),
        (R4, {"resourceType": "Observation", "device": ref("Device/d")}, "Device", "d"),
        (R5, {"resourceType": "Task", "for": ref("Patient/1")}, "Patient", "1"),
        (R5, {"resourceType": "Task", "focus": ref("Patient/1")}, "Patient", "1"),
        (R5, {"resourceType": "Provenance", "patient": ref("Patient/1")}, "Patient", "1"),
    ],
)
def test_other_compartments_and_releases(rules, resource, compartment, id):
    assert member(resource, compartment, (id,), rules)
    assert not member(resource, compartment, (f"{id}x",), rules)
    assert strays(resource, compartment, (f"{id}x",), rules) == (list(resource)[1],)


def test_r5_provenance_target_confers_nothing():
    assert not member({"resourceType": "Provenance", "target": [ref("Patient/1")]}, rules=R5)


@pytest.mark.parametrize(
    ("compartment", "type", "codes"),
    [
        ("Patient", "Observation", ("subject", "performer")),
        ("Patient", "Device", ("patient",)),
        ("Patient", "Patient", ()),
        ("Encounter", "Device", ()),
        ("Patient", "Task", ()),
        ("Patient", "Nope", ()),
        ("Nope", "Observation", ()),
    ],
)
def test_inclusion_and_cover(compartment, type, codes):
    assert R4.inclusion(compartment, type) == codes
    assert R4.covers(compartment, type) is bool(codes or compartment == type)


@pytest.mark.parametrize(
    "additions",
    [
        {"Task": ("nope",)},
        {"Task": ("status",)},
        {"Task": ("requester:Patient",)},
        {"Device": ("location",)},  # a reference, but never to a Patient
        {"Nope": ("patient",)},
        {"Patient": ("organization",)},
    ],
)
def test_additions_that_name_no_reference_to_a_patient_add_nothing(additions):
    rules = CompartmentRules(load_vocabulary(Release.R4), additions)
    (type,) = additions
    assert rules.inclusion("Patient", type) == ()
    assert rules.covers("Patient", type) is (type == "Patient")


def test_addition_that_is_there_already_counts_once():
    rules = CompartmentRules(load_vocabulary(Release.R4), {"Observation": ("patient", "subject")})
    assert rules.inclusion("Patient", "Observation") == ("subject", "performer", "patient")


@pytest.mark.parametrize(
    ("compartment", "type", "members"),
    [
        ("Patient", "Observation", {"subject", "performer"}),
        ("Patient", "AuditEvent", {"agent", "entity"}),
        ("Patient", "Patient", {"id"}),
        ("Patient", "Device", {"patient"}),
        ("Patient", "Organization", set()),
    ],
)
def test_members_read(compartment, type, members):
    assert R4.members_read(compartment, type) == members


TEXTS = st.sampled_from(
    ["Patient/1", "Patient/2", "Group/1", "#p", "Patient?x=1", "urn:uuid:1", "https://other.example/fhir/Patient/1", "Patient", "x"]
)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS | st.text(max_size=4)
NAMES = st.sampled_from("id reference type identifier display subject performer participant actor agent who contained entity".split())
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20)
TYPES = st.sampled_from("Observation Patient Appointment AuditEvent Group Device Task".split()) | JSON


def mentions(value, text):
    if isinstance(value, dict):
        return any(mentions(item, text) for item in value.values())
    if isinstance(value, list):
        return any(mentions(item, text) for item in value)
    return isinstance(value, str) and text in value


@pytest.mark.parametrize("release", Release)
@given(type=TYPES, content=st.dictionaries(NAMES, JSON, max_size=6))
@example(type="Observation", content={"subject": {"reference": "Patient/2"}})
def test_nobody_is_a_member_who_is_not_mentioned_and_no_json_raises(release, type, content):
    resource = {"resourceType": type, **content}
    rules = RULES[release]
    for compartment in ("Patient", "Practitioner", "Encounter"):
        assert not rules.is_member(resource, compartment, frozenset({"unmentioned"}), BASES)
        rules.strays(resource, compartment, IDS, BASES)
    if not mentions({**content}, "1"):
        assert not member(resource, rules=rules)


@pytest.mark.parametrize("release", Release)
@given(type=TYPES, content=st.dictionaries(NAMES, JSON, max_size=6))
def test_a_member_of_two_records_is_a_stray_in_each(release, type, content):
    """Whoever is in another patient's compartment by a reference cannot be written without that being seen."""
    resource, rules = {"resourceType": type, **content}, RULES[release]
    if type != "Patient" and member(resource, ids=("2",), rules=rules):
        assert strays(resource, ids=("1",), rules=rules)


@pytest.mark.parametrize("release", Release)
@given(type=TYPES, content=st.dictionaries(NAMES, JSON, max_size=6))
def test_membership_looks_at_nothing_but_what_it_says(release, type, content):
    rules = RULES[release]
    resource = {"resourceType": type, **content}
    read = rules.members_read("Patient", type) if isinstance(type, str) else frozenset()
    kept = {name: value for name, value in resource.items() if name in read | {"resourceType"}}
    assert member(kept, rules=rules) == member(resource, rules=rules)
