"""Searches by GET and POST: narrowed before they leave, checked when they come back (semantics 4)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.integration.app import FORM, App, MakeApp, ids, link, refused
from tests.integration.records import LABS, VITALS
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.realm import LAB

LABORATORY = {f"Observation/lab-{n}-chart-a" for n in range(LABS)}
VITAL = {f"Observation/vital-{n}-chart-a" for n in range(VITALS)}
OBSERVATIONS = LABORATORY | VITAL
LAB_SCOPE = f"patient/Observation.rs?category={LAB}"


def post(app: App, target: str, query: str) -> httpx.Response:
    """The same search as a form."""
    return app("POST", f"{target}/_search", content=quote(query, safe="=&:,|/"), headers={"content-type": FORM})


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    return as_user("amy", "patient/*.rs", sees="a")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", OBSERVATIONS),
        ("patient=pat-a", OBSERVATIONS),
        ("patient=Patient/pat-a", OBSERVATIONS),
        ("subject=Patient/pat-a", OBSERVATIONS),
        ("subject:Patient=pat-a", OBSERVATIONS),
        ("patient=pat-a,pat-b", OBSERVATIONS),  # intersected: what remains is her own
        ("code=8867-4", VITAL),
        ("code=http://loinc.org|2339-0", LABORATORY),
        ("category=laboratory&status=final", {f"Observation/lab-{n}-chart-a" for n in (0, 2, 4, 6)}),
        ("category=laboratory,vital-signs&status=amended", {"Observation/vital-2-chart-a"}),
        ("date=ge2024-02-01", VITAL),
        ("date=ge2024-01-03&date=lt2024-01-06", {f"Observation/lab-{n}-chart-a" for n in (2, 3, 4)}),
        ("value-quantity=gt76", {f"Observation/lab-{n}-chart-a" for n in (4, 5, 6)}),
        ("code:not=8867-4", LABORATORY),
        ("performer:missing=true", VITAL),
        ("encounter=encounter-chart-a&status=preliminary", {f"Observation/lab-{n}-chart-a" for n in (1, 3, 5)}),
        ("_id=lab-1-chart-a,lab-1-chart-b", {"Observation/lab-1-chart-a"}),
        ("_id=lab-1-chart-b", set()),
        ("code=nothing", set()),
    ],
)
def test_a_search_finds_ones_own_by_get_and_by_post(amy: App, query: str, expected: set[str]) -> None:
    for answer in (amy.get(f"/Observation?{query}" if query else "/Observation"), post(amy, "/Observation", query)):
        found = ids(answer)
        assert set(found) == expected
        assert len(found) == len(expected)
        assert answer.json().get("total", len(expected)) == len(expected)


def test_the_absolute_url_of_a_patient_is_the_patient(amy: App, gateway: Gateway) -> None:
    assert set(ids(amy.get("/Observation", params={"subject": f"{gateway.base}/Patient/pat-a"}))) == OBSERVATIONS
    refused(amy.get("/Observation", params={"subject": f"{gateway.base}/Patient/pat-b"}), 403, "foreign-patient")


@pytest.mark.parametrize(
    "query",
    [
        "patient=pat-b",
        "patient=Patient/pat-b",
        "subject=Patient/pat-b",
        "subject:Patient=pat-b",
        "subject=Patient/pat-b,Patient/pat-c",
        "patient=pat-a&patient=pat-b",
        "patient=pat-a&subject=Patient/pat-b",
        "code=8867-4&patient=pat-b",
        "patient=Patient/pat-b/_history/1",
    ],
)
def test_an_explicit_search_for_another_patient_is_refused(amy: App, query: str) -> None:
    refused(amy.get(f"/Observation?{query}"), 403, "foreign-patient")
    refused(post(amy, "/Observation", query), 403, "foreign-patient")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/Patient", {"Patient/pat-a"}),
        ("/Patient?gender=female", {"Patient/pat-a"}),
        ("/Patient?_id=pat-a", {"Patient/pat-a"}),
        ("/Patient?_id=pat-a,pat-b", {"Patient/pat-a"}),
        ("/Patient?name=canary", {"Patient/pat-a"}),
        ("/Condition", {"Condition/condition-chart-a"}),
        ("/Encounter", {"Encounter/encounter-chart-a"}),
        ("/AllergyIntolerance", {"AllergyIntolerance/allergy-chart-a"}),
        ("/MedicationRequest?status=active", {"MedicationRequest/medication-chart-a"}),
        ("/RelatedPerson", {"RelatedPerson/relative-chart-a"}),
        ("/Device", {"Device/device-chart-a"}),
        ("/Group", set()),
        ("/Practitioner", {"Practitioner/prac-1", "Practitioner/prac-2"}),
        ("/Medication", {"Medication/med-1"}),
        ("/Patient/pat-a/Observation", OBSERVATIONS),
        ("/Patient/pat-a/Observation?code=8867-4", VITAL),
        ("/Patient/pat-a/Condition", {"Condition/condition-chart-a"}),
        ("/Encounter/encounter-chart-a/Observation", LABORATORY),
        ("/Practitioner/prac-1/Encounter", {"Encounter/encounter-chart-a"}),
    ],
)
def test_searches_of_types_and_compartments(amy: App, target: str, expected: set[str]) -> None:
    assert set(ids(amy.get(target))) == expected


@pytest.mark.parametrize("target", ["/Patient?_id=pat-b", "/Patient/pat-b/Observation", "/Patient/pat-b/Condition?code=x"])
def test_another_patients_compartment_is_refused(amy: App, target: str) -> None:
    refused(amy.get(target), 403, "foreign-patient")


def test_a_foreign_encounters_compartment_holds_nothing(amy: App) -> None:
    """Whether that encounter exists, and whose it is, is not told."""
    for encounter in ("encounter-chart-b", "never-was"):
        assert ids(amy.get(f"/Encounter/{encounter}/Observation")) == []


def test_the_compartment_search_by_post(amy: App) -> None:
    assert set(ids(post(amy, "/Patient/pat-a/Observation", "code=8867-4"))) == VITAL
    refused(post(amy, "/Patient/pat-b/Observation", "code=8867-4"), 403, "foreign-patient")


def test_parameters_of_query_and_form_are_one_search(amy: App) -> None:
    assert set(ids(post(amy, "/Observation", "status=amended"))) == {"Observation/vital-2-chart-a"}
    both = amy("POST", "/Observation/_search?status=final", content="code=8867-4", headers={"content-type": FORM})
    assert set(ids(both)) == {"Observation/vital-0-chart-a", "Observation/vital-1-chart-a"}
    smuggled = amy("POST", "/Observation/_search?patient=pat-a", content="patient=pat-b", headers={"content-type": FORM})
    refused(smuggled, 403, "foreign-patient")


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ((LAB_SCOPE,), LABORATORY),
        (("patient/Observation.rs?category=laboratory",), LABORATORY),
        (("patient/Observation.rs?category=vital-signs",), VITAL),
        (("patient/Observation.rs?category=laboratory", "patient/Observation.rs?category=vital-signs"), OBSERVATIONS),
        (
            ("patient/Observation.rs?code=http://loinc.org|8867-4&status=final",),
            {"Observation/vital-0-chart-a", "Observation/vital-1-chart-a"},
        ),
        ((LAB_SCOPE, "patient/Condition.rs"), LABORATORY),
        ((LAB_SCOPE, "patient/Observation.rs"), OBSERVATIONS),
    ],
)
def test_scopes_with_filters_bound_search_and_read_alike(as_user: MakeApp, scopes: tuple[str, ...], expected: set[str]) -> None:
    app = as_user("amy", *scopes, sees="a")
    assert set(ids(app.get("/Observation"))) == expected
    for target in OBSERVATIONS:
        assert app.get(f"/{target}").status_code == (200 if target in expected else 404), target


def test_a_search_beside_the_scopes_filter_finds_nothing(as_user: MakeApp) -> None:
    app = as_user("amy", LAB_SCOPE, sees="a")
    assert ids(app.get("/Observation?category=vital-signs")) == []
    assert set(ids(app.get("/Observation?category=laboratory,vital-signs"))) == LABORATORY


@pytest.mark.parametrize("scope", ["patient/Observation.rs?nonsense=1", "patient/Nonsense.rs", "patient/Condition.rs"])
def test_a_scope_that_says_nothing_about_the_type_opens_nothing(as_user: MakeApp, scope: str) -> None:
    app = as_user("amy", scope)
    refused(app.get("/Observation"), 403, "insufficient-scope")
    refused(app.get("/Observation/lab-0-chart-a"), 403, "insufficient-scope")


@pytest.mark.parametrize(
    ("query", "included"),
    [
        ("_include=Observation:encounter", {"Encounter/encounter-chart-a"}),
        ("_include=Observation:performer", {"Practitioner/prac-1"}),
        ("_include=Observation:subject", {"Patient/pat-a"}),
        ("_include=*", {"Encounter/encounter-chart-a", "Practitioner/prac-1", "Patient/pat-a"}),
        ("_include=Observation:encounter&_include:iterate=Encounter:participant", {"Encounter/encounter-chart-a", "Practitioner/prac-1"}),
    ],
)
def test_includes_are_served_as_far_as_scopes_read_them(as_user: MakeApp, query: str, included: set[str]) -> None:
    target = f"/Observation?category=laboratory&{query}"
    assert set(ids(as_user("amy", "patient/*.rs", sees="a").get(target))) == LABORATORY | included
    assert set(ids(as_user("amy", "patient/Observation.rs", sees="a").get(target))) == LABORATORY


def test_a_reverse_include_brings_nobody_elses_resource(amy: App, as_service: MakeApp) -> None:
    target = "/Observation?_id=lab-0-chart-a&_revinclude=Provenance:target"
    assert "Provenance/mixed-targets-chart-b" in ids(as_service("system/*.rs").get(target))
    assert set(ids(amy.get(target))) == {"Observation/lab-0-chart-a", "Provenance/provenance-chart-a"}


def test_an_include_that_is_removed_takes_the_total_along(as_user: MakeApp) -> None:
    answer = as_user("amy", "patient/Observation.rs", sees="a").get("/Observation?category=laboratory&_include=*")
    assert answer.json().get("total", LABS) == LABS
    assert {entry["search"]["mode"] for entry in answer.json()["entry"]} == {"match"}


def test_a_count_is_of_ones_own(amy: App, as_service: MakeApp) -> None:
    own = amy.get("/Observation?_summary=count")
    assert (own.status_code, own.json()["total"], own.json().get("entry", [])) == (200, len(OBSERVATIONS), [])
    assert as_service("system/*.rs").get("/Observation?_summary=count").json()["total"] > len(OBSERVATIONS)
    assert amy.get("/Observation?_total=accurate&_count=1").json()["total"] == len(OBSERVATIONS)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("subject.name=canary", 403),
        ("subject:Patient.name=canary", 403),
        ("_has:Provenance:target:agent=prac-1", 403),
        ("_filter=status eq final", 403),
        ("_query=all", 403),
        ("_list=1", 403),
        ("_contained=true", 403),
        ("nonsense=1", 400),
        ("subject:nonsense=1", 400),
        ("_nonsense=1", 400),
        ("_count=many", 400),
        ("_sort=nonsense", 400),
        ("access_token=x", 400),
    ],
)
def test_what_reaches_outside_or_is_unknown_is_refused_by_name(amy: App, query: str, status: int) -> None:
    outcome = refused(amy.get(f"/Observation?{query}"), status)
    named = re.split("[=:.]", query, maxsplit=1)[0]
    assert any(named in str(issue) for issue in outcome["issue"]), outcome
    refused(post(amy, "/Observation", query), status)


def test_a_chain_is_followed_without_bounds(as_service: MakeApp) -> None:
    found = ids(as_service("system/*.rs").get("/Observation?subject:Patient.identifier=canary-b-7Q2x&code=2339-0"))
    assert set(found) == {f"Observation/lab-{n}-chart-b" for n in range(LABS)}


def test_every_url_in_an_answer_is_in_the_public_base(amy: App, gateway: Gateway, hapi: Hapi) -> None:
    answer = amy.get("/Observation?_count=3")
    assert hapi.base not in answer.text
    assert all(entry["fullUrl"].startswith(f"{gateway.base}/Observation/") for entry in answer.json()["entry"])
    itself = link(answer, "self")
    assert itself is None or itself.startswith(f"{gateway.base}/Observation")


def test_elements_are_as_asked_although_the_check_needs_more(as_user: MakeApp) -> None:
    answer = as_user("amy", LAB_SCOPE, sees="a").get("/Observation?_elements=status")
    assert set(ids(answer)) == LABORATORY
    assert {frozenset(entry["resource"]) - {"resourceType", "id", "meta"} for entry in answer.json()["entry"]} == {frozenset({"status"})}


def test_without_a_bound_the_search_is_passed_on(as_service: MakeApp) -> None:
    found = ids(as_service("system/*.rs").get("/Observation?code=8867-4&_count=100"))
    assert set(found) == {f"Observation/vital-{n}-chart-{p}" for p in "abcw" for n in range(VITALS)} | {"Observation/focus-on-anna-chart-b"}


def test_a_parameter_of_the_servers_own_needs_the_policys_word(
    gateways: StartGateway, settings: dict[str, Any], as_user: MakeApp, hapi: Hapi
) -> None:
    """HAPI knows `_offset` and names it nowhere."""
    at = gateways({**settings, "policy": {"search": {"parameters": {"Observation": ["_offset"]}}}})
    amy, plain = as_user("amy", "patient/*.rs", sees="a", at=at), as_user("amy", "patient/*.rs", sees="a")
    first, second = (amy.get(f"/Observation?_sort=_id&_count=3&_offset={offset}") for offset in (0, 3))
    assert len({*ids(first), *ids(second)}) == 6
    assert {*ids(first), *ids(second)} <= OBSERVATIONS
    assert "total" not in first.json()
    refused(plain.get("/Observation?_offset=3"), 400, "unknown-parameter")
    refused(amy.get("/Condition?_offset=3"), 400, "unknown-parameter")
    refused(amy.get("/Observation?_offset=0&_summary=count"), 403, "inexact-count")
