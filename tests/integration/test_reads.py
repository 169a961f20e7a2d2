"""read, vread and HEAD: what is inside is served whole, what is outside looks absent (semantics 5)."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.app import MakeApp, refused
from tests.integration.servers.hapi import Hapi

OWN = [
    "Patient/pat-a",
    "Observation/lab-0-chart-a",
    "Condition/condition-chart-a",
    "Encounter/encounter-chart-a",
    "AllergyIntolerance/allergy-chart-a",
    "MedicationRequest/medication-chart-a",
    "RelatedPerson/relative-chart-a",
    "Device/device-chart-a",  # by the policy's compartment_additions
    "Provenance/provenance-chart-a",  # its target is inside
    "Practitioner/prac-1",  # shared types, in no patient's compartment
    "Organization/org-1",
    "Medication/med-1",
]

OUTSIDE = [
    "Patient/pat-b",
    "Observation/lab-0-chart-b",
    "Condition/condition-chart-b",
    "Encounter/encounter-chart-b",
    "AllergyIntolerance/allergy-chart-b",
    "MedicationRequest/medication-chart-b",
    "RelatedPerson/relative-chart-b",
    "Device/device-chart-b",
    "Provenance/provenance-chart-b",
    "Group/group-chart-b",
    "Observation/focus-on-anna-chart-b",  # `focus` confers no membership
    "Condition/identifier-chart-b",  # nor does a reference by identifier
    "Provenance/mixed-targets-chart-b",  # one target is somebody else's
]


@pytest.mark.parametrize("target", OWN)
def test_what_is_inside_is_served(as_user: MakeApp, target: str) -> None:
    answer = as_user("amy", "patient/*.rs", sees="a").get(f"/{target}")
    assert answer.status_code == 200, answer.text
    assert f"{answer.json()['resourceType']}/{answer.json()['id']}" == target


def faceless(answer: httpx.Response) -> tuple[int, dict[str, str], list[dict[str, object]]]:
    """Status, headers and issues, without what differs from one request to the next."""
    own = {"date", "x-request-id", "content-length"}
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    request_id = answer.headers.get("x-request-id", "no request id")
    return answer.status_code, headers, [{**issue, "diagnostics": str(issue).count(request_id)} for issue in answer.json()["issue"]]


@pytest.mark.parametrize("target", OUTSIDE)
def test_what_is_outside_has_the_face_of_what_is_absent(as_user: MakeApp, target: str) -> None:
    app = as_user("amy", "patient/*.rs")
    outside = app.get(f"/{target}")
    refused(outside, 404)
    assert faceless(outside) == faceless(app.get(f"/{target.partition('/')[0]}/never-was"))


@pytest.mark.parametrize("target", OUTSIDE)
def test_the_same_resource_is_there_for_somebody_else(as_service: MakeApp, target: str) -> None:
    assert as_service("system/*.rs").get(f"/{target}").status_code == 200


def test_a_deleted_resource_of_somebody_else_looks_absent(as_user: MakeApp, hapi: Hapi) -> None:
    body = {
        "resourceType": "Observation",
        "id": "gone-chart-b",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/pat-b"},
    }
    httpx.put(f"{hapi.base}/Observation/gone-chart-b", json=body).raise_for_status()
    httpx.delete(f"{hapi.base}/Observation/gone-chart-b").raise_for_status()
    assert httpx.get(f"{hapi.base}/Observation/gone-chart-b").status_code == 410
    app = as_user("amy", "patient/*.rs")
    assert faceless(app.get("/Observation/gone-chart-b")) == faceless(app.get("/Observation/never-was"))


def test_a_member_by_another_element_is_read(as_user: MakeApp) -> None:
    """Anna performed it on Carl: membership is by any of the definition's parameters."""
    answer = as_user("amy", "patient/*.rs", sees="ac").get("/Observation/performed-by-anna")
    assert answer.status_code == 200
    assert answer.json()["subject"] == {"reference": "Patient/pat-c"}


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("Observation/lab-0-chart-a/_history/1", 200),
        ("Observation/lab-0-chart-a/_history/9", 404),
        ("Observation/lab-0-chart-b/_history/1", 404),
        ("Patient/pat-b/_history/1", 404),
        ("Observation/never-was/_history/1", 404),
    ],
)
def test_a_version_is_judged_as_its_resource(as_user: MakeApp, target: str, status: int) -> None:
    answer = as_user("amy", "patient/*.rs", sees="a").get(f"/{target}")
    assert answer.status_code == status, answer.text
    assert (answer.json()["resourceType"] == "Observation") == (status == 200)


