"""create, update and delete by id: body and stored resource both inside, or nothing is written (semantics 6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.app import FHIR_JSON, App, MakeApp, refused, required_scopes
from tests.integration.records import canary, lab
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi

WANDA = {"reference": "Patient/pat-w"}


def observation(**changes: Any) -> dict[str, Any]:
    """A new Observation of Wanda's; ``changes`` are set over it."""
    body = {"resourceType": "Observation", "status": "final", "code": {"text": canary("w")}, "subject": WANDA}
    return {**body, **changes}


def allergy(**changes: Any) -> dict[str, Any]:
    """A new AllergyIntolerance of Wanda's."""
    return {"resourceType": "AllergyIntolerance", "code": {"text": canary("w")}, "patient": WANDA, **changes}


@pytest.fixture
def wanda(as_user: MakeApp) -> App:
    return as_user("wanda", "patient/*.cruds", sees="w")


@pytest.fixture
def stored(hapi: Hapi) -> Iterator[str]:
    """An Observation of Wanda's that a test may change."""
    httpx.put(f"{hapi.base}/Observation/stored-chart-w", json=observation(id="stored-chart-w")).raise_for_status()
    yield "Observation/stored-chart-w"
    httpx.delete(f"{hapi.base}/Observation/stored-chart-w")


def count(hapi: Hapi) -> int:
    """How many resources HAPI holds of the types that these tests write."""
    types = ("Observation", "AllergyIntolerance", "Patient", "Condition")
    total = 0
    for type in types:
        total += httpx.get(f"{hapi.base}/{type}?_summary=count", timeout=60).json()["total"]
    return total


@pytest.mark.parametrize("body", [observation(), allergy(), allergy(recorder=WANDA), observation(performer=[WANDA])])
def test_what_lies_inside_is_created(wanda: App, gateway: Gateway, hapi: Hapi, body: dict[str, Any]) -> None:
    answer = wanda.send("POST", f"/{body['resourceType']}", body)
    assert answer.status_code == 201, answer.text
    location = answer.headers["location"]
    assert location.startswith(f"{gateway.base}/{body['resourceType']}/")
    made = wanda.follow(location)
    assert made.json()["code"] == body["code"]
    httpx.delete(f"{hapi.base}/{made.json()['resourceType']}/{made.json()['id']}").raise_for_status()


@pytest.mark.parametrize(
    "body",
    [
        observation(subject={"reference": "Patient/pat-b"}),
        observation(subject=None),
        observation(subject={"display": "Wanda"}),
        observation(subject={"identifier": {"system": "urn:test:mrn", "value": canary("w")}}),
        observation(subject={"reference": f"Patient?identifier=urn:test:mrn|{canary('w')}"}),
        observation(subject={"reference": "urn:uuid:0c9b0f6c-9a06-4f0e-8a39-d6f6a5b2f8d1"}),
        observation(subject={"reference": "https://elsewhere.example/fhir/Patient/pat-w"}),
        observation(subject={"reference": "#me"}, contained=[{"resourceType": "Patient", "id": "me"}]),
        observation(performer=[{"reference": "Patient/pat-b"}]),
        observation(focus=[WANDA], subject={"reference": "Patient/pat-b"}),
        allergy(patient={"reference": "Patient/pat-b"}, recorder=WANDA),
        allergy(recorder={"reference": "Patient/pat-b"}),
        allergy(asserter={"reference": "Patient?identifier=x"}),
        {"resourceType": "Patient", "name": [{"family": "New"}]},
        {"resourceType": "Practitioner", "name": [{"family": "New"}]},  # shared types are read, never written
        {"resourceType": "Organization", "name": "New"},
    ],
)
def test_what_does_not_lie_inside_is_not_created(wanda: App, hapi: Hapi, body: dict[str, Any]) -> None:
    before = count(hapi)
    refused(wanda.send("POST", f"/{body['resourceType']}", {key: value for key, value in body.items() if value is not None}), 403)
    assert count(hapi) == before


