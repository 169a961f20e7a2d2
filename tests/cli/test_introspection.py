"""check-config --online and explain --token with an issuer that is asked about its tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smart_gateway.cli import main
from smart_gateway.tokens.transport import Received
from tests.support.issuer import Posted, ScriptedIssuer, json_answer, serve

SETTINGS = """server:
  public_url: https://fhir.example.org/fhir
  sealing: {keys: [{from_env: SEAL}]}
upstream: {fhir_version: R4}
issuers:
  - issuer: %s
    mode: introspection
    introspection: {client_id: gateway, client_secret: {from_env: SECRET}%s}
"""
AUDIENCE = "https://fhir.example.org/fhir"


def judged(posted: Posted) -> Received:
    if posted.headers.get("authorization") != "Basic Z2F0ZXdheTpzM2NyM3Q=":
        return json_answer({"error": "invalid_client"}, 401)
    if posted.form["token"] == "stumble":
        return json_answer({}, 500)
    good = {"active": True, "scope": "patient/Observation.rs", "patient": "123", "aud": AUDIENCE, "exp": int(time.time()) + 300}
    return json_answer(good if posted.form["token"] == "good" else {"active": False})


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedIssuer]:
    monkeypatch.setenv("SEAL", "0123456789012345678901234567890123456789")
    monkeypatch.setenv("SECRET", "s3cr3t")
    with serve(ScriptedIssuer()) as running:
        running.endpoints["/introspect"] = judged
        yield running


@pytest.fixture
def config(issuer: ScriptedIssuer, tmp_path: Path) -> Callable[..., str]:
    def write(more: str | None = None) -> str:
        path = tmp_path / "gateway.yaml"
        path.write_text(SETTINGS % (issuer.issuer, f", url: {issuer.issuer}/introspect" if more is None else more))
        return str(path)

    return write


Capture = pytest.CaptureFixture[str]


def checked(path: str, capsys: Capture, *more: str) -> tuple[int, list[str]]:
    code = main(["check-config", path, "--online", "--middleware", *more])
    return code, capsys.readouterr().out.splitlines()


def test_online_an_endpoint_that_knows_the_gateway(config: Callable[..., str], issuer: ScriptedIssuer, capsys: Capture) -> None:
    path = config()
    assert checked(path, capsys) == (0, [f"{path}: can be served"])
    (question,) = issuer.posted
    assert len(question.form["token"]) == 32, "made up"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda _: json_answer({}, 401), "it refuses this client's credentials"),
        (lambda _: json_answer({}, 403), "it refuses this client's credentials"),
        (lambda _: json_answer({}, 404), "answered 404"),
        (lambda _: json_answer({}, 500), "answered 500"),
        (lambda _: json_answer({}), "the answer does not say whether the token is active"),
        (lambda _: json_answer({"active": True}), "it calls a token active that was made up"),
        (lambda _: Received(200, "text/html", b"<html>"), "the answer is not JSON by its Content-Type"),
    ],
)
def test_online_an_endpoint_that_cannot_be_asked(
    config: Callable[..., str], issuer: ScriptedIssuer, capsys: Capture, answer: Any, says: str
) -> None:
    issuer.endpoints["/introspect"] = answer
    path = config()
    code, lines = checked(path, capsys)
    assert code == 1
    assert lines[0] == f"{path}:8:20: error: issuers[0].introspection: its introspection endpoint cannot be asked: {says}"


def test_online_a_wrong_secret(config: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("SECRET", "wrong")
    code, lines = checked(config(), capsys)
    assert (code, "refuses this client's credentials" in lines[0]) == (1, True)


def test_online_a_document_without_an_endpoint(config: Callable[..., str], capsys: Capture) -> None:
    code, lines = checked(config(""), capsys)
    assert (code, lines[0].endswith("the discovery document names no introspection_endpoint that may be asked")) == (1, True)


def test_online_no_document(config: Callable[..., str], issuer: ScriptedIssuer, capsys: Capture) -> None:
    path = config("")
    issuer.issuer += "/moved"
    code, lines = checked(path, capsys)
    assert (code, lines[0].endswith("its discovery document cannot be had")) == (1, True)


def test_online_redis_that_is_away_is_a_warning(config: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("REDIS", "redis://127.0.0.1:1/0")
    path = config()
    code, lines = checked(path, capsys, "--set", "server.shared_cache={redis: {url: {from_env: REDIS}}}")
    assert code == 0
    assert "warning: server.shared_cache.redis.url: Redis does not answer" in lines[0]


def explained(path: str, token: str, capsys: Capture) -> tuple[int, dict[str, Any], str]:
    code = main(["explain", "GET", "/Observation?patient=123", "--config", path, "--token", token, "--format", "json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else {}, said.err


def test_explain_asks_about_an_opaque_token(config: Callable[..., str], capsys: Capture) -> None:
    code, shown, _ = explained(config(), "good", capsys)
    assert (code, shown["decision"]) == (0, "permit")


def test_explain_says_that_a_token_is_not_active(config: Callable[..., str], capsys: Capture) -> None:
    code, shown, _ = explained(config(), "revoked", capsys)
    assert (code, shown["status"], shown["code"]) == (3, 401, "inactive")


def test_explain_fails_where_nobody_can_say(config: Callable[..., str], capsys: Capture) -> None:
    code, shown, said = explained(config(), "stumble", capsys)
    assert (code, shown) == (1, {})
    assert "the token cannot be verified: The token's issuer cannot be asked about it at the moment." in said
