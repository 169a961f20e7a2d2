"""What a client's section says of how it comes."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from smart_gateway.errors import TokenError
from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import Arrival, refuse_arrival
from smart_gateway.policy.model import ClientRule
from smart_gateway.policy.plan import Deny
from tests.support.deciding import policy, principal

NOW = 1_000_000.0


def arrive(rule: ClientRule, arrival: Arrival, **claims: object) -> Deny | None:
    return refuse_arrival(Access(principal("patient/*.rs", client_id="c", **claims), policy(clients={"c": rule})), arrival)


def test_without_a_rule_everybody_comes() -> None:
    assert arrive(ClientRule(), Arrival(NOW)) is None


@pytest.mark.parametrize(
    ("address", "passes"), [("10.1.2.3", True), ("fd00::1", True), ("10.2.0.1", False), ("::ffff:10.1.2.3", False), (None, False)]
)
def test_networks(address: str | None, passes: bool) -> None:
    rule = ClientRule(networks=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")))
    refused = arrive(rule, Arrival(NOW, address))
    assert (refused is None) is passes
    assert refused is None or (refused.status, refused.causes[0].code) == (403, "client-not-allowed")


@pytest.mark.parametrize(
    ("required", "shown", "passes"),
    [
        ({"dpop"}, {"dpop"}, True),
        ({"dpop"}, {"mtls"}, False),
        ({"dpop", "mtls"}, {"mtls"}, True),
        ({"dpop", "mtls"}, set(), False),
        ({"mtls"}, {"mtls", "dpop"}, True),
    ],
)
def test_sender_constraint(required: set[str], shown: set[str], passes: bool) -> None:
    rule = ClientRule(sender_constraint=frozenset(required))
    if passes:
        assert arrive(rule, Arrival(NOW, shown=frozenset(shown))) is None
        return
    with pytest.raises(TokenError) as refused:
        arrive(rule, Arrival(NOW, shown=frozenset(shown)))
    assert refused.value.reason == "sender-constraint-required"


@pytest.mark.parametrize(("issued", "passes"), [(NOW, True), (NOW - 60, True), (NOW - 61, False), (None, False)])
def test_age(issued: float | None, passes: bool) -> None:
    rule = ClientRule(max_token_age=60)
    if passes:
        assert arrive(rule, Arrival(NOW), issued_at=issued) is None
        return
    with pytest.raises(TokenError) as refused:
        arrive(rule, Arrival(NOW), issued_at=issued)
    assert refused.value.reason == "token-too-old"
