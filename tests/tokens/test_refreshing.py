"""Kept values: single flight, bounded stale use, backoff."""

from __future__ import annotations

import asyncio
import logging

import pytest

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.tokens.breaker import Breaker
from smart_gateway.tokens.refreshing import Freshness, Refreshed

FRESHNESS = Freshness(ttl=100, stale=1000, pause=10, backoff=1, backoff_most=8)


class Source:
    """Counts; gives the count; fails with ``error`` when set; waits for ``gate`` when set."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def load(self, now: float) -> int:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.asked


DOWN = DependencyUnavailable("down")


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def value(source: Source) -> Refreshed[int]:
    return Refreshed("the value", source.load, FRESHNESS)


async def unavailable(value: Refreshed[int], now: float) -> int:
    """The seconds after which a refused request may come again."""
    with pytest.raises(DependencyUnavailable) as refused:
        await value.get(now)
    assert refused.value.status == 503
    assert refused.value.retry_after is not None
    return refused.value.retry_after


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_kept_for_its_ttl_then_renewed(value: Refreshed[int], source: Source) -> None:
    assert [await value.get(now) for now in (0, 1, 99.9)] == [1, 1, 1]
    assert await value.get(100) == 2
    assert source.asked == 2


async def test_a_clock_set_back_keeps_nothing_longer(value: Refreshed[int]) -> None:
    assert await value.get(1000) == 1
    assert await value.get(950) == 1
    assert await value.get(900) == 2


async def test_two_hundred_at_once_ask_once(value: Refreshed[int], source: Source) -> None:
    assert await asyncio.gather(*(value.get(0) for _ in range(200))) == [1] * 200
    assert source.asked == 1


async def test_nothing_kept_and_failing_is_503_with_growing_backoff(value: Refreshed[int], source: Source) -> None:
    source.error = DOWN
    waits, asked, now = [], [], 0.0
    for _ in range(6):
        waits.append(await unavailable(value, now))
        asked.append(source.asked)
        assert await unavailable(value, now + waits[-1] - 0.01) >= 1
        assert source.asked == asked[-1]
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 8, 8]
    assert asked == [1, 2, 3, 4, 5, 6]
    source.error = None
    assert await value.get(now) == 7
    source.error = DOWN
    assert await value.get(now + 100) == 7
    assert await unavailable(Refreshed("x", source.load, FRESHNESS), 0) == 1


def test_after_a_hundred_thousand_failures_the_backoff_still_has_a_number() -> None:
    breaker = Breaker(backoff=2.0, most=8.0)
    for count in range(100_000):
        breaker.failed(8.0 * count)
    assert breaker.wait(8.0 * 99_999 + 1) == 7.0


async def test_stale_serves_for_its_time_and_no_longer(value: Refreshed[int], source: Source) -> None:
    await value.get(0)
    source.error = DOWN
    assert [await value.get(now) for now in (100, 500, 1099)] == [1, 1, 1]
    assert await unavailable(value, 1100) >= 1
    source.error = None
    assert await value.get(1200) == source.asked


async def test_an_outage_does_not_cause_a_fetch_per_request(value: Refreshed[int], source: Source) -> None:
    await value.get(0)
    source.error = DOWN
    for tick in range(200):
        assert await value.get(100 + tick / 1000) == 1
        await settle()
    assert source.asked == 2


async def test_in_a_known_outage_nobody_waits_while_the_old_value_serves(value: Refreshed[int], source: Source) -> None:
    await value.get(0)
    source.error = DOWN
    await value.get(100)
    source.error, source.gate = None, asyncio.Event()
    assert await asyncio.wait_for(value.get(110), 1) == 1
    await settle()
    assert source.asked == 3
    source.gate.set()
    await settle()
    assert await value.get(111) == 3


async def test_a_cancelled_waiter_does_not_cancel_the_fetch(value: Refreshed[int], source: Source) -> None:
    source.gate = asyncio.Event()
    first, second = (asyncio.create_task(value.get(0)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    source.gate.set()
    assert await second == 1
    assert source.asked == 1


async def test_the_fetch_goes_on_when_every_waiter_has_gone(value: Refreshed[int], source: Source) -> None:
    source.gate = asyncio.Event()
    waiter = asyncio.create_task(value.get(0))
    await settle()
    waiter.cancel()
    source.gate.set()
    await settle()
    assert await value.get(1) == 1
    assert source.asked == 1


async def test_renewal_at_most_once_in_a_pause(value: Refreshed[int], source: Source) -> None:
    await value.get(0)
    assert await asyncio.gather(*(value.renew(0) for _ in range(200))) == [2] * 200
    assert [await value.renew(now) for now in (0, 5, 9.9)] == [2, 2, 2]
    assert await value.renew(10) == 3
    assert source.asked == 3


async def test_renewal_joins_a_fetch_under_way(value: Refreshed[int], source: Source) -> None:
    source.gate = asyncio.Event()
    waiters = [asyncio.create_task(value.get(0)), asyncio.create_task(value.renew(0))]
    await settle()
    source.gate.set()
    assert await asyncio.gather(*waiters) == [1, 1]


async def test_a_failing_renewal_is_503_and_leaves_the_value(value: Refreshed[int], source: Source) -> None:
    await value.get(0)
    source.error = DOWN
    for now in (1, 1.5):
        with pytest.raises(DependencyUnavailable):
            await value.renew(now)
    assert source.asked == 2
    assert await value.get(2) == 1
    source.error = None
    assert await value.renew(3) == 3


async def test_expire_asks_again_and_keeps_the_old_as_stale(value: Refreshed[int], source: Source) -> None:
    await value.get(0)
    value.expire()
    assert await value.get(1) == 2
    value.expire()
    source.error = DOWN
    assert await value.get(2) == 2


async def test_an_unexpected_error_is_a_failure_too(value: Refreshed[int], source: Source, caplog: pytest.LogCaptureFixture) -> None:
    source.error = ZeroDivisionError("bug")
    await unavailable(value, 0)
    assert "the value cannot be had" in caplog.text


async def test_a_failure_is_logged_by_subject(value: Refreshed[int], source: Source, caplog: pytest.LogCaptureFixture) -> None:
    source.error = DOWN
    with caplog.at_level(logging.WARNING):
        await unavailable(value, 0)
    assert [record.getMessage() for record in caplog.records] == ["the value cannot be had: down"]


async def test_closing_ends_a_fetch_and_refuses_its_waiters(value: Refreshed[int], source: Source) -> None:
    source.gate = asyncio.Event()
    waiter = asyncio.create_task(value.get(0))
    await settle()
    await value.aclose()
    with pytest.raises(DependencyUnavailable):
        await waiter
    await value.aclose()
