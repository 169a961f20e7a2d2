"""A real Redis between gateways: what one has asked about, the others know; and what becomes of them while it is away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smart_gateway.tokens.redis_cache import RedisCache, RedisConfig
from smart_gateway.tokens.shared_cache import Kept
from smart_gateway.tokens.transport import Received
from tests.integration.app import MakeApp, refused
from tests.integration.servers import realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.redis import RedisServer, has_redis, start_redis
from tests.support.issuer import Posted, ScriptedIssuer, json_answer, serve

SEAL = "0123456789012345678901234567890123456789"


@pytest.fixture(scope="module")
def redis(work: Path) -> Iterator[RedisServer]:
    if not has_redis():
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail("CI must run these tests, and this machine has no redis-server")
        pytest.skip("needs redis-server (Debian package redis-server)")
    server = start_redis(work)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def running(redis: RedisServer) -> RedisServer:
    """The server, running and empty."""
    if redis.running is None:
        redis.start()
    redis.say("FLUSHALL")
    return redis


@pytest.fixture(scope="module")
def issuer() -> Iterator[ScriptedIssuer]:
    """Calls every token active that names its patient."""

    def judged(posted: Posted) -> Received:
        token = posted.form["token"]
        if not token.startswith("token-of-"):
            return json_answer({"active": False})
        said = {"active": True, "scope": "patient/*.rs", "aud": realm.AUDIENCE, "exp": int(time.time()) + 3600}
        return json_answer({**said, "patient": token.removeprefix("token-of-").partition("~")[0]})

    with serve(ScriptedIssuer()) as made:
        made.endpoints["/introspect"] = judged
        yield made


@pytest.fixture(scope="module")
def replicas(gateways: StartGateway, hapi: Hapi, redis: RedisServer, issuer: ScriptedIssuer, work: Path) -> list[Gateway]:
    """Two gateways with the same settings but for their addresses."""
    (work / "redis.url").write_text(redis.url)
    asking = {"client_id": "gateway", "client_secret": "test-only", "url": f"{issuer.issuer}/introspect"}
    settings = {
        "server": {
            "sealing": {"keys": [SEAL]},
            "shared_cache": {"redis": {"url": {"from_file": str(work / "redis.url")}, "timeout": "2s"}},
        },
        "upstream": {"url": hapi.base, "fhir_version": "R4"},
        "issuers": [{"issuer": issuer.issuer, "mode": "introspection", "audiences": [realm.AUDIENCE], "introspection": asking}],
    }
    return [gateways(settings), gateways(settings)]


def questions(issuer: ScriptedIssuer, token: str) -> int:
    return sum(posted.form["token"] == token for posted in issuer.posted)


def test_what_one_replica_has_asked_the_other_knows(
    running: RedisServer, replicas: list[Gateway], issuer: ScriptedIssuer, app: MakeApp
) -> None:
    for at in replicas:
        for _ in range(2):
            assert app("token-of-pat-a~1", sees="a", at=at).get("/Patient/pat-a").status_code == 200
            refused(app("nobody~1", at=at).get("/Patient/pat-a"), 401, "inactive")
    assert (questions(issuer, "token-of-pat-a~1"), questions(issuer, "nobody~1")) == (1, 1)


def test_redis_holds_neither_tokens_nor_what_is_said_of_them(running: RedisServer, replicas: list[Gateway], app: MakeApp) -> None:
    assert app("token-of-pat-a~2", sees="a", at=replicas[0]).get("/Patient/pat-a").status_code == 200
    (key,) = [line for line in running.say("KEYS *").splitlines() if line.startswith(b"smart-gateway:introspection:")]
    held = running.say(f"GET {key.decode()}", f"PTTL {key.decode()}")
    assert len(held) > 100
    for word in (b"pat-a", b"token-of", b"active", b"patient"):
        assert word not in held + key
    remaining = int(held.splitlines()[-2].removeprefix(b":"))
    assert 0 < remaining <= 30_000


def test_who_writes_to_redis_forges_nothing(running: RedisServer, replicas: list[Gateway], issuer: ScriptedIssuer, app: MakeApp) -> None:
    assert app("token-of-pat-a~3", sees="a", at=replicas[0]).get("/Patient/pat-a").status_code == 200
    (key,) = [line.decode() for line in running.say("KEYS *").splitlines() if line.startswith(b"smart-gateway:introspection:")]
    forged = '{"active":true,"scope":"system/*.cruds"}'
    running.say(f"SET {key} '{forged}' PX 30000")
    assert app("token-of-pat-a~3", sees="a", at=replicas[1]).get("/Patient/pat-a").status_code == 200
    refused(app("token-of-pat-a~3", at=replicas[1]).get("/Patient/pat-b"), 404)
    assert questions(issuer, "token-of-pat-a~3") == 2, "what cannot be opened is asked for"


def test_while_redis_is_away_each_replica_goes_by_itself_and_then_on_together(
    running: RedisServer, replicas: list[Gateway], issuer: ScriptedIssuer, app: MakeApp
) -> None:
    running.stop()
    for at in replicas:
        for _ in range(3):
            assert app("token-of-pat-a~4", sees="a", at=at).get("/Patient/pat-a").status_code == 200
    assert questions(issuer, "token-of-pat-a~4") == 2, "each asked once"
    assert [at.messages().count("Redis is away") for at in replicas] == [1, 1]
    assert all(running.password not in at.messages() for at in replicas)
    running.start()
    deadline = time.monotonic() + 60
    for number in range(1000):
        token = f"token-of-pat-a~5-{number}"
        for at in replicas:
            assert app(token, sees="a", at=at).get("/Patient/pat-a").status_code == 200
        if questions(issuer, token) == 1 or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert questions(issuer, token) == 1
    assert all("Redis is there again" in at.messages() for at in replicas)


async def test_what_happens_once_happens_once_for_all(running: RedisServer) -> None:
    config = RedisConfig(running.url, 2.0, "once:", (SEAL.encode(),))
    caches = [RedisCache(config) for _ in range(3)]
    now = time.time()
    news = [await cache.add_once("dpop:proof", 60.0, now) for cache in caches for _ in range(2)]
    assert news == [True, False, False, False, False, False]
    await caches[0].put("a", b"value", 30.0, now)
    found = await caches[1].get("a", now)
    assert isinstance(found, Kept)
    assert (found.value, 0 < found.remaining <= 30) == (b"value", True)
    for cache in caches:
        await cache.aclose()


async def test_a_wrong_password_is_redis_away(running: RedisServer) -> None:
    config = RedisConfig(running.url.replace("redis-pass", "wrong"), 2.0, "x:", (SEAL.encode(),))
    cache = RedisCache(config)
    assert await cache.add_once("a", 60.0, time.time())
    assert cache.outages == 1
    assert not await cache.answers()
    await cache.aclose()


def test_secrets_in_the_open_are_warned_about_and_not_repeated(replicas: list[Gateway]) -> None:
    for at in replicas:
        assert "a secret in the open" in at.messages()
        assert SEAL not in at.messages()
