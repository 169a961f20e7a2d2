"""Break-glass in front of real HAPI: labelled records and other people's patients open for one request that says why, and close again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.integration.ward import CONFIDENTIALITY, HIDDEN, Client, Ward, label

SCOPE = "__break-glass"
WHY = {"X_Break_Glass_Reason": "Patient unconscious", "X_Purpose_Of_Use": "BTG"}
RULE: dict[str, Any] = {"scope": SCOPE, "lifts": ["users", "labels"], "fhir_user": ["Practitioner"]}
POLICY: dict[str, Any] = {
    "users": {"Practitioner": "compartment"},
    "labels": {"ceiling": "N", "unlabelled": "N"},
    "break_glass": RULE,
    "clients": {"ehr": {"registered_scopes": ["user/*.cruds", SCOPE]}, "portal": {"registered_scopes": ["user/*.cruds"]}},
}
READS = f"user/*.cruds {SCOPE}"


@pytest.fixture(scope="module", autouse=True)
def records(ward: Ward) -> Any:
    """One open record of the practitioner's own, one restricted, one of somebody else."""
    made = {"resourceType": "Observation", "status": "final", "code": {"text": "bg-test"}}
    own = {"performer": [{"reference": "Practitioner/doc"}]}
    hidden = {"note": [{"text": HIDDEN}]}
    ward.put(
        {"resourceType": "Practitioner", "id": "doc"},
        {"resourceType": "Patient", "id": "bg-pat"},
        {**made, **own, "id": "bg-own", "subject": {"reference": "Patient/bg-pat"}},
        {**made, **own, **hidden, "id": "bg-secret", "subject": {"reference": "Patient/bg-pat"}, "meta": {"security": [label("V")]}},
        {**made, **hidden, "id": "bg-other", "subject": {"reference": "Patient/bg-pat"}},
    )
    yield
    ward.delete("Observation/bg-own", "Observation/bg-secret", "Observation/bg-other", "Patient/bg-pat")


@pytest.fixture
def doctor(ward: Ward) -> Client:
    return ward.client(POLICY, READS, seeing=False, client_id="ehr")


@pytest.fixture
def calling(ward: Ward) -> Client:
    return ward.client(POLICY, READS, seeing=True, client_id="ehr")


def code(answer: Any) -> str:
    return str(answer.json()["issue"][0]["details"]["coding"][0]["code"])


@pytest.mark.parametrize("id", ["bg-secret", "bg-other"])
def test_a_record_opens_for_the_request_that_says_why_and_for_no_other(doctor: Client, calling: Client, id: str) -> None:
    assert doctor.get(f"/Observation/{id}").status_code == 404
    assert HIDDEN in calling.get(f"/Observation/{id}", **WHY).text
    assert HIDDEN not in calling.get(f"/Observation/{id}").text
    assert doctor.get("/Observation/bg-own").status_code == 200


def test_a_search_finds_them_in_an_emergency_only(doctor: Client, calling: Client) -> None:
    asked = "/Observation?subject=Patient/bg-pat"
    assert doctor.found(asked) == {"Observation/bg-own"}
    found = calling.get(asked, **WHY).json()
    assert {entry["resource"]["id"] for entry in found["entry"]} == {"bg-own", "bg-secret", "bg-other"}


def test_writes_stay_as_they_are(calling: Client, ward: Ward) -> None:
    stored = ward.stored("Observation/bg-other")
    changed = {"resourceType": "Observation", "id": "bg-other", "status": "entered-in-error", "code": {"text": "x"}}
    assert calling("PUT", "/Observation/bg-other", changed, **WHY).status_code == 404
    assert calling("DELETE", "/Observation/bg-secret", None, **WHY).status_code == 404
    assert ward.stored("Observation/bg-other") == stored


def test_a_batch_is_one_emergency(doctor: Client, calling: Client) -> None:
    entries = [{"request": {"method": "GET", "url": f"Observation/{id}"}} for id in ("bg-own", "bg-secret", "bg-other")]
    entries.append({"request": {"method": "DELETE", "url": "Observation/bg-other"}})
    batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    ordinary = doctor("POST", "", batch).json()["entry"]
    assert [entry["response"]["status"][:3] for entry in ordinary] == ["200", "404", "404", "404"]
    emergency = calling("POST", "", batch, **WHY).json()["entry"]
    assert [entry["response"]["status"][:3] for entry in emergency] == ["200", "200", "200", "404"]


