"""Searches over several types before real HAPI JPA, which has none of them itself."""

from __future__ import annotations

import pytest

from tests.integration.app import App, MakeApp, ids, link, refused, required_scopes
from tests.integration.records import LABS, VITALS

MINE = {f"Observation/lab-{n}-chart-a" for n in range(LABS)} | {f"Observation/vital-{n}-chart-a" for n in range(VITALS)}


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    return as_user("amy", "patient/*.rs", sees="a")


def everything(app: App, page: object) -> list[str]:
    """The ids on all pages from ``page`` on."""
    found: list[str] = []
    while True:
        found += ids(page)  # type: ignore[arg-type]
        url = link(page, "next")  # type: ignore[arg-type]
        if url is None:
            return found
        page = app.follow(url)


@pytest.mark.parametrize("count", ["", "&_count=1", "&_count=4"])
def test_types_are_searched_one_by_one(amy: App, count: str) -> None:
    found = everything(amy, amy.get(f"?_type=Observation,Patient,Condition{count}"))
    assert (len(found), set(found)) == (len(MINE) + 2, MINE | {"Patient/pat-a", "Condition/condition-chart-a"})


def test_a_post_is_the_same(amy: App) -> None:
    found = everything(amy, amy("POST", "/_search", data={"_type": "Patient,Organization", "_id": "pat-a,pat-b,org-1"}))
    assert found == ["Patient/pat-a", "Organization/org-1"]


def test_each_type_needs_its_scope(as_user: MakeApp, as_service: MakeApp) -> None:
    app = as_user("amy", "patient/Observation.rs", sees="a")
    outcome = refused(app.get("?_type=Observation,Condition"), 403, "insufficient-scope")
    assert required_scopes(outcome) == ["patient/Condition.s"]
    assert set(everything(app, app.get("?_type=Observation"))) == MINE


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("?_id=pat-a", 403, "types-required"),
        ("?", 403, "types-required"),
        ("?_type=Observation,Nonsense", 400, "malformed-parameter"),
        ("?_type=Observation&_type=Patient", 400, "malformed-parameter"),
        ("?_type=", 400, "malformed-parameter"),
        ("?_type:not=Patient", 400, None),
        ("?_type=Observation,Patient&category=laboratory", 400, "unknown-parameter"),
        ("?_type=Observation,Condition&patient=pat-b", 403, "foreign-patient"),
        ("?_type=Observation,Condition&subject=Patient/pat-b", 403, "foreign-patient"),
        ("?_type=Observation,Condition&_filter=x", 403, "parameter-not-allowed"),
        ("?_type=Observation,Condition&_sort=code", 403, "sort-not-mergeable"),
        ("?_type=Observation,Condition&_summary=count", 403, "union-count"),
        ("/Patient/pat-b/*", 403, "foreign-patient"),
        ("/Patient/pat-b/*?_type=Observation", 403, "foreign-patient"),
        ("/Patient/pat-a/*?_type=Organization", 400, "malformed-parameter"),
        ("/Patient/pat-a/*?code=x", 400, "unknown-parameter"),
    ],
)
def test_what_is_refused(amy: App, target: str, status: int, code: str | None) -> None:
    refused(amy.get(target), status, code)


def test_a_sorted_search_of_several_types(amy: App) -> None:
    found = everything(amy, amy.get("?_type=Observation,Condition,Encounter&_sort=-_lastUpdated&_count=3"))
    assert (len(found), set(found)) == (len(MINE) + 2, MINE | {"Condition/condition-chart-a", "Encounter/encounter-chart-a"})


@pytest.mark.parametrize("target", ["/Patient/pat-a/*", "/Patient/pat-a/*?_count=5"])
def test_a_whole_compartment(amy: App, target: str) -> None:
    found = everything(amy, amy.get(target))
    assert len(found) == len(set(found))
    named = ("condition", "encounter", "allergy", "medication", "device", "relative", "provenance")
    assert {"Patient/pat-a", *MINE} <= set(found)
    assert all(any(f"/{name}-chart-a" in id for id in found) for name in named if name != "provenance")
    assert all(id.endswith("-chart-a") or id == "Patient/pat-a" for id in found)


def test_a_compartment_by_post_and_by_type(amy: App) -> None:
    response = amy("POST", "/Patient/pat-a/*/_search", data={"_type": "Condition,Encounter"})
    assert everything(amy, response) == ["Condition/condition-chart-a", "Encounter/encounter-chart-a"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/Encounter/encounter-chart-a/Observation", {f"Observation/lab-{n}-chart-a" for n in range(LABS)}),
        ("/Practitioner/prac-1/Encounter", {"Encounter/encounter-chart-a"}),
        ("/Encounter/encounter-chart-b/Observation", set()),
        ("/Device/device-chart-a/Observation", set()),
        ("/RelatedPerson/relative-chart-a/Observation", set()),
    ],
)
def test_other_compartments_are_narrowed_to_the_patient_too(amy: App, target: str, expected: set[str]) -> None:
    assert set(everything(amy, amy.get(target))) == expected


def test_the_types_of_another_compartment(amy: App) -> None:
    found = everything(amy, amy.get("/Encounter/encounter-chart-a/*?_count=20"))
    assert {f"Observation/lab-{n}-chart-a" for n in range(LABS)} <= set(found)
    assert "Encounter/encounter-chart-a" in found


def test_without_a_bound_types_are_searched_one_by_one_too(as_service: MakeApp) -> None:
    app = as_service("system/*.rs")
    found = everything(app, app.get("?_type=Patient,Organization"))
    assert {"Patient/pat-a", "Patient/pat-b", "Patient/pat-c", "Organization/org-1"} <= set(found)
    assert {"Observation/lab-0-chart-b", "Patient/pat-b"} <= set(everything(app, app.get("/Patient/pat-b/*?_count=100")))


def test_a_link_over_types_is_bound(amy: App, as_user: MakeApp) -> None:
    url = link(amy.get("?_type=Observation,Condition&_count=2"), "next")
    assert url is not None
    assert url.startswith(f"{amy.base}?_page=")
    refused(as_user("ben", "patient/*.rs", sees="b").follow(url), 403, "foreign-page")
    refused(amy.get(f"/Observation?{url.split('?')[1]}"), 403, "foreign-page")
