"""Scopes that grant nothing are said to those who run the gateway: once each, and never as a line of their own making."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.support.asgi import FakeVerifier, Front, ScriptedUpstream, observation
from tests.support.deciding import principal

LOGGER = "smart_gateway.gateway.callers.void_scopes"


def front(scope: str, **claims: Any) -> Front:
    return Front(ScriptedUpstream(observation()), scope, claims=claims)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ("patient/Observation.sr", "After the dot stand letters of cruds"),
        ("patient/Observation.rs?nonsense=1", "Observation has no search parameter nonsense."),
        ("patient/Observation.rs?_has:Provenance:target:agent=1", "cannot be decided in memory"),
        ("user/Nonsense.rs", "has no resource type Nonsense."),
    ],
)
async def test_a_scope_that_grants_nothing_is_logged_once(scope: str, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """Semantics 3. Each token brings a new principal; the same one is not even looked at again."""
    gateway = front(f"{scope} patient/Observation.rs")
    for _ in range(3):
        assert (await gateway.get("/Observation/o1")).status_code == 200, "the other scope counts"
        gateway.reload(verifier=FakeVerifier({"t": principal(f"{scope} patient/Observation.rs")}))
    (line,) = said(caplog)
    assert repr(scope) in line
    assert reason in line


async def test_scopes_that_count_and_plain_ones_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    await front("openid __x launch/patient patient/*.rs patient/Observation.rs?category=laboratory").get("/Observation/o1")
    assert said(caplog) == []


async def test_each_client_has_its_own_line(caplog: pytest.LogCaptureFixture) -> None:
    gateway = front("patient/Observation.sr", client_id="a")
    await gateway.get("/Observation/o1")
    gateway.reload(verifier=FakeVerifier({"t": principal("patient/Observation.sr", client_id="b")}))
    await gateway.get("/Observation/o1")
    assert [line.partition(" grants")[0] for line in said(caplog)] == ["a scope of client 'a'", "a scope of client 'b'"]


async def test_what_a_token_says_makes_no_lines_and_no_long_ones(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await front("patient/Observation.sr\u2028forged\x1b[2J" + "x" * 10_000, client_id="c\n").get("/Observation/o1")
    (line,) = said(caplog)
    assert len(line) < 700
    assert line.isprintable()