def test_a_page_of_an_emergency_opens_with_its_headers_only(ward: Ward) -> None:
    """A filter of the scope keeps pages sealed in the emergency too."""
    narrow = {**POLICY, "break_glass": {**RULE, "lifts": ["labels"]}}
    caller = ward.client(narrow, READS, seeing=True, client_id="ehr")
    first = caller.get("/Observation?subject=Patient/bg-pat&_count=1&_sort=_id", **WHY).json()
    onward = {link["relation"]: link["url"] for link in first["link"]}["next"]
    late = caller.get(onward)
    assert (late.status_code, code(late)) == (403, "foreign-page")
    ids = {entry["resource"]["id"] for page in (first, caller.get(onward, **WHY).json()) for entry in page["entry"]}
    assert ids == {"bg-own", "bg-secret"}


CALLS = [
    ({"X_Purpose_Of_Use": "BTG"}, "break-glass-reason"),
    ({**WHY, "X_Purpose_Of_Use": "TREAT"}, "break-glass-purpose"),
    ({"X_Break_Glass_Reason": "why"}, "break-glass-purpose"),
]


@pytest.mark.parametrize(("headers", "reason"), CALLS, ids=[reason + str(len(headers)) for headers, reason in CALLS])
def test_without_saying_why_it_is_refused(doctor: Client, headers: dict[str, str], reason: str) -> None:
    answer = doctor.get("/Observation/bg-secret", **headers)
    assert (answer.status_code, code(answer)) == (403, reason)


STRANGERS: list[tuple[str, str, dict[str, Any]]] = [
    ("no scope", "user/*.cruds", {"client_id": "ehr"}),
    ("a client that did not register it", READS, {"client_id": "portal"}),
    ("a patient", READS, {"client_id": "ehr", "fhirUser": "Patient/bg-pat"}),
    ("nobody", READS, {"client_id": "ehr", "fhirUser": ...}),
]


@pytest.mark.parametrize(("scope", "claims"), [case[1:] for case in STRANGERS], ids=[case[0] for case in STRANGERS])
def test_who_may_not(ward: Ward, scope: str, claims: dict[str, Any]) -> None:
    answer = ward.client(POLICY, scope, **claims).get("/Observation/bg-secret", **WHY)
    assert (answer.status_code, code(answer)) == (403, "break-glass-not-allowed")


def test_it_ends_by_itself(ward: Ward) -> None:
    old = ward.client(POLICY, READS, client_id="ehr", iat=int(time.time()) - 3700)
    answer = old.get("/Observation/bg-secret", **WHY)
    assert (answer.status_code, code(answer)) == (403, "break-glass-over")
    assert old.get("/Observation/bg-own").status_code == 200


def test_a_fresh_and_strong_login_is_asked_for_and_then_enough(ward: Ward) -> None:
    strict = {**POLICY, "break_glass": {**RULE, "max_auth_age": "5m", "acr_values": ["urn:mfa"]}}
    stale = ward.client(strict, READS, client_id="ehr", auth_time=int(time.time()) - 600, acr="urn:mfa")
    answer = stale.get("/Observation/bg-secret", **WHY)
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_user_authentication"' in challenge
    assert 'acr_values="urn:mfa"' in challenge
    assert 'max_age="300"' in challenge
    fresh = ward.client(strict, READS, seeing=True, client_id="ehr", auth_time=int(time.time()) - 5, acr="urn:mfa")
    assert HIDDEN in fresh.get("/Observation/bg-secret", **WHY).text


def test_it_is_on_record_before_and_after(ward: Ward, calling: Client) -> None:
    answer = calling.get("/Observation/bg-secret", **WHY)
    begun, ended = ward.gateway(POLICY).events_of(answer.headers["x-request-id"])
    assert ([begun["stage"], begun["status"]], [ended["stage"], ended["status"]]) == (["begun", 0], ["ended", 200])
    for event in (begun, ended):
        use = event["break_glass"]
        assert (use["granted"], use["reason"], use["purpose"]) == (True, "Patient unconscious", "BTG")
        assert use["lifts"] == ["labels", "users"]
    assert CONFIDENTIALITY not in str(ended)
