"""Generated policies in front of real HAPI, hot-reloaded: whatever leaves and whatever is written is held against a judge of its own.

More of them: ``POLICIES_ROUNDS=100 POLICIES_SEED=7 pytest tests/integration/test_policy_differential.py``.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.policed import asking, rules, world, writing
from tests.integration.policed.bounds import Bounds, Truth
from tests.integration.policed.comparing import Comparison
from tests.integration.policed.rules import Rules
from tests.integration.records import transaction
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import start_hapi
from tests.support.issuer import ScriptedIssuer, serve

SEED = int(os.environ.get("POLICIES_SEED", "3"))
ROUNDS = int(os.environ.get("POLICIES_ROUNDS", "8"))
WRITE_ROUNDS = (ROUNDS + 1) // 2
TENANTS = 20  # policies that are in force at once
ASKS = 12
WRITERS = 2
AT_ONCE = 4


@pytest.fixture(scope="module")
def server(java: None, work: Path) -> Iterator[str]:
    """The base of a HAPI of its own, with the world in it: other tests would find that too."""
    hapi = start_hapi(work / "policed.log")
    try:
        for generation in world.generations():
            hapi.put(transaction(generation))
        yield hapi.base
    finally:
        hapi.running.stop()


@pytest.fixture(scope="module")
def issuer() -> Iterator[ScriptedIssuer]:
    with serve(ScriptedIssuer()) as running:
        yield running


class Policed:
    """A gateway whose tenants get other policies, all at once, as often as one likes."""

    def __init__(self, gateways: StartGateway, server: str, issuer: ScriptedIssuer) -> None:
        self.server, self.issuer = server, issuer
        self.gateway: Gateway = gateways({"tenants": [self.tenant(n, Rules({})) for n in range(TENANTS)]})
        self.settings = yaml.safe_load(self.gateway.config.read_text())

    def tenant(self, number: int, rules: Rules) -> dict[str, Any]:
        issuer = self.issuer
        trusted = {"issuer": issuer.issuer, "jwks_uri": issuer.jwks_uri, "algorithms": ["RS256"]}
        if rules.ceiling is not None:
            trusted["ceiling"] = rules.ceiling
        upstream = {"url": self.server, "fhir_version": "R4"}
        return {"name": f"t{number}", "path": f"/t{number}", "upstream": upstream, "issuers": [trusted], "policy": rules.policy}

    def adopt(self, all_rules: list[Rules]) -> None:
        """Until these are in force."""
        before = self.gateway.messages().count("are in force")
        beside = self.gateway.config.with_suffix(".new")
        beside.write_text(yaml.safe_dump({**self.settings, "tenants": [self.tenant(n, one) for n, one in enumerate(all_rules)]}))
        beside.replace(self.gateway.config)
        os.kill(self.gateway.running.process.pid, signal.SIGHUP)
        deadline = time.monotonic() + 60
        while self.gateway.messages().count("are in force") == before:
            assert "are refused" not in self.gateway.messages(), self.gateway.messages()[-4000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def base(self, number: int) -> str:
        return f"{self.gateway.base}/t{number}"

    def bearer(self, number: int, who: asking.Who) -> str:
        claims = {"patient": ..., "fhirUser": ..., **who.claims}
        return self.issuer.token(None, {"typ": "JWT"}, time.time(), self.base(number), scope=" ".join(who.scopes), **claims)


@pytest.fixture(scope="module")
def policed(gateways: StartGateway, server: str, issuer: ScriptedIssuer) -> Policed:
    return Policed(gateways, server, issuer)


def differences(policed: Policed, comparison: Comparison, number: int, given: Rules, seed: int) -> list[str]:
    """What is wrong with the answers of one tenant to three who ask."""
    rng, truth, wrong = random.Random(seed), comparison.truth, []
    known = sorted(truth.versions)
    for _ in range(3):
        who = asking.who(rng)
        bounds, bearer = Bounds(given, who, truth), policed.bearer(number, who)
        for _ in range(ASKS // 3):
            ask = asking.ask(rng, known)
            try:
                comparison.ask(policed.base(number), bearer, ask, bounds)
            except AssertionError as said:
                wrong.append(f"{said}"[:2500] + f"\n  asked {ask.target or ask.parts}\n  by {who}\n  under {given}\n  seed {seed}")
    return wrong


def test_what_leaves_is_what_the_judge_lets_through(policed: Policed, server: str) -> None:
    comparison, wrong = Comparison(Truth(server)), []
    with closing(comparison.http), closing(comparison.truth.http), ThreadPoolExecutor(AT_ONCE) as pool:
        for round in range(ROUNDS):
            seeds = [SEED * 100_000 + round * TENANTS + n for n in range(TENANTS)]
            made = [rules.rules(random.Random(seed)) for seed in seeds]
            policed.adopt(made)
            for said in pool.map(lambda n: differences(policed, comparison, n, made[n], seeds[n]), range(TENANTS)):  # noqa: B023
                wrong += said
    seen, given = comparison.seen, comparison.given
    assert not wrong, "\n\n".join([f"{len(wrong)} differences", *wrong[:8], str(seen), str(given)])
    policies = ROUNDS * TENANTS
    for kind, least in {"search": 10, "histories": 2, "everything": 0.5, "history": 0.2, "include": 1, "read": 0.4, "vread": 0.1}.items():
        assert given[kind] > least * policies, (kind, seen, given)
    for answer in ("search 200", "read 404 not-found", "search 403 insufficient-scope", "search 403 hidden-elements"):
        assert seen[answer] > policies / 20, (answer, seen)


def test_what_is_written_is_what_the_judge_allows(policed: Policed, server: str) -> None:
    scribe, wrong = writing.Scribe(server), []
    with closing(scribe.http), ThreadPoolExecutor(AT_ONCE) as pool:
        before = scribe.totals()
        for round in range(WRITE_ROUNDS):
            seeds = [SEED * 100_000 + 50_000 + round * TENANTS + n for n in range(TENANTS)]
            made = [rules.rules(random.Random(seed), writes=True) for seed in seeds]
            policed.adopt(made)

            def one(n: int, made: list[Rules] = made, seeds: list[int] = seeds) -> list[str]:
                rng, said = random.Random(seeds[n]), []
                for number in range(WRITERS):
                    who = asking.who(rng, writes=True)
                    said += scribe.differences(policed.base(n), policed.bearer(n, who), made[n], who, f"qw-{seeds[n]}-{number}", rng)
                return said

            for said in pool.map(one, range(TENANTS)):
                wrong += said
        after = scribe.totals()
    assert not wrong, "\n\n".join([f"{len(wrong)} differences", *wrong[:8], str(scribe.seen)])
    assert after == before
    for done in ("update may 200", "patch may 200", "create may 201", "delete may 200", "update may not 403", "update may not 404"):
        assert scribe.seen[done] > WRITE_ROUNDS * TENANTS / 50, (done, scribe.seen)