def test_a_write_needs_its_own_permission(as_user: MakeApp, stored: str) -> None:
    reader = as_user("wanda", "patient/*.rs", sees="w")
    for method, target, letter in (("POST", "/Observation", "c"), ("PUT", f"/{stored}", "u"), ("DELETE", f"/{stored}", "d")):
        body = observation() if method == "POST" else observation(id="stored-chart-w")
        outcome = refused(reader.send(method, target, body), 403, "insufficient-scope")
        assert required_scopes(outcome) == [f"patient/Observation.{letter}"]
    creator = as_user("wanda", "patient/Observation.c")
    refused(creator.send("PUT", f"/{stored}", observation(id="stored-chart-w")), 403, "insufficient-scope")
    refused(creator("DELETE", f"/{stored}"), 403, "insufficient-scope")


@pytest.mark.parametrize("scopes", [("patient/Observation.c",), ("patient/Observation.cu",), ("patient/Observation.write",)])
@pytest.mark.parametrize("wish", ["minimal", "representation", "OperationOutcome", None])
def test_without_read_the_answer_to_a_write_has_no_body(as_user: MakeApp, hapi: Hapi, scopes: tuple[str, ...], wish: str | None) -> None:
    headers = {"prefer": f"return={wish}"} if wish else {}
    answer = as_user("wanda", *scopes).send("POST", "/Observation", observation(note=[{"text": canary("w")}]), **headers)
    assert (answer.status_code, answer.content) == (201, b"")
    made = answer.headers["location"].split("/fhir/")[1]
    httpx.delete(f"{hapi.base}/{made.split('/_history')[0]}").raise_for_status()


def test_with_read_the_representation_comes_back(wanda: App, hapi: Hapi) -> None:
    answer = wanda.send("POST", "/Observation", observation(), prefer="return=representation")
    assert (answer.status_code, answer.json()["subject"]) == (201, WANDA)
    httpx.delete(f"{hapi.base}/Observation/{answer.json()['id']}").raise_for_status()


def test_ones_own_is_updated(wanda: App, gateway: Gateway, stored: str) -> None:
    answer = wanda.send("PUT", f"/{stored}", observation(id="stored-chart-w", status="amended"))
    assert answer.status_code == 200, answer.text
    assert wanda.get(f"/{stored}").json()["status"] == "amended"


@pytest.mark.parametrize("target", ["Observation/lab-0-chart-b", "Observation/performed-by-anna", "Observation/focus-on-anna-chart-b"])
def test_somebody_elses_is_not_updated_and_looks_absent(wanda: App, hapi: Hapi, target: str) -> None:
    before = httpx.get(f"{hapi.base}/{target}").content
    answer = wanda.send("PUT", f"/{target}", observation(id=target.split("/")[1]))
    absent = wanda.send("PUT", "/Observation/never-was", observation(id="never-was"))
    assert (answer.status_code, absent.status_code) == (404, 404)
    assert httpx.get(f"{hapi.base}/{target}").content == before
    assert httpx.get(f"{hapi.base}/Observation/never-was").status_code == 404


def test_ones_own_patient_is_updated_and_no_other(wanda: App, hapi: Hapi) -> None:
    own = {"resourceType": "Patient", "id": "pat-w", "name": [{"family": canary("w")}], "active": True}
    assert wanda.send("PUT", "/Patient/pat-w", own).status_code == 200
    refused(wanda.send("PUT", "/Patient/pat-b", {**own, "id": "pat-b"}), 404)
    assert "canary-b" in httpx.get(f"{hapi.base}/Patient/pat-b").text


@pytest.mark.parametrize("subject", ["Patient/pat-b", "Patient/pat-a", "Patient/never-was"])
def test_nothing_moves_into_another_chart(wanda: App, hapi: Hapi, stored: str, subject: str) -> None:
    refused(wanda.send("PUT", f"/{stored}", observation(id="stored-chart-w", subject={"reference": subject})), 403)
    assert httpx.get(f"{hapi.base}/{stored}").json()["subject"] == WANDA


