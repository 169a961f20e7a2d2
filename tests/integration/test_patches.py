"""PATCH by id in front of real HAPI: what is stored and what the patch makes of it are both inside, or nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.integration.app import FHIR_JSON, App, MakeApp, refused, required_scopes
from tests.integration.records import canary
from tests.integration.servers.hapi import Hapi

JSON_PATCH = "application/json-patch+json"
WANDA, BEA = {"reference": "Patient/pat-w"}, {"reference": "Patient/pat-b"}
AMEND = {"op": "replace", "path": "/status", "value": "amended"}
TEST = {"op": "test", "path": "/status", "value": "final"}


def observation(**changes: Any) -> dict[str, Any]:
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}], "text": canary("w")}
    return {"resourceType": "Observation", "id": "patched-chart-w", "status": "final", "code": code, "subject": WANDA, **changes}


@pytest.fixture
def wanda(as_user: MakeApp) -> App:
    return as_user("wanda", "patient/*.cruds", sees="w")


@pytest.fixture
def stored(hapi: Hapi) -> Iterator[str]:
    """An Observation of Wanda's that a test may patch."""
    httpx.put(f"{hapi.base}/Observation/patched-chart-w", json=observation()).raise_for_status()
    yield "Observation/patched-chart-w"
    httpx.delete(f"{hapi.base}/Observation/patched-chart-w")


