"""The embedded FHIR server by itself, as others use it for an upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from smart_gateway.answers.capability import facts
from smart_gateway.demo.fhir_server import DemoServer
from smart_gateway.demo.records import demo_records

BASE = "http://server.example/fhir"


def clock() -> Iterator[float]:
    now = 1_800_000_000.0
    while True:
        yield now
        now += 1


@pytest.fixture
def server() -> DemoServer:
    return DemoServer(demo_records(), base_url=BASE, clock=clock().__next__)


@pytest.fixture
async def http(server: DemoServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url=BASE) as client:
        yield client


def names(response: httpx.Response, mode: str = "match") -> list[str]:
    assert response.status_code == 200, response.text
    return [entry["resource"]["id"] for entry in response.json().get("entry", []) if entry["search"]["mode"] == mode]


async def test_read_and_vread(http: httpx.AsyncClient) -> None:
    read = await http.get("/Patient/amy")
    assert (read.status_code, read.json()["name"][0]["family"], read.headers["etag"]) == (200, "Shaw", 'W/"1"')
    assert read.headers["content-type"].startswith("application/fhir+json")
    assert (await http.get("/Patient/amy/_history/1")).json() == read.json()
    assert (await http.get("/Patient/amy/_history/2")).status_code == 404
    assert (await http.get("/Patient/amy", headers={"If-None-Match": 'W/"1"'})).status_code == 304
    head = await http.head("/Patient/amy")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(read.content)))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/Patient/nobody", 404),
        ("GET", "/Nonsense", 404),
        ("GET", "/Patient/amy/_history", 400),
        ("GET", "", 400),
        ("GET", "?_getpages=none", 410),
        ("DELETE", "/Patient/nobody", 404),
        ("PATCH", "/Patient/amy", 400),
        ("GET", "/Patient?nonsense=1", 400),
        ("GET", "/Patient?name:above=x", 400),
        ("GET", "/Patient?_include=x", 400),
    ],
)
async def test_refusals_are_operation_outcomes(http: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    response = await http.request(method, BASE + path)
    assert (response.status_code, response.json()["resourceType"]) == (status, "OperationOutcome")


async def test_nothing_is_served_outside_of_its_base(http: httpx.AsyncClient) -> None:
    for path in ("/", "/fhirs/Patient", "/other"):
        assert (await http.get(f"http://server.example{path}")).status_code == 404


async def test_create_update_delete(http: httpx.AsyncClient) -> None:
    made = await http.post("/Patient", json={"resourceType": "Patient", "id": "ignored"})
    assert (made.status_code, made.headers["location"]) == (201, f"{BASE}/Patient/new-1/_history/1")
    changed = await http.put(
        "/Patient/new-1", json={**made.json(), "active": True}, headers={"If-Match": 'W/"1"', "Prefer": "return=minimal"}
    )
    assert (changed.status_code, changed.headers["etag"], changed.content) == (200, 'W/"2"', b"")
    assert (await http.delete("/Patient/new-1", headers={"If-Match": 'W/"1"'})).status_code == 412
    assert (await http.delete("/Patient/new-1")).status_code == 204
    assert (await http.delete("/Patient/new-1")).status_code == 204
    assert (await http.get("/Patient/new-1")).status_code == 410
    assert (await http.get("/Patient/new-1/_history/2")).json()["active"] is True
    assert "new-1" not in names(await http.get("/Patient"))
    again = await http.put("/Patient/new-1", json={"resourceType": "Patient", "id": "new-1"})
    assert (again.status_code, again.headers["etag"]) == (201, 'W/"4"')


async def test_ids_are_never_given_twice(http: httpx.AsyncClient) -> None:
    await http.put("/Patient/new-1", json={"resourceType": "Patient", "id": "new-1"})
    made = await http.post("/Patient", json={"resourceType": "Patient"})
    assert made.json()["id"] == "new-2"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/Patient/amy", {"resourceType": "Patient", "id": "ben"}, {}, 400),
        ("/Patient/amy", {"resourceType": "Group", "id": "amy"}, {}, 400),
        ("/Patient/amy", {"resourceType": "Patient", "id": "amy"}, {"If-Match": 'W/"9"'}, 412),
        ("/Patient/amy", {"resourceType": "Patient", "id": "amy"}, {"If-None-Match": "*"}, 412),
        ("/Patient/new", {"resourceType": "Patient", "id": "new"}, {"If-None-Match": "*"}, 201),
        ("/Patient/new", {"resourceType": "Patient", "id": "new"}, {"If-Match": 'W/"1"'}, 412),
    ],
)
async def test_conditions_of_updates(http: httpx.AsyncClient, path: str, body: Any, headers: dict[str, str], status: int) -> None:
    assert (await http.put(path, json=body, headers=headers)).status_code == status


async def test_a_body_that_is_no_json_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post("/Patient", content=b"<Patient/>")).status_code == 400
    assert (await http.post("/Patient", content=b"[]")).status_code == 400


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("Observation?patient=amy&category=laboratory", ["amy-glucose", "amy-sodium"]),
        ("Observation?subject=Patient/ben", ["ben-heart-rate", "ben-glucose"]),
        ("Observation?code=http://loinc.org|2339-0,29463-7&_sort=date&_pretty=true", ["amy-weight", "amy-glucose", "ben-glucose"]),
        ("Observation?value-quantity=gt100", ["amy-sodium", "ben-glucose"]),
        ("Observation?date=2026-03", ["amy-heart-rate", "amy-glucose"]),
        ("Patient?name=sha", ["amy"]),
        ("Patient?_id=amy,ben&gender=male", ["ben"]),
        ("Encounter?class:not=AMB", ["amy-stay"]),
    ],
)
async def test_search(http: httpx.AsyncClient, query: str, ids: list[str]) -> None:
    response = await http.get(f"/{query}")
    assert names(response) == ids
    assert response.json()["total"] == len(ids)
    path, _, pairs = query.partition("?")
    form = await http.post(f"/{path}/_search", content=pairs, headers={"content-type": "application/x-www-form-urlencoded"})
    assert names(form) == ids


async def test_includes(http: httpx.AsyncClient) -> None:
    wanted = "_include=Observation:encounter&_include=Observation:subject:Patient&_include=Observation:subject:Group"
    response = await http.get(f"/Observation?code=8867-4&{wanted}")
    assert names(response, "include") == ["amy-visit", "ben-visit", "amy", "ben"]
    back = await http.get("/Patient?_id=ben&_revinclude=Condition:subject")
    assert names(back, "include") == ["ben-diabetes"]


async def test_pages(http: httpx.AsyncClient) -> None:
    seen, pages = [], 0
    url: str | None = f"{BASE}/Observation?_count=2"
    links: dict[str, str] = {}
    while url is not None:
        page = await http.get(url)
        seen += names(page)
        links = {link["relation"]: link["url"] for link in page.json()["link"]}
        url, pages = links.get("next"), pages + 1
    assert (len(seen), len(set(seen)), pages) == (6, 6, 3)
    assert links["previous"].startswith(f"{BASE}?_getpages=")


async def test_counts_and_elements(http: httpx.AsyncClient) -> None:
    assert (await http.get("/Patient?_summary=count")).json() == {"resourceType": "Bundle", "type": "searchset", "total": 2}
    resource = (await http.get("/Patient?_id=amy&_elements=gender")).json()["entry"][0]["resource"]
    assert set(resource) == {"resourceType", "id", "gender", "meta"}
    assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_metadata_says_what_it_searches_by(http: httpx.AsyncClient) -> None:
    capabilities = facts((await http.get("/metadata")).content)
    assert capabilities.parameters is not None
    assert {"patient", "code", "_id"} <= capabilities.parameters["Observation"]


async def test_without_a_base_url_the_host_counts() -> None:
    server = DemoServer(demo_records(), base_path="")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://other.example:81") as client:
        assert (await client.get("/Patient/amy")).status_code == 200
        assert (await client.get("/Patient")).json()["entry"][0]["fullUrl"] == "http://other.example:81/Patient/amy"


async def test_it_remembers_what_it_was_asked(http: httpx.AsyncClient, server: DemoServer) -> None:
    await http.get("/Patient?name=a%20b")
    assert server.requests[-1] == ("GET", "/fhir/Patient?name=a%20b")