def test_what_two_charts_share_is_not_written_by_one(as_user: MakeApp, hapi: Hapi) -> None:
    """Anna may read what she performed on Carl; changing it would write into Carl's chart."""
    anna = as_user("amy", "patient/*.cruds", sees="ac")
    assert anna.get("/Observation/performed-by-anna").status_code == 200
    before = httpx.get(f"{hapi.base}/Observation/performed-by-anna").content
    mine = {**observation(id="performed-by-anna"), "subject": {"reference": "Patient/pat-a"}}
    assert anna.send("PUT", "/Observation/performed-by-anna", mine).status_code in {403, 404}
    assert anna("DELETE", "/Observation/performed-by-anna").status_code in {403, 404}
    assert httpx.get(f"{hapi.base}/Observation/performed-by-anna").content == before


@pytest.mark.parametrize(
    "body",
    [
        observation(id="other-chart-w"),
        observation(),
        {**observation(id="stored-chart-w"), "resourceType": "Condition"},
        {**observation(id="stored-chart-w"), "resourceType": "Nonsense"},
        {key: value for key, value in observation(id="stored-chart-w").items() if key != "resourceType"},
    ],
)
def test_path_and_body_must_agree(wanda: App, hapi: Hapi, stored: str, body: dict[str, Any]) -> None:
    before = httpx.get(f"{hapi.base}/{stored}").content
    refused(wanda.send("PUT", f"/{stored}", body), 400)
    assert httpx.get(f"{hapi.base}/{stored}").content == before


def test_the_type_of_a_create_must_be_the_paths(wanda: App, as_service: MakeApp, hapi: Hapi) -> None:
    before = count(hapi)
    refused(wanda.send("POST", "/Observation", allergy()), 400)
    refused(as_service("system/*.cruds").send("POST", "/Observation", allergy()), 400)
    assert count(hapi) == before


def test_a_stale_version_is_a_conflict(wanda: App, stored: str) -> None:
    tag = wanda.get(f"/{stored}").headers["etag"]
    assert wanda.send("PUT", f"/{stored}", observation(id="stored-chart-w", status="amended"), if_match=tag).status_code == 200
    refused(wanda.send("PUT", f"/{stored}", observation(id="stored-chart-w"), if_match=tag), 412)
    assert wanda.get(f"/{stored}").json()["status"] == "amended"


def test_ones_own_is_deleted(wanda: App, hapi: Hapi, stored: str) -> None:
    answer = wanda("DELETE", f"/{stored}")
    assert answer.status_code in {200, 204}, answer.text
    assert httpx.get(f"{hapi.base}/{stored}").status_code == 410
    refused(wanda.get(f"/{stored}"), 404)
    refused(wanda("DELETE", f"/{stored}"), 404)
    refused(wanda.send("PUT", f"/{stored}", observation(id="stored-chart-w")), 404)


@pytest.mark.parametrize("target", ["Observation/lab-0-chart-b", "Patient/pat-b", "Condition/identifier-chart-b", "Observation/never-was"])
def test_nobody_elses_is_deleted(wanda: App, hapi: Hapi, target: str) -> None:
    refused(wanda("DELETE", f"/{target}"), 404)
    assert httpx.get(f"{hapi.base}/{target}").status_code == (404 if "never" in target else 200)


@pytest.mark.parametrize("target", ["Practitioner/prac-1", "Organization/org-1"])
def test_shared_types_are_not_written(wanda: App, hapi: Hapi, target: str) -> None:
    refused(wanda("DELETE", f"/{target}"), 403)
    assert httpx.get(f"{hapi.base}/{target}").status_code == 200


@pytest.mark.parametrize("parameter", ["_cascade=delete", "_expunge=true", "identifier=x", "_force=true"])
def test_no_parameter_steers_a_write(wanda: App, as_service: MakeApp, stored: str, parameter: str) -> None:
    for app in (wanda, as_service("system/*.cruds")):
        refused(app("DELETE", f"/{stored}?{parameter}"), 400)
        assert app.get(f"/{stored}").status_code == 200