def patch(app: App, target: str, *operations: dict[str, Any], **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return app("PATCH", f"/{target}", content=json.dumps(operations), headers={"content-type": JSON_PATCH, **named})


def at_hapi(hapi: Hapi, target: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{hapi.base}/{target}").raise_for_status().json()
    return found


def test_every_operation_on_ones_own(wanda: App, hapi: Hapi, stored: str) -> None:
    answer = patch(
        wanda,
        stored,
        TEST,
        AMEND,
        {"op": "add", "path": "/note", "value": [{"text": canary("w")}, {"text": "second"}]},
        {"op": "copy", "from": "/note/1", "path": "/note/-"},
        {"op": "move", "from": "/note/0", "path": "/note/2"},
        {"op": "remove", "path": "/note/0"},
        {"op": "test", "path": "/note", "value": [{"text": "second"}, {"text": canary("w")}]},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["note"] == [{"text": "second"}, {"text": canary("w")}]
    assert answer.json()["meta"]["versionId"] == at_hapi(hapi, stored)["meta"]["versionId"]
    assert at_hapi(hapi, stored)["status"] == "amended"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/subject", "value": BEA},
        {"op": "replace", "path": "/subject/reference", "value": "Patient/pat-a"},
        {"op": "add", "path": "/performer", "value": [BEA]},
        {"op": "remove", "path": "/subject"},
        {"op": "replace", "path": "/subject", "value": {"display": "Wanda"}},
        {"op": "replace", "path": "", "value": observation(subject=BEA)},
    ],
)
def test_nothing_moves_into_another_chart(wanda: App, hapi: Hapi, stored: str, operation: dict[str, Any]) -> None:
    refused(patch(wanda, stored, AMEND, operation), 403, "outside-boundary")
    assert (at_hapi(hapi, stored)["subject"], at_hapi(hapi, stored)["status"]) == (WANDA, "final")


@pytest.mark.parametrize("member", ["id", "resourceType", "meta/versionId"])
def test_type_id_and_version_stay(wanda: App, as_service: MakeApp, hapi: Hapi, stored: str, member: str) -> None:
    refused(patch(wanda, stored, {"op": "replace", "path": f"/{member}", "value": "Patient"}), 400)
    if member != "meta/versionId":
        refused(patch(as_service("system/*.cruds"), stored, {"op": "replace", "path": f"/{member}", "value": "Patient"}), 400)
    assert at_hapi(hapi, stored)["id"] == "patched-chart-w"


def test_a_test_needs_read(as_user: MakeApp, hapi: Hapi, stored: str) -> None:
    blind = as_user("wanda", "patient/Observation.cu", sees="w")
    outcome = refused(patch(blind, stored, AMEND, TEST), 403, "insufficient-scope")
    assert required_scopes(outcome) == ["patient/Observation.r"]
    assert outcome["issue"][0]["expression"] == ["patch[1].op"]
    assert at_hapi(hapi, stored)["status"] == "final"
    answer = patch(blind, stored, AMEND, prefer="return=representation")
    assert (answer.status_code, answer.content) == (200, b"")
    assert at_hapi(hapi, stored)["status"] == "amended"


def test_without_read_a_patch_that_fails_does_not_say_where(as_user: MakeApp, wanda: App, stored: str) -> None:
    missing = {"op": "remove", "path": "/bodySite"}
    blind = refused(patch(as_user("wanda", "patient/Observation.cu", sees="w"), stored, AMEND, missing), 422, "patch-failed")
    assert blind["issue"][0]["expression"] == ["patch"]
    seeing = refused(patch(wanda, stored, AMEND, missing), 422, "patch-failed")
    assert seeing["issue"][0]["expression"] == ["patch[1].path"]


@pytest.mark.parametrize("target", ["Observation/lab-0-chart-b", "Observation/performed-by-anna", "Patient/pat-b", "Observation/never-was"])
@pytest.mark.parametrize("operation", [AMEND, TEST, {"op": "replace", "path": "/subject", "value": WANDA}, {"op": "nonsense"}])
def test_somebody_elses_looks_absent(wanda: App, hapi: Hapi, target: str, operation: dict[str, Any]) -> None:
    before = httpx.get(f"{hapi.base}/{target}").content
    refused(patch(wanda, target, operation, if_match='W/"77"'), 404)
    if "never" not in target:
        assert httpx.get(f"{hapi.base}/{target}").content == before


def test_a_patch_needs_update(as_user: MakeApp, stored: str) -> None:
    outcome = refused(patch(as_user("wanda", "patient/*.rs", sees="w"), stored, AMEND), 403, "insufficient-scope")
    assert required_scopes(outcome) == ["patient/Observation.u"]


def test_a_stale_version_is_412(wanda: App, as_service: MakeApp, hapi: Hapi, stored: str) -> None:
    tag = wanda.get(f"/{stored}").headers["etag"]
    assert patch(wanda, stored, AMEND, if_match=tag).status_code == 200
    refused(patch(wanda, stored, {**AMEND, "value": "final"}, if_match=tag), 412)
    assert patch(as_service("system/*.cruds"), stored, {**AMEND, "value": "final"}, if_match=tag).status_code in {409, 412}
    assert at_hapi(hapi, stored)["status"] == "amended"


@pytest.mark.parametrize(
    ("content", "type", "status"),
    [
        (b'{"resourceType":"Parameters","parameter":[]}', FHIR_JSON, 415),
        (b"<diff/>", "application/xml-patch+xml", 415),
        (b'{"status":"amended"}', "application/merge-patch+json", 415),
        (b'[{"op":"replace","path":"/status","value":"amended"}]', "application/json", 415),
        (b'[{"op":"replace","path":"/status","value":"amended","value":"final"}]', JSON_PATCH, 400),
        (b'[{"op":"replace","path":"status","value":"amended"}]', JSON_PATCH, 400),
        (b'[{"op":"add","path":"/note/01","value":{}}]', JSON_PATCH, 422),
        (json.dumps([{"op": "copy", "from": "", "path": f"/x{n}"} for n in range(900)]).encode(), JSON_PATCH, 422),
    ],
)
def test_what_cannot_be_judged_changes_nothing(wanda: App, hapi: Hapi, stored: str, content: bytes, type: str, status: int) -> None:
    refused(wanda("PATCH", f"/{stored}", content=content, headers={"content-type": type}), status)
    assert at_hapi(hapi, stored)["meta"]["versionId"] == wanda.get(f"/{stored}").headers["etag"][3:-1]
    assert at_hapi(hapi, stored)["status"] == "final"


def test_a_service_patches_in_every_way_that_hapi_knows(as_service: MakeApp, hapi: Hapi, stored: str) -> None:
    app = as_service("system/*.cruds")
    assert patch(app, stored, TEST, AMEND).json()["status"] == "amended"
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.status"}]
    operation = {"name": "operation", "part": [*parts, {"name": "value", "valueCode": "corrected"}]}
    fhirpath = app.send("PATCH", f"/{stored}", {"resourceType": "Parameters", "parameter": [operation]})
    assert (fhirpath.status_code, fhirpath.json()["status"]) == (200, "corrected")
    diff = '<diff xmlns:f="http://hl7.org/fhir"><replace sel="f:Observation/f:status/@value">final</replace></diff>'
    xml = app("PATCH", f"/{stored}", content=diff, headers={"content-type": "application/xml-patch+xml"})
    assert (xml.status_code, at_hapi(hapi, stored)["status"]) == (200, "final"), xml.text
    refused(app.send("PATCH", f"/{stored}", observation()), 400, "type-mismatch")
    refused(app("PATCH", f"/{stored}", content=b"{}", headers={"content-type": "application/merge-patch+json"}), 415)


SOMEBODY = "Patient?identifier=urn:example:nobody-has-this|1"
PUT_SEARCH = {"op": "replace", "path": "/subject/reference", "value": SOMEBODY}


def in_the_ways_of_hapi(app: App, target: str, search: str) -> list[httpx.Response]:
    """The search in the place of the reference, by each kind of patch."""
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.subject.reference"}]
    operation = {"name": "operation", "part": [*parts, {"name": "value", "valueString": search}]}
    diff = f'<diff xmlns:f="http://hl7.org/fhir"><replace sel="f:Observation/f:subject/f:reference/@value">{search}</replace></diff>'
    return [
        patch(app, target, {**PUT_SEARCH, "value": search}),
        app.send("PATCH", f"/{target}", {"resourceType": "Parameters", "parameter": [operation]}),
        app("PATCH", f"/{target}", content=diff, headers={"content-type": "application/xml-patch+xml"}),
    ]


def test_no_patch_asks_by_a_reference_what_may_not_be_searched(as_service: MakeApp, hapi: Hapi, stored: str) -> None:
    """HAPI resolves such references in every kind of patch, and says whether they match."""
    free = in_the_ways_of_hapi(as_service("system/*.cruds"), stored, SOMEBODY)
    assert all(answer.status_code in {400, 404, 412} for answer in free), [answer.text for answer in free]
    assert patch(as_service("system/*.cruds"), stored, {**PUT_SEARCH, "value": "Patient?_id=pat-w"}).status_code == 200
    assert at_hapi(hapi, stored)["subject"] == WANDA
    for search in (SOMEBODY, "Patient?_id=pat-w"):
        json_patch, fhirpath, xml = in_the_ways_of_hapi(as_service("system/Observation.cruds"), stored, search)
        assert refused(json_patch, 403, "conditional-reference")["issue"][0]["expression"] == ["Observation.subject"]
        refused(fhirpath, 403, "conditional-reference")
        refused(xml, 415)
    assert patch(
        as_service("system/Observation.cruds", "system/Patient.s"), stored, {**PUT_SEARCH, "value": "Patient?_id=pat-w"}
    ).is_success
    assert patch(as_service("system/Observation.cruds"), stored, {**PUT_SEARCH, "value": "Patient/pat-w"}).status_code == 200


def test_no_patch_meets_a_resource_that_has_changed_hands(wanda: App, hapi: Hapi, stored: str) -> None:
    """While somebody moves the resource from chart to chart, no version of Bea's is ever touched by Wanda's patches."""
    mark = {"op": "add", "path": "/note", "value": [{"text": f"{canary('w')} was here"}]}

    def move_about() -> None:
        with httpx.Client() as direct:
            for number in range(60):
                moved = observation(subject=(BEA, WANDA)[number % 2], valueInteger=number)
                direct.put(f"{hapi.base}/{stored}", json=moved)  # 409 where a patch came in between: the next one moves on

    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(move_about)
        statuses = []
        while not moving.done():
            statuses.append(patch(wanda, stored, mark).status_code)
        moving.result()
    assert set(statuses) <= {200, 404, 412}, statuses
    history = httpx.get(f"{hapi.base}/{stored}/_history?_count=500").json()["entry"]
    versions = [entry["resource"] for entry in history if "resource" in entry]
    assert any(version["subject"] == BEA for version in versions)
    assert not [version for version in versions if version["subject"] == BEA and "note" in version]
