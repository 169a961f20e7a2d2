"""Policies in front of real HAPI: rules for users by claims and placeholders, lists of patients, Groups, rates, opened operations, and
what needs no token. What may not be seen holds the hidden word: any answer with it fails at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.app import FHIR_JSON, refused
from tests.integration.ward import HIDDEN, Client, Resource, Ward

APP = "growth-chart"  # the client of the ward's tokens
NORTH = {"Patient/pol-p1", "Patient/pol-p3"}
OF_P1 = {"Observation/pol-o1", "Observation/pol-o4"}
ORGANISATION = {
    "users": [{"when": {"fhir_user": "Practitioner"}, "boundary": ["user/Patient.rus?organization=Organization/${claim.organization}"]}]
}


def patient(name: str, organization: str, text: str = "plain") -> Resource:
    owner = {"reference": f"Organization/{organization}"}
    return {"resourceType": "Patient", "id": f"pol-{name}", "managingOrganization": owner, "name": [{"family": text}]}


def observation(name: str, of: str, code: str, text: str = "plain") -> Resource:
    codes = [{"system": "http://loinc.org", "code": code}]
    subject = {"reference": f"Patient/pol-{of}"}
    return {
        "resourceType": "Observation",
        "id": f"pol-{name}",
        "status": "final",
        "code": {"coding": codes, "text": text},
        "subject": subject,
    }


def encounter(name: str, practitioner: str, text: str = "plain") -> Resource:
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    takes_part = [{"individual": {"reference": f"Practitioner/{practitioner}"}}]
    return {
        "resourceType": "Encounter",
        "id": f"pol-{name}",
        "status": "finished",
        "class": kind,
        "participant": takes_part,
        "reasonCode": [{"text": text}],
    }


def group(name: str, of: str, text: str = "plain") -> Resource:
    member = [{"entity": {"reference": f"Patient/pol-{of}"}}]
    return {"resourceType": "Group", "id": f"pol-{name}", "type": "person", "actual": True, "name": text, "member": member}


@pytest.fixture(scope="module", autouse=True)
def records(ward: Ward) -> Iterator[None]:
    resources: list[Resource] = [
        {"resourceType": "Organization", "id": "pol-north"},
        {"resourceType": "Organization", "id": "pol-south"},
        {"resourceType": "Practitioner", "id": "doc"},
        {"resourceType": "Practitioner", "id": "pol-other"},
        patient("p1", "pol-north"),
        patient("p2", "pol-south", HIDDEN),
        patient("p3", "pol-north"),
        observation("o1", "p1", "pol-one"),
        observation("o2", "p2", "pol-two", HIDDEN),
        observation("o4", "p1", "pol-three"),
        encounter("e1", "doc"),
        encounter("e2", "pol-other", HIDDEN),
        {"resourceType": "RelatedPerson", "id": "pol-mother", "patient": {"reference": "Patient/pol-p1"}},
        group("g1", "p1"),
        group("g2", "p2", HIDDEN),
    ]
    ward.put(*resources)
    yield
    ward.delete(*(f"{r['resourceType']}/{r['id']}" for r in reversed(resources)))


@pytest.mark.parametrize("said", ["pol-north", "Organization/pol-north", ["pol-north"], ["pol-north", "pol-nowhere"]])
def test_practitioners_see_the_patients_of_their_organisation(ward: Ward, said: Any) -> None:
    doctor = ward.client(ORGANISATION, organization=said)
    assert doctor.found("/Patient?_count=1") == NORTH
    assert doctor.get("/Patient/pol-p1").status_code == 200
    hidden, absent = (refused(doctor.get(f"/Patient/{id}"), 404)["issue"][0]["details"] for id in ("pol-p2", "pol-p9"))
    assert hidden == absent
    assert doctor.found("/Patient?organization=pol-south") == set()
    assert doctor.found("/Patient?_id=pol-p1,pol-p2") == {"Patient/pol-p1"}
    refused(doctor.get("/Observation"), 403)
    moved = patient("p1", "pol-south")
    assert doctor("PUT", "/Patient/pol-p1", moved).status_code in {403, 404}
    assert doctor("PUT", "/Patient/pol-p2", patient("p2", "pol-north")).status_code in {403, 404}
    assert ward.stored("Patient/pol-p2")["managingOrganization"]["reference"] == "Organization/pol-south"


@pytest.mark.parametrize(
    "said",
    [
        "pol-north,Organization/pol-south",
        "pol-north,pol-south",
        r"pol-north\,pol-south",
        "pol-south|pol-south",
        "Patient/pol-north",
        "http://elsewhere.example/Organization/pol-south",
        "Organization/pol-south/_history/1",
        "../Organization/pol-south",
        "pol-south&_id=pol-p2",
        "pol-south%2Cpol-north",
        "pol-south\u200b",
        "pol-south\u0000",
        "${claim.sub}",
        "*",
        "",
        " ",
        {"id": "pol-south"},
        [["pol-south"]],
        ["pol-south", None],
        ["pol-south", {}],
        1.5,
        True,
        [],
        ...,
    ],
)
def test_a_claim_that_names_no_organisation_opens_nothing(ward: Ward, said: Any) -> None:
    doctor = ward.client(ORGANISATION, organization=said)
    for target in ("/Patient", "/Patient?organization=pol-south", "/Patient/pol-p1", "/Patient/pol-p2"):
        answer = doctor.get(target)
        assert answer.status_code in {403, 404} or not answer.json().get("entry"), (said, answer.text)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("pol-one", {"Observation/pol-o1"}),
        (["pol-one", "pol-three"], OF_P1),
        ("pol-one,pol-three", set()),
        (r"pol-one\,pol-three", set()),
        ("http://loinc.org|pol-one", set()),
        ("|pol-one", set()),
        ("pol-one$pol-three", set()),
        ("pol-one\\", set()),
        ("POL-ONE\u0131", set()),
    ],
)
def test_what_fills_in_a_token_is_a_code_and_nothing_else(ward: Ward, said: Any, found: set[str]) -> None:
    policy = {"users": [{"boundary": ["user/Observation.rs?code=${claim.test}"]}]}
    assert ward.client(policy, test=said).found("/Observation?_id=pol-o1,pol-o2,pol-o4") == found
    system = {"users": [{"boundary": ["user/Observation.rs?code=http://loinc.org|${claim.test}"]}]}
    assert ward.client(system, test=said).found("/Observation?_id=pol-o1,pol-o2,pol-o4") == found


def test_practitioners_see_encounters_where_they_take_part(ward: Ward) -> None:
    doctor = ward.client({"users": [{"when": {"fhir_user": "Practitioner"}, "boundary": ["user/Encounter.rs?participant=${fhir_user}"]}]})
    assert doctor.found("/Encounter?_id=pol-e1,pol-e2") == {"Encounter/pol-e1"}
    refused(doctor.get("/Encounter/pol-e2"), 404)


def test_rules_by_claims_are_intersected_and_alternatives_add(ward: Ward) -> None:
    everybody = {"boundary": "everything"}
    students = {"when": {"claim": {"roles": ["student"]}}, "boundary": ["user/Observation.rs?code=pol-one"]}
    proxies = {
        "any_of": [
            {"when": {"claim": {"proxy": True}}, "boundary": {"patients": {"from_claim": "children"}}},
            {"boundary": {"compartment": "Patient/${claim.own}"}},
        ]
    }
    policy = {"users": [everybody, students, proxies]}
    target = "/Observation?_id=pol-o1,pol-o2,pol-o4"
    assert ward.client(policy, own="pol-p1").found(target) == OF_P1
    assert ward.client(policy, own="pol-p1", roles=["nurse", "student"]).found(target) == {"Observation/pol-o1"}
    assert ward.client(policy, own="pol-p3", proxy=True, children=["pol-p1"]).found(target) == OF_P1
    refused(ward.client(policy, roles={"student": True}, own="pol-p1").get(target), 403)
    refused(ward.client(policy, roles="nurse").get(target), 403)
    assert ward.client(policy, own="pol-p3", proxy="yes", children=["pol-p1"]).found(target) == set()


def test_a_related_person_sees_the_patient_of_the_stored_one(ward: Ward) -> None:
    policy = {"users": {"RelatedPerson": "related_patient"}}
    mother = ward.client(policy, fhirUser="RelatedPerson/pol-mother")
    assert mother.found("/Observation") == OF_P1
    assert mother.get("/Patient/pol-p1").status_code == 200
    refused(mother.get("/Patient/pol-p2"), 404)
    refused(ward.client(policy, fhirUser="RelatedPerson/pol-nobody").get("/Observation"), 403)
    refused(ward.client(policy, fhirUser="RelatedPerson/pol-nobody", patient="pol-p2").get("/Observation/pol-o2"), 403)


@pytest.mark.parametrize("listed", [["pol-p1"], "pol-p1", ["Patient/pol-p1", "pol-p3"]])
def test_a_list_of_patients_bounds_users(ward: Ward, listed: Any) -> None:
    panel = ward.client({"patients": {"from_claim": "care_team"}}, care_team=listed)
    assert panel.found("/Observation?_id=pol-o1,pol-o2,pol-o4") == OF_P1
    refused(panel.get("/Observation/pol-o2"), 404)
    assert panel.found("/Patient?_id=pol-p1,pol-p2") == {"Patient/pol-p1"}
    refused(panel("POST", "/Observation", observation("new", "p2", "x")), 403)


@pytest.mark.parametrize("listed", [[], "", "pol-p1,pol-p2", ["pol-p1", "x|y"], ["Practitioner/pol-p1"], {"pol-p1": 1}, ..., None, 7])
def test_no_list_is_nobody(ward: Ward, listed: Any) -> None:
    panel = ward.client({"patients": {"from_claim": "care_team"}}, care_team=listed)
    for target in ("/Observation", "/Observation/pol-o1", "/Patient/pol-p1", "/Patient"):
        refused(panel.get(target), 403)


def test_a_client_of_certain_groups(ward: Ward) -> None:
    backend = ward.client({"clients": {APP: {"role": "system", "groups": ["pol-g1"]}}}, "system/Group.rs system/Patient.rs")
    assert backend.found("/Group?_id=pol-g1,pol-g2") == {"Group/pol-g1"}
    refused(backend.get("/Group/pol-g2"), 404)
    refused(backend.get("/Group/pol-g2/$export", prefer="respond-async"), 403, "group-not-allowed")
    refused(backend.get("/Patient/$export", prefer="respond-async"), 403, "group-not-allowed")
    refused(backend.get("/Patient?_has:Group:member:_id=pol-g2"), 403)


def test_a_client_may_ask_so_often(ward: Ward) -> None:
    app = ward.client({"clients": {APP: {"requests_per_minute": 4}, "*": {}}}, note="rates")
    entries = [{"request": {"method": "GET", "url": "Patient/pol-p1"}}] * 3
    assert app("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries}).status_code == 200
    assert app.get("/Patient/pol-p1").status_code == 200
    late = app.get("/Patient/pol-p1")
    refused(late, 429)
    assert 1 <= int(late.headers["retry-after"]) <= 60
    assert app.get("/metadata").status_code == 200
    other = ward.client({"clients": {APP: {"requests_per_minute": 4}, "*": {}}}, client_id="another")
    assert other.get("/Patient/pol-p1").status_code == 200


def test_a_token_of_a_client_grows_too_old(ward: Ward) -> None:
    policy = {"clients": {APP: {"max_token_age": "10m"}, "*": {}}}
    now = time.time()
    assert ward.client(policy, iat=int(now) - 60).get("/Patient/pol-p1").status_code == 200
    for issued in (int(now) - 3000, int(now) - 601, ...):
        old = ward.client(policy, iat=issued)
        answer = old.get("/Patient/pol-p1")
        refused(answer, 401, "token-too-old")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        refused(old.get("/Patient/never-was"), 401, "token-too-old")
    assert ward.client(policy, iat=int(now) - 3000, client_id="another").get("/Patient/pol-p1").status_code == 200


DIFF = {
    "operations": {
        "$diff": {
            "level": "system",
            "method": "GET",
            "scopes": ["__diff"],
            "parameters": {"from": "inside", "to": "inside", "includeMeta": "any"},
        }
    },
    "patients": {"from_claim": "care_team"},
}


def test_an_operation_is_opened_by_a_plain_scope(ward: Ward) -> None:
    doctor = ward.client(DIFF, "user/*.rs __diff", care_team=["pol-p1", "pol-p3"])
    answer = doctor.get("/$diff?from=Patient/pol-p1&to=Patient/pol-p3&includeMeta=false")
    assert (answer.status_code, answer.json()["resourceType"]) == (200, "Parameters"), answer.text
    refused(doctor.get("/$diff?from=Patient/pol-p1&to=Patient/pol-p2"), 404)
    refused(ward.client(DIFF, "user/*.rs", care_team=["pol-p1", "pol-p3"]).get("/$diff?from=Patient/pol-p1&to=Patient/pol-p3"), 403)


@pytest.mark.parametrize(
    "query",
    [
        "from=Patient/pol-p1&to=Patient/pol-p1&to=Patient/pol-p2",
        "from=Patient/pol-p1&to=Patient/pol-p1,Patient/pol-p2",
        "from=Patient/pol-p1&to=Patient/pol-p1%23&to=Patient%2Fpol-p2",
        "from=Patient/pol-p1&to=Patient/pol-p1/_history/1",
        "from=Patient/pol-p1&to=http://elsewhere.example/Patient/pol-p1",
        "from=Patient/pol-p1&to:x=Patient/pol-p2",
        "from=Patient/pol-p1&TO=Patient/pol-p2",
        "from=Patient/pol-p1&to=Patient/pol-p1&_elements=name",
        "from=Patient/pol-p1&to=../Patient/pol-p2",
        "from=Patient/pol-p2&to=Patient/pol-p2",
        "from=Patient/pol-p1&to=Observation/pol-o2",
    ],
)
def test_nothing_is_smuggled_past_its_parameters(ward: Ward, query: str) -> None:
    doctor = ward.client(DIFF, "user/*.rs __diff", care_team=["pol-p1"])
    assert doctor.get(f"/$diff?{query}").status_code in {400, 403, 404}
    assert doctor.get(f"/Patient/pol-p2/$diff?{query}").status_code in {400, 403, 404, 501}
    body = {"resourceType": "Parameters", "parameter": [{"name": "from", "valueReference": {"reference": "Patient/pol-p2"}}]}
    assert doctor("POST", f"/$diff?{query}", body).status_code in {400, 403, 405}


PUBLIC: dict[str, Any] = {
    "public": [
        {"interaction": "read", "type": "Organization"},
        {"interaction": "create", "type": "QuestionnaireResponse"},
        {"interaction": "batch"},
    ]
}


def test_what_needs_no_token(ward: Ward) -> None:
    base = ward.gateway(PUBLIC).base
    with httpx.Client(trust_env=False, headers={"accept": FHIR_JSON, "content-type": FHIR_JSON}, timeout=60) as anybody:
        assert anybody.get(f"{base}/Organization/pol-north").status_code == 200
        form = {"resourceType": "QuestionnaireResponse", "status": "completed", "subject": {"reference": "Patient/pol-p1"}}
        created = anybody.post(f"{base}/QuestionnaireResponse", json=form)
        assert created.status_code == 201
        assert not created.content or created.json()["resourceType"] == "OperationOutcome"
        name = "/".join(created.headers["location"].split("/")[-4:-2])
        for method, target in (
            ("GET", f"/{name}"),
            ("DELETE", f"/{name}"),
            ("GET", "/Organization"),
            ("GET", "/Patient/pol-p1"),
            ("PUT", f"/{name}"),
        ):
            refused(anybody.request(method, base + target, json=form if method == "PUT" else None), 401)
        entries = [{"request": {"method": "GET", "url": target}} for target in ("Organization/pol-south", "Patient/pol-p2", "Organization")]
        answer = anybody.post(base, json={"resourceType": "Bundle", "type": "batch", "entry": entries})
        assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["200", "403", "403"]
        assert HIDDEN not in answer.text
        refused(anybody.post(base, json={"resourceType": "Bundle", "type": "transaction", "entry": entries}), 403, "token-missing")
    ward.delete(name)


def test_a_pinned_client_has_what_the_policy_says(ward: Ward) -> None:
    pinned = {"clients": {APP: {"pin": ["user/Observation.rs?code=pol-one"]}}}
    app: Client = ward.client(pinned, "user/*.cruds")
    assert app.found("/Observation?_id=pol-o1,pol-o2,pol-o4") == {"Observation/pol-o1"}
    refused(app.get("/Patient/pol-p1"), 403)
