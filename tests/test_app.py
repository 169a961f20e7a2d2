"""The gateway as middleware and as a proxy app: lifespan, what it learns of the upstream, settings that are swapped."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import smart_gateway
from smart_gateway import SettingsError, SmartGateway, create_app, load_settings
from smart_gateway.admin.management import Management
from smart_gateway.app import Patterns
from smart_gateway.errors import UpstreamUnavailable
from smart_gateway.settings.model import Settings
from tests.support.asgi import FHIR, Reply, ScriptedUpstream
from tests.support.issuer import AUDIENCE, ScriptedIssuer, make_key, serve

STATEMENT = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "kind": "instance",
    "fhirVersion": "4.0.1",
    "format": ["json"],
    "rest": [{"mode": "server", "resource": [{"type": "Patient", "searchParam": [{"name": "family", "type": "string"}]}]}],
}
PATIENT = {"resourceType": "Patient", "id": "123"}
OTHER = {"resourceType": "Patient", "id": "456"}
ISSUER = ScriptedIssuer()
QUICK = Patterns(first=0.001, most=0.002, refresh=0.001)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(ISSUER.jwks()))
    return path


def settings(keys: Path, **sections: Any) -> Settings:
    sinks = {"audit": {"sinks": [{"file": str(keys.parent / "decisions.ndjson")}]}}
    made = {
        "server": {"public_url": AUDIENCE},
        "upstream": {"fhir_version": "R4", **sections.pop("upstream", {})},
        "issuers": sections.pop("issuers", [{"issuer": ISSUER.issuer, "jwks_file": str(keys)}]),
        "policy": {**sinks, **sections.pop("policy", {})},
    }
    return load_settings({**made, **sections}, environment={})


@pytest.fixture
def upstream() -> ScriptedUpstream:
    made = ScriptedUpstream(PATIENT, OTHER)
    made.replies["GET /metadata"] = Reply(200, STATEMENT)
    return made


def token(**claims: Any) -> str:
    return ISSUER.token(now=time.time(), **claims)


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://fhir.example.org")


def bearer(**claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {token(**claims)}"}


@asynccontextmanager
async def living(app: Any) -> AsyncIterator[list[str]]:
    """Runs the lifespan of ``app`` around the block; the messages that it sent."""
    told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    heard: asyncio.Queue[str] = asyncio.Queue()
    types: list[str] = []

    async def send(message: Any) -> None:
        types.append(message["type"])
        heard.put_nowait(message["type"])

    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, told.get, send))
    told.put_nowait({"type": "lifespan.startup"})
    assert await heard.get() == "lifespan.startup.complete"
    yield types
    told.put_nowait({"type": "lifespan.shutdown"})
    await task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # there is nothing to wait on but the state itself
            await asyncio.sleep(0.001)


async def test_middleware_enforces_at_its_mount_path(keys: Path, upstream: ScriptedUpstream) -> None:
    guarded = SmartGateway(upstream, settings=settings(keys))
    app = Starlette(routes=[Mount("/fhir", guarded)])
    async with client(app) as http:
        assert (await http.get("/fhir/Patient/123", headers=bearer(scope="patient/Patient.r"))).json() == PATIENT
        assert (await http.get("/fhir/Patient/456", headers=bearer(scope="patient/Patient.r"))).status_code == 404
        assert (await http.get("/fhir/Patient/123", headers=bearer(scope="patient/Observation.r"))).status_code == 403
        assert (await http.get("/fhir/Patient/123")).status_code == 401
    await guarded.aclose()
    assert len((keys.parent / "decisions.ndjson").read_text().splitlines()) == 4


async def test_what_the_upstream_says_of_itself_is_learned_at_the_first_request(keys: Path, upstream: ScriptedUpstream) -> None:
    guarded = SmartGateway(upstream, settings=settings(keys))
    assert guarded.snapshot.policy.capabilities.parameters is None
    async with client(Starlette(routes=[Mount("/fhir", guarded)])) as http:
        await http.get("/fhir/Patient/123")
    await until(lambda: guarded.snapshot.policy.capabilities.parameters is not None)
    parameters = guarded.snapshot.policy.capabilities.parameters
    assert parameters is not None
    assert "family" in parameters["Patient"]
    assert [asked.line for asked in upstream.asked] == ["GET /metadata"]
    await guarded.aclose()


async def test_an_upstream_that_says_nothing_is_asked_again(
    keys: Path, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    mute = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
    away = Reply(raises=UpstreamUnavailable("It is away."))
    replies = iter([Reply(500, b"x"), Reply(200, b"<xml/>", type="text/xml"), away, Reply(200, mute)])
    upstream.replies["GET /metadata"] = lambda _asked: next(replies, Reply(200, STATEMENT))
    guarded = SmartGateway(upstream, settings(keys), patterns=QUICK)
    with caplog.at_level(logging.INFO):
        async with client(guarded) as http:
            await http.get("/fhir/metadata")
        await until(lambda: guarded.snapshot.policy.capabilities.parameters is not None)
    assert "the release's tables stand in" in caplog.text
    known = guarded.snapshot.policy
    await until(lambda: len(upstream.asked) > 10)
    assert guarded.snapshot.policy is known  # the same statement again changes nothing, so that nothing cached is lost
    await guarded.aclose()


async def test_the_lifespan_of_the_app_below_goes_through(keys: Path, upstream: ScriptedUpstream) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        seen.append("begun")
        yield
        seen.append("ended")

    inner = Starlette(routes=[Mount("/", upstream)], lifespan=lifespan)
    guarded = SmartGateway(inner, settings(keys))
    async with living(guarded) as messages:
        assert seen == ["begun"]
        assert await guarded.ready()
        guarded.stop()
        assert not await guarded.ready()
    assert seen == ["begun", "ended"]
    assert messages == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_new_settings_count_for_the_next_request(keys: Path, upstream: ScriptedUpstream) -> None:
    guarded = SmartGateway(upstream, settings(keys), patterns=QUICK)
    async with client(guarded) as http:
        await http.get("/fhir/metadata")
        await until(lambda: guarded.snapshot.policy.capabilities.parameters is not None)
        assert (await http.get("/fhir/Patient/123", headers=bearer(scope="patient/Patient.r"))).status_code == 200
        old = guarded.snapshot
        guarded.adopt(settings(keys, policy={"clients": {"another": {}}}))
        assert (await http.get("/fhir/Patient/123", headers=bearer(scope="patient/Patient.r"))).status_code == 403
        assert guarded.snapshot.policy.capabilities == old.policy.capabilities
        assert guarded.snapshot.sealer.open(old.sealer.seal(b"x", b"", 0.0, b"n" * 12), b"", 1.0) == b"x"
    await guarded.aclose()


async def test_a_reload_during_an_outage_locks_nobody_out(keys: Path, upstream: ScriptedUpstream) -> None:
    with serve(ScriptedIssuer()) as issuer:
        choices = {"issuers": [{"issuer": issuer.issuer, "jwks_uri": issuer.jwks_uri}]}
        guarded = SmartGateway(upstream, settings(keys, **choices), patterns=QUICK)
        assert await guarded.ready()
        token = issuer.token(now=time.time(), scope="patient/Patient.r")
    async with client(guarded) as http:
        guarded.adopt(settings(keys, **choices, policy={"absent_and_forbidden": 403}))
        guarded.adopt(settings(keys, **choices, policy={"absent_and_forbidden": 404}))
        await asyncio.sleep(0)
        headers = {"authorization": f"Bearer {token}"}
        assert (await http.get("/fhir/Patient/123", headers=headers)).status_code == 200
        guarded.adopt(settings(keys, **choices, revocation={"jti": ["token-1"]}))
        assert (await http.get("/fhir/Patient/123", headers=headers)).status_code == 401
        guarded.adopt(settings(keys))  # the other issuer's keys are no longer anybody's
        assert (await http.get("/fhir/Patient/123", headers=headers)).status_code == 401
        assert (await http.get("/fhir/Patient/123", headers=bearer(scope="patient/Patient.r"))).status_code == 200
    await guarded.aclose()


async def test_a_key_that_left_its_file_is_gone_with_the_reload(keys: Path, upstream: ScriptedUpstream) -> None:
    def replace_keys() -> None:
        keys.write_text(json.dumps({"keys": [make_key("ES256", "another").jwk()]}))

    guarded = SmartGateway(upstream, settings(keys))
    async with client(guarded) as http:
        assert (await http.get("/fhir/Patient/123", headers=bearer(scope="patient/Patient.r"))).status_code == 200
        replace_keys()
        guarded.adopt(settings(keys))
        assert (await http.get("/fhir/Patient/123", headers=bearer(scope="patient/Patient.r"))).status_code == 401
    await guarded.aclose()


async def test_settings_that_cannot_be_built_change_nothing(keys: Path, upstream: ScriptedUpstream) -> None:
    guarded = SmartGateway(upstream, settings(keys))
    before = guarded.snapshot
    bad = settings(keys, policy={"audit": {"sinks": [{"file": str(keys.parent)}]}})
    with pytest.raises(IsADirectoryError):
        guarded.adopt(bad)
    assert guarded.snapshot is before
    await guarded.aclose()


async def test_a_dry_run_reaches_the_snapshot(keys: Path, upstream: ScriptedUpstream) -> None:
    guarded = SmartGateway(upstream, settings(keys), dry_run=True)
    assert guarded.snapshot.dry_run
    await guarded.aclose()


async def test_a_proxy_app_has_a_lifespan_of_its_own(keys: Path) -> None:
    app = create_app(settings(keys, upstream={"url": "http://127.0.0.1:9/fhir"}))
    async with living(app) as messages, client(app) as http:
        answer = await http.get("/fhir/Patient/123", headers=bearer(scope="patient/Patient.r"))
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (503, FHIR)
        app.adopt(settings(keys, upstream={"url": "http://127.0.0.1:10/fhir"}))
        assert app.snapshot.policy.bases.upstream == "http://127.0.0.1:10/fhir"
    assert messages == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not await app.ready()


def test_a_proxy_needs_somewhere_to_go(keys: Path) -> None:
    with pytest.raises(SettingsError, match=r"name no upstream\.url"):
        create_app(settings(keys))


def test_what_is_public_is_there() -> None:
    for name in smart_gateway.__all__:
        assert getattr(smart_gateway, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = smart_gateway.Nonsense


def test_a_decision_in_python(keys: Path) -> None:
    from smart_gateway.scopes.reading import read_scopes
    from smart_gateway.settings.building.policy import build_policy
    from tests.support.asking import ask

    policy = build_policy(settings(keys))
    principal = smart_gateway.Principal("i", scopes=read_scopes("patient/Patient.r", replacement=None, v1_write="cud"), patient="123")
    assert isinstance(smart_gateway.authorize(ask("GET", "/fhir/Patient/123"), principal, policy), smart_gateway.Permit)
    assert isinstance(smart_gateway.authorize(ask("GET", "/fhir/Observation/1"), principal, policy), smart_gateway.Deny)


async def _true() -> bool:
    return True


async def _false() -> bool:
    return False


async def _never() -> bool:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("method", "path", "ready", "status", "text"),
    [
        ("GET", "/livez", _false, 200, "alive\n"),
        ("GET", "/readyz", _true, 200, "ready\n"),
        ("HEAD", "/readyz", _true, 200, ""),
        ("GET", "/readyz", _false, 503, "not ready\n"),
        ("POST", "/readyz", _true, 405, "GET or HEAD\n"),
        ("GET", "/", _true, 404, "not here\n"),
        ("GET", "/fhir/metadata", _true, 404, "not here\n"),
        ("DELETE", "/healthz", _true, 404, "not here\n"),
    ],
)
async def test_management(method: str, path: str, ready: Any, status: int, text: str) -> None:
    async with client(Management(ready)) as http:
        answer = await http.request(method, path)
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers.get("allow") == ("GET, HEAD" if status == 405 else None)


async def test_a_probe_does_not_wait_for_an_issuer_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smart_gateway.admin.management._READY_WITHIN", 0.0)
    async with client(Management(_never)) as http:
        assert (await http.get("/readyz")).status_code == 503
