"""Bulk Data export of real HAPI: by backend services alone, of the types they hold, with nothing of HAPI's own addresses in sight."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from tests.integration.app import App, MakeApp, refused, required_scopes
from tests.integration.records import PATIENTS
from tests.integration.servers.gateway import Gateway
from tests.integration.servers.hapi import Hapi

ASYNC = {"prefer": "respond-async"}
NDJSON = "application/fhir+ndjson"
BOTH = ("system/Patient.rs", "system/Observation.rs")
PATIENCE = 60.0  # seconds: HAPI needs one, on a busy machine ten


def started(app: App, target: str, **more: Any) -> str:
    answer = app("GET" if not more else "POST", target, headers=ASYNC, **more)
    assert (answer.status_code, answer.content) == (202, b""), answer.text
    return answer.headers["content-location"]


def finished(app: App, url: str) -> httpx.Response:
    """The manifest, once the job is done."""
    end = time.monotonic() + PATIENCE
    while (answer := app.follow(url)).status_code == 202 and time.monotonic() < end:
        assert answer.content == b""
        assert int(answer.headers["retry-after"]) > 0
    assert answer.status_code == 200, answer.text
    return answer


def exported(app: App, url: str) -> dict[str, list[dict[str, Any]]]:
    """Every resource of a job by the type of its file."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in finished(app, url).json()["output"]:
        answer = app.follow(file["url"])
        assert (answer.status_code, answer.headers["content-type"]) == (200, NDJSON)
        found.setdefault(file["type"], []).extend(json.loads(line) for line in answer.text.splitlines())
    return found


def names(resources: list[dict[str, Any]]) -> set[str]:
    return {resource["id"] for resource in resources}


@pytest.fixture
def backend(as_service: MakeApp) -> App:
    return as_service(*BOTH)


EVERY_PATIENT = {f"pat-{patient}" for patient in PATIENTS}


def test_without_types_the_export_is_of_those_the_token_holds(backend: App) -> None:
    found = exported(backend, started(backend, "/$export"))
    assert set(found) == {"Patient", "Observation"}
    assert names(found["Patient"]) >= EVERY_PATIENT
    assert {f"lab-0-chart-{patient}" for patient in PATIENTS} <= names(found["Observation"])
    assert all(resource["resourceType"] == type for type, resources in found.items() for resource in resources)


def test_a_manifest_shows_nothing_of_the_server_behind(backend: App, hapi: Hapi, gateway: Gateway) -> None:
    url = started(backend, "/$export?_type=Patient")
    answer = finished(backend, url)
    made = answer.json()
    assert (made["requiresAccessToken"], made["error"]) == (True, [])
    assert made["request"] == f"{gateway.base}/$export?_type=Patient"
    assert made["output"]
    assert all(file["url"].startswith(f"{gateway.base}/$export-file?_file=") for file in made["output"])
    seen = answer.text + str(answer.headers) + url
    assert hapi.base not in seen
    assert "Binary" not in seen
    assert "_jobId" not in seen


@pytest.mark.parametrize("scopes", [("system/*.rs",), ("system/*.cruds",), ("system/*.read",), BOTH])
def test_the_types_asked_for(as_service: MakeApp, scopes: tuple[str, ...]) -> None:
    backend = as_service(*scopes)
    assert set(exported(backend, started(backend, "/$export?_type=Observation"))) == {"Observation"}


def test_a_token_of_every_type_exports_everything(as_service: MakeApp) -> None:
    backend = as_service("system/*.rs")
    found = exported(backend, started(backend, "/$export"))
    assert {"Patient", "Observation", "Condition", "Organization", "Group"} <= set(found)


def test_levels_of_patient_and_group(as_service: MakeApp) -> None:
    backend = as_service("system/*.rs")
    found = exported(backend, started(backend, "/Patient/$export?_type=Patient,Condition"))
    assert set(found) == {"Patient", "Condition"}
    of_group = as_service("system/*.rs", sees="b")
    members = exported(of_group, started(of_group, "/Group/group-chart-b/$export?_type=Patient,Condition"))
    assert names(members["Patient"]) == {"pat-b"}
    assert "condition-chart-b" in names(members["Condition"])


def test_filters_and_time(backend: App) -> None:
    query = "_type=Observation&_typeFilter=Observation%3Fstatus%3Dpreliminary,Observation%3Fstatus%3Damended&_since=2020-01-01T00:00:00Z"
    found = exported(backend, started(backend, f"/$export?{query}"))
    assert {resource["status"] for resource in found["Observation"]} == {"preliminary", "amended"}
    assert exported(backend, started(backend, "/$export?_type=Observation&_since=2999-01-01T00:00:00Z")) == {}


