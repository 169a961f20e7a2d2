"""What processes know together: local, and in Redis that is away, slow, broken or in somebody else's hands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from smart_gateway.tokens.redis_cache import RedisCache, RedisConfig
from smart_gateway.tokens.shared_cache import Kept, LocalCache

KEY = (b"k" * 32,)


async def test_a_value_counts_for_its_time() -> None:
    cache = LocalCache()
    await cache.put("a", b"1", 30.0, 100.0)
    assert await cache.get("a", 100.0) == Kept(b"1", 30.0)
    assert await cache.get("a", 129.0) == Kept(b"1", 1.0)
    assert await cache.get("a", 130.0) is None
    assert await cache.get("a", 129.0) is None, "it has gone"
    assert await cache.get("b", 100.0) is None
    await cache.put("a", b"1", 30.0, 100.0)
    assert await cache.get("a", 99.0) is None, "the clock was set back"


async def test_the_least_used_values_leave_first() -> None:
    cache = LocalCache(size=2)
    for key in ("a", "b"):
        await cache.put(key, key.encode(), 30.0, 0.0)
    await cache.get("a", 1.0)
    await cache.put("c", b"c", 30.0, 1.0)
    assert [await cache.get(key, 1.0) is not None for key in ("a", "b", "c")] == [True, False, True]


async def test_a_key_is_new_once_within_its_time() -> None:
    cache = LocalCache()
    assert [await cache.add_once("a", 10.0, now) for now in (0.0, 0.0, 9.9, 10.0, 10.1)] == [True, False, False, True, False]
    assert await cache.add_once("b", 10.0, 0.0)


async def test_a_key_is_never_forgotten_for_want_of_room() -> None:
    """Else whoever sends many would make room for a replay."""
    cache = LocalCache(most_once=3)
    assert [await cache.add_once(key, 10.0 + number, 0.0) for number, key in enumerate("abcde")] == [True, True, True, False, False]
    assert not await cache.add_once("a", 10.0, 9.0)
    assert [await cache.add_once(key, 10.0, 10.0) for key in ("f", "g")] == [True, False]
    await cache.aclose()


# Redis.


class Stub:
    """A Redis that gives the answers of a script, one for each command, and keeps the commands."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []
        self.store: dict[bytes, bytes] = {}
        self.remaining = 30_000
        self.mode = "well"
        self.port = 0
        self.serving: set[asyncio.Task[Any]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            while line := await reader.readline():
                words = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                if self.mode == "hung":
                    await asyncio.Event().wait()
                writer.write(self.answer(words))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, words: list[bytes]) -> bytes:
        name = words[0].upper()
        if name in {b"HELLO", b"CLIENT"}:
            return b"-ERR unknown command\r\n" if name == b"HELLO" else b"+OK\r\n"
        self.commands.append(words)
        if self.mode == "nonsense":
            return b"!\x00nonsense\r\n"
        if self.mode == "refusing":
            return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        if name == b"GET":
            value = self.store.get(words[1])
            return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
        if name == b"PTTL":
            return b":%d\r\n" % (self.remaining if words[1] in self.store else -2)
        if b"NX" in words and words[1] in self.store:
            return b"$-1\r\n"
        self.store[words[1]] = words[2]
        return b"+OK\r\n"


@asynccontextmanager
async def redis(**options: Any) -> AsyncIterator[tuple[Stub, RedisCache]]:
    """A cache in a stub; ``clock`` of its breaker is given by the test."""
    stub = Stub()
    server = await asyncio.start_server(stub, "127.0.0.1", 0)
    stub.port = server.sockets[0].getsockname()[1]
    cache = at(stub.port, **options)
    try:
        yield stub, cache
    finally:
        await cache.aclose()
        server.close()
        for task in stub.serving:
            task.cancel()
        await asyncio.gather(*stub.serving)


def at(port: int, keys: tuple[bytes, ...] = KEY, timeout: float = 5.0, **options: Any) -> RedisCache:
    return RedisCache(RedisConfig(f"redis://127.0.0.1:{port}/0?protocol=2", timeout, "gw:", keys), **options)


