"""Several gateways behind one dispatcher: nothing of one tenant is of use at another, and all change together or none does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from smart_gateway import SettingsError, SmartGateway, Tenants, create_app
from smart_gateway.admin.management import Management
from smart_gateway.settings.reloading import Reloader, SettingsFile
from tests.support.asgi import Reply
from tests.support.house import BASES, CALM, NORTH, SHARED, SOUTH, House, Lines, ask, built, serving, token
from tests.support.issuer import ScriptedIssuer


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return built(tmp_path, monkeypatch)


async def test_each_tenant_is_asked_by_its_own_address_with_its_own_tokens(house: House) -> None:
    async with serving(house.load(house.tenant("north"), house.tenant("south"))) as app:
        for name, issuer in (("north", NORTH), ("south", SOUTH)):
            answer = await ask(app, f"{BASES[name]}/Patient/123", token(BASES[name], issuer))
            assert answer.status_code == 200
            assert answer.json()["name"] == [{"family": f"of-{name}"}]
            assert [asked.line for asked in house.asked(name)] == ["GET /Patient/123"]
    assert [(event["instance"], event["status"]) for name in BASES for event in house.events(name)] == [("north", 200), ("south", 200)]


@pytest.mark.parametrize("audience", [*BASES.values(), SHARED])
@pytest.mark.parametrize("issuer", [NORTH, SOUTH], ids=["north", "south"])
async def test_a_token_of_one_tenant_is_nothing_at_the_other(house: House, issuer: ScriptedIssuer, audience: str) -> None:
    """Whether its own issuer says that it is for the other, or the audience of both is the same; seen before or not."""
    known = {"audiences": [SHARED, *BASES.values()]}
    home, other = ("north", "south") if issuer is NORTH else ("south", "north")
    async with serving(house.load(house.tenant("north", issuer_keys=known), house.tenant("south", issuer_keys=dict(known)))) as app:
        headers = token(audience, issuer)
        assert (await ask(app, f"{BASES[home]}/Patient/123", headers)).status_code == 200
        answer = await ask(app, f"{BASES[other]}/Patient/123", headers)
        assert answer.status_code == 401
        assert f'realm="{BASES[other]}"' in answer.headers["www-authenticate"]
        assert BASES[home] not in answer.text + str(answer.headers)
    assert house.asked(other) == []


async def test_a_token_for_one_base_is_nothing_at_another_of_the_same_issuer(house: House) -> None:
    async with serving(house.load(house.tenant("north"), house.tenant("north2"))) as app:
        headers = token(BASES["north"], NORTH)
        assert (await ask(app, f"{BASES['north']}/Patient/123", headers)).status_code == 200
        assert (await ask(app, f"{BASES['north']}2/Patient/123", headers)).status_code == 401
    assert house.asked("north2") == []


async def test_where_a_token_counts_at_both_each_judges_it_by_its_own_policy(house: House) -> None:
    both = {"issuer_keys": {"audiences": [SHARED]}}
    closed = {"policy": {"clients": {"growth-chart": {"limit": ["patient/Observation.rs"]}}}}
    settings = house.load(house.tenant("north", **both), house.tenant("south", NORTH, issuer_keys={"audiences": [SHARED]}, **closed))
    async with serving(settings) as app:
        headers = token(SHARED, NORTH)
        statuses = [(await ask(app, f"{BASES[name]}/Patient/123", headers)).status_code for name in ("north", "south", "north", "south")]
        assert statuses == [200, 403, 200, 403]


async def test_a_page_of_one_tenant_opens_at_no_other(house: House) -> None:
    """The same key, the same token, the same issuer and audience: all that could be the same."""
    settings = house.load(
        house.tenant("north", issuer_keys={"audiences": [SHARED]}), house.tenant("south", NORTH, issuer_keys={"audiences": [SHARED]})
    )
    async with serving(settings) as app:
        headers = token(SHARED, NORTH)
        links = {}
        for name, base in BASES.items():
            answer = await ask(app, f"{base}/Patient", headers)
            assert answer.status_code == 200, answer.text
            (links[name],) = [link["url"] for link in answer.json()["link"] if link["relation"] == "next"]
            assert links[name].startswith(base)
        for name, other in (("north", "south"), ("south", "north")):
            before = len(house.asked(other))
            foreign = links[name].replace(BASES[name], BASES[other])
            refused = await ask(app, foreign, headers)
            assert refused.status_code == 403
            assert "invalid-page" in refused.text or "not given to this token" in refused.text
            assert len(house.asked(other)) == before
            house.servers[name].replies["GET "] = Reply(200, {"resourceType": "Bundle", "type": "searchset"})
            house.servers[name].replies["GET /"] = Reply(200, {"resourceType": "Bundle", "type": "searchset"})
            assert (await ask(app, links[name], headers)).status_code == 200


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("https://fhir.example.org/fhir/nowhere/Patient/123", {}),
        ("https://fhir.example.org/fhir/Patient/123", {}),
        ("https://fhir.example.org/fhir/north10/Patient/123", {}),
        ("https://fhir.example.org/fhir/NORTH/Patient/123", {}),
        ("https://fhir.example.org/", {}),
        ("https://elsewhere.example.org/fhir/Patient/123", {}),
        ("https://south.example.org.evil.example/fhir/Patient/123", {}),
        ("https://fhir.example.org/fhir/Patient/123", {"x-forwarded-host": "south.example.org"}),
        ("https://fhir.example.org/.well-known/oauth-protected-resource", {}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_what_is_nobodys_is_told_nothing(house: House, url: str, headers: dict[str, str], method: str) -> None:
    sink = Lines()
    async with serving(house.load(house.tenant("north"), house.tenant("south")), sink) as app:
        answer = await ask(app, url, {**token(BASES["north"], NORTH), "origin": "https://app.example", **headers}, method)
    assert answer.status_code == 404
    own = {"content-type", "content-length", "cache-control", "x-content-type-options", "x-request-id"}
    assert set(answer.headers) == own
    assert "www-authenticate" not in answer.headers
    if method == "HEAD":
        assert answer.content == b""
    else:
        assert not [word for word in ("north", "south", "fhir.example") if word in answer.text]
    (event,) = [json.loads(line) for line in sink]
    assert (event["code"], event["status"], event["instance"], event["address"]) == ("unknown-tenant", 404, None, "192.0.2.7")
    assert (event["request_id"], event["method"]) == (answer.headers["x-request-id"], method)
    assert (house.events("north"), house.events("south")) == ([], [])


@pytest.mark.parametrize(
    "rest", ["/../north2/Patient/1", "/%2e%2e/north2/Patient/1", "/..%2fnorth2/Patient", "//north2/Patient", "/;/Patient"]
)
async def test_what_leads_out_of_a_prefix_is_refused_by_the_tenant(house: House, rest: str) -> None:
    raw = f"/fhir/north{rest}".encode()
    sent: list[Any] = []
    headers = [(b"host", b"fhir.example.org"), *((k.encode(), v.encode()) for k, v in token(BASES["north"], NORTH).items())]
    scope = {
        "type": "http",
        "method": "GET",
        "path": raw.decode(),
        "raw_path": raw,
        "query_string": b"",
        "headers": headers,
        "client": None,
    }

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with serving(house.load(house.tenant("north"), house.tenant("north2"))) as app:
        await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert [event["instance"] for event in house.events("north")] == ["north"]
    assert (house.asked("north"), house.asked("north2")) == ([], [])


async def test_a_trusted_proxy_names_the_host(house: House) -> None:
    settings = house.load(house.tenant("north"), house.tenant("south"), trusted_proxies=["10.1.0.0/16"])
    async with serving(settings) as app:
        headers = {**token(BASES["south"], SOUTH), "x-forwarded-host": "South.example.org:443"}
        asked = "http://gateway.internal:8080/fhir/Patient/123"
        assert (await ask(app, asked, headers, client="10.1.2.3")).status_code == 200
        assert (await ask(app, asked, headers, client="10.2.2.3")).status_code == 404


async def test_discovery_is_each_tenants(house: House) -> None:
    async with serving(house.load(house.tenant("north"), house.tenant("south"))) as app:
        for name, issuer in (("north", NORTH), ("south", SOUTH)):
            host, _, path = BASES[name].removeprefix("https://").partition("/")
            said = (await ask(app, f"https://{host}/.well-known/oauth-protected-resource/{path}")).json()
            assert (said["resource"], said["authorization_servers"]) == (BASES[name], [issuer.issuer])


def other_upstream(house: House, name: str) -> dict[str, Any]:
    return {**house.tenant(name), "upstream": {"url": f"http://127.0.0.1:9/{name}-moved", "fhir_version": "R4"}}


async def test_tenants_come_and_go_and_change(house: House) -> None:
    async with serving(house.load(house.tenant("north"), house.tenant("south"))) as app:
        north = app.named("north")
        headers = {name: token(BASES[name], issuer) for name, issuer in (("north", NORTH), ("south", SOUTH))}
        app.adopt(house.load(other_upstream(house, "north"), house.tenant("third")))
        assert app.named("north") is north
        changed = await ask(app, f"{BASES['north']}/Patient/123", headers["north"])
        assert changed.json()["name"] == [{"family": "of-north-moved"}]
        third = "https://fhir.example.org/fhir/third"
        assert (await ask(app, f"{third}/Patient/123", token(third, NORTH))).status_code == 200
        gone = await ask(app, f"{BASES['south']}/Patient/123", headers["south"])
        assert (gone.status_code, gone.json()["issue"][0]["details"]["text"]) == (404, "There is nothing here.")
        assert app.named("south") is None
        app.adopt(house.load(house.tenant("south")))
        assert (await ask(app, f"{BASES['south']}/Patient/123", headers["south"])).status_code == 200


async def test_where_one_tenant_cannot_be_built_all_stay_as_they_are(house: House) -> None:
    async with serving(house.load(house.tenant("north"), house.tenant("south"))) as app:
        snapshots = {name: app.named(name).snapshot for name in BASES}  # type: ignore[union-attr]
        broken = house.load(other_upstream(house, "north"), house.tenant("third"), house.tenant("south", policy={"limits": {"entries": 3}}))
        (house.folder / "south.ndjson").unlink(missing_ok=True)
        (house.folder / "south.ndjson").mkdir()
        with pytest.raises(SettingsError, match="tenant south"):
            app.adopt(broken)
        assert {name: app.named(name).snapshot for name in BASES} == snapshots  # type: ignore[union-attr]
        assert app.named("third") is None
        answer = await ask(app, f"{BASES['north']}/Patient/123", token(BASES["north"], NORTH))
        assert answer.json()["name"] == [{"family": "of-north"}]


async def test_a_broken_file_of_one_tenant_refuses_the_reload_and_names_it(house: House, caplog: pytest.LogCaptureFixture) -> None:
    (house.folder / "north.yaml").write_text("limits: {entries: 5}\n")
    house.write({**house.tenant("north"), "policy": "north.yaml"}, house.tenant("south"))
    file = SettingsFile(house.file, {})
    settings, _ = file.read()
    async with serving(settings) as app:
        reloader = Reloader(file, settings, app.adopt)
        (house.folder / "north.yaml").write_text("\nlimits: {entrys: 6}\n")
        house.write({**house.tenant("north"), "policy": "north.yaml"}, house.tenant("south", policy={"limits": {"entries": 7}}))
        assert file.changed()
        assert not await reloader.reload()
        assert f"{house.folder}/north.yaml:2:10: error: tenant north: tenants[0].policy.limits.entrys: unknown key" in caplog.text
        assert [app.named(name).snapshot.limits.entries for name in BASES] == [5, 1000]  # type: ignore[union-attr]
        (house.folder / "north.yaml").write_text("limits: {entries: 6}\n")
        assert await reloader.reload()
        assert [app.named(name).snapshot.limits.entries for name in BASES] == [6, 7]  # type: ignore[union-attr]


async def test_reloads_under_load_give_no_answer_of_another(house: House) -> None:
    """Clients of three tenants ask on and on while tenants move, come and go: right, or 404 while theirs is not there."""
    states = [
        house.load(house.tenant("north"), house.tenant("south"), house.tenant("third")),
        house.load(house.tenant("south"), house.tenant("north")),
        house.load(house.tenant("third"), house.tenant("north", policy={"limits": {"entries": 9}})),
    ]
    third = "https://fhir.example.org/fhir/third"
    asked = {"north": (BASES["north"], NORTH), "south": (BASES["south"], SOUTH), "third": (third, NORTH)}
    seen: dict[str, set[int]] = {name: set() for name in asked}
    async with serving(states[0]) as app:
        ended = asyncio.Event()

        async def client(name: str) -> None:
            base, issuer = asked[name]
            headers = token(base, issuer)
            while not ended.is_set():
                await asyncio.sleep(0)  # a 404 waits for nothing
                answer = await ask(app, f"{base}/Patient/123", headers)
                seen[name].add(answer.status_code)
                assert answer.status_code in {200, 404}
                assert answer.status_code == 404 or answer.json()["name"] == [{"family": f"of-{name}"}]

        async with asyncio.TaskGroup() as tasks:
            for name in asked:
                tasks.create_task(client(name))
            for turn in range(6):
                app.adopt(states[turn % len(states)])
                for _ in range(20):
                    await asyncio.sleep(0)
            app.adopt(states[0])
            for _ in range(100):
                await asyncio.sleep(0)
            ended.set()
    assert seen["north"] == {200}


async def test_readiness_is_each_tenants_and_one_suffices(house: House) -> None:
    down = {**house.tenant("south"), "issuers": [{"issuer": "http://127.0.0.1:9/nobody"}]}
    async with serving(house.load(house.tenant("north"), down)) as app:
        management = Management(app.ready, named=app.named)
        paths = ("/readyz", "/readyz/north", "/readyz/south", "/readyz/other", "/readyz/", "/livez")
        assert [(await ask(management, f"http://m{path}")).status_code for path in paths] == [200, 200, 503, 404, 404, 200]
        app.stop()
        assert (await ask(management, "http://m/readyz")).status_code == 503


async def test_the_lifespan_starts_and_ends_all(house: House) -> None:
    app = Tenants(house.load(house.tenant("north"), house.tenant("south")), patterns=CALM, sink=Lines())
    incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> Any:
        await asyncio.sleep(0.01)
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert all(any(asked.path == "/metadata" for asked in house.servers[name].asked) for name in BASES)


async def test_a_tenant_is_not_at_a_listener_that_it_does_not_name(house: House) -> None:
    listeners = [{"name": "inner", "listen": "127.0.0.1:1"}, {"name": "outer", "listen": "127.0.0.1:2"}]
    settings = house.load(house.tenant("north", listeners=[{"name": "inner"}]), house.tenant("south"), listeners=listeners)
    async with serving(settings) as app:

        def at(name: str) -> Any:
            return lambda scope, receive, send: app({**scope, "smart_gateway.listener": name}, receive, send)

        headers = token(BASES["north"], NORTH)
        assert (await ask(at("inner"), f"{BASES['north']}/Patient/123", headers)).status_code == 200
        hidden = await ask(at("outer"), f"{BASES['north']}/Patient/123", headers)
        assert (hidden.status_code, hidden.json()["issue"][0]["details"]["text"]) == (404, "There is nothing here.")
        assert (await ask(at("outer"), f"{BASES['north']}/metadata")).status_code == 404
        assert (await ask(at("outer"), f"{BASES['south']}/Patient/123", token(BASES["south"], SOUTH))).status_code == 200


async def test_the_widest_limits_hold_at_the_edge_and_each_tenants_own_behind_it(house: House) -> None:
    settings = house.load(
        house.tenant("north", policy={"limits": {"url": "100B"}}), house.tenant("south", policy={"limits": {"url": "16KiB"}})
    )
    async with serving(settings) as app:
        assert app.threshold.limits.url == 16 * 1024
        long = f"{BASES['north']}/Patient?name={'x' * 100}"
        assert (await ask(app, long, token(BASES["north"], NORTH))).status_code == 414


async def test_settings_of_tenants_make_no_single_gateway(house: House) -> None:
    settings = house.load(house.tenant("north"), house.tenant("south"))
    several, one = create_app(settings), create_app(settings.of("north"))
    assert isinstance(several, Tenants)
    assert isinstance(one, SmartGateway)
    await several.aclose()
    await one.aclose()
    with pytest.raises(SettingsError, match="of several tenants"):
        SmartGateway(None, settings)


async def test_to_begin_with_tenants_or_to_end_with_them_takes_a_start(house: House) -> None:
    settings = house.load(house.tenant("north"))
    async with serving(settings) as app:
        with pytest.raises(SettingsError, match="next start"):
            app.adopt(settings.of("north"))
    single = SmartGateway(None, settings.of("north"), patterns=CALM)
    with pytest.raises(SettingsError, match="next start"):
        single.adopt(settings)
    await single.aclose()


async def test_websockets_are_closed(house: House) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with serving(house.load(house.tenant("north"))) as app:
        await app({"type": "websocket"}, receive, send)
        with pytest.raises(RuntimeError):
            await app({"type": "other"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]
