"""Histories of what moved between records and was deleted, by everybody's tokens, against real HAPI (semantics 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.integration.app import App, MakeApp, link, refused, whole
from tests.integration.records import EVERYBODY, canary
from tests.integration.servers.hapi import Hapi
from tests.integration.test_reads import faceless

MOVED = "hist-moved"  # from Bea to Anna, to Bea, and back


def body(patient: str, id: str = MOVED, type: str = "Observation") -> dict[str, Any]:
    return {
        "resourceType": type,
        "id": id,
        "status": "final",
        "code": {"text": canary(patient)},
        "subject": {"reference": f"Patient/pat-{patient}"},
    }


@dataclass(frozen=True)
class Moves:
    """When the second of the versions was there, and the last."""

    second: str
    last: str


@pytest.fixture(scope="module")
def moves(hapi: Hapi) -> Iterator[Moves]:
    moments = []
    for patient in ("b", "a", "b", "a"):
        answer = httpx.put(f"{hapi.base}/Observation/{MOVED}", json=body(patient)).raise_for_status()
        moments.append(answer.json()["meta"]["lastUpdated"])
    for id in ("hist-gone-chart-a", "hist-gone-chart-b"):
        httpx.put(f"{hapi.base}/Observation/{id}", json=body(id[-1], id)).raise_for_status()
        httpx.delete(f"{hapi.base}/Observation/{id}").raise_for_status()
    yield Moves(moments[1], moments[3])
    httpx.delete(f"{hapi.base}/Observation/{MOVED}").raise_for_status()


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    # One Observation of Carl's she performed, and a Person of hers names Bea: whose canaries may show, each test says itself.
    return as_user("amy", "patient/*.rs", sees="abc")


@pytest.fixture
def ben(as_user: MakeApp) -> App:
    # One Observation of Bea's has its focus on Anna, and other tests move Wanda's to her chart: their versions are hers.
    return as_user("ben", "patient/*.rs", sees="abw")


def entries(response: httpx.Response) -> list[tuple[str, str, str]]:
    """Method, ``Type/id`` and entity tag of each entry of one page of a history."""
    assert response.status_code == 200, response.text
    bundle = response.json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "history")
    return [(e["request"]["method"], e["request"]["url"], e["response"].get("etag", "")) for e in bundle.get("entry", [])]


def all_entries(app: App, target: str, own: str = EVERYBODY) -> list[tuple[str, str, str]]:
    """Those of every page; no canary but those of ``own`` is in them."""
    url: str | None = app.base + target
    found = []
    while url is not None:
        page = app.follow(url)
        found += entries(page)
        url = link(page, "next")
        assert not [patient for patient in EVERYBODY if patient not in own and canary(patient) in page.text]
    return found


def versions(app: App, target: str) -> list[str]:
    return [tag for _, _, tag in all_entries(app, target)]


def test_a_version_shows_to_whom_it_belonged(moves: Moves, amy: App, ben: App) -> None:
    for app, shown in ((amy, ['W/"4"', 'W/"2"']), (ben, ['W/"3"', 'W/"1"'])):
        answer = app.get(f"/Observation/{MOVED}/_history")
        assert [tag for _, _, tag in entries(answer)] == shown
        assert "total" not in answer.json()
        assert link(answer, "self") == f"{app.base}/Observation/{MOVED}/_history"
        assert not {"etag", "last-modified", "content-location"} & set(answer.headers)


def test_vread_agrees_with_the_history(moves: Moves, amy: App, ben: App) -> None:
    for app, own in ((amy, "24"), (ben, "13")):
        for number in "1234":
            answer = app.get(f"/Observation/{MOVED}/_history/{number}")
            assert answer.status_code == (200 if number in own else 404)
        assert faceless(app.get(f"/Observation/{MOVED}/_history/{'1' if '1' not in own else '2'}")) == faceless(
            app.get(f"/Observation/{MOVED}/_history/99")
        )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pages_hold_each_version_once(moves: Moves, amy: App, ben: App, count: int) -> None:
    assert versions(amy, f"/Observation/{MOVED}/_history?_count={count}") == ['W/"4"', 'W/"2"']
    assert versions(ben, f"/Observation/{MOVED}/_history?_count={count}") == ['W/"3"', 'W/"1"']


def test_a_page_opens_for_nobody_else(moves: Moves, amy: App, ben: App) -> None:
    url = link(amy.get(f"/Observation/{MOVED}/_history?_count=1"), "next")
    assert url is not None
    assert entries(amy.follow(url))
    refused(ben.follow(url), 403, "foreign-page")


def test_since_and_at(moves: Moves, amy: App, ben: App) -> None:
    target = f"/Observation/{MOVED}/_history"
    last, second = httpx.QueryParams({"_since": moves.last}), httpx.QueryParams({"_at": moves.second})
    assert versions(amy, f"{target}?{last}") == ['W/"4"']
    refused(ben.get(f"{target}?{last}"), 404)
    assert versions(amy, f"{target}?{second}") == ['W/"2"']
    refused(ben.get(f"{target}?{second}"), 404)
    assert versions(amy, f"{target}?_at=ge2020&_sort=-_lastUpdated&_elements=status&_summary=data&_pretty=true") == ['W/"4"', 'W/"2"']
    refused(amy.get(f"{target}?_since=2100-01-01T00:00:00Z"), 404)


def test_what_is_outside_has_the_face_of_what_is_absent(moves: Moves, amy: App, hapi: Hapi) -> None:
    absent = faceless(amy.get("/Observation/never-was/_history"))
    assert absent[0] == 404
    for target in (
        "Observation/lab-0-chart-b",
        "Observation/hist-gone-chart-b",
        "Observation/focus-on-anna-chart-b",
        "Patient/pat-b",
        "Patient/never-was",
        "Provenance/mixed-targets-chart-b",
        "Group/group-chart-b",
    ):
        assert httpx.get(f"{hapi.base}/{target}/_history").status_code == (200 if "never" not in target else 404)
        assert faceless(amy.get(f"/{target}/_history")) == absent
        assert amy("HEAD", f"/{target}/_history").status_code == 404


@pytest.mark.parametrize("target", ["Patient/pat-a", "Observation/lab-0-chart-a", "Provenance/provenance-chart-a", "Practitioner/prac-1"])
def test_what_is_inside_has_its_history(amy: App, target: str) -> None:
    assert {url for _, url, _ in entries(amy.get(f"/{target}/_history"))} == {target}
    head = amy("HEAD", f"/{target}/_history")
    assert (head.status_code, head.content) == (200, b"")


def test_of_the_deleted_its_versions_stay_and_the_deletion_does_not(moves: Moves, amy: App) -> None:
    assert amy.get("/Observation/hist-gone-chart-a").status_code == 404
    assert versions(amy, "/Observation/hist-gone-chart-a/_history") == ['W/"1"']


def test_a_types_history_is_of_ones_own(moves: Moves, amy: App, ben: App) -> None:
    for app, patient, moved, tags in ((amy, "a", "", {'W/"4"', 'W/"2"'}), (ben, "b", "w", {'W/"3"', 'W/"1"'})):
        found = all_entries(app, "/Observation/_history?_count=100", patient + moved)
        assert {tag for _, url, tag in found if url == f"Observation/{MOVED}"} == tags
        assert ("POST", f"Observation/lab-0-chart-{patient}", 'W/"1"') in found or (
            "PUT",
            f"Observation/lab-0-chart-{patient}",
            'W/"1"',
        ) in found
        assert not [method for method, _, _ in found if method == "DELETE"]


def test_over_all_types_each_by_its_own(moves: Moves, as_user: MakeApp) -> None:
    app = as_user("amy", "patient/Observation.s", "patient/Patient.r", "patient/Practitioner.rs", sees="ac")
    found = all_entries(app, "/_history?_count=200", "a")
    assert {url.partition("/")[0] for _, url, _ in found} == {"Observation", "Practitioner"}  # Patient has r alone
    assert {tag for _, url, tag in found if url == f"Observation/{MOVED}"} == {'W/"4"', 'W/"2"'}


def test_an_empty_history_over_a_type_is_no_refusal(amy: App) -> None:
    answer = amy.get("/DiagnosticReport/_history")
    assert entries(answer) == []
    assert "total" not in answer.json()
    assert entries(amy.get("/Observation/_history?_since=2100-01-01T00:00:00Z")) == []


@pytest.mark.parametrize("whole", ["user", "system"])
def test_where_the_whole_type_is_open_everything_shows(moves: Moves, as_user: MakeApp, as_service: MakeApp, whole: str) -> None:
    app = as_user("dr-house", "user/Observation.rs", sees=EVERYBODY) if whole == "user" else as_service("system/Observation.rs")
    answer = app.get(f"/Observation/{MOVED}/_history")
    assert [tag for _, _, tag in entries(answer)] == [f'W/"{n}"' for n in (4, 3, 2, 1)]
    assert answer.json()["total"] == 4
    assert [method for method, _, _ in entries(app.get("/Observation/hist-gone-chart-b/_history"))] == ["DELETE", "POST"]
    assert ("DELETE", "Observation/hist-gone-chart-b", 'W/"2"') in all_entries(app, "/Observation/_history?_count=100")
    assert {url.partition("/")[0] for _, url, _ in all_entries(app, "/_history?_count=200")} == {"Observation"}
    refused(app.get("/Patient/pat-a/_history"), 403, "insufficient-scope")


def test_without_any_bound_the_servers_own_answer_is_passed_on(moves: Moves, as_service: MakeApp, hapi: Hapi) -> None:
    app = as_service("system/*.rs")
    for target in (f"/Observation/{MOVED}/_history", "/Observation/_history?_count=3", "/_history?_count=3"):
        assert [e["request"] for e in app.get(target).json()["entry"]] == [
            e["request"] for e in httpx.get(f"{hapi.base}{target}").json()["entry"]
        ]
    next = link(app.get("/_history?_count=3"), "next")
    assert next is not None
    assert len(entries(app.follow(next))) == 3
    assert app.get(f"/Observation/{MOVED}/_history", headers={"accept": "application/fhir+xml"}).content.startswith(b"<Bundle")


def test_who_may_read_everything_and_search_nothing_has_all_pages(moves: Moves, as_service: MakeApp) -> None:
    """The server's own pages are searches, so these are the gateway's."""
    app = as_service("system/*.r")
    assert versions(app, f"/Observation/{MOVED}/_history?_count=1") == ['W/"4"', 'W/"3"', 'W/"2"', 'W/"1"']
    assert len(all_entries(app, "/Observation/hist-gone-chart-b/_history?_count=1")) == 2
    everything = whole(app, "/Patient/pat-a/$everything?_count=4")
    assert len(everything) > 8
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("_list=42", 403, "parameter-not-allowed"),
        ("_foo=1", 400, "unknown-parameter"),
        ("_offset=1", 400, "unknown-parameter"),
        ("_since=now", 400, "malformed-parameter"),
        ("_summary=count", 400, "summary-refused"),
    ],
)
@pytest.mark.parametrize("target", [f"/Observation/{MOVED}/_history", "/Observation/_history", "/_history"])
def test_what_it_does_not_take_is_refused_by_name(moves: Moves, amy: App, target: str, query: str, status: int, code: str) -> None:
    refused(amy.get(f"{target}?{query}"), status, code)


@pytest.mark.parametrize("target", [f"/Observation/{MOVED}/_history", "/Observation/_history", "/_history"])
def test_only_json_can_be_judged(moves: Moves, amy: App, target: str) -> None:
    answer = amy.get(target, headers={"accept": "application/fhir+xml"})
    assert answer.status_code == 406
    assert "OperationOutcome" in answer.text


def test_read_opens_an_instance_and_search_the_rest(moves: Moves, as_user: MakeApp) -> None:
    reader, searcher = as_user("amy", "patient/*.r", sees="a"), as_user("amy", "patient/*.s", sees="a")
    assert entries(reader.get(f"/Observation/{MOVED}/_history"))
    refused(reader.get("/Observation/_history"), 403, "insufficient-scope")
    refused(reader.get("/_history"), 403, "insufficient-scope")
    refused(searcher.get(f"/Observation/{MOVED}/_history"), 403, "insufficient-scope")
    assert entries(searcher.get("/Observation/_history"))


def test_a_provenance_of_what_moved_follows_it(moves: Moves, amy: App, ben: App, hapi: Hapi) -> None:
    """Its target is Anna's now: Bea sees it no more, though a version of the target was hers."""
    resource = {
        "resourceType": "Provenance",
        "id": "hist-provenance",
        "target": [{"reference": f"Observation/{MOVED}/_history/1"}],
        "recorded": "2024-03-01T10:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/prac-1"}}],
    }
    httpx.put(f"{hapi.base}/Provenance/hist-provenance", json=resource).raise_for_status()
    assert versions(amy, "/Provenance/hist-provenance/_history") == ['W/"1"']
    refused(ben.get("/Provenance/hist-provenance/_history"), 404)
    assert "Provenance/hist-provenance" in {url for _, url, _ in all_entries(amy, "/_history?_count=200", "a")}
    assert "Provenance/hist-provenance" not in {url for _, url, _ in all_entries(ben, "/_history?_count=200", "bw")}
