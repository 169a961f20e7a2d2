"""The one timer of all requests: who still waits is called, who has left is not."""

from __future__ import annotations

import asyncio

from smart_gateway.gateway.edge.lookout import Lookout


async def called(lookout: Lookout) -> None:
    """Waits until somebody who waits now is called."""
    rung = asyncio.Event()
    lookout.wait(rung.set)
    await asyncio.wait_for(rung.wait(), 10)


async def test_who_waits_is_called_once_and_who_has_left_is_not() -> None:
    lookout, calls = Lookout(), []
    stays, leaves = lambda: calls.append("stays"), lambda: calls.append("leaves")
    lookout.wait(stays)
    lookout.wait(leaves)
    lookout.leave(leaves)
    await called(lookout)
    await called(lookout)
    assert calls == ["stays"]


async def test_who_has_been_looked_at_once_can_still_leave() -> None:
    lookout, calls = Lookout(), []
    leaves = lambda: calls.append("leaves")  # noqa: E731
    lookout.wait(leaves)
    first = asyncio.Event()
    asyncio.get_running_loop().call_later(0.06, first.set)  # after the first look, before the second
    await first.wait()
    lookout.leave(leaves)
    await called(lookout)
    assert calls == []


async def test_it_starts_again_when_somebody_comes_after_a_rest() -> None:
    lookout = Lookout()
    for _ in range(2):
        await called(lookout)
        rest = asyncio.Event()
        lookout.wait(lambda: None)
        asyncio.get_running_loop().call_later(0.12, rest.set)
        await rest.wait()


def test_a_new_event_loop_starts_it_anew() -> None:
    lookout = Lookout()

    async def left_behind() -> None:
        lookout.wait(lambda: None)

    asyncio.run(left_behind())
    asyncio.run(called(lookout))
