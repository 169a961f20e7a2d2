"""The whole demonstration, on loopback: the same tour that `smart-gateway demo --check` runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
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
        assert out.count("curl -s") == len(STEPS) + 1  # and one for a token
        assert "required scope: patient/Condition.s" in out


def test_check_exits_1_where_an_answer_is_another(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "STEPS", (STEPS[0], replace(STEPS[1], status=404)))
    assert demo.run(_arguments("--check")) == 1
    assert "FAIL" in capsys.readouterr().out


def test_an_answer_that_says_nothing_does_not_pass() -> None:
    assert required_scopes({"issue": [{"extension": [{"url": "other", "valueString": "x"}]}]}) == []
    assert not passes(STEPS[0], Answer(200, {}, {}))


async def test_the_backend_gets_a_token_of_its_own_by_its_secret(running: Demonstration) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        endpoint = (await http.get(f"{running.base}/.well-known/smart-configuration")).json()["token_endpoint"]
        ((client, secret),) = running.secrets.items()
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
        granted = (await http.post(endpoint, data=form)).json()
        bearer = {"authorization": f"Bearer {granted['access_token']}"}
        assert (await http.get(f"{running.base}/Patient/amy", headers=bearer)).status_code == 200
        assert (await http.get(f"{running.base}/Observation", headers=bearer)).status_code == 403
        for change, status, error in (
            ({"client_secret": "x"}, 401, "invalid_client"),
            ({"client_id": "growth-chart"}, 401, "invalid_client"),
            ({"client_id": "nobody", "client_secret": ""}, 401, "invalid_client"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ):
            refused = await http.post(endpoint, data=form | change)
            assert (refused.status_code, refused.json()) == (status, {"error": error})


def test_tokens_differ() -> None:
    issuer = DemoIssuer("http://127.0.0.1:1", "http://127.0.0.1:2/fhir", lambda: 1_800_000_000.0)
    assert issuer.token("a", "openid") != issuer.token("a", "openid")


def _arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return parser.parse_args(given)
