"""``_summary`` under a bounded token: what HAPI leaves of a resource is judged as the whole would be, or is not asked for."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from tests.integration.app import App, MakeApp, ids, link, refused
from tests.integration.records import all_records
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.realm import LAB

TYPES = sorted({resource["resourceType"] for resource in all_records()})
SUBSETTED = "SUBSETTED"


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    return as_user("amy", "patient/*.rs", sees="a")


def tags(resource: dict[str, Any]) -> set[str]:
    return {tag["code"] for tag in resource["meta"].get("tag", [])}


@pytest.mark.parametrize("type", ["Observation", "Condition", "Encounter", "MedicationRequest", "Patient"])
def test_a_summary_finds_the_same_as_the_whole(amy: App, as_service: MakeApp, type: str) -> None:
    whole, summary = amy.get(f"/{type}?_count=100"), amy.get(f"/{type}?_count=100&_summary=true")
    assert set(ids(summary)) == set(ids(whole)) != set()
    assert len(ids(as_service("system/*.rs").get(f"/{type}?_count=100&_summary=true"))) > len(ids(whole))
    for entry in summary.json()["entry"]:
        assert SUBSETTED in tags(entry["resource"])
        assert not {"text", "note", "category"} & entry["resource"].keys() - ({"category"} if type == "Patient" else set())


def test_a_filter_by_what_stays_bounds_the_summary(as_user: MakeApp) -> None:
    app = as_user("amy", "patient/Observation.rs?code=http://loinc.org|8867-4&status=final", sees="a")
    assert set(ids(app.get("/Observation?_summary=true"))) == {"Observation/vital-0-chart-a", "Observation/vital-1-chart-a"}


def test_pages_of_summaries_are_judged_alike(amy: App) -> None:
    found, answer = [], amy.get("/Observation?_count=3&_summary=true")
    while True:
        found += ids(answer)
        following = link(answer, "next")
        if following is None:
            break
        answer = amy.follow(following)
    assert sorted(found) == sorted(ids(amy.get("/Observation?_count=100")))


def test_by_post_by_read_by_history_and_across_types(amy: App) -> None:
    posted = amy("POST", "/Observation/_search", data={"_summary": "true", "code": "8867-4"})
    assert set(ids(posted)) == set(ids(amy.get("/Observation?code=8867-4"))) != set()
    read = amy.get("/Observation/lab-0-chart-a?_summary=true")
    assert read.status_code == 200
    assert SUBSETTED in tags(read.json())
    assert amy.get("/Observation/lab-0-chart-b?_summary=true").status_code == 404
    versions = amy.get("/Observation/lab-0-chart-a/_history?_summary=true").json()["entry"]
    assert {entry["resource"]["id"] for entry in versions} == {"lab-0-chart-a"}
    types = "_type=Observation,Condition&_count=100"
    assert set(ids(amy.get(f"/?{types}&_summary=true"))) == set(ids(amy.get(f"/?{types}")))


def test_what_an_include_brings_is_judged_in_its_summary_too(amy: App) -> None:
    query = "category=laboratory&_include=Observation:encounter&_include=Observation:subject:Patient"
    whole, summary = ids(amy.get(f"/Observation?{query}")), ids(amy.get(f"/Observation?{query}&_summary=true"))
    assert set(summary) == set(whole) >= {"Encounter/encounter-chart-a", "Patient/pat-a"}
    refused(amy.get("/Observation?_summary=true&_include=Observation:subject"), 403, "summary-hides-check")  # a Group, maybe
    refused(amy.get("/Patient?_summary=true&_revinclude=Provenance:target"), 403, "summary-hides-check")
    refused(amy.get("/Patient?_summary=true&_revinclude=CareTeam:patient"), 403, "summary-hides-check")


@pytest.mark.parametrize(
    ("target", "scope", "status", "code"),
    [
        ("/CareTeam?_summary=true", "patient/*.rs", 403, "summary-hides-check"),
        ("/AuditEvent?_summary=true", "patient/*.rs", 403, "summary-hides-check"),
        ("/Observation?_summary=text", "patient/*.rs", 403, "summary-hides-check"),
        ("/Observation?_summary=true", f"patient/Observation.rs?category={LAB}", 403, "summary-hides-check"),
        ("/Observation/lab-0-chart-a?_summary=true", f"patient/Observation.rs?category={LAB}", 400, "summary-refused"),
        ("/Patient/pat-a?_summary=text", "patient/*.rs", 400, "summary-refused"),
    ],
)
def test_what_a_summary_may_hide_is_refused(as_user: MakeApp, target: str, scope: str, status: int, code: str) -> None:
    refused(as_user("amy", scope, sees="a").get(target), status, code)


@pytest.mark.parametrize("value", ["true", "text"])
def test_hapi_leaves_what_the_tables_list(hapi: Hapi, value: str) -> None:
    vocabulary, seen = load_vocabulary(Release.R4), 0
    for type in TYPES:
        wholes, parts = ({r["id"]: r for r in stored(hapi, f"{type}?_count=500{more}")} for more in ("", f"&_summary={value}"))
        for id in wholes.keys() & parts.keys():
            for member in vocabulary.summary_members(value, type) & wholes[id].keys():
                assert parts[id].get(member) == wholes[id][member], (type, id, member)
                seen += 1
    assert seen > 100


def stored(hapi: Hapi, query: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in httpx.get(f"{hapi.base}/{query}", timeout=60).json().get("entry", [])]
