"""Writes by criteria before real HAPI: what they find is inside and one, or nothing is written (semantics 6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.app import App, MakeApp, refused, required_scopes
from tests.integration.records import canary
from tests.integration.servers.gateway import Gateway
from tests.integration.servers.hapi import Hapi

SYSTEM = "urn:test:criteria"
PATCH = {"content-type": "application/json-patch+json"}
WRITES = ["PUT", "PATCH", "DELETE"]


def observation(value: str, patient: str = "w", **changes: Any) -> dict[str, Any]:
    """An Observation that ``identifier=SYSTEM|value`` finds."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "identifier": [{"system": SYSTEM, "value": value}],
        "code": {"text": canary(patient)},
        "subject": {"reference": f"Patient/pat-{patient}"},
        **changes,
    }


def write(app: App, method: str, target: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    """One write by criteria; a patch amends."""
    if method == "PATCH":
        patch = [{"op": "replace", "path": "/status", "value": "amended"}]
        return app(method, target, json=patch, headers=PATCH | {name.replace("_", "-"): value for name, value in headers.items()})
    if method == "DELETE":
        return app(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return app.send(method, target, body | {"status": "amended"}, **headers)


class Records:
    """Observations put straight into HAPI, by the value of their identifier."""

    def __init__(self, hapi: Hapi) -> None:
        self._hapi = hapi
        self._made: list[str] = []

    def put(self, id: str, value: str, patient: str = "w", **changes: Any) -> str:
        body = observation(value, patient, id=id, **changes)
        httpx.put(f"{self._hapi.base}/Observation/{id}", json=body).raise_for_status()
        self._made.append(id)
        return f"{self._hapi.base}/Observation/{id}"

    def found(self, value: str) -> list[dict[str, Any]]:
        """Everything that has the identifier, as HAPI has it at this moment."""
        query = {"identifier": f"{SYSTEM}|{value}"}
        bundle = httpx.get(f"{self._hapi.base}/Observation", params=query, headers={"cache-control": "no-cache"}).json()
        return [entry["resource"] for entry in bundle.get("entry", [])]

    def clear(self) -> None:
        for id in self._made:
            httpx.delete(f"{self._hapi.base}/Observation/{id}")


@pytest.fixture
def records(hapi: Hapi) -> Iterator[Records]:
    made = Records(hapi)
    yield made
    made.clear()


@pytest.fixture
def wanda(as_user: MakeApp) -> App:
    return as_user("wanda", "patient/*.cruds", sees="w")


@pytest.mark.parametrize("method", WRITES)
def test_ones_own_is_found_and_written_and_a_namesake_is_not(wanda: App, records: Records, method: str) -> None:
    """The same identifier in Bea's record: the criteria are narrowed, so it is neither a second match nor touched."""
    mine = records.put(f"mine-{method.lower()}-chart-w", f"one-{method}")
    foreign = records.put(f"namesake-{method.lower()}-chart-b", f"one-{method}", "b")
    before = httpx.get(foreign).content
    answer = write(wanda, method, f"/Observation?identifier={SYSTEM}|one-{method}", observation(f"one-{method}"))
    assert answer.status_code in {200, 204}, answer.text
    assert httpx.get(foreign).content == before
    stored = httpx.get(mine)
    assert stored.status_code == 410 if method == "DELETE" else stored.json()["status"] == "amended"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_only_somebody_elses_is_as_good_as_nothing(wanda: App, records: Records, method: str) -> None:
    foreign = records.put(f"alone-{method.lower()}-chart-b", f"alone-{method}", "b")
    before = httpx.get(foreign).content
    refused(write(wanda, method, f"/Observation?identifier={SYSTEM}|alone-{method}", {}), 404, "not-found")
    refused(write(wanda, method, f"/Observation?identifier={SYSTEM}|never-was", {}), 404, "not-found")
    assert httpx.get(foreign).content == before


def test_an_update_beside_somebody_elses_creates_ones_own(wanda: App, hapi: Hapi, records: Records) -> None:
    foreign = records.put("beside-chart-b", "beside", "b")
    before = httpx.get(foreign).content
    answer = write(wanda, "PUT", f"/Observation?identifier={SYSTEM}|beside", observation("beside"))
    assert answer.status_code == 201, answer.text
    assert httpx.get(foreign).content == before
    again = write(wanda, "PUT", f"/Observation?identifier={SYSTEM}|beside", observation("beside"))
    assert (again.status_code, again.json()["id"]) == (200, answer.json()["id"])
    httpx.delete(f"{hapi.base}/Observation/{answer.json()['id']}").raise_for_status()


@pytest.mark.parametrize("method", WRITES)
def test_two_of_ones_own_are_too_many(wanda: App, records: Records, method: str) -> None:
    urls = [records.put(f"two-{method.lower()}-{n}-chart-w", f"two-{method}") for n in range(2)]
    before = [httpx.get(url).content for url in urls]
    refused(write(wanda, method, f"/Observation?identifier={SYSTEM}|two-{method}", observation(f"two-{method}")), 412, "multiple-matches")
    assert [httpx.get(url).content for url in urls] == before


@pytest.mark.parametrize("method", WRITES)
def test_criteria_that_name_somebody_else_are_refused(wanda: App, records: Records, method: str) -> None:
    foreign = records.put(f"named-{method.lower()}-chart-b", f"named-{method}", "b")
    before = httpx.get(foreign).content
    for owner in ("patient=Patient/pat-b", "subject=pat-b", "subject:Patient=pat-b"):
        target = f"/Observation?identifier={SYSTEM}|named-{method}&{owner}"
        refused(write(wanda, method, target, observation(f"named-{method}")), 403, "foreign-patient")
    assert httpx.get(foreign).content == before
    assert len(records.found(f"named-{method}")) == 1


@pytest.mark.parametrize(
    ("criteria", "status"),
    [
        ("", 412),
        ("_format=json", 412),
        ("_count=1", 412),
        ("identifier=", 400),
        ("code=x&_cascade=delete", 400),
        ("code=x&_expunge=true", 400),
        ("code=x&_include=Observation:subject", 400),
        ("code=x&unknown=1", 400),
    ],
)
def test_criteria_say_something_and_steer_nothing(wanda: App, as_service: MakeApp, records: Records, criteria: str, status: int) -> None:
    url = records.put("steered-chart-w", "steered")
    before = httpx.get(url).content
    for app in (wanda, as_service("system/*.cruds")):
        for method in WRITES:
            refused(write(app, method, f"/Observation?{criteria}", observation("steered")), status)
    assert httpx.get(url).content == before


@pytest.mark.parametrize("method", WRITES)
def test_searching_is_a_permission_of_its_own(as_user: MakeApp, records: Records, method: str) -> None:
    url = records.put(f"blind-{method.lower()}-chart-w", f"blind-{method}")
    app = as_user("wanda", "patient/Observation.write")
    outcome = refused(write(app, method, f"/Observation?identifier={SYSTEM}|blind-{method}", observation("x")), 403, "insufficient-scope")
    assert required_scopes(outcome) == ["patient/Observation.read"]
    assert httpx.get(url).json()["meta"]["versionId"] == "1"


@pytest.mark.parametrize("method", WRITES)
def test_a_stale_condition_stops_it(wanda: App, records: Records, method: str) -> None:
    url = records.put(f"stale-{method.lower()}-chart-w", f"stale-{method}")
    target = f"/Observation?identifier={SYSTEM}|stale-{method}"
    refused(write(wanda, method, target, observation(f"stale-{method}"), if_match='W/"7"'), 412, "precondition-failed")
    assert httpx.get(url).json()["meta"]["versionId"] == "1"
    assert write(wanda, method, target, observation(f"stale-{method}"), if_match='W/"1"').status_code in {200, 204}


def test_a_create_finds_ones_own_and_not_anothers(wanda: App, hapi: Hapi, gateway: Gateway, records: Records) -> None:
    records.put("there-chart-b", "there", "b")
    exist = f"identifier={SYSTEM}|there"
    made = wanda.send("POST", "/Observation", observation("there"), if_none_exist=exist)
    assert made.status_code == 201, made.text
    again = wanda.send("POST", "/Observation", observation("there"), if_none_exist=exist)
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    assert again.headers["location"].startswith(f"{gateway.base}/Observation/{made.json()['id']}/")
    assert len(records.found("there")) == 2
    httpx.delete(f"{hapi.base}/Observation/{made.json()['id']}").raise_for_status()


def test_what_a_create_finds_is_not_shown_without_read(as_user: MakeApp, records: Records) -> None:
    records.put("shown-chart-w", "shown", note=[{"text": "a note that stands there"}])
    app = as_user("wanda", "patient/Observation.c", "patient/Observation.s", sees="w")
    wished = app.send(
        "POST", "/Observation", observation("shown"), if_none_exist=f"identifier={SYSTEM}|shown", prefer="return=representation"
    )
    assert (wished.status_code, wished.content) == (200, b"")
    assert len(records.found("shown")) == 1


def test_a_create_that_finds_two_is_412(wanda: App, records: Records) -> None:
    for number in range(2):
        records.put(f"pair-{number}-chart-w", "pair")
    refused(wanda.send("POST", "/Observation", observation("pair"), if_none_exist=f"identifier={SYSTEM}|pair"), 412)
    assert len(records.found("pair")) == 2


@pytest.mark.parametrize(
    "exist", [f"identifier={SYSTEM}|foreign&patient=Patient/pat-b", "_format=json", "identifier=", "Patient?identifier=1"]
)
def test_a_create_on_a_condition_that_may_not_be_asked_is_refused(wanda: App, records: Records, exist: str) -> None:
    assert 400 <= wanda.send("POST", "/Observation", observation("foreign"), if_none_exist=exist).status_code < 500
    assert records.found("foreign") == []


def test_a_service_lets_the_upstream_do_it(as_service: MakeApp, hapi: Hapi, records: Records) -> None:
    urls = [records.put(f"many-{number}-chart-w", "many") for number in range(2)]
    other = records.put("many-other-chart-w", "other")
    assert as_service("system/*.cruds")("DELETE", f"/Observation?identifier={SYSTEM}|many").status_code in {200, 204}
    assert [httpx.get(url).status_code for url in (*urls, other)] == [410, 410, 200]
