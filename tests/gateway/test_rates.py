"""How often a client may ask: 429 with Retry-After, for the client and for nobody else."""

from __future__ import annotations

import json
from typing import Any

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.model import ClientRule, PublicInteraction
from tests.support.asgi import Front, ScriptedUpstream
from tests.support.deciding import policy

TARGET = "/Observation/1"
HEADERS = {"content-type": "application/fhir+json"}


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def front(clock: Clock, **choices: Any) -> Front:
    claims = {"client_id": choices.pop("client_id", "app")}
    return Front(ScriptedUpstream(), "patient/*.rs", policy=policy(**choices), claims=claims, clock=clock)


async def statuses(gateway: Front, count: int, **options: Any) -> list[int]:
    return [(await gateway.get(TARGET, **options)).status_code for _ in range(count)]


async def test_beyond_its_rate_a_client_waits() -> None:
    clock = Clock()
    gateway = front(clock, clients={"app": ClientRule(requests_per_minute=2)})
    assert 429 not in await statuses(gateway, 2)
    refused = await gateway.get(TARGET)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    assert refused.json()["issue"][0]["code"] == "throttled"
    assert gateway.log.events[-1].code == "too-many-requests"
    clock.now += 29
    assert await statuses(gateway, 1) == [429]
    clock.now += 1
    assert 429 not in await statuses(gateway, 1)
    assert await statuses(gateway, 1) == [429]
    clock.now -= 1_000
    assert await statuses(gateway, 1) == [429]
    clock.now += 10_000
    assert 429 not in await statuses(gateway, 2)
    assert await statuses(gateway, 1) == [429]


async def test_the_rate_of_all_counts_where_the_client_has_none() -> None:
    gateway = front(Clock(), requests_per_minute=1)
    assert [status == 429 for status in await statuses(gateway, 2)] == [False, True]
    gateway = front(Clock(), requests_per_minute=1, clients={"app": ClientRule(requests_per_minute=3)})
    assert [status == 429 for status in await statuses(gateway, 4)] == [False, False, False, True]


async def test_refusals_count_too_and_metadata_does_not() -> None:
    gateway = front(Clock(), requests_per_minute=2)
    assert (await gateway.request("DELETE", TARGET)).status_code == 403
    assert (await gateway.request("DELETE", TARGET)).status_code == 403
    assert (await gateway.get("/.well-known/oauth-protected-resource")).status_code == 200
    assert await statuses(gateway, 1) == [429]


async def test_a_batch_counts_as_its_entries() -> None:
    clock = Clock()
    gateway = front(clock, requests_per_minute=10)
    entries = [{"request": {"method": "DELETE", "url": f"Observation/{n}"}} for n in range(30)]
    bundle = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert (await gateway.request("POST", "", content=bundle, headers=HEADERS)).status_code == 200
    refused = await gateway.get(TARGET)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "126")
    clock.now += 126
    assert 429 not in await statuses(gateway, 1)


async def test_without_a_token_the_address_counts() -> None:
    gateway = front(Clock(), requests_per_minute=1, public=(PublicInteraction(Interaction.READ, "Observation"),))
    assert [status == 429 for status in await statuses(gateway, 2, token=None)] == [False, True]
    assert 429 not in await statuses(gateway, 1)
