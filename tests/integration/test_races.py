"""Nothing changes between check and write: while a resource moves into another record, neither that version is changed nor deleted.

Each round has its own resource: Wanda's app writes it while HAPI itself is told to move it into Bea's record. The move says that it is of
version 1, so it either comes first and must stay, or comes too late and is refused. Whichever came first starts a little later in the next
round: however fast or busy the machine is, the rounds soon lie about the moment that decides, and both come first again and again.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from threading import Barrier
from typing import Any

import httpx
import pytest

from tests.integration.app import App, MakeApp
from tests.integration.records import canary
from tests.integration.servers.hapi import Hapi

ROUNDS = 20  # few, for all lie about the moment that decides: where two transactions of HAPI lock each other, one waits for 20 seconds
MOST_ROUNDS = 120  # where one of the two has not come first by then, something else than the pace is wrong
STEPS = 20  # the moments at which the other starts, in pieces of work: no clock decides what a round shows
MOST_STRIDE = 64
WORK = bytes(256 * 1024)  # hashing it takes some tenths of a millisecond, and hinders no other thread
PATCH = {"content-type": "application/json-patch+json"}
Write = Any


def observation(id: str, patient: str, **changes: Any) -> dict[str, Any]:
    subject = {"reference": f"Patient/pat-{patient}"}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": canary(patient)}, "subject": subject, **changes}


@dataclass
class Race:
    """What one kind of write came to against the moves."""

    moved: int = 0
    written: int = 0


@pytest.fixture
def upstream(hapi: Hapi) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{hapi.base}/", timeout=60, trust_env=False) as client:
        yield client


def race(name: str, write: Write, upstream: httpx.Client, *more: int) -> Race:
    """Runs all rounds, and more until either has come first; asserts of each that what had moved was not written. ``more`` are statuses
    that a refusal may have, too."""
    counted, lead, stride, last = Race(), 0, 1, False  # the write starts by so many steps before the move; after it, where negative
    with ThreadPoolExecutor(1) as pool:
        for number in range(MOST_ROUNDS):
            if number >= ROUNDS and counted.moved and counted.written:
                break
            id = f"race-{name}-{number}"
            upstream.put(f"Observation/{id}", json=observation(id, "w")).raise_for_status()
            start = Barrier(2)
            move = pool.submit(_move, upstream, id, start, lead)
            _wait(start, -lead)
            answer = write(id)
            assert answer.status_code in {200, 204, 404, 412, *more}, answer.text
            moved = _judge(upstream, id, answer, move.result(), counted)
            stride = min(stride * 2, MOST_STRIDE) if moved is last else 1  # far from the moment that decides it is approached faster
            lead, last = lead + (stride if moved else -stride), moved
    return counted


def _move(upstream: httpx.Client, id: str, start: Barrier, delay: int) -> httpx.Response:
    _wait(start, delay)
    return upstream.put(f"Observation/{id}", json=observation(id, "b"), headers={"if-match": 'W/"1"'})


def _wait(start: Barrier, steps: int) -> None:
    start.wait()
    for _ in range(steps):
        sha256(WORK)


def _judge(upstream: httpx.Client, id: str, answer: httpx.Response, move: httpx.Response, counted: Race) -> bool:
    """Whether the move came first."""
    assert move.status_code in {200, 409, 410, 412}, move.text
    now = upstream.get(f"Observation/{id}")
    moved = move.status_code == 200
    done = answer.status_code in {200, 204}
    if moved:
        assert now.status_code == 200, f"{id} was deleted after it had moved"
        assert now.json()["meta"]["versionId"] == "2", f"{id} was written after it had moved"
        assert now.json()["subject"] == {"reference": "Patient/pat-b"}
        assert not done, "a write that did not take place was answered as if it had"
    else:
        assert done, "neither the move nor the write took place"
    counted.moved += moved
    counted.written += done
    return moved


@pytest.fixture
def wanda(as_user: MakeApp) -> App:
    return as_user("wanda", "patient/*.cruds", sees="w")


def amended(id: str) -> dict[str, Any]:
    return observation(id, "w", status="amended")


def test_delete(wanda: App, upstream: httpx.Client) -> None:
    counted = race("delete", lambda id: wanda("DELETE", f"/Observation/{id}"), upstream)
    assert counted.moved
    assert counted.written


def test_update(wanda: App, upstream: httpx.Client) -> None:
    counted = race("update", lambda id: wanda.send("PUT", f"/Observation/{id}", amended(id)), upstream)
    assert counted.moved
    assert counted.written


def test_patch(wanda: App, upstream: httpx.Client) -> None:
    patch = [{"op": "replace", "path": "/status", "value": "amended"}]
    counted = race("patch", lambda id: wanda("PATCH", f"/Observation/{id}", json=patch, headers=PATCH), upstream)
    assert counted.moved
    assert counted.written


def test_delete_by_criteria(wanda: App, upstream: httpx.Client) -> None:
    """HAPI searches, and then loads what it found: a move in between it answers with what the criteria rule out, hence 502."""
    counted = race("criteria", lambda id: wanda("DELETE", f"/Observation?_id={id}"), upstream, 502)
    assert counted.moved
    assert counted.written


def test_updates_of_ones_own_are_not_lost(as_user: MakeApp, hapi: Hapi, upstream: httpx.Client) -> None:
    """Several apps add to one list, each from what it read: everything that was answered with success is there."""
    upstream.put("Observation/race-lost", json=observation("race-lost", "w", note=[])).raise_for_status()
    apps = [as_user("wanda", "patient/*.cruds", sees="w") for _ in range(4)]

    def add(app: App, number: int) -> list[str]:
        added = []
        for turn in range(8):
            read = app.get("/Observation/race-lost")
            text = f"note {number}-{turn}"
            body = read.json() | {"note": [*read.json().get("note", []), {"text": text}]}
            answer = app.send("PUT", "/Observation/race-lost", body, if_match=read.headers["etag"])
            assert answer.status_code in {200, 412}, answer.text
            added += [text] if answer.status_code == 200 else []
        return added

    with ThreadPoolExecutor(len(apps)) as pool:
        added = [text for done in pool.map(add, apps, range(len(apps))) for text in done]
    stored = [note["text"] for note in upstream.get("Observation/race-lost").json()["note"]]
    assert sorted(stored) == sorted(added)
    assert added


def test_an_update_that_creates_overwrites_nothing(
    as_user: MakeApp, gateways: Any, settings: dict[str, Any], upstream: httpx.Client
) -> None:
    """HAPI ignores If-None-Match on an update: what somebody else creates at the same moment under the same id stays."""
    told = {"upstream": settings["upstream"] | {"conditions": "hapi"}, "policy": {"writes": {"update_as_create": "always"}}}
    gateway = gateways(settings | told)
    wanda = as_user("wanda", "patient/*.cruds", sees="w", at=gateway)
    outcomes = set()
    with ThreadPoolExecutor(1) as pool:
        for number in range(3 * STEPS):
            id = f"race-create-{number}"
            start = Barrier(2)
            made = pool.submit(_create, upstream, id, start, number % STEPS)
            start.wait()
            answer = wanda.send("PUT", f"/Observation/{id}", observation(id, "w"))
            other = made.result()
            assert other.status_code in {200, 201, 409}, other.text  # without a condition HAPI lets the other overwrite ours
            now = upstream.get(f"Observation/{id}").json()
            if other.status_code == 201:
                assert now["subject"] == {"reference": "Patient/pat-b"}
                assert now["meta"]["versionId"] == "1"
                assert answer.status_code in {404, 412}
            outcomes.add(other.status_code)
    assert outcomes


def _create(upstream: httpx.Client, id: str, start: Barrier, delay: int) -> httpx.Response:
    _wait(start, delay)
    return upstream.put(f"Observation/{id}", json=observation(id, "b"))
