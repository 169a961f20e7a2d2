"""Attacks where parts of the gateway meet: tenants, hooks, sealed links, exports, listeners, reloads, emergencies. Each part by itself
is attacked elsewhere; here what one of them opens must not be opened by way of another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smart_gateway import SettingsError
from smart_gateway.app import SmartGateway
from tests.support.asgi import Reply
from tests.support.house import BASES, CALM, NORTH, SHARED, House, ask, built, serving, token
from tests.support.issuer import ScriptedIssuer, make_key, serve

NORTH_BASE = BASES["north"]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return built(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def served() -> Iterator[ScriptedIssuer]:
    """An issuer whose keys are fetched, so that a reload goes on with what is known of its tokens."""
    with serve(ScriptedIssuer()) as issuer:
        yield issuer


def trusting(issuer: ScriptedIssuer) -> dict[str, Any]:
    return {"issuers": [{"issuer": issuer.issuer, "jwks_uri": issuer.jwks_uri, "algorithms": ["RS256"], "audiences": [SHARED]}]}


def unopenable(house: House) -> dict[str, Any]:
    """A tenant whose settings are right, and which cannot be opened all the same."""
    (house.folder / "directory.ndjson").mkdir(exist_ok=True)
    return house.tenant("south", policy={"audit": {"sinks": [{"file": "directory.ndjson"}]}})


def at(app: Any, listener: str) -> Any:
    """``app`` as one of its listeners serves it."""
    return lambda scope, receive, send: app({**scope, "smart_gateway.listener": listener}, receive, send)


@pytest.mark.parametrize("revoked", [{"subjects": ["subject-1"]}, {"jti": ["token-1"]}], ids=["subject", "token"])
async def test_a_refused_reload_lets_no_revoked_token_in(house: House, served: ScriptedIssuer, revoked: dict[str, Any]) -> None:
    """The tenant before the broken one was prepared already when the reload was refused."""
    north, headers = {**house.tenant("north"), **trusting(served)}, token(SHARED, served)
    async with serving(house.load({**north, "revocation": revoked}, house.tenant("south"))) as app:
        with pytest.raises(SettingsError):
            app.adopt(house.load(north, unopenable(house)))
        assert (await ask(app, f"{NORTH_BASE}/Patient/123", headers)).status_code == 401
        app.adopt(house.load(north, house.tenant("south")))
        assert (await ask(app, f"{NORTH_BASE}/Patient/123", headers)).status_code == 200
        with pytest.raises(SettingsError):
            app.adopt(house.load({**north, "revocation": revoked}, unopenable(house)))
        assert (await ask(app, f"{NORTH_BASE}/Patient/123", headers)).status_code == 200
        app.adopt(house.load({**north, "revocation": revoked}, house.tenant("south")))
        assert (await ask(app, f"{NORTH_BASE}/Patient/123", headers)).status_code == 401


LIMITED = [{"name": "inner", "listen": "127.0.0.1:1", "limit": ["patient/Observation.rs"], "certificate": {"missing": "limit"}}]
OTHER = [{"name": "other", "listen": "127.0.0.1:1"}]


@pytest.mark.parametrize("later", [{}, {"listeners": OTHER}, {"listeners": OTHER, "listen": "127.0.0.1:2"}], ids=["none", "other", "both"])
async def test_a_listener_that_a_reload_takes_away_lets_nobody_in(house: House, later: dict[str, Any]) -> None:
    """It is there until the next start, and what limited it is gone."""
    headers = token(NORTH_BASE, NORTH)
    async with serving(house.load(house.tenant("north"), listeners=LIMITED)) as app:
        assert (await ask(at(app, "inner"), f"{NORTH_BASE}/Patient/123", headers)).status_code == 403
        app.adopt(house.load(house.tenant("north"), **later))
        assert (await ask(at(app, "inner"), f"{NORTH_BASE}/Patient/123", headers)).status_code == 404
    settings = house.load(house.tenant("north"), listeners=LIMITED).of("north")
    single = SmartGateway(None, settings, patterns=CALM)
    single.adopt(house.load(house.tenant("north"), **later).of("north"))
    answer = await ask(at(single, "inner"), f"{NORTH_BASE}/Patient/123", headers)
    assert answer.status_code == 401
    await single.aclose()
    assert house.asked("north") == []


@pytest.mark.parametrize("becomes", ["another", "gone", "the end"])
async def test_what_has_begun_is_answered_and_on_record_however_long_it_takes(house: House, becomes: str) -> None:
    """Whatever becomes of the tenant in between; or of the gateway: one of its listeners may have ended before another."""
    waiting, going = asyncio.Event(), asyncio.Event()
    async with serving(house.load(house.tenant("north"), house.tenant("south"))) as app:
        north = house.servers["north"]
        slow = type(north).__call__

        class Slow(type(north)):  # type: ignore[misc]
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                if scope["path"].endswith("/Patient/123"):
                    waiting.set()
                    await going.wait()
                await slow(self, scope, receive, send)

        north.__class__ = Slow
        asking = asyncio.create_task(ask(app, f"{NORTH_BASE}/Patient/123", token(NORTH_BASE, NORTH)))
        await waiting.wait()
        ending = None
        if becomes == "the end":
            ending = asyncio.create_task(app.aclose())
        else:
            later = [house.tenant("north", policy={"limits": {"entries": 5}})] if becomes == "another" else []
            app.adopt(house.load(*later, house.tenant("south")))
        for _ in range(20):
            await asyncio.sleep(0)
        going.set()
        assert (await asking).status_code == 200
        assert ending is None or await ending is None
    assert [(event["instance"], event["status"]) for event in house.events("north")] == [("north", 200)]


def part(base: str) -> Reply:
    """A page of a server that gives no more of a resource than was asked for."""
    patient = {"resourceType": "Patient", "id": "123", "name": [{"family": "secret"}]}
    entry = {"fullUrl": f"{base}/Patient/123", "resource": patient, "search": {"mode": "match"}}
    links = [{"relation": "next", "url": f"{base}?_getpages=abc"}]
    return Reply(200, {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": [entry]})


NOT_MALE = ["user/Patient.rs?gender:not=male"]
LATER = {
    "labels": {"labels": {"ceiling": "N", "unlabelled": "N"}},
    "hidden by a label": {"fields": [{"type": "Patient", "permissions": "rs", "hide": ["name"], "labelled": ["urn:x|VIP"]}]},
    "hidden of what is contained": {"fields": [{"type": "Organization", "permissions": "rs", "hide": ["name"], "labelled": ["urn:x|VIP"]}]},
    "a limit by what is not there": {"clients": {"*": {"limit": NOT_MALE}}},
    "users by what is not there": {"users": [{"when": {"fhir_user": "Practitioner"}, "boundary": NOT_MALE}]},
}
SAME = {"limits": {"entries": 77}}


@pytest.mark.parametrize("query", ["_elements=name", "_summary=true", "_summary=data", "_elements=name&_type=Patient"])
@pytest.mark.parametrize("later", LATER)
async def test_a_page_of_parts_of_resources_does_not_outlive_what_they_were_judged_by(house: House, query: str, later: str) -> None:
    """A label or an element by which a resource would be outside now is not on the pages that are left."""
    base, upstream = NORTH_BASE, "http://127.0.0.1:9/north"
    headers = token(base, NORTH, "user/Patient.rs", fhirUser="Practitioner/p", patient=...)
    async with serving(house.load(house.tenant("north"))) as app:
        house.servers["north"].replies |= {"GET /Patient": part(upstream), "GET ": part(upstream)}
        found = await ask(app, f"{base}{'' if '_type' in query else '/Patient'}?{query}", headers)
        for _ in range(2):
            (following,) = [link["url"] for link in found.json()["link"] if link["relation"] == "next"]
            app.adopt(house.load(house.tenant("north", policy=SAME)))
            found = await ask(app, following, headers)
            assert (found.status_code, "secret" in found.text) == (200, True)
        app.adopt(house.load(house.tenant("north", policy=LATER[later])))
        refused = await ask(app, following, headers)
        assert (refused.status_code, "secret" in refused.text) == (403, False)
        app.adopt(house.load(house.tenant("north")))
        assert (await ask(app, following, headers)).status_code == 200


PATHS = {
    "/north/Patient/123": 200,
    "/north/Patient/123/": 400,
    "/north/../north2/Patient/123": 400,
    "/north/%2e%2e/north2/Patient/123": 400,
    "/north/..%2fnorth2/Patient/123": 400,
    "/north/./Patient/123": 400,
    "/north//north2/Patient/123": 400,
    "/north/north2/Patient/123": 404,
    "/north;v=1/Patient/123": 404,
    "/north%2fPatient/123": 404,
    "/%6eorth/Patient/123": 404,
    "/North/Patient/123": 404,
    "/north%00/Patient/123": 404,
    "/north\\..\\north2/Patient/123": 404,
    "/./north/Patient/123": 404,
    "//north/Patient/123": 404,
    "/north10/Patient/123": 404,
    "/north.json/Patient/123": 404,
}


@pytest.mark.parametrize(("path", "status"), PATHS.items())
@pytest.mark.parametrize("forwarded", ["/fhir/north2", "north2.example.org"])
async def test_no_spelling_of_a_path_leads_to_another_tenant(house: House, path: str, status: int, forwarded: str) -> None:
    """By a proxy that is trusted, which may name the host and nothing else; the token is good at both."""
    known = {"issuer_keys": {"audiences": [SHARED]}}
    raw = f"/fhir{path}".encode()
    sent: list[Any] = []
    told = (b"x-forwarded-prefix", b"x-original-url", b"x-rewrite-url", b"x-forwarded-path") if "/" in forwarded else (b"x-forwarded-host",)
    headers = [(b"host", b"fhir.example.org"), *((name, forwarded.encode()) for name in told)]
    headers += [(name.encode(), value.encode()) for name, value in token(SHARED, NORTH).items()]
    scope = {"type": "http", "method": "GET", "path": raw.decode(), "raw_path": raw, "query_string": b"", "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    settings = house.load(house.tenant("north", **known), house.tenant("north2", **known), trusted_proxies=["10.0.0.0/8"])
    async with serving(settings) as app:
        await app({**scope, "client": ("10.0.0.1", 1)}, receive, send)
    assert sent[0]["status"] == status
    assert [asked.line for asked in house.asked("north")] == (["GET /Patient/123"] if status == 200 else [])
    assert house.asked("north2") == []


@pytest.mark.parametrize("kid", ["key-1", None])
async def test_keys_of_the_same_name_are_each_tenants_own(house: House, kid: str | None) -> None:
    """Two issuers of one name, whose keys have one name too, and what is known of the one token already."""
    north, south = (ScriptedIssuer("https://same.example.org", [make_key("RS256", kid, bits)]) for bits in (2048, 2049))
    for issuer, file in ((north, "north.json"), (south, "south.json")):
        (house.folder / file).write_text(json.dumps(issuer.jwks()))
    same = {"issuer": "https://same.example.org", "audiences": [SHARED]}
    tenants = [{**house.tenant(name), "issuers": [{**same, "jwks_file": f"{name}.json"}]} for name in BASES]
    async with serving(house.load(*tenants)) as app:
        for _ in range(2):
            for issuer, own, other in ((north, "north", "south"), (south, "south", "north")):
                headers = token(SHARED, issuer)
                assert (await ask(app, f"{BASES[own]}/Patient/123", headers)).status_code == 200
                assert (await ask(app, f"{BASES[other]}/Patient/123", headers)).status_code == 401


async def test_what_one_tenant_tells_its_server_of_who_asks_no_client_can_say_at_another(house: House) -> None:
    """The header's name is known at north alone, and so is the secret of its assertions."""
    says = {"headers": {"X-Who": "subject", "X-Patient": "patient"}}
    north = house.tenant("north", issuer_keys={"audiences": [SHARED]})
    north["upstream"] = {**north["upstream"], "identity_headers": says}
    headers = {**token(SHARED, NORTH), "x-who": "forged", "X_WHO": "forged", "x.who": "forged", "x-patient": "forged"}
    async with serving(house.load(north, house.tenant("south", NORTH, issuer_keys={"audiences": [SHARED]}))) as app:
        for name in BASES:
            assert (await ask(app, f"{BASES[name]}/Patient/123", headers)).status_code == 200
    told = {name: sorted(value for key, value in house.asked(name)[0].headers if "who" in key or key == "x-patient") for name in BASES}
    assert told == {"north": ["123", "subject-1"], "south": []}
