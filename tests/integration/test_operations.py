"""Operations against real HAPI: the listed ones, for one's own and for others' records, side by side (semantics 8)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.app import FHIR_JSON, App, MakeApp, ids, refused, required_scopes, whole
from tests.integration.records import LABS, VITALS, lab

OBSERVATIONS = {f"Observation/lab-{n}-chart-a" for n in range(LABS)} | {f"Observation/vital-{n}-chart-a" for n in range(VITALS)}
GENDER = "http://hl7.org/fhir/administrative-gender"
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"


def parameters(**values: Any) -> dict[str, Any]:
    """Parameters of strings."""
    return {"resourceType": "Parameters", "parameter": [{"name": name, "valueString": value} for name, value in values.items()]}


def given(name: str, **content: Any) -> dict[str, Any]:
    """Parameters of one parameter."""
    return {"resourceType": "Parameters", "parameter": [{"name": name, **content}]}


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    return as_user("amy", "patient/*.cruds", sees="a")


@pytest.fixture
def reading(as_user: MakeApp) -> App:
    """Amy again, whose whole record holds an Observation that names Carl: she performed it."""
    return as_user("amy", "patient/*.r", sees="ac")


# $everything


@pytest.mark.parametrize("target", ["/Patient/pat-a/$everything", "/Patient/pat-a/%24everything", "/Patient/pat-a/$everything?_count=4"])
def test_everything_of_ones_own_on_all_pages(reading: App, target: str) -> None:
    found = whole(reading, target)
    assert {"Patient/pat-a", "Condition/condition-chart-a", "Encounter/encounter-chart-a", "Practitioner/prac-1"} | OBSERVATIONS <= set(
        found
    )
    assert len(found) == len(set(found))
    assert not [name for name in found if name.endswith(("chart-b", "chart-c", "pat-c"))]


def test_everything_by_post(amy: App, reading: App) -> None:
    assert set(ids(reading("POST", "/Patient/pat-a/$everything"))) >= {"Patient/pat-a"}
    answer = amy.send("POST", "/Patient/pat-a/$everything", parameters(_type="Patient,Condition"))
    found = {name.partition("/")[0] for name in ids(answer)}  # HAPI gives what these refer to as well
    assert {"Patient", "Condition"} <= found <= {"Patient", "Condition", "Practitioner", "Organization"}


def test_only_types_of_the_token_are_in_a_record(as_user: MakeApp) -> None:
    app = as_user("amy", "patient/Patient.rs", "patient/Condition.rs", sees="a")
    assert set(whole(app, "/Patient/pat-a/$everything")) == {"Patient/pat-a", "Condition/condition-chart-a"}
    assert set(whole(app, "/Patient/pat-a/$everything?_type=Condition")) <= {"Patient/pat-a", "Condition/condition-chart-a"}
    outcome = refused(app.get("/Patient/pat-a/$everything?_type=Observation,Patient"), 403, "insufficient-scope")
    assert required_scopes(outcome) == ["patient/Observation.r"]


def test_only_what_the_filter_holds_is_in_a_record(as_user: MakeApp) -> None:
    app = as_user("amy", "patient/Patient.r", "patient/Observation.rs?category=vital-signs", sees="a")
    found = whole(app, "/Patient/pat-a/$everything?_count=5")
    assert set(found) == {"Patient/pat-a", *(o for o in OBSERVATIONS if "vital" in o)}


@pytest.mark.parametrize("query", ["", "?_type=Patient", "?_type=Observation&_count=1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_everything_of_another_patient_looks_absent(amy: App, method: str, query: str) -> None:
    for patient in ("pat-b", "nobody-at-all"):
        refused(amy(method, f"/Patient/{patient}/$everything{query}"), 404, "not-found")


def test_everything_of_an_encounter(amy: App) -> None:
    found = whole(amy, "/Encounter/encounter-chart-a/$everything")
    assert "Encounter/encounter-chart-a" in found
    refused(amy.get("/Encounter/encounter-chart-b/$everything"), 404, "not-found")


def test_everything_of_all_is_not_narrowed(amy: App, as_service: MakeApp, as_user: MakeApp) -> None:
    refused(amy.get("/Patient/$everything"), 403, "operation-not-narrowed")
    assert "Patient/pat-b" in ids(as_service("system/*.rs").get("/Patient/$everything?_count=200"))
    doctor = as_user("dr-house", "user/Patient.rs", "user/Observation.rs", sees="abcw")
    assert {name.partition("/")[0] for name in ids(doctor.get("/Patient/$everything?_count=200"))} <= {"Patient", "Observation"}


@pytest.mark.parametrize("query", ["_filter=x", "_content=x", "_text=x", "_id=pat-b", "patient=pat-b", "_mdm=true", "_count=1&_count=2"])
def test_other_parameters_are_refused(amy: App, query: str) -> None:
    refused(amy.get(f"/Patient/pat-a/$everything?{query}"), 400)


def test_the_service_gets_everything_as_it_comes(as_service: MakeApp) -> None:
    found = ids(as_service("system/*.rs").get("/Patient/pat-b/$everything?_count=100"))
    assert "Observation/lab-0-chart-b" in found


# $validate


def new(patient: str, **members: Any) -> dict[str, Any]:
    resource = {**lab(patient, 0), **members}
    return {name: value for name, value in resource.items() if name != "id" and value is not None}


@pytest.mark.parametrize("wrapped", [False, True])
def test_validating_ones_own(amy: App, wrapped: bool) -> None:
    for resource, severity in ((new("a"), {"warning", "information"}), (new("a", status=None), {"error"})):
        body = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": resource}]} if wrapped else resource
        answer = amy.send("POST", "/Observation/$validate", body)
        assert answer.status_code == 200, answer.text
        issues = answer.json()["issue"]
        assert severity & {issue["severity"] for issue in issues}
        assert all(issue.keys() <= {"severity", "code", "details", "expression"} for issue in issues)
        assert any(issue.get("expression", [""])[0].startswith(("Observation", "Parameters")) for issue in issues)


@pytest.mark.parametrize("mode", ["", "?mode=create", "?mode=update", "?profile=http://hl7.org/fhir/StructureDefinition/vitalsigns"])
def test_another_patients_resource_is_not_validated(amy: App, mode: str) -> None:
    body = {**new("a"), "subject": {"reference": "Patient/pat-b"}}
    refused(amy.send("POST", f"/Observation/$validate{mode}", body), 403, "outside-boundary")
    wrapped = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": body}]}
    refused(amy.send("POST", f"/Observation/$validate{mode}", wrapped), 403, "outside-boundary")


def test_validating_what_is_stored(amy: App, as_user: MakeApp) -> None:
    assert amy.get("/Observation/lab-0-chart-a/$validate").json()["resourceType"] == "OperationOutcome"
    refused(amy.get("/Observation/lab-0-chart-b/$validate"), 404, "not-found")
    refused(amy.send("POST", "/Observation/lab-0-chart-b/$validate", {**lab("a", 0), "id": "lab-0-chart-b"}), 404, "not-found")
    refused(amy.get("/Observation/$validate"), 405, "method-not-allowed")
    reader = as_user("amy", "patient/*.rs", sees="a")
    outcome = refused(reader.send("POST", "/Observation/$validate", new("a")), 403, "insufficient-scope")
    assert required_scopes(outcome) == ["patient/Observation.c"]


# $meta


def test_meta(amy: App, as_service: MakeApp) -> None:
    answer = amy.get("/Observation/lab-0-chart-a/$meta").json()
    assert answer["parameter"][0]["name"] == "return"
    assert answer["parameter"][0]["valueMeta"]["versionId"]
    for target in ("/Observation/lab-0-chart-b/$meta", "/Patient/pat-b/$meta", "/Patient/nobody-at-all/$meta"):
        refused(amy.get(target), 404, "not-found")
    for target in ("/$meta", "/Observation/$meta"):
        refused(amy.get(target), 403, "operation-not-narrowed")
        assert as_service("system/*.rs").get(target).json()["resourceType"] == "Parameters"
    refused(amy.send("POST", "/Observation/lab-0-chart-a/$meta-add", parameters()), 403, "operation-not-opened")


# $lastn, which HAPI answers with everybody's Observations where it has no index for it


def test_lastn_gives_no_more_than_ones_own(amy: App, as_user: MakeApp) -> None:
    for answer in (
        amy.get("/Observation/$lastn?max=1&category=laboratory"),
        amy.get("/Observation/$lastn?patient=pat-a&code=http://loinc.org|8867-4"),
        amy.send("POST", "/Observation/$lastn", parameters(subject="Patient/pat-a")),
    ):
        assert all(name in OBSERVATIONS or name == "Observation/performed-by-anna" for name in ids(answer))
    refused(amy.get("/Observation/$lastn?patient=pat-b"), 403, "foreign-patient")
    refused(amy.get("/Observation/$lastn?subject=Patient/pat-b&max=1"), 403, "foreign-patient")
    refused(amy.send("POST", "/Observation/$lastn", parameters(patient="pat-b")), 403, "foreign-patient")
    refused(as_user("amy", "patient/Condition.rs", sees="a").get("/Observation/$lastn"), 403, "insufficient-scope")


# Terminology


def test_expanding_and_looking_up(amy: App, as_user: MakeApp) -> None:
    codes = {"male", "female", "other", "unknown"}
    drafted = {"resourceType": "ValueSet", "status": "draft", "compose": {"include": [{"system": GENDER}]}}
    for answer in (
        amy.get("/ValueSet/$expand", params={"url": GENDERS}),
        amy.send("POST", "/ValueSet/$expand", given("url", valueUri=GENDERS)),
        amy.send("POST", "/ValueSet/$expand?count=10", given("valueSet", resource=drafted)),
        amy.send("POST", "/ValueSet/$expand?count=10", drafted),
    ):
        assert answer.status_code == 200, answer.text
        assert {one["code"] for one in answer.json()["expansion"]["contains"]} == codes
    found = amy.get("/CodeSystem/$lookup", params={"system": GENDER, "code": "male"}).json()
    assert {"name": "display", "valueString": "Male"} in found["parameter"]
    coded = {"resourceType": "Parameters", "parameter": [{"name": "coding", "valueCoding": {"system": GENDER, "code": "male"}}]}
    assert amy.send("POST", "/CodeSystem/$lookup", coded).json()["resourceType"] == "Parameters"
    refused(amy.get("/CodeSystem/$lookup", params={"system": GENDER, "code": "nonsense"}), 404)
    checked = amy.get("/ValueSet/$validate-code", params={"url": GENDERS, "system": GENDER, "code": "male"}).json()
    assert {"name": "result", "valueBoolean": True} in checked["parameter"]
    other = as_user("amy", "patient/Observation.rs", sees="a")
    refused(other.get("/ValueSet/$expand", params={"url": GENDERS}), 403, "insufficient-scope")
    refused(other.get("/CodeSystem/$lookup", params={"system": GENDER, "code": "male"}), 403, "insufficient-scope")


def test_translating_needs_the_concept_maps_by_name(amy: App, as_user: MakeApp) -> None:
    target = "/ConceptMap/$translate?system=http://x&code=y"
    refused(amy.get(target), 403, "insufficient-scope")
    found = as_user("dr-house", "user/*.rs").get(target).json()
    assert {"name": "result", "valueBoolean": False} in found["parameter"]


def test_no_record_is_smuggled_into_terminology(amy: App) -> None:
    for body in (
        {"resourceType": "Parameters", "parameter": [{"name": "valueSet", "resource": {"resourceType": "Patient", "id": "pat-b"}}]},
        {"resourceType": "Patient", "id": "pat-a"},
        parameters(patient="pat-b"),
    ):
        refused(amy.send("POST", "/ValueSet/$expand", body), 400)


# What is not listed


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/$graphql"),
        ("GET", "/Patient/pat-a/$graphql?query={name}"),
        ("POST", "/$expunge"),
        ("POST", "/Patient/pat-a/$expunge"),
        ("POST", "/$mark-all-resources-for-reindexing"),
        ("POST", "/$reindex"),
        ("POST", "/$process-message"),
        ("GET", "/$get-resource-counts"),
        ("GET", "/Observation/lab-0-chart-a/$diff"),
        ("GET", "/$diff?from=Observation/lab-0-chart-a&to=Observation/lab-0-chart-b"),
        ("POST", "/Patient/$member-match"),
        ("POST", "/PlanDefinition/1/$apply"),
        ("POST", "/$validate"),
        ("GET", "/Group/group-chart-b/$everything"),
    ],
)
def test_what_is_not_listed_is_opened_to_nobody(amy: App, as_service: MakeApp, method: str, target: str) -> None:
    for app in (amy, as_service("system/*.cruds", sees="")):
        refused(app(method, target, headers={"content-type": FHIR_JSON} if method == "POST" else {}), 403, "operation-not-opened")


def test_operations_in_a_batch(amy: App) -> None:
    urls = [
        "Patient/pat-a/$everything?_type=Patient",
        "Patient/pat-b/$everything",
        "Observation/lab-0-chart-a/$meta",
        "Patient/pat-a/$graphql",
    ]
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    answer = amy.send("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert answer.status_code == 200, answer.text
    assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["200", "404", "200", "403"]