def test_a_service_writes_anywhere(as_service: MakeApp, as_user: MakeApp, hapi: Hapi) -> None:
    app = as_service("system/*.cruds")
    body = lab("a", 0) | {"id": "extra-chart-a"}
    assert app.send("PUT", "/Observation/extra-chart-a", body).status_code == 201
    assert app.send("PUT", "/Observation/extra-chart-a", {**body, "status": "amended"}).status_code == 200
    assert as_user("amy", "patient/*.rs", sees="a").get("/Observation/extra-chart-a").json()["status"] == "amended"
    assert app("DELETE", "/Observation/extra-chart-a").status_code in {200, 204}
    refused(as_service("system/*.rs").send("PUT", "/Observation/extra-chart-a", body), 403, "insufficient-scope")
    assert httpx.get(f"{hapi.base}/Observation/extra-chart-a").status_code == 410


@pytest.mark.parametrize("type", ["SearchParameter", "Subscription", "StructureDefinition", "ConceptMap"])
def test_a_star_opens_no_type_that_changes_the_server(as_service: MakeApp, as_user: MakeApp, type: str) -> None:
    for app in (as_service("system/*.cruds"), as_user("dr-house", "user/*.cruds"), as_user("wanda", "patient/*.cruds")):
        refused(app.send("POST", f"/{type}", {"resourceType": type, "status": "draft"}), 403)
        refused(app("DELETE", f"/{type}/x1"), 403)


