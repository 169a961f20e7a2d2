"""Limits on security labels: what they admit, what they say to the upstream, what lies within what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_gateway.boundary.containment import is_within
from smart_gateway.boundary.fingerprint import fingerprint
from smart_gateway.boundary.labels import CONFIDENTIALITY, LADDER, LabelLimit
from smart_gateway.boundary.matching import INSIDE, OUTSIDE
from smart_gateway.boundary.model import Boundary, Compartment, Filter, Region
from smart_gateway.boundary.narrowing import Narrower
from tests.support.deciding import DEFAULT, vocabulary

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
NORMAL = LabelLimit("N", "N")
NO_HIV = LabelLimit(forbidden=(f"{ACT}|HIV",))
RESEARCH = LabelLimit(required=("http://acme.example/labels|RESEARCH",))


def labelled(*codings: Any, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "o", "meta": {"security": list(codings)}, **more}


def coding(code: str, system: str | None = CONFIDENTIALITY) -> dict[str, str]:
    return {"code": code} if system is None else {"system": system, "code": code}


@pytest.mark.parametrize("ceiling", LADDER)
@pytest.mark.parametrize("label", LADDER)
def test_the_ladder(ceiling: str, label: str) -> None:
    assert LabelLimit(ceiling, "U").admits(labelled(coding(label))) is (LADDER.index(label) <= LADDER.index(ceiling))


@pytest.mark.parametrize("unlabelled", LADDER)
def test_what_has_no_label_is_taken_for_what_the_limit_says(unlabelled: str) -> None:
    limit = LabelLimit("N", unlabelled)
    inside = unlabelled in "ULMN"
    for resource in (
        {"resourceType": "Observation"},
        {"resourceType": "Observation", "meta": {}},
        labelled(),
        labelled(coding("SECRET", "http://acme.example/labels")),  # says nothing of confidentiality
        labelled(coding("HIV", ACT)),
    ):
        assert limit.admits(resource) is inside


HIDDEN = [
    labelled(coding("R")),
    labelled(coding("V")),
    labelled(coding("N"), coding("R")),  # the highest counts
    labelled(coding("U"), coding("X")),  # a code that is not known is the highest
    labelled(coding("n")),
    labelled(coding("N ")),
    labelled(coding("N", None)),  # of which system?
    labelled(coding("N", "")),
    labelled(coding("R", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality/")),
    labelled(coding("N", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality/")),  # a spelling nobody knows
    labelled(coding("R", "HTTP://terminology.hl7.org/codesystem/V3-confidentiality")),
    labelled(coding("R", "https://terminology.hl7.org/CodeSystem/v3-Confidentiality")),
    labelled(coding("R", f"{CONFIDENTIALITY}|2.0.0")),
    labelled(coding("R", "http://hl7.org/fhir/v3/Confidentiality")),
    labelled(coding("R", "urn:oid:2.16.840.1.113883.5.25")),
    labelled(coding("R", "2.16.840.1.113883.5.25")),
    labelled(coding("R", "http://terminology.hl7.org/ValueSet/v3-Confidentiality")),
    labelled({"system": CONFIDENTIALITY}),
    labelled({"system": CONFIDENTIALITY, "code": None}),
    labelled({"system": CONFIDENTIALITY, "code": 1}),
    labelled({"system": 1, "code": "N"}),
    labelled({"display": "very restricted"}),
    labelled({}),
    labelled("R"),
    labelled(None),
    {"resourceType": "Observation", "meta": {"security": coding("N")}},
    {"resourceType": "Observation", "meta": {"security": None}},
    {"resourceType": "Observation", "meta": None},
    {"resourceType": "Observation", "meta": []},
    labelled(coding("N"), contained=[labelled(coding("R"))]),
    labelled(coding("N"), contained=[{"resourceType": "Patient", "contained": [labelled(coding("R"))]}]),
    labelled(coding("N"), contained=[None]),
    labelled(coding("N"), contained={"resourceType": "Patient"}),
]


@pytest.mark.parametrize("resource", HIDDEN)
def test_what_is_higher_or_cannot_be_read_is_outside(resource: dict[str, Any]) -> None:
    assert not NORMAL.admits(resource)
    assert LabelLimit().admits(resource)  # no limit at all


@pytest.mark.parametrize(
    "resource",
    [
        labelled(coding("N")),
        labelled(coding("N", "http://hl7.org/fhir/v3/Confidentiality")),
        labelled(coding("L", "https://terminology.hl7.org/CodeSystem/v3-Confidentiality")),
        labelled(coding("M", "urn:oid:2.16.840.1.113883.5.25")),
        labelled(coding("U"), coding("RESTRICTED", "http://acme.example/labels")),
        labelled(coding("N"), contained=[{"resourceType": "Patient"}, labelled(coding("L"))]),
    ],
)
def test_what_is_told_in_any_known_spelling_is_inside(resource: dict[str, Any]) -> None:
    assert LabelLimit("N", "V").admits(resource)


@pytest.mark.parametrize(
    ("forbidden", "hits"),
    [
        (f"{ACT}|HIV", [coding("HIV", ACT), coding("hiv", ACT), coding("HIV", None), coding("HIV", "http://hl7.org/fhir/v3/ActCode")]),
        (f"{ACT}|HIV", [coding("HIV", "urn:oid:2.16.840.1.113883.5.4"), coding("HIV", f"{ACT}/"), coding("HIV ", ACT)]),
        (f"{ACT}|", [coding("HIV", ACT), coding("SUD", ACT), coding("SUD", None)]),
        ("HIV", [coding("HIV", ACT), coding("HIV", None), coding("HIV", "http://acme.example")]),
    ],
)
def test_forbidden_labels_hide_also_where_the_system_is_left_open(forbidden: str, hits: list[dict[str, str]]) -> None:
    limit = LabelLimit(forbidden=(forbidden,))
    for hit in hits:
        assert not limit.admits(labelled(coding("N"), hit)), hit
        assert not limit.admits(labelled(contained=[labelled(hit)])), hit
    for other in (labelled(), labelled(coding("N")), labelled(coding("OTHER", "http://other.example")), {"resourceType": "Observation"}):
        assert limit.admits(other)
    assert not limit.admits(labelled({"system": ACT}))


def test_required_labels_must_all_be_there_exactly() -> None:
    one, two = ("http://acme.example/labels", "RESEARCH"), ("http://acme.example/labels", "CONSENTED")
    limit = LabelLimit(required=tuple("|".join(pair) for pair in (one, two)))
    assert limit.admits(labelled(coding(one[1], one[0]), coding(two[1], two[0]), coding("V")))
    assert limit.admits(labelled(None, coding(one[1], one[0]), coding(two[1], two[0])))  # other labels are none of its business
    for resource in (
        labelled(coding(one[1], one[0])),
        labelled(coding(one[1], None), coding(two[1], two[0])),
        labelled(coding("research", one[0]), coding(two[1], two[0])),
        {"resourceType": "Observation"},
        {**labelled(), "contained": [labelled(coding(one[1], one[0]), coding(two[1], two[0]))]},
        {"resourceType": "Observation", "meta": {"tag": [coding(one[1], one[0]), coding(two[1], two[0])]}},
    ):
        assert not limit.admits(resource), resource


def bound(*limits: LabelLimit, region: Region | None = None) -> Boundary:
    return Boundary.of([region or Region()]).intersect(Boundary.of([Region(labels=limits)]))


def narrowing(boundary: Boundary, *, supported: bool = True) -> tuple[tuple[tuple[str, str], ...], bool]:
    narrower = Narrower(vocabulary(), DEFAULT.rules, lambda _type, code: supported or code != "_security")
    narrowed = narrower.narrow(boundary, "Observation")
    assert narrower.narrow_each(boundary, "Observation")[0].exact is narrowed.exact
    return narrowed.parameters, narrowed.exact


OLDER = ("http://hl7.org/fhir/v3/Confidentiality", "urn:oid:2.16.840.1.113883.5.25")


def spelled(code: str) -> str:
    """Under each name of its system that a server may have stored it by: else a search does not find what a read gives."""
    assert all(NORMAL.admits(labelled(coding(code, system))) for system in OLDER)
    return ",".join(f"{system}|{code}" for system in (CONFIDENTIALITY, *OLDER))


def test_narrowing_says_what_it_can_and_is_exact_only_for_labels_that_must_be_there() -> None:
    above = (("_security:not", f"{CONFIDENTIALITY}|R"), ("_security:not", f"{CONFIDENTIALITY}|V"))
    assert narrowing(bound(NORMAL)) == (above, False)
    assert narrowing(bound(LabelLimit("N", "V"))) == ((*above, ("_security", ",".join(spelled(code) for code in "ULMN"))), False)
    assert narrowing(bound(NO_HIV)) == ((("_security:not", f"{ACT}|HIV"),), False)
    assert narrowing(bound(LabelLimit(forbidden=("HIV", f"{ACT}|")))) == ((), False)
    assert narrowing(bound(RESEARCH)) == ((("_security", "http://acme.example/labels|RESEARCH"),), True)
    assert narrowing(bound(RESEARCH), supported=False) == ((), False)
    assert narrowing(bound(LabelLimit(required=(f"{CONFIDENTIALITY}|N",)))) == ((("_security", spelled("N")),), True)
    assert narrowing(Boundary.of([Region(labels=(RESEARCH,)), Region((), (Filter("code", None, ("x",)),))]))[1] is False


def test_labels_stay_through_intersections_and_unions() -> None:
    patient = Boundary.of([Region((Compartment("Patient", ("1",)),))])
    both = patient.intersect(bound(NORMAL)).intersect(bound(NO_HIV))
    assert both.regions[0].labels == (NORMAL, NO_HIV)
    assert fingerprint(both) != fingerprint(patient)
    assert Boundary.union_of((both, patient)) == patient  # what is not labelled holds it
    assert not bound(NORMAL).is_everything
    assert not bound(NORMAL).regions[0].is_whole
    assert is_within(both, patient)
    assert not is_within(patient, both)


def test_the_matcher_judges_labels_beside_everything_else() -> None:
    admits = DEFAULT.matcher.admits
    patient = Boundary.of([Region((Compartment("Patient", ("1",)),))]).intersect(bound(NORMAL))
    mine = {"subject": {"reference": "Patient/1"}}
    assert admits(patient, labelled(coding("N"), **mine), "Observation") is INSIDE
    assert admits(patient, labelled(coding("R"), **mine), "Observation") is OUTSIDE
    assert admits(patient, labelled(coding("N"), subject={"reference": "Patient/2"}), "Observation") is OUTSIDE
    assert {"meta", "contained"} <= (DEFAULT.matcher.members_read(patient, "Observation") or set())
    objections = DEFAULT.matcher.objections_to_write(patient, labelled(coding("R"), **mine), "Observation")
    assert [objection.element for objection in objections] == ["meta"]


codings = st.sampled_from(
    [coding(code) for code in (*LADDER, "X")]
    + [coding("N", None), coding("HIV", ACT), coding("SUD", ACT), coding("RESEARCH", "http://acme.example/labels"), {}]
)
resources = st.lists(codings, max_size=3).map(lambda found: labelled(*found)) | st.just({"resourceType": "Observation"})
limits = st.builds(
    LabelLimit,
    st.sampled_from(LADDER),
    st.sampled_from(LADDER),
    st.lists(st.sampled_from([f"{ACT}|HIV", f"{ACT}|SUD", f"{ACT}|"]), max_size=2, unique=True).map(tuple),
    st.lists(st.just("http://acme.example/labels|RESEARCH"), max_size=1).map(tuple),
)


@pytest.mark.generated
@given(one=limits, other=limits, resource=resources)
@settings(max_examples=3000, deadline=None)
def test_what_is_within_a_limit_is_within_what_it_implies(one: LabelLimit, other: LabelLimit, resource: dict[str, Any]) -> None:
    if one.implies(other) and one.admits(resource):
        assert other.admits(resource)
    assert is_within(bound(one), bound(other)) is one.implies(other)


@pytest.mark.generated
@given(first=limits, second=limits, resource=resources)
@settings(max_examples=1500, deadline=None)
def test_another_limit_never_opens_anything(first: LabelLimit, second: LabelLimit, resource: dict[str, Any]) -> None:
    admits = DEFAULT.matcher.admits
    if admits(bound(first, second), resource, "Observation") is INSIDE:
        assert admits(bound(first), resource, "Observation") is INSIDE
        assert first.admits(resource)
        assert second.admits(resource)
