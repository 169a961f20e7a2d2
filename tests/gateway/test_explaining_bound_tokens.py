"""What ``explain --token`` and the explain page say of tokens that are bound to their sender, or should be: what the gateway would."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.gateway.explaining import Invented, Question, Setting, explain, explain_token, invent
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.tokens.possession import BindingRules, Possessions
from tests.support.asgi import ISSUER_DOCUMENT, NOW, FakeVerifier, snapshot
from tests.support.deciding import DEFAULT, policy, principal

QUESTION = Question("GET", "/Observation?patient=123")
ISSUER = ISSUER_DOCUMENT["issuer"]
PROOF = "the request has the scheme DPoP and a proof by the key that the token is bound to"
CERTIFICATE = "the client shows the certificate that the token is bound to"


async def told(cnf: dict[str, Any], rules: BindingRules | None = None, under: Policy = DEFAULT) -> dict[str, Any]:
    who = principal("patient/Observation.rs", client_id="app", confirmation=cnf)
    possessions = Possessions({ISSUER: rules} if rules is not None else {})
    state = snapshot(under, verifier=FakeVerifier({"t": who}), possessions=possessions)
    return await explain_token(QUESTION, "t", state, NOW, None)


@pytest.mark.parametrize(
    ("cnf", "checks"),
    [
        ({}, []),
        ({"jkt": "key"}, [PROOF]),
        ({"jkt": "key", "kc-jkt-type": "DPoP"}, [PROOF]),
        ({"x5t#S256": "print"}, [CERTIFICATE]),
        ({"jkt": "key", "x5t#S256": "print"}, [PROOF, CERTIFICATE]),
    ],
    ids=str,
)
async def test_what_a_bound_token_needs_is_to_be_checked(cnf: dict[str, Any], checks: list[str]) -> None:
    shown = await told(cnf)
    assert shown["decision"] == "permit"
    assert [check for check in shown["checks"] if "bound to" in check] == checks
    assert "print" not in json.dumps(shown)


@pytest.mark.parametrize(
    "cnf", [{"kid": "1"}, {"jkt": "key", "jku": "https://x"}, {"jkt": 5}, {"x5t#S256": None}, {"jkt": "k\u00e9y"}], ids=str
)
async def test_a_binding_that_cannot_be_checked_is_refused(cnf: dict[str, Any]) -> None:
    shown = await told(cnf)
    assert (shown["decision"], shown["status"], shown["code"]) == ("deny", 401, "sender-constrained")


@pytest.mark.parametrize(
    ("rules", "cnf"),
    [
        (BindingRules(dpop_required=True), {}),
        (BindingRules(dpop_required=True), {"x5t#S256": "print"}),
        (BindingRules(mtls_required=True), {}),
        (BindingRules(mtls_required=True), {"jkt": "key"}),
    ],
)
async def test_a_token_that_is_not_bound_as_its_issuer_must_is_refused(rules: BindingRules, cnf: dict[str, Any]) -> None:
    shown = await told(cnf, rules)
    assert (shown["decision"], shown["status"], shown["code"]) == ("deny", 401, "sender-constraint-required")


async def test_a_client_that_must_come_with_bound_tokens() -> None:
    """Whether a token is bound stands in it; whether one that was made up is, nobody knows."""
    under = policy(clients={"app": ClientRule(sender_constraint=frozenset({"mtls"}))})
    for cnf, decision in (({}, "deny"), ({"jkt": "key"}, "deny"), ({"x5t#S256": "print"}, "permit")):
        shown = await told(cnf, under=under)
        assert (shown["decision"], shown.get("code")) == (
            decision,
            "sender-constraint-required" if decision == "deny" else shown.get("code"),
        )
    made_up = invent(Invented("patient/Observation.rs", "123", client="app"), under.bases, NOW)
    shown = await explain(QUESTION, Setting(under, snapshot(under).limits, made_up, NOW))
    assert shown["decision"] == "permit"
    assert "the token is bound to its sender by mtls" in shown["checks"]