@pytest.mark.parametrize(
    ("content", "type", "status"),
    [
        (b"<Observation xmlns='http://hl7.org/fhir'/>", "application/fhir+xml", 415),
        (b"{", FHIR_JSON, 400),
        (b"[]", FHIR_JSON, 400),
        (b"", FHIR_JSON, 400),
        (b'{"resourceType":"Observation","resourceType":"Condition"}', FHIR_JSON, 400),
        (b'{"resourceType":"Observation","subject":{"reference":"Patient/pat-w","reference":"Patient/pat-b"}}', FHIR_JSON, 400),
        (b'{"resourceType":"Observation","a":' + b"[" * 100 + b"]" * 100 + b"}", FHIR_JSON, 400),
        (b'\xef\xbb\xbf{"resourceType":"Observation"}', FHIR_JSON, 400),
        (b'{"resourceType":"Observation","note":"\xff"}', FHIR_JSON, 400),
        (b'{"resourceType":"Observation","value":NaN}', FHIR_JSON, 400),
        (b"status=final", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
    ],
)
def test_a_body_that_cannot_be_judged_is_refused(wanda: App, hapi: Hapi, content: bytes, type: str, status: int) -> None:
    before = count(hapi)
    refused(wanda("POST", "/Observation", content=content, headers={"content-type": type}), status)
    assert count(hapi) == before


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_stale_if_match_changes_nothing(wanda: App, as_service: MakeApp, hapi: Hapi, stored: str, method: str) -> None:
    """HAPI itself answers 409 to the one and ignores it on the other."""
    old = wanda.get(f"/{stored}").headers["etag"]
    assert wanda.send("PUT", f"/{stored}", observation(id="stored-chart-w", status="amended")).status_code == 200
    now = wanda.get(f"/{stored}").headers["etag"]
    for app, statuses in ((wanda, {412}), (as_service("system/*.cruds"), {409, 412})):
        answer = app.send(method, f"/{stored}", observation(id="stored-chart-w", status="cancelled"), if_match=old)
        assert answer.status_code in statuses, answer.text
        assert wanda.get(f"/{stored}").headers["etag"] == now
    assert wanda.send(method, f"/{stored}", observation(id="stored-chart-w", status="cancelled"), if_match=now).status_code in {200, 204}


@pytest.mark.parametrize("value", ['W/"1", W/"2"', "1", '"', "*, *"])
def test_a_condition_that_cannot_be_read_is_refused(wanda: App, hapi: Hapi, stored: str, value: str) -> None:
    before = httpx.get(f"{hapi.base}/{stored}").content
    for method in ("PUT", "DELETE"):
        refused(wanda.send(method, f"/{stored}", observation(id="stored-chart-w"), if_match=value), 400, "malformed-header")
    assert httpx.get(f"{hapi.base}/{stored}").content == before


@pytest.fixture(scope="module")
def creating(gateways: StartGateway, settings: dict[str, Any]) -> dict[str, Gateway]:
    """Gateways that let an update create."""
    return {choice: gateways(settings | {"policy": {"writes": {"update_as_create": choice}}}) for choice in ("uuid_only", "always")}


UUID = "0b7c9b86-9d5f-4f64-a5b1-6cfc5f1a7d21"


@pytest.mark.parametrize(
    ("choice", "id", "status"),
    [
        ("never", "free-chart-w", 404),
        ("never", UUID, 404),
        ("uuid_only", "free-chart-w", 404),
        ("uuid_only", UUID, 201),
        ("always", "free-chart-w", 201),
        ("always", UUID.replace("0b", "1b"), 201),
    ],
)
def test_an_update_creates_where_the_policy_says_so(
    as_user: MakeApp, gateway: Gateway, creating: dict[str, Gateway], hapi: Hapi, choice: str, id: str, status: int
) -> None:
    wanda = as_user("wanda", "patient/*.cruds", sees="w", at=creating.get(choice, gateway))
    outside = wanda.send("PUT", f"/Observation/{id}", observation(id=id, subject={"reference": "Patient/pat-b"}))
    assert outside.status_code == (403 if status == 201 else 404)
    assert wanda.send("PUT", f"/Observation/{id}", observation(id=id)).status_code == status
    assert httpx.get(f"{hapi.base}/Observation/{id}").status_code == (200 if status == 201 else 404)
    if status == 201:
        again = wanda.send("PUT", f"/Observation/{id}", observation(id=id), if_none_match="*")
        refused(again, 412, "precondition-failed")
        assert wanda("DELETE", f"/Observation/{id}").status_code in {200, 204}
        refused(wanda.send("PUT", f"/Observation/{id}", observation(id=id)), 404)  # what was deleted is not brought back


def test_a_deleted_foreign_id_looks_absent_and_is_not_brought_back(as_user: MakeApp, creating: dict[str, Gateway], hapi: Hapi) -> None:
    url = f"{hapi.base}/Observation/once-chart-b"
    httpx.put(url, json=observation(id="once-chart-b", subject={"reference": "Patient/pat-b"})).raise_for_status()
    wanda = as_user("wanda", "patient/*.cruds", sees="w", at=creating["always"])
    stands = wanda.send("PUT", "/Observation/once-chart-b", observation(id="once-chart-b"))
    httpx.delete(url).raise_for_status()
    gone = wanda.send("PUT", "/Observation/once-chart-b", observation(id="once-chart-b"))
    for answer in (stands, gone):
        refused(answer, 404, "not-found")
    assert httpx.get(url).status_code == 410


@pytest.mark.parametrize("wish", ["minimal", "representation", "OperationOutcome", None])
@pytest.mark.parametrize("scopes", [("patient/*.cruds",), ("patient/*.write", "patient/*.s")])
def test_an_update_says_no_more_than_may_be_read(as_user: MakeApp, stored: str, wish: str | None, scopes: tuple[str, ...]) -> None:
    headers = {"prefer": f"return={wish}"} if wish else {}
    answer = as_user("wanda", *scopes, sees="w").send("PUT", f"/{stored}", observation(id="stored-chart-w", status="amended"), **headers)
    assert answer.status_code == 200
    shown = scopes == ("patient/*.cruds",) and wish in {"representation", None}
    assert (answer.content != b"") is shown
    assert not shown or answer.json()["status"] == "amended"
