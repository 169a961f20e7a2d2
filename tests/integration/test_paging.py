"""Paging: links of the upstream never leave as they are, sealed ones open for whom they were made (semantics 4)."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from tests.integration.app import App, MakeApp, ids, link, refused
from tests.integration.records import LABS, VITALS
from tests.integration.servers.gateway import StartGateway

EVERY = {f"Observation/lab-{n}-chart-a" for n in range(LABS)} | {f"Observation/vital-{n}-chart-a" for n in range(VITALS)}


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    return as_user("amy", "patient/*.rs", sees="a")


def next_link(app: App, target: str = "/Observation?_count=3") -> str:
    found = link(app.get(target), "next")
    assert found is not None
    return found


def test_pages_together_hold_everything_once(amy: App) -> None:
    page = amy.get("/Observation?_count=3")
    found = ids(page)
    while (url := link(page, "next")) is not None:
        assert re.search(r"/Observation\?_page=[A-Za-z0-9_-]+$", url)
        page = amy.follow(url)
        found += ids(page)
    assert (len(found), set(found)) == (len(EVERY), EVERY)
    back = link(page, "previous") or link(page, "prev")
    assert back is not None
    assert set(ids(amy.follow(back))) < EVERY


def test_a_link_opens_for_the_same_client_with_a_new_token(amy: App, as_user: MakeApp) -> None:
    url = next_link(amy)
    assert set(ids(amy.follow(url))) == set(ids(amy.follow(url)))
    assert set(ids(as_user("amy", "patient/*.rs", sees="a").follow(url))) == set(ids(amy.follow(url)))


def test_a_link_opens_for_nobody_else(amy: App, as_user: MakeApp, as_service: MakeApp, app: MakeApp) -> None:
    url = next_link(amy)
    refused(as_user("ben", "patient/*.rs", sees="b").follow(url), 403, "foreign-page")
    refused(as_user("dr-wilson", "patient/*.rs", sees="a").follow(url), 403, "foreign-page")
    refused(as_user("amy", "patient/Observation.rs", sees="a").follow(url), 403, "foreign-page")
    refused(app(None).follow(url), 401)
    assert as_service("system/*.rs", sees="").follow(url).status_code in {403, 404}


def test_a_changed_link_opens_for_nobody(amy: App) -> None:
    url = next_link(amy)
    changed = url[:-10] + ("A" if url[-10] != "A" else "B") + url[-9:]
    refused(amy.follow(changed), 403, "foreign-page")
    refused(amy.follow(url.replace("/Observation?", "/Condition?")), 403, "foreign-page")
    refused(amy.follow(url[: url.index("_page=") + 6]), 403)
    assert amy.follow(f"{url}&patient=pat-b").status_code in {400, 403}


def test_the_upstreams_own_paging_is_refused(amy: App, as_service: MakeApp) -> None:
    plain = as_service("system/*.rs")
    url = next_link(plain, "/Observation?_count=3&code=2339-0")
    if "_getpages" in url:
        refused(amy.get(f"?{url.split('?')[1]}"), 403)
    refused(
        amy.get("?_getpages=11111111-2222-3333-4444-555555555555&_getpagesoffset=3&_count=3&_bundletype=searchset"), 403, "foreign-page"
    )
    assert len(ids(plain.follow(url))) > 0


def test_a_page_of_a_removed_include_stays_right(as_user: MakeApp) -> None:
    app = as_user("amy", "patient/Observation.rs", sees="a")
    page = app.get("/Observation?_count=4&_include=*")
    found = ids(page)
    while (url := link(page, "next")) is not None:
        page = app.follow(url)
        found += ids(page)
    assert (len(found), set(found)) == (len(EVERY), EVERY)


def test_replicas_with_the_same_key_open_each_others_links(
    gateways: StartGateway, settings: dict[str, Any], as_user: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = {"public_url": "https://fhir.example.test/r4", "sealing": {"keys": [{"from_env": "SEAL"}]}}
    monkeypatch.setenv("SEAL", base64.b64encode(b"k" * 32).decode())
    one, other = (gateways({**settings, "server": server}) for _ in range(2))
    stranger = gateways({**settings, "server": {"public_url": server["public_url"]}})
    sealed = link(as_user("amy", "patient/*.rs", sees="a", at=one).get("/Observation?_count=3"), "next")
    assert sealed is not None
    assert sealed.startswith("https://fhir.example.test/r4/Observation?_page=")
    target = sealed.removeprefix("https://fhir.example.test/r4")
    pages = [as_user("amy", "patient/*.rs", sees="a", at=at).get(target) for at in (one, other)]
    assert ids(pages[0]) == ids(pages[1]) != []
    refused(as_user("ben", "patient/*.rs", sees="b", at=other).get(target), 403, "foreign-page")
    refused(as_user("amy", "patient/*.rs", sees="a", at=stranger).get(target), 403, "foreign-page")
