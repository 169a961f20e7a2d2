"""``act`` and ``may_act`` (RFC 8693): who acts now, who acted before, who may; half of a name is none."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.principal import Actor
from smart_gateway.tokens.delegation import read_actors, read_may_act

ISSUER = "https://idp.example.org"


@pytest.mark.parametrize(
    ("act", "actors"),
    [
        ({"sub": "a"}, (Actor("a"),)),
        ({"client_id": "c"}, (Actor(None, "c"),)),
        ({"sub": "a", "client_id": "c", "iss": ISSUER, "other": 1}, (Actor("a", "c"),)),
        ({"sub": "a", "iss": "https://other.example"}, (Actor("a", issuer="https://other.example"),)),
        ({"sub": "a", "act": {"sub": "b", "act": {"client_id": "c"}}}, (Actor("a"), Actor("b"), Actor(None, "c"))),
        ({"sub": "a", "act": "b"}, (Actor("a"), Actor())),
        ({"sub": "a", "client_id": 5}, (Actor(),)),
        ({"sub": ["a"]}, (Actor(),)),
        ({"sub": "a", "iss": None}, (Actor(),)),
        ({"sub": ""}, (Actor(),)),
        ({}, (Actor(),)),
        ([], (Actor(),)),
        (None, (Actor(),)),
    ],
)
def test_actors(act: Any, actors: tuple[Actor, ...]) -> None:
    assert read_actors({"sub": "subject", "act": act}, ISSUER) == actors


def test_nobody_acts_without_the_claim() -> None:
    assert read_actors({"sub": "subject", "may_act": {"sub": "a"}}, ISSUER) == ()
    assert read_may_act({"act": {"sub": "a"}}, ISSUER) is None


@pytest.mark.parametrize(("claim", "who"), [({"sub": "a"}, Actor("a")), ("a", Actor()), (None, Actor()), ({"sub": 1}, Actor())])
def test_who_may_act(claim: Any, who: Actor) -> None:
    assert read_may_act({"may_act": claim}, ISSUER) == who
