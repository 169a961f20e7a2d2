"""Which plain scopes count for whom: what compare says of a change, by which operations open."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.policy.comparing.rules import compare_rules
from smart_gateway.policy.model import ActorRule, Certification, ClientRule, OpenedOperation, PlainScopes, Policy
from tests.support.deciding import policy, scopes

SCORE = OpenedOperation("$score", frozenset({"type"}), frozenset({"GET"}), plain=frozenset({"__score", "__other"}))
ALL = scopes("patient/*.cruds", "user/*.cruds", "system/*.cruds")
BOTH, ONE = frozenset({"__score", "__other"}), frozenset({"__score"})


def world(**choices: Any) -> Policy:
    return policy(operations=(SCORE,), **choices)


def client(**rule: Any) -> Policy:
    return world(clients={"a": ClientRule(**rule), "b": ClientRule()})


def limited(*plain: str) -> Policy:
    return client(limit=ALL, plain=PlainScopes(limit=frozenset(plain)))


def acting(*plain: str) -> Policy:
    return world(actors={"robot": ActorRule(ALL, frozenset(plain))})


def certified(*plain: str) -> Policy:
    return world(certifications={"a": Certification(ALL, 0, 1, frozenset(plain))})


COUNTED = "plain scopes that count for clients a"
FEWER = [
    (limited("__score"), limited(), (COUNTED, "__score", "none")),
    (client(), limited("__score"), (COUNTED, "__other, __score", "__score")),
    (client(), client(registered_scopes=ALL), (COUNTED, "__other, __score", "none")),
    (client(), client(registered_scopes=ALL, plain=PlainScopes(registered=ONE)), (COUNTED, "__other, __score", "__score")),
    (limited("__score"), world(clients={"b": ClientRule()}), (COUNTED, "__score", "none")),
    (acting("__score"), acting(), ("plain scopes that count for clients any other by the actor robot", "__score", "none")),
    (certified("__score"), certified(), (COUNTED, "__score", "none")),
    (client(pin=ALL, plain=PlainScopes(pin=ONE)), client(pin=ALL), (COUNTED, "__score", "none")),
    (
        client(pin=ALL, plain=PlainScopes(pin=BOTH)),
        client(),
        ("plain scopes that count without being in the token for clients a", "__other, __score", "none"),
    ),
]


@pytest.mark.parametrize(("wider", "narrower", "said"), FEWER)
def test_what_counts_is_weighed(wider: Policy, narrower: Policy, said: tuple[str, str, str]) -> None:
    rule, more, less = said
    [found] = compare_rules(wider, narrower)
    assert (found.rule, found.before, found.after, found.opens, found.closes, found.unknown) == (rule, more, less, False, True, False)
    [found] = compare_rules(narrower, wider)
    assert (found.rule, found.before, found.after, found.opens, found.closes, found.unknown) == (rule, less, more, True, False, False)


def test_one_for_another_opens_and_closes() -> None:
    [found] = compare_rules(limited("__score"), limited("__other"))
    assert (found.opens, found.closes) == (True, True)


def test_scopes_without_a_meaning_are_not_weighed() -> None:
    assert not list(compare_rules(policy(clients={"a": ClientRule()}), policy(clients={"a": ClientRule(limit=ALL)})))