def test_by_post_for_patients_by_name(as_service: MakeApp) -> None:
    only_a = as_service(*BOTH, sees="ac")  # one of the Observations that Anna performed is Carl's
    parameters = [
        {"name": "_type", "valueString": "Patient,Observation"},
        {"name": "_outputFormat", "valueString": NDJSON},
        {"name": "patient", "valueReference": {"reference": "Patient/pat-a"}},
    ]
    found = exported(only_a, started(only_a, "/Patient/$export", json={"resourceType": "Parameters", "parameter": parameters}))
    assert names(found["Patient"]) == {"pat-a"}
    assert "lab-0-chart-a" in names(found["Observation"])


@pytest.mark.parametrize("target", ["/$export", "/$export?_type=Patient", "/Patient/$export", "/Group/group-chart-b/$export"])
@pytest.mark.parametrize(
    ("user", "scopes"), [("amy", ("patient/*.cruds",)), ("dr-house", ("user/*.cruds",)), ("dr-wilson", ("user/*.rs", "patient/*.rs"))]
)
def test_apps_of_people_never_export(as_user: MakeApp, target: str, user: str, scopes: tuple[str, ...]) -> None:
    refused(as_user(user, *scopes, sees="").get(target, headers=ASYNC), 403, "insufficient-scope")


def test_what_a_backend_may_not_export(as_service: MakeApp) -> None:
    narrow = as_service("system/Observation.rs", sees="")
    outcome = refused(narrow.get("/$export?_type=Observation,Patient,Condition", headers=ASYNC), 403, "insufficient-scope")
    assert required_scopes(outcome) == ["system/Condition.rs", "system/Patient.rs"]
    refused(narrow.get("/Patient/$export?_type=Observation", headers=ASYNC), 403, "insufficient-scope")
    refused(narrow.get("/Group/group-chart-b/$export", headers=ASYNC), 403, "insufficient-scope")
    filtered = as_service("system/Observation.rs?category=laboratory", sees="")
    refused(filtered.get("/$export", headers=ASYNC), 403, "insufficient-scope")
    chained = "/$export?_type=Observation&_typeFilter=Observation%3Fsubject:Patient.name%3Dx"
    refused(narrow.get(chained, headers=ASYNC), 403, "chain-not-allowed")


@pytest.mark.parametrize(
    "target",
    ["/$export?_type=Nope", "/$export?_outputFormat=csv", "/$export?_mdm=true", "/$export?_type=Patient&_typeFilter=Patient%3Fnope%3D1"],
)
def test_requests_that_are_broken(backend: App, target: str) -> None:
    refused(backend.get(target, headers=ASYNC), 400)


def test_an_export_is_asynchronous_whether_the_client_says_so_or_not(backend: App) -> None:
    assert backend.get("/$export?_type=Patient").status_code == 202


@pytest.fixture
def addresses(backend: App) -> tuple[str, str]:
    """The addresses of a job's status and of one of its files."""
    status = started(backend, "/$export?_type=Observation,Patient")
    return status, finished(backend, status).json()["output"][0]["url"]


def test_nobody_else_opens_an_address(addresses: tuple[str, str], app: MakeApp, as_user: MakeApp, as_service: MakeApp) -> None:
    for url in addresses:
        refused(as_user("dr-house", "system/*.rs", sees="").follow(url), 403, "foreign-export")
        refused(as_user("amy", "patient/*.cruds", sees="a").follow(url), 403)
        refused(app(None).follow(url), 401)
        refused(as_service("system/Patient.rs", sees="").follow(url), 403, "insufficient-scope")
        refused(as_service("system/Observation.rs?category=laboratory", sees="").follow(url), 403, "insufficient-scope")
        assert as_service("system/*.rs").follow(url).status_code == 200  # the same client with another token


def test_addresses_of_hapi_itself_are_closed(hapi: Hapi, as_service: MakeApp) -> None:
    backend = as_service("system/*.cruds", sees="")
    kickoff = httpx.get(f"{hapi.base}/$export?_type=Patient", headers=ASYNC)
    job = kickoff.headers["content-location"].partition("?")[2]
    refused(backend.get(f"/$export-poll-status?{job}"), 403, "foreign-export")
    refused(backend("DELETE", f"/$export-poll-status?{job}"), 403, "foreign-export")


def test_a_job_that_was_cancelled_is_gone(as_service: MakeApp) -> None:
    backend = as_service(*BOTH)
    url = started(backend, "/$export?_type=Patient&_since=2001-01-01T00:00:00Z")
    other = started(backend, "/$export?_type=Patient&_since=2001-01-01T00:00:00Z")
    ended = backend("DELETE", url.removeprefix(backend.base))
    assert (ended.status_code, ended.content) == (202, b"")
    refused(backend.follow(url), 404, "not-found")
    assert names(exported(backend, other)["Patient"]) >= EVERY_PATIENT  # the same question again is a job of its own
