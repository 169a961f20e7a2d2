"""The whole demonstration, on loopback: the same tour that `smart-gateway demo --check` runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from smart_gateway.cli import demo
from smart_gateway.cli.demonstration import Demonstration, demonstration
from smart_gateway.demo.issuer import DemoIssuer
from smart_gateway.demo.tour import STEPS, VISITORS, Answer, entries, passes, required_scopes


@pytest.fixture
async def running() -> AsyncIterator[Demonstration]:
    async with demonstration() as found:
        yield found


async def test_every_answer_of_the_tour_is_as_promised(running: Demonstration) -> None:
    for step in STEPS:
        answer, asked = await running.ask(step)
        assert passes(step, answer), (step.title, answer)
        assert step.says(answer)
        if step.status in {401, 403}:
            assert asked == "", "nothing is forwarded before it is judged"


async def test_the_search_is_narrowed_before_it_leaves(running: Demonstration) -> None:
    step = next(step for step in STEPS if step.upstream)
    _, asked = await running.ask(step)
    assert "patient=Patient/amy" in asked
    assert "category=" in asked


async def test_the_server_would_have_given_what_the_gateway_removes(running: Demonstration) -> None:
    step = next(step for step in STEPS if "_include" in step.target)
    direct, _ = await replace(running, base=running.upstream, tokens=dict.fromkeys(running.tokens, "x")).ask(step)
    assert "Encounter/amy-stay" in entries(direct.body, "include")


async def test_each_decision_is_logged_without_tokens(running: Demonstration) -> None:
    for step in STEPS:
        await running.ask(step)
    lines = running.log.read_text().splitlines()
    assert len(lines) == len(STEPS)
    assert [json.loads(line)["status"] for line in lines] == [step.status for step in STEPS]
    assert not any(token in line for line in lines for token in running.tokens.values())


@pytest.mark.parametrize("as_json", [False, True])
def test_check_exits_0(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    assert demo.run(_arguments("--check", "--format", "json" if as_json else "text")) == 0
    out = capsys.readouterr().out
    if as_json:
        report = json.loads(out)
        assert [step["ok"] for step in report["tour"]] == [True] * len(STEPS)
        assert set(report["tokens"]) == {visitor.name for visitor in VISITORS}
    else:
        assert f"{len(STEPS)} of {len(STEPS)} answers are as they should be." in out
        assert out.count("curl -s") == len(STEPS)
        assert "required scope: patient/Condition.s" in out


def test_check_exits_1_where_an_answer_is_another(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "STEPS", (STEPS[0], replace(STEPS[1], status=404)))
    assert demo.run(_arguments("--check")) == 1
    assert "FAIL" in capsys.readouterr().out


def test_an_answer_that_says_nothing_does_not_pass() -> None:
    assert required_scopes({"issue": [{"extension": [{"url": "other", "valueString": "x"}]}]}) == []
    assert not passes(STEPS[0], Answer(200, {}, {}))


def test_tokens_differ() -> None:
    issuer = DemoIssuer("http://127.0.0.1:1", "http://127.0.0.1:2/fhir", lambda: 1_800_000_000.0)
    assert issuer.token("a", "openid") != issuer.token("a", "openid")


def _arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(given)
