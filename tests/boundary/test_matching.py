"""The matcher: regions, compartments, dependent types, the rule for writes, and what the id alone says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.boundary.matching import INSIDE, OUTSIDE, Depends, Inside, Matcher, Outside
from smart_gateway.boundary.model import NOTHING, Boundary, Compartment, Filter, Region, everything
from smart_gateway.fhir.compartments import CompartmentRules
from smart_gateway.fhir.references import Bases, Reference
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary

R4 = load_vocabulary(Release.R4)
BASES = Bases("https://fhir.example.org/fhir", "http://127.0.0.1:8090/fhir")
MATCHER = Matcher(R4, CompartmentRules(R4, {"Device": ("patient",)}), BASES)

A = Compartment("Patient", ("a",))
LAB = Filter("category", None, ("laboratory",))
IN_A = Boundary.of([Region((A,))])
LAB_IN_A = Boundary.of([Region((A,), (LAB,))])
ALL_LAB = Boundary.of([Region(filters=(LAB,))])
WHOLE_TYPE = Boundary.of([Region()])

Resource = dict[str, Any]


def ref(target: str) -> Resource:
    return {"reference": target}


def observation(subject: str = "Patient/a", category: str = "laboratory", **members: Any) -> Resource:
    return {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "subject": ref(subject),
        "category": [{"coding": [{"code": category}]}],
        **members,
    }


def provenance(*targets: Any, **members: Any) -> Resource:
    return {"resourceType": "Provenance", "id": "p", "target": list(targets), **members}


def audit(*entities: Any, **members: Any) -> Resource:
    return {"resourceType": "AuditEvent", "id": "e", "entity": list(entities), **members}


def binary(**members: Any) -> Resource:
    return {"resourceType": "Binary", "id": "b", "contentType": "text/plain", **members}


def depends(*references: str) -> Depends:
    return Depends(tuple(Reference(*reference.split("/")) for reference in references))


ALLERGY_B_BY_A = {"resourceType": "AllergyIntolerance", "id": "x", "patient": ref("Patient/b"), "recorder": ref("Patient/a")}


@pytest.mark.parametrize(
    ("boundary", "resource", "verdict"),
    [
        (everything(), observation("Patient/b"), INSIDE),
        (NOTHING, observation(), OUTSIDE),
        (WHOLE_TYPE, observation("Patient/b"), INSIDE),
        (IN_A, observation(), INSIDE),
        (IN_A, observation("Patient/b"), OUTSIDE),
        (IN_A, observation("https://fhir.example.org/fhir/Patient/a"), INSIDE),
        (IN_A, observation("https://other.example/fhir/Patient/a"), OUTSIDE),
        (IN_A, observation("Patient/b", focus=[ref("Patient/a")]), OUTSIDE),
        (IN_A, observation("Patient/b", performer=[ref("Patient/a")]), INSIDE),
        (IN_A, {"resourceType": "Patient", "id": "a"}, INSIDE),
        (IN_A, {"resourceType": "Patient", "id": "b", "link": [{"other": ref("Patient/a")}]}, OUTSIDE),
        (IN_A, {"resourceType": "Practitioner", "id": "a"}, OUTSIDE),
        (IN_A, {"resourceType": "Device", "id": "d", "patient": ref("Patient/a")}, INSIDE),
        (IN_A, {"resourceType": "Device", "id": "d"}, OUTSIDE),
        (IN_A, ALLERGY_B_BY_A, INSIDE),  # by the definition; writing it is another matter
        (LAB_IN_A, observation(), INSIDE),
        (LAB_IN_A, observation(category="vital-signs"), OUTSIDE),
        (LAB_IN_A, observation("Patient/b"), OUTSIDE),
        (ALL_LAB, observation("Patient/b"), INSIDE),
        (ALL_LAB.union(IN_A), observation("Patient/a", "vital-signs"), INSIDE),
        (ALL_LAB.union(IN_A), observation("Patient/b", "laboratory"), INSIDE),
        (ALL_LAB.union(IN_A), observation("Patient/b", "vital-signs"), OUTSIDE),
        (Boundary.of([Region((Compartment("Patient", ("a", "b")),))]), observation("Patient/b"), INSIDE),
        (Boundary.of([Region((A, Compartment("Encounter", ("e",))))]), observation(encounter=ref("Encounter/e")), INSIDE),
        (Boundary.of([Region((A, Compartment("Encounter", ("e",))))]), observation(), OUTSIDE),
        (Boundary.of([Region(filters=(Filter("nosuch", None, ("x",)),))]), observation(), OUTSIDE),
        (Boundary.of([Region(filters=(Filter("code", "in", ("x",)),))]), observation(), OUTSIDE),
        (Boundary.of([Region(filters=(LAB, Filter("status", None, ("final",))))]), observation(), INSIDE),
        (Boundary.of([Region(filters=(LAB, Filter("status", None, ("amended",))))]), observation(), OUTSIDE),
        # Provenance
        (IN_A, provenance(ref("Patient/a")), INSIDE),
        (IN_A, provenance(ref("Patient/b")), depends("Patient/b")),
        (IN_A, provenance(ref("Patient/a"), ref("Observation/o")), depends("Observation/o")),
        (IN_A, provenance(ref("Observation/o"), ref("Observation/o/_history/2")), depends("Observation/o")),
        (IN_A, provenance(ref("Observation/o"), ref("Condition/c")), depends("Observation/o", "Condition/c")),
        (IN_A, provenance(), OUTSIDE),
        (IN_A, provenance(ref("Patient/a"), ref("#x")), OUTSIDE),
        (IN_A, provenance(ref("Patient/a"), ref("urn:uuid:1")), OUTSIDE),
        (IN_A, provenance(ref("Patient/a"), ref("https://other.example/fhir/Patient/a")), OUTSIDE),
        (IN_A, provenance(ref("Patient/a"), {"identifier": {"value": "1"}}), OUTSIDE),
        (IN_A, provenance(ref("Patient/a"), {"display": "x"}), OUTSIDE),
        (IN_A, provenance(ref("Patient/a"), None), OUTSIDE),
        (IN_A, provenance(ref("Patient/a"), ref("Observation/o") | {"type": "Patient"}), OUTSIDE),
        (IN_A, provenance(ref("Observation/o") | {"type": "Observation"}), depends("Observation/o")),
        (IN_A, {"resourceType": "Provenance", "id": "p", "target": ref("Observation/o")}, depends("Observation/o")),
        (IN_A, {"resourceType": "Provenance", "id": "p"}, OUTSIDE),
        (IN_A, provenance(*(ref(f"Observation/{n}") for n in range(50))), depends(*(f"Observation/{n}" for n in range(50)))),
        (IN_A, provenance(*(ref(f"Observation/{n}") for n in range(51))), OUTSIDE),
        (WHOLE_TYPE, provenance(ref("Patient/b")), INSIDE),
        (IN_A, provenance(ref("Patient/a"), entity=[{"role": "source", "what": ref("Patient/a")}]), INSIDE),
        (IN_A, provenance(ref("Patient/a"), entity=[{"role": "source", "what": ref("Observation/o")}]), depends("Observation/o")),
        (IN_A, provenance(ref("Patient/a"), entity=[{"role": "source", "what": ref("Patient/b")}]), depends("Patient/b")),
        (IN_A, provenance(ref("Patient/a"), entity=[{"role": "source", "what": {"identifier": {"value": "1"}}}]), OUTSIDE),
        (IN_A, provenance(ref("Patient/a"), entity=[{"role": "source"}]), INSIDE),
        (IN_A, provenance(ref("Patient/a"), entity="x"), OUTSIDE),
        (IN_A, {"resourceType": "Provenance", "id": "p", "entity": [{"what": ref("Patient/a")}]}, OUTSIDE),  # an entity places nothing
        (IN_A, provenance(ref("Patient/a"), *(ref(f"Observation/{n}") for n in range(50)), entity=[{"what": ref("Condition/c")}]), OUTSIDE),
        (Boundary.of([Region((A,), (Filter("_id", None, ("q",)),))]), provenance(ref("Patient/a")), OUTSIDE),
        # AuditEvent
        (IN_A, audit({"what": ref("Patient/a")}), INSIDE),
        (IN_A, audit({"what": ref("Patient/a")}, {"query": "eA=="}), INSIDE),
        (IN_A, audit({"what": ref("Patient/a")}, {"what": ref("Observation/o")}), depends("Observation/o")),
        (IN_A, audit({"what": ref("Patient/a")}, {"what": ref("Patient/b")}), depends("Patient/b")),
        (IN_A, audit({"what": ref("Observation/o")}), OUTSIDE),  # by the definition only
        (IN_A, audit(agent=[{"who": ref("Patient/a")}]), INSIDE),
        (IN_A, audit({"what": ref("Observation/o")}, agent=[{"who": ref("Patient/a")}]), depends("Observation/o")),
        (IN_A, audit({"what": ref("#x")}, agent=[{"who": ref("Patient/a")}]), OUTSIDE),
        (IN_A, audit({"what": {"identifier": {"value": "1"}}}, agent=[{"who": ref("Patient/a")}]), OUTSIDE),
        (IN_A, audit("x", agent=[{"who": ref("Patient/a")}]), OUTSIDE),
        # Binary
        (IN_A, binary(securityContext=ref("Patient/a")), INSIDE),
        (IN_A, binary(securityContext=ref("Patient/b")), depends("Patient/b")),
        (IN_A, binary(securityContext=ref("DocumentReference/d")), depends("DocumentReference/d")),
        (IN_A, binary(), OUTSIDE),
        (IN_A, binary(securityContext={"display": "x"}), OUTSIDE),
        (IN_A, binary(securityContext=ref("#x")), OUTSIDE),
        (IN_A, binary(securityContext=[ref("Patient/a"), "x"]), OUTSIDE),
        (WHOLE_TYPE, binary(), INSIDE),
        (Boundary.of([Region((A, Compartment("Encounter", ("e",))))]), binary(securityContext=ref("Patient/a")), depends("Patient/a")),
    ],
)
def test_admits(boundary: Boundary, resource: Resource, verdict: Inside | Outside | Depends) -> None:
    assert MATCHER.admits(boundary, resource, resource["resourceType"]) == verdict


def test_a_resource_of_another_type_is_outside() -> None:
    assert MATCHER.admits(IN_A, observation(), "Condition") == OUTSIDE
    assert MATCHER.admits(WHOLE_TYPE, {"id": "o"}, "Observation") == OUTSIDE
    assert MATCHER.objections_to_write(IN_A, observation(), "Condition")


def test_of_several_regions_the_one_with_less_to_depend_on_counts() -> None:
    boundary = Boundary.of([Region((Compartment("Patient", ("b",)),)), Region((A, Compartment("Encounter", ("e",)))), Region((A,))])
    resource = provenance(ref("Patient/a"), ref("Observation/o"))
    assert MATCHER.admits(boundary, resource, "Provenance") == depends("Observation/o")


def test_compiled_judges_do_not_leak_between_boundaries_and_types() -> None:
    for _ in range(2):
        assert MATCHER.admits(IN_A, observation(), "Observation") == INSIDE
        assert MATCHER.admits(LAB_IN_A, observation(category="x"), "Observation") == OUTSIDE
        assert MATCHER.admits(IN_A, {"resourceType": "Patient", "id": "a"}, "Patient") == INSIDE
        assert MATCHER.admits(Boundary.of([Region((Compartment("Patient", ("b",)),))]), observation(), "Observation") == OUTSIDE


@pytest.mark.parametrize(
    ("boundary", "resource", "parts"),
    [
        (everything(), observation("Patient/b"), []),
        (NOTHING, observation(), ["No Observation may be written."]),
        (WHOLE_TYPE, observation("Patient/b"), []),
        (IN_A, observation(), []),
        (IN_A, observation("Patient/b"), ["not in the Patient compartment", "subject names another Patient"]),
        (IN_A, observation("Patient/b", performer=[ref("Patient/a")]), ["subject names another Patient"]),
        (IN_A, ALLERGY_B_BY_A, ["patient names another Patient"]),
        (IN_A, observation(performer=[{"identifier": {"value": "1"}}]), ["performer names another Patient"]),
        (IN_A, observation(performer=[ref("Practitioner/x")]), []),
        (IN_A, observation(subject="Patient?identifier=1"), ["not in the Patient compartment", "subject"]),
        (IN_A, {"resourceType": "Patient", "id": "a"}, []),
        (IN_A, {"resourceType": "Patient"}, ["not the one that the token is for"]),
        (IN_A, {"resourceType": "Practitioner", "id": "x"}, ["in no Patient compartment"]),
        (IN_A, binary(securityContext=ref("Patient/a")), ["never written"]),
        (LAB_IN_A, observation(category="x"), ["does not satisfy category."]),
        (LAB_IN_A, observation("Patient/b", "x"), ["not in the", "subject", "does not satisfy category."]),
        (LAB_IN_A.union(ALL_LAB), observation("Patient/b"), []),
        (LAB_IN_A.union(IN_A), observation(category="x"), []),
        (IN_A, provenance(ref("Patient/a")), []),
        (IN_A, provenance(ref("Patient/a"), ref("Observation/o")), ["target names a resource"]),
        (IN_A, provenance(ref("Patient/a"), ref("Patient/b")), ["target names another Patient", "target names a resource"]),
        (IN_A, provenance(ref("Patient/a"), ref("urn:uuid:1")), ["target", "target names a resource"]),
        (IN_A, audit({"what": ref("Patient/a")}), []),
        (IN_A, audit({"what": ref("Patient/a")}, {"what": ref("Observation/o")}), ["entity names a resource"]),
    ],
)
def test_objections_to_write(boundary: Boundary, resource: Resource, parts: list[str]) -> None:
    objections = MATCHER.objections_to_write(boundary, resource, resource["resourceType"])
    assert len(objections) == len(parts)
    for objection, part in zip(objections, parts, strict=True):
        assert part in objection.text


@given(st.sampled_from(["secret-b", "x.Y-9"]))
def test_objections_never_name_ids(id: str) -> None:
    for resource in (
        observation(f"Patient/{id}"),
        provenance(ref(f"Observation/{id}")),
        ALLERGY_B_BY_A | {"patient": ref(f"Patient/{id}")},
    ):
        assert not any(id in str(objection) for objection in MATCHER.objections_to_write(LAB_IN_A, resource, resource["resourceType"]))


@pytest.mark.parametrize(
    ("boundary", "type", "id", "could"),
    [
        (everything(), "Patient", "b", True),
        (NOTHING, "Patient", "a", False),
        (IN_A, "Patient", "a", True),
        (IN_A, "Patient", "b", False),
        (IN_A, "Observation", "b", True),
        (IN_A, "Binary", "b", True),
        (IN_A, "Practitioner", "a", False),
        (WHOLE_TYPE, "Practitioner", "a", True),
        (Boundary.of([Region(filters=(Filter("_id", None, ("x", "y")),))]), "Observation", "y", True),
        (Boundary.of([Region(filters=(Filter("_id", None, ("x", "y")),))]), "Observation", "z", False),
        (Boundary.of([Region(filters=(Filter("_id", "not", ("x",)),))]), "Observation", "x", False),
        (Boundary.of([Region(filters=(Filter("_id", "not", ("x",)),))]), "Observation", "z", True),
        (Boundary.of([Region((A,), (LAB,))]), "Observation", "z", True),
        (IN_A.union(Boundary.of([Region(filters=(LAB,))])), "Patient", "b", True),
    ],
)
def test_could_hold(boundary: Boundary, type: str, id: str, could: bool) -> None:
    assert MATCHER.could_hold(boundary, type, id) is could


@pytest.mark.parametrize(
    ("boundary", "type", "members"),
    [
        (everything(), "Observation", ""),
        (IN_A, "Observation", "subject performer"),
        (LAB_IN_A, "Observation", "subject performer category"),
        (IN_A, "Patient", ""),
        (IN_A, "Binary", "securityContext"),
        (WHOLE_TYPE, "Binary", "securityContext"),
        (Boundary.of([Region(filters=(Filter("_tag", None, ("x",)),))]), "Observation", "meta"),
        (Boundary.of([Region(filters=(Filter("code-value-quantity", None, ("a$5",)),))]), "Observation", "code valueQuantity"),
        (Boundary.of([Region(filters=(Filter("nosuch", None, ("a",)),))]), "Observation", ""),
    ],
)
def test_members_read(boundary: Boundary, type: str, members: str) -> None:
    assert MATCHER.members_read(boundary, type) == {"resourceType", "id", *members.split()}


RESOURCES = [
    observation(),
    observation("Patient/b", "vital-signs", performer=[ref("Patient/a")], meta={"tag": [{"code": "x"}]}),
    provenance(ref("Patient/a"), ref("Observation/o"), agent=[{"who": ref("Patient/a")}]),
    audit({"what": ref("Patient/a")}, {"what": ref("Observation/o")}, agent=[{"who": ref("Patient/a")}]),
    binary(securityContext=ref("Patient/a")),
    {"resourceType": "Patient", "id": "a", "name": [{"family": "x"}]},
    {"resourceType": "Device", "id": "d", "patient": ref("Patient/a")},
]
FILTERS = [
    LAB,
    Filter("_id", None, ("o", "a", "p", "b")),
    Filter("_tag", "missing", ("true",)),
    Filter("_tag", "not", ("x",)),
    Filter("code-value-quantity", None, ("a$5",)),
    Filter("patient", None, ("a",)),
]


@given(
    st.sampled_from(RESOURCES),
    st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from(FILTERS), max_size=2, unique=True)), min_size=1, max_size=3),
)
def test_the_members_read_are_all_that_is_looked_at(resource: Resource, regions: list[tuple[bool, list[Filter]]]) -> None:
    boundary = Boundary.of(Region((A,) if bounded else (), tuple(filters)) for bounded, filters in regions)
    type = resource["resourceType"]
    members = MATCHER.members_read(boundary, type)
    assert members is not None
    seen = {name: value for name, value in resource.items() if name in members}
    assert MATCHER.admits(boundary, seen, type) == MATCHER.admits(boundary, resource, type)
    if MATCHER.admits(boundary, resource, type) == INSIDE:
        assert MATCHER.could_hold(boundary, type, resource["id"])
    if not MATCHER.objections_to_write(boundary, resource, type):
        assert MATCHER.admits(boundary, resource, type) == INSIDE
