"""Who acts for somebody else (RFC 8693): judged, limited, and never more than whom it acts for."""

from __future__ import annotations

import pytest

from smart_gateway.policy.model import ActorRule, ClientRule
from smart_gateway.policy.plan import Permit
from smart_gateway.principal import Actor
from tests.support.deciding import decide, denied, policy, scopes, sent

ISSUER = "https://idp.example.org"
READER = ActorRule(scopes("patient/Observation.rs"))


def ask(under: dict[str, ActorRule] | None, *actors: Actor, may_act: Actor | None = None, scope: str = "patient/*.cruds") -> object:
    claims = {"actors": actors, "may_act": may_act, "client_id": "app"}
    return decide("GET", "/Condition", scope, under=policy(actors=under), **claims)


def test_without_a_section_the_scopes_decide_alone() -> None:
    assert isinstance(ask(None, Actor("scheduler")), Permit)


@pytest.mark.parametrize(
    ("actor", "passes"),
    [
        (Actor("scheduler"), True),
        (Actor(None, "scheduler"), True),
        (Actor("someone", "scheduler"), True),
        (Actor("someone"), False),
        (Actor("scheduler", issuer="https://elsewhere.example"), False),
        (Actor("*"), False),
        (Actor(), False),
    ],
    ids=str,
)
def test_a_section_is_closed(actor: Actor, *, passes: bool) -> None:
    decision = ask({"scheduler": ActorRule()}, actor)
    assert isinstance(decision, Permit) is passes
    if not passes:
        assert denied(decision).causes[0].code == "actor-not-allowed"


def test_a_token_without_an_actor_does_not_meet_the_section() -> None:
    assert isinstance(ask({}), Permit)


def test_the_star_meets_actors_that_are_not_named_but_not_nobody() -> None:
    under = {"*": ActorRule()}
    assert isinstance(ask(under, Actor("someone")), Permit)
    assert isinstance(ask(under, Actor("scheduler", issuer="https://elsewhere.example")), Permit)
    assert denied(ask(under, Actor())).status == 403
    assert denied(ask(None, Actor())).status == 403


def test_only_who_acts_now_is_judged() -> None:
    under = {"gateway": ActorRule()}
    assert isinstance(ask(under, Actor("gateway"), Actor("unknown")), Permit)
    assert denied(ask(under, Actor("unknown"), Actor("gateway"))).status == 403


def test_an_actors_limit_bounds_whom_it_acts_for() -> None:
    under = policy(actors={"scheduler": READER, "*": ActorRule()})
    claims = {"actors": (Actor("scheduler"),), "client_id": "app", "fhir_user": "Practitioner/p"}
    assert sent(decide("GET", "/Observation", "user/*.cruds", under=under, **claims)) == "GET /Observation?patient=Patient/123"
    for method, target in (("GET", "/Condition"), ("POST", "/Observation"), ("DELETE", "/Observation/1")):
        assert denied(decide(method, target, "user/*.cruds", under=under, **claims)).status == 403


def test_limits_of_both_names_hold() -> None:
    rules = {"s": ActorRule(scopes("patient/*.rs")), "c": ActorRule(scopes("patient/Condition.cruds"))}
    claims = {"actors": (Actor("s", "c"),)}
    assert isinstance(decide("GET", "/Condition", "patient/*.cruds", under=policy(actors=rules), **claims), Permit)
    assert denied(decide("GET", "/Observation", "patient/*.cruds", under=policy(actors=rules), **claims)).status == 403
    assert denied(decide("POST", "/Condition", "patient/*.cruds", under=policy(actors=rules), **claims)).status == 403


def test_a_limit_never_widens() -> None:
    under = policy(actors={"s": ActorRule(scopes("system/*.cruds"))}, clients={"app": ClientRule()})
    claims = {"actors": (Actor("s"),), "client_id": "app"}
    assert sent(decide("GET", "/Observation", "patient/*.rs", under=under, **claims)) == "GET /Observation?patient=Patient/123"
    assert denied(decide("GET", "/Observation", "system/*.rs", under=under, **claims)).status == 403


@pytest.mark.parametrize(
    ("may_act", "actor", "passes"),
    [
        (Actor("a"), Actor("a"), True),
        (Actor("a"), Actor("a", "client"), True),
        (Actor(None, "client"), Actor("a", "client"), True),
        (Actor("a", "client"), Actor("a"), False),
        (Actor("b"), Actor("a"), False),
        (Actor("a", issuer="https://elsewhere.example"), Actor("a"), False),
        (Actor("a"), Actor("a", issuer="https://elsewhere.example"), False),
        (Actor(), Actor("a"), False),
    ],
    ids=str,
)
def test_who_may_act_is_who_acts(may_act: Actor, actor: Actor, *, passes: bool) -> None:
    assert isinstance(ask(None, actor, may_act=may_act), Permit) is passes


def test_who_may_act_says_nothing_while_nobody_does() -> None:
    assert isinstance(ask(None, may_act=Actor("a")), Permit)
