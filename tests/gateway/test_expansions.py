"""Value sets that the FHIR server expands: had ahead of requests, kept for a day, and nothing without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from smart_gateway.app import Patterns, SmartGateway
from smart_gateway.fhir.value_sets import ValueSet
from smart_gateway.gateway.edge.departure import Departure
from smart_gateway.gateway.edge.lookout import Lookout
from smart_gateway.gateway.expansions import MOST_AGE, Expansions
from smart_gateway.gateway.subrequest import AnswerBounds, Inner
from smart_gateway.settings.loading import load_settings
from tests.support.asgi import FHIR, Conversation

LABS, SYSTEM = "http://example.org/labs", "http://loinc.org"


def expansion(*codes: str, **members: Any) -> dict[str, Any]:
    contains = [{"system": SYSTEM, "code": code} for code in codes]
    return {"resourceType": "ValueSet", "expansion": {"contains": contains, **members}}


class Terminology:
    """An app that expands what it knows."""

    def __init__(self, **sets: Any) -> None:
        self.sets = sets
        self.asked: list[dict[str, list[str]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["method"], scope["path"]) == ("GET", "/fhir/ValueSet/$expand")
        query = parse_qs(scope["query_string"].decode())
        self.asked.append(query)
        found = self.sets.get(query["url"][0].rpartition("/")[2])
        body = json.dumps(found).encode() if not isinstance(found, bytes) else found
        headers = [(b"content-type", FHIR.encode())]
        await send({"type": "http.response.start", "status": 404 if found is None else 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def inner(app: Terminology) -> Inner:
    async def never() -> Any:
        raise AssertionError

    scope = Conversation(app, "GET", "/fhir").scope
    return Inner(app, {**scope, "headers": []}, "/fhir", [], Departure(never, Lookout()), AnswerBounds(100_000, 5.0))


async def test_what_is_wanted_is_asked_for_by_its_canonical() -> None:
    app = Terminology(labs=expansion("1", "2"), vitals=expansion("3"))
    expansions = Expansions(wanted=(LABS, "http://example.org/vitals|7"))
    assert await expansions.ask(inner(app), "4.0.1", 0.0)
    assert app.asked == [{"url": [LABS]}, {"url": ["http://example.org/vitals"], "valueSetVersion": ["7"]}]
    sets = expansions.sets()
    assert sets.together([LABS]) == {(SYSTEM, "1"), (SYSTEM, "2")}
    assert sets.together(["http://example.org/vitals|7"]) == {(SYSTEM, "3")}
    assert sets.at_upstream == {LABS, "http://example.org/vitals|7"}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"<html>",
        [],
        {"resourceType": "OperationOutcome"},
        {"resourceType": "ValueSet", "compose": {"include": []}},
        expansion("1", total=2),
        expansion("1", parameter=[{"name": "count", "valueInteger": 1}]),
        b'{"resourceType":"ValueSet","expansion":{"contains":[]},"expansion":{}}',
    ],
)
async def test_what_is_no_whole_expansion_is_not_had(answer: Any) -> None:
    expansions = Expansions(wanted=(LABS,))
    assert not await expansions.ask(inner(Terminology(labs=answer)), "4.0.1", 0.0)
    assert expansions.sets().together([LABS]) is None


async def test_an_expansion_outlives_an_outage_of_a_day_and_no_more() -> None:
    expansions = Expansions(wanted=(LABS,))
    await expansions.ask(inner(Terminology(labs=expansion("1"))), "4.0.1", 100.0)
    assert not await expansions.ask(inner(Terminology()), "4.0.1", 100.0 + MOST_AGE)
    assert expansions.sets().together([LABS]) == {(SYSTEM, "1")}
    await expansions.ask(inner(Terminology()), "4.0.1", 101.0 + MOST_AGE)
    assert expansions.sets().together([LABS]) is None
    await expansions.ask(inner(Terminology(labs=expansion("2"))), "4.0.1", 102.0 + MOST_AGE)
    assert expansions.sets().together([LABS]) == {(SYSTEM, "2")}


async def test_new_settings_keep_what_they_still_want() -> None:
    old = Expansions(wanted=(LABS, "http://example.org/vitals"))
    await old.ask(inner(Terminology(labs=expansion("1"), vitals=expansion("2"))), "4.0.1", 0.0)
    new = Expansions(given=(ValueSet("http://example.org/file", None, frozenset()),), wanted=(LABS,))
    new.inherit(old)
    assert set(new.sets().codes) == {LABS, "http://example.org/file"}


class Server:
    """Metadata, one expansion and one Observation."""

    expands = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        resource: dict[str, Any] = {"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/123"}}
        status = 200
        if scope["path"].endswith("/metadata"):
            rest = [{"mode": "server", "resource": [{"type": "Observation", "searchParam": [{"name": "code"}, {"name": "patient"}]}]}]
            resource = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest}
        elif scope["path"].endswith("$expand"):
            resource, status = expansion("1"), 200 if self.expands else 503
        else:
            resource["code"] = {"coding": [{"system": SYSTEM, "code": "1"}]}
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", FHIR.encode())]})
        await send({"type": "http.response.body", "body": json.dumps(resource).encode()})


def test_settings_name_the_sets(tmp_path: Path) -> None:
    """From the settings to the policy in force: files at once, the FHIR server's once they were had."""
    file = {"resourceType": "ValueSet", "url": "http://example.org/file", **expansion("9")}
    (tmp_path / "file.json").write_text(json.dumps(file), encoding="utf-8")
    sets = {"files": [str(tmp_path / "file.json")], "from_upstream": [LABS]}
    settings = load_settings(
        {
            "server": {"public_url": "https://fhir.example.org/fhir"},
            "upstream": {"fhir_version": "R4"},
            "issuers": [{"issuer": "https://idp.example.org"}],
            "policy": {"value_sets": sets, "clients": {"*": {"limit": [f"user/Observation.rs?code:in={LABS},http://example.org/file"]}}},
        }
    )
    gateway = SmartGateway(Server(), settings, patterns=Patterns(first=0.001))
    assert gateway.snapshot.policy.value_sets.together(["http://example.org/file"]) == {(SYSTEM, "9")}
    assert gateway.snapshot.policy.value_sets.together([LABS]) is None


async def test_the_app_asks_in_the_background(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "server": {"public_url": "https://fhir.example.org/fhir"},
            "upstream": {"fhir_version": "R4"},
            "issuers": [{"issuer": "https://idp.example.org"}],
            "policy": {"value_sets": {"from_upstream": [LABS]}},
        }
    )
    server = Server()
    gateway = SmartGateway(server, settings, patterns=Patterns(first=0.001))
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=gateway), base_url="https://fhir.example.org") as client:
            for _ in range(1000):
                await client.get("/fhir/.well-known/oauth-protected-resource")
                if gateway.snapshot.policy.value_sets.codes:
                    break
        assert gateway.snapshot.policy.value_sets.together([LABS]) == {(SYSTEM, "1")}
        assert gateway.snapshot.policy.capabilities.parameters is not None
        server.expands = False
        gateway.adopt(settings)
        assert gateway.snapshot.policy.value_sets.together([LABS]) == {(SYSTEM, "1")}
    finally:
        await gateway.aclose()