def test_an_old_version_of_somebody_else_is_not_opened_by_a_newer_one(as_user: MakeApp, hapi: Hapi) -> None:
    """It moved from Bea to Anna: what it was before stays Bea's."""
    for patient in ("b", "a"):
        code = {"text": f"canary-{patient}-7Q2x"}
        body = {
            "resourceType": "Observation",
            "id": "moved",
            "status": "final",
            "code": code,
            "subject": {"reference": f"Patient/pat-{patient}"},
        }
        httpx.put(f"{hapi.base}/Observation/moved", json=body).raise_for_status()
    app = as_user("amy", "patient/*.rs", sees="a")
    assert app.get("/Observation/moved").status_code == 200
    assert app.get("/Observation/moved/_history/2").status_code == 200
    refused(app.get("/Observation/moved/_history/1"), 404)
    httpx.delete(f"{hapi.base}/Observation/moved").raise_for_status()


@pytest.mark.parametrize(
    "target", ["Patient/pat-a", "Observation/lab-0-chart-a/_history/1", "Observation/lab-0-chart-b", "Nonsense/1", "metadata"]
)
def test_head_is_a_get_without_its_body(as_user: MakeApp, target: str) -> None:
    app = as_user("amy", "patient/*.rs", sees="a")
    head, get = app("HEAD", f"/{target}"), app.get(f"/{target}")
    assert head.content == b""
    varying = {"date", "x-request-id", "content-length", "transfer-encoding"}
    shown = [{name: value for name, value in answer.headers.items() if name not in varying} for answer in (head, get)]
    assert (head.status_code, shown[0]) == (get.status_code, shown[1])


def test_an_answer_is_served_byte_for_byte(as_user: MakeApp, as_service: MakeApp, hapi: Hapi) -> None:
    """``72.50`` is another measurement than ``72.5``."""
    body = (
        b'{"resourceType":"Observation","id":"exact-chart-a","status":"final","code":{"text":"canary-a-7Q2x"},'
        b'"subject":{"reference":"Patient/pat-a"},"valueQuantity":{"value":72.50}}'
    )
    httpx.put(f"{hapi.base}/Observation/exact-chart-a", content=body, headers={"content-type": "application/fhir+json"}).raise_for_status()
    for answer in (
        as_user("amy", "patient/*.rs", sees="a").get("/Observation/exact-chart-a"),
        as_user("amy", "patient/*.rs", sees="a").get("/Observation?_id=exact-chart-a"),
        as_service("system/*.rs").get("/Observation/exact-chart-a"),
    ):
        assert answer.status_code == 200
        assert b'"value":72.50}' in answer.content
    httpx.delete(f"{hapi.base}/Observation/exact-chart-a").raise_for_status()


def test_a_known_version_is_not_sent_again(as_user: MakeApp) -> None:
    app = as_user("amy", "patient/*.rs", sees="a")
    tag = app.get("/Observation/lab-0-chart-a").headers["etag"]
    known = app.get("/Observation/lab-0-chart-a", headers={"if-none-match": tag})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
    assert app.get("/Observation/lab-0-chart-a", headers={"if-none-match": 'W/"99"'}).status_code == 200


def test_an_etag_tells_nothing_about_somebody_elses_resource(as_user: MakeApp) -> None:
    refused(as_user("amy", "patient/*.rs").get("/Observation/lab-0-chart-b", headers={"if-none-match": 'W/"1"'}), 404)


@pytest.mark.parametrize(
    "wish", [{"headers": {"accept": "application/fhir+xml"}}, {"params": {"_format": "xml"}}, {"headers": {"accept": "text/turtle"}}]
)
def test_only_json_can_be_judged(as_user: MakeApp, as_service: MakeApp, wish: dict[str, dict[str, str]]) -> None:
    bounded = as_user("amy", "patient/*.rs").get("/Patient/pat-a", **wish)
    assert bounded.status_code == 406
    assert "OperationOutcome" in bounded.text
    unbounded = as_service("system/*.rs").get("/Patient/pat-a", **wish)
    assert unbounded.status_code == 200
    assert not unbounded.content.startswith(b"{")


def test_read_and_search_are_two_permissions(as_user: MakeApp) -> None:
    reader, searcher = as_user("amy", "patient/*.r", sees="a"), as_user("amy", "patient/*.s", sees="a")
    assert reader.get("/Observation/lab-0-chart-a").status_code == 200
    refused(reader.get("/Observation"), 403, "insufficient-scope")
    assert searcher.get("/Observation").status_code == 200
    refused(searcher.get("/Observation/lab-0-chart-a"), 403, "insufficient-scope")
