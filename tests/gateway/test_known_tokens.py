"""A token that was verified before is not verified again, and yet everything else about it is looked at with each request (semantics 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any

import pytest

from smart_gateway.policy.model import ClientRule
from smart_gateway.principal import Principal
from smart_gateway.tokens.cache import DenyList
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.possession import BindingRules, Possessions
from smart_gateway.tokens.verifier import Verifier
from tests.support.asgi import NOW, PUBLIC, Conversation, Front, ScriptedUpstream, observation
from tests.support.deciding import BASES, policy
from tests.support.issuer import ISSUER, MemoryTransport, ScriptedIssuer


class Watched(Verifier):
    """Keeps whom it found."""

    found: list[Principal]

    async def verify(self, token: str, now: float) -> Principal:
        who = await super().verify(token, now)
        self.found.append(who)
        return who


@dataclass
class World:
    """A gateway with one client, which has a rule, and a token of it."""

    rule: ClientRule

    def __post_init__(self) -> None:
        self.now, self.address = NOW, "10.0.0.7"
        issuer = ScriptedIssuer()
        self.transport = MemoryTransport(issuer)
        self.verifier = Watched([IssuerConfig(ISSUER, (PUBLIC,), jwks_uri=issuer.jwks_uri)], BASES, self.transport, cache_ttl=3600.0)
        self.verifier.found = []
        self.token = issuer.token(audience=PUBLIC, scope="patient/*.rs")
        self.front = Front(ScriptedUpstream(observation()), policy=self.under(self.rule), verifier=self.verifier, clock=lambda: self.now)

    @staticmethod
    def under(rule: ClientRule | None) -> Any:
        return policy(clients={} if rule is None else {"growth-chart": rule})

    async def ask(self) -> int:
        talk = Conversation(
            self.front.gateway, "GET", "/fhir/Observation/o1", {"authorization": f"Bearer {self.token}"}, client=(self.address, 50_000)
        )
        await talk.run()
        return talk.status


def older(world: World) -> None:
    world.now += 61


def elsewhere(world: World) -> None:
    world.address = "203.0.113.9"


def gone(world: World) -> None:
    world.front.reload(policy=world.under(None))


def narrowed(world: World) -> None:
    world.front.reload(policy=world.under(replace(world.rule, networks=(ip_network("192.0.2.0/24"),))))


def bound(world: World) -> None:
    world.front.reload(policy=world.under(replace(world.rule, sender_constraint=frozenset({"mtls"}))))


def bound_by_the_issuer(world: World) -> None:
    world.front.reload(possessions=Possessions({ISSUER: BindingRules(dpop_required=True)}))


def denied(world: World) -> None:
    world.verifier.deny_list = DenyList(token_ids=frozenset({"token-1"}))


def subject_denied(world: World) -> None:
    world.verifier.deny_list = DenyList(subjects=frozenset({"subject-1"}))


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (older, 401),
        (elsewhere, 403),
        (gone, 403),
        (narrowed, 403),
        (bound, 401),
        (bound_by_the_issuer, 401),
        (denied, 401),
        (subject_denied, 401),
    ],
)
async def test_what_changes_counts_at_once_for_a_known_token(change: Callable[[World], None], status: int) -> None:
    world = World(ClientRule(networks=(ip_network("10.0.0.0/8"),), max_token_age=60.0))
    assert [await world.ask(), await world.ask()] == [200, 200]
    fetched = len(world.transport.asked)
    change(world)
    assert await world.ask() == status
    first, *others = world.verifier.found
    assert all(who is first for who in others), "it is the cached one that is refused"
    assert len(world.transport.asked) == fetched
