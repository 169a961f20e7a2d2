"""``compartment_search: union`` before real HAPI: every member is found, once and in order, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.app import App, MakeApp, ids, link, refused, whole
from tests.integration.records import LABS, VITALS
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi

OWN = {f"Observation/lab-{n}-chart-a" for n in range(LABS)} | {f"Observation/vital-{n}-chart-a" for n in range(VITALS)}
# Carl's by subject, performed by Anna: a member of both compartments (records.between_records).
EVERY = OWN | {"Observation/performed-by-anna"}


@pytest.fixture(scope="session")
def united(gateways: StartGateway, settings: dict[str, Any]) -> Gateway:
    return gateways({**settings, "upstream": {**settings["upstream"], "compartment_search": "union"}})


@pytest.fixture
def amy(as_user: MakeApp, united: Gateway) -> App:
    # That resource names Carl by reference, and Anna may see it: his other marks may not show.
    return as_user("amy", "patient/*.rs", sees="ac", at=united)


@pytest.mark.parametrize("target", ["/Observation", "/Patient/pat-a/Observation", "/Observation?_count=100"])
def test_members_by_any_parameter_are_found(amy: App, target: str) -> None:
    found = whole(amy, target)
    assert (len(found), set(found)) == (len(EVERY), EVERY)


def test_the_default_misses_what_only_another_parameter_finds(as_user: MakeApp) -> None:
    assert set(whole(as_user("amy", "patient/*.rs", sees="a"), "/Observation")) == OWN


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 11])
@pytest.mark.parametrize("sort", ["", "&_sort=date", "&_sort=-date", "&_sort=-_lastUpdated"])
def test_pages_hold_everything_once(amy: App, count: int, sort: str) -> None:
    page = amy.get(f"/Observation?_count={count}{sort}")
    found = ids(page)
    sizes = [len(found)]
    while (url := link(page, "next")) is not None:
        page = amy.follow(url)
        sizes.append(len(ids(page)))
        found += ids(page)
    assert (len(found), set(found)) == (len(EVERY), EVERY)
    assert max(sizes) <= count


@pytest.mark.parametrize("sign", ["", "-"])
def test_the_order_is_that_of_the_dates(amy: App, sign: str) -> None:
    dated = {f"Observation/lab-{n}-chart-a": f"2024-01-0{n + 1}" for n in range(LABS)}
    dated |= {f"Observation/vital-{n}-chart-a": f"2024-02-0{n + 1}" for n in range(VITALS)}
    found = [id for id in whole(amy, f"/Observation?_count=4&_sort={sign}date") if id in dated]
    assert found == sorted(dated, key=dated.__getitem__, reverse=bool(sign))


def test_a_post_is_the_same_search(amy: App) -> None:
    page = amy("POST", "/Observation/_search", data={"_count": "4", "_sort": "-date"})
    found = ids(page)
    while (url := link(page, "next")) is not None:
        page = amy.follow(url)
        found += ids(page)
    assert (len(found), set(found)) == (len(EVERY), EVERY)


def test_a_whole_page_has_its_total(amy: App) -> None:
    assert amy.get("/Observation?_count=50").json()["total"] == len(EVERY)
    assert "total" not in amy.get("/Observation?_count=5").json()


def test_filters_and_the_clients_own_values_hold_in_every_branch(as_user: MakeApp, united: Gateway) -> None:
    labs = as_user(
        "amy", "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory", at=united, sees="a"
    )
    assert set(whole(labs, "/Observation?_count=3")) == {f"Observation/lab-{n}-chart-a" for n in range(LABS)}
    assert set(whole(labs, "/Observation?status=final")) == {f"Observation/lab-{n}-chart-a" for n in range(0, LABS, 2)}


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/Observation?_summary=count", "union-count"),
        ("/Observation?_count=0", "union-count"),
        ("/Observation?_sort=code", "sort-not-mergeable"),
        ("/Observation?patient=pat-b", "foreign-patient"),
        ("/Patient/pat-b/Observation", "foreign-patient"),
    ],
)
def test_what_is_refused(amy: App, target: str, code: str) -> None:
    refused(amy.get(target), 403, code)


def test_elements_of_the_check_and_of_the_order_go_again(amy: App) -> None:
    page = amy.get("/Observation?_elements=code&_sort=-date&_count=50")
    assert set(ids(page)) == EVERY
    kept = {"resourceType", "id", "meta", "code", "status"}
    assert all(entry["resource"].keys() <= kept for entry in page.json()["entry"])


def test_links_are_bound(amy: App, as_user: MakeApp, united: Gateway) -> None:
    url = link(amy.get("/Observation?_count=3"), "next")
    assert url is not None
    refused(as_user("ben", "patient/*.rs", sees="b", at=united).follow(url), 403, "foreign-page")
    refused(as_user("amy", "patient/Observation.rs", sees="a", at=united).follow(url), 403, "foreign-page")
    refused(amy.follow(url.replace("/Observation?", "/Condition?")), 403, "foreign-page")
    head = amy("HEAD", url.removeprefix(amy.base))
    assert (head.status_code, head.content) == (200, b"")


def test_a_practitioner_searches_a_patients_compartment_exactly(as_user: MakeApp, united: Gateway, hapi: Hapi) -> None:
    house = as_user("dr-house", "user/*.rs", sees="abcw", at=united)
    assert set(whole(house, "/Patient/pat-a/Observation?_count=4")) == EVERY
    assert "Observation/performed-by-anna" in whole(house, "/Patient/pat-c/Observation")