async def test_another_process_reads_what_one_wrote_for_the_time_that_redis_says() -> None:
    async with redis() as (stub, one):
        two = at(stub.port)
        await one.put("introspection:abc", b'{"active": true}', 30.0, 100.0)
        (sealed,) = stub.store.values()
        assert b"active" not in sealed
        assert list(stub.store) == [b"gw:introspection:abc"]
        assert stub.commands[0][3:] == [b"PX", b"30000"]
        stub.remaining = 12_500
        assert await two.get("introspection:abc", 110.0) == Kept(b'{"active": true}', 12.5)
        assert await two.get("introspection:other", 110.0) is None
        assert await one.get("introspection:abc", 110.0) == Kept(b'{"active": true}', 20.0), "its own memory"
        await two.aclose()


async def test_what_somebody_else_wrote_is_nothing() -> None:
    async with redis() as (stub, one):
        await one.put("a", b"mine", 30.0, 100.0)
        sealed = stub.store[b"gw:a"]
        stranger, reader = at(stub.port, (b"s" * 32,)), at(stub.port)
        await stranger.put("b", b"forged", 30.0, 100.0)
        for key, value in {"c": b"", "d": b"forged", "e": b"null", "f": sealed, "g": sealed[:-1], "h": b"x" * 3_000_000}.items():
            stub.store[f"gw:{key}".encode()] = value
        assert [await reader.get(key, 100.0) for key in "bcdefgh"] == [None] * 7, "also what stood under another key"
        assert await reader.get("a", 100.0) == Kept(b"mine", 30.0)
        await stranger.aclose()
        await reader.aclose()


async def test_what_has_no_time_or_whose_time_is_over_is_nothing_whatever_redis_says() -> None:
    async with redis() as (stub, one):
        await one.put("a", b"mine", 30.0, 100.0)
        reader = at(stub.port)
        for remaining in (-1, -2, 0):
            stub.remaining = remaining
            assert await reader.get("a", 100.0) is None
        stub.remaining = 3_600_000
        assert await reader.get("a", 131.0) is None, "the seal has its own time"
        await reader.aclose()


async def test_a_key_that_one_process_added_is_not_new_to_another() -> None:
    async with redis() as (stub, one):
        two = at(stub.port)
        assert await one.add_once("dpop:1", 60.0, 100.0)
        assert not await two.add_once("dpop:1", 60.0, 100.0)
        assert not await one.add_once("dpop:1", 60.0, 101.0)
        assert len(stub.commands) == 2, "what a process knows itself it does not ask for"
        assert stub.commands[0][:3] == [b"SET", b"gw:dpop:1", b"1"]
        assert set(stub.commands[0][3:]) == {b"PX", b"60000", b"NX"}
        stub.store.clear()
        assert not await one.add_once("dpop:1", 60.0, 101.0), "whatever Redis has forgotten"
        await two.aclose()


@pytest.mark.parametrize("mode", ["hung", "nonsense", "refusing"])
async def test_while_redis_fails_each_process_goes_by_itself(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    async with redis(timeout=0.05 if mode == "hung" else 5.0, clock=lambda: now[0]) as (stub, cache):
        stub.mode = mode
        with caplog.at_level(logging.WARNING):
            await cache.put("a", b"1", 30.0, 100.0)
            assert await cache.get("a", 101.0) == Kept(b"1", 29.0)
            assert await cache.get("b", 101.0) is None
            assert [await cache.add_once("c", 30.0, 100.0) for _ in range(2)] == [True, False]
        assert [record.getMessage()[:13] for record in caplog.records] == ["Redis is away"]
        assert cache.outages == 3
        assert len(stub.commands) <= 1, "it is left alone for a while"


async def test_redis_that_is_there_again_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    async with redis(clock=lambda: now[0]) as (stub, cache):
        stub.mode = "refusing"
        await cache.put("a", b"1", 30.0, 100.0)
        stub.mode = "well"
        await cache.put("b", b"1", 30.0, 100.0)
        assert stub.store == {}
        now[0] = 1.0
        await cache.put("c", b"1", 30.0, 100.0)
        assert list(stub.store) == [b"gw:c"]
        assert [record.getMessage()[:20] for record in caplog.records] == ["Redis is away (OutOf", "Redis is there again"]
        assert cache.outages == 2


async def test_redis_that_is_not_there_at_all() -> None:
    server = await asyncio.start_server(Stub(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    cache = at(port)
    assert await cache.add_once("a", 30.0, 100.0)
    assert not await cache.add_once("a", 30.0, 100.0)
    await cache.aclose()


def test_neither_password_nor_keys_are_shown() -> None:
    config = RedisConfig("redis://:pw@127.0.0.1/0", 0.2, "gw:", (b"secret" * 8,))
    assert "pw" not in repr(config)
    assert "secret" not in repr(config)
