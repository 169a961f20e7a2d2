"""``/explain`` on the management listener: who may ask, what is taken, what is answered, and what is never told."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from smart_gateway.admin.explaining import ExplainPage
from smart_gateway.admin.management import Management
from smart_gateway.errors import DependencyUnavailable, HookRefused, TokenError
from smart_gateway.policy.model import ClientRule
from smart_gateway.principal import Principal
from tests.support.asgi import Conversation, FakeVerifier, MemoryLog, snapshot
from tests.support.deciding import policy, principal

TOKEN = "eyJhbGciOiJub25lIn0.c2VjcmV0"
HERE = {"host": "127.0.0.1:9090"}
JSON = {**HERE, "content-type": "application/json"}
QUESTION: dict[str, Any] = {"method": "GET", "target": "/Observation", "principal": {"scope": "patient/Observation.rs", "patient": "123"}}


class Broken(FakeVerifier):
    """Fails with a text that holds the token."""

    async def verify(self, token: str, now: float) -> Principal:
        raise ValueError(token)


class Hanging(FakeVerifier):
    """Never answers."""

    async def verify(self, token: str, now: float) -> Principal:
        await asyncio.Event().wait()
        raise AssertionError


def listener(*, on: bool = True, **choices: Any) -> Management:
    choices.setdefault("verifier", FakeVerifier({TOKEN: principal("patient/Observation.rs")}))
    state = snapshot(choices.pop("policy", policy()), **choices)
    return Management(_ready, ExplainPage({None: state, "north": state}.get, lambda: on))


async def _ready() -> bool:
    return True


async def _sent(body: bytes) -> AsyncIterator[dict[str, Any]]:
    yield {"type": "http.request", "body": body, "more_body": False}


async def ask(app: Management, question: object = QUESTION, headers: dict[str, str] = JSON, **scope: Any) -> tuple[int, dict[str, Any]]:
    """Status and answer to a question, or to bytes."""
    talk = Conversation(app, "POST", "/explain", headers, **{"client": ("127.0.0.1", 50_000), **scope})
    await talk.run(_sent(question if isinstance(question, bytes) else json.dumps(question).encode()))
    return talk.status, json.loads(talk.body)


async def get(app: Management, path: str, method: str = "GET", headers: dict[str, str] = HERE, **scope: Any) -> Conversation:
    talk = Conversation(app, method, path, headers, **{"client": ("127.0.0.1", 50_000), **scope})
    await talk.run()
    return talk


async def test_an_invented_principal() -> None:
    status, shown = await ask(listener())
    assert (status, shown["decision"]) == (200, "permit")
    assert shown["upstream"] == [{"method": "GET", "target": "/Observation?patient=Patient/123"}]
    assert [(ground["rule"], ground["decided"]) for ground in shown["grounds"]] == [("patient/Observation.rs", True)]


async def test_a_refusal_is_an_explanation_too() -> None:
    status, shown = await ask(listener(), {**QUESTION, "target": "/Condition"})
    assert (status, shown["decision"], shown["status"], shown["required_scopes"]) == (200, "deny", 403, ["patient/Condition.s"])


@pytest.mark.parametrize("spelled", [TOKEN, f"Bearer {TOKEN}", f"  bearer {TOKEN}\n", f"DPoP {TOKEN}"])
async def test_a_token(spelled: str) -> None:
    status, shown = await ask(listener(), {"method": "GET", "target": "/Observation/o1", "token": spelled})
    assert (status, shown["decision"]) == (200, "permit")
    assert TOKEN not in json.dumps(shown)


async def test_a_tenant_is_named() -> None:
    assert (await ask(listener(), {**QUESTION, "tenant": "north"}))[1]["decision"] == "permit"
    status, shown = await ask(listener(), {**QUESTION, "tenant": "south"})
    assert (status, list(shown)) == (400, ["error"])


async def test_nobody() -> None:
    status, shown = await ask(listener(), {"method": "GET", "target": "/Observation"})
    assert (status, shown["decision"], shown["status"], shown["code"]) == (200, "deny", 401, "token-missing")


async def test_claims_of_an_invented_principal_count() -> None:
    from smart_gateway.policy.model import ConditionalRule, UserBound, UserRule, When

    rule = ConditionalRule(When(claims=(("organization", frozenset({"north"})),)), UserRule(UserBound.EVERYTHING, path=("users", 0)))
    app = listener(policy=policy(users=(rule,), places={("users", 0): "policy.yaml:3:5"}))
    who = {"scope": "user/Observation.rs", "fhir_user": "Practitioner/7"}
    inside = await ask(app, {**QUESTION, "principal": {**who, "claims": {"organization": "north"}}})
    outside = await ask(app, {**QUESTION, "principal": {**who, "claims": {"organization": "south"}}})
    assert (inside[1]["decision"], outside[1]["decision"]) == ("permit", "deny")


async def test_a_rule_has_its_place() -> None:
    from tests.support.deciding import scopes

    under = policy(
        clients={"app": ClientRule(limit=scopes("patient/Condition.rs"), networks=())},
        places={("clients", "app"): "policy.yaml:12:5"},
    )
    _, shown = await ask(listener(policy=under), {**QUESTION, "principal": {**QUESTION["principal"], "client": "app"}})
    assert {ground["place"] for ground in shown["grounds"] if ground["source"] == "client"} <= {"policy.yaml:12:5"}


# --- who may ask


@pytest.mark.parametrize(
    ("headers", "scope", "status"),
    [
        ({**JSON, "host": "localhost:9090"}, {}, 200),
        ({**JSON, "host": "LOCALHOST"}, {}, 200),
        ({**JSON, "host": "[::1]:9090"}, {"client": ("::1", 5)}, 200),
        (JSON, {"client": ("::ffff:127.0.0.1", 5)}, 200),
        ({**JSON, "host": "rebound.attacker.example:9090"}, {}, 421),
        ({**JSON, "host": "localhost.attacker.example"}, {}, 421),
        ({**JSON, "host": "localhost."}, {}, 421),
        ({**JSON, "host": "127.0.0.1.nip.io:9090"}, {}, 421),
        ({**JSON, "host": "0.0.0.0:9090"}, {}, 421),
        ({**JSON, "host": "127.0.0.1@attacker.example"}, {}, 421),
        ({**JSON, "host": "127.0.0.1:9090:x"}, {}, 421),
        ({**JSON, "host": ""}, {}, 421),
        ({"content-type": "application/json"}, {}, 421),
        (JSON, {"client": ("10.0.0.7", 5)}, 403),
        (JSON, {"client": ("::ffff:10.0.0.7", 5)}, 403),
        (JSON, {"client": None}, 403),
        (JSON, {"client": ("testclient", 5)}, 403),
        ({**JSON, "x-forwarded-for": "127.0.0.1"}, {}, 403),
        ({**JSON, "forwarded": "for=127.0.0.1"}, {}, 403),
        ({**JSON, "via": "1.1 proxy"}, {}, 403),
        ({**JSON, "origin": "http://127.0.0.1:9090"}, {}, 200),
        ({**JSON, "origin": "http://127.0.0.1:9090", "sec-fetch-site": "same-origin"}, {}, 200),
        ({**JSON, "origin": "http://attacker.example"}, {}, 403),
        ({**JSON, "origin": "http://127.0.0.1:8080"}, {}, 403),
        ({**JSON, "origin": "https://127.0.0.1:9090"}, {}, 403),
        ({**JSON, "origin": "null"}, {}, 403),
        ({**JSON, "sec-fetch-site": "same-site"}, {}, 403),
        ({**JSON, "sec-fetch-site": "cross-site"}, {}, 403),
        ({**JSON, "content-type": "application/json; charset=utf-8"}, {}, 200),
        ({**JSON, "content-type": "text/plain"}, {}, 415),
        ({**JSON, "content-type": "application/x-www-form-urlencoded"}, {}, 415),
        ({**JSON, "content-type": "text/plain; application/json"}, {}, 415),
        (HERE, {}, 415),
        ({**JSON, "content-encoding": "gzip"}, {}, 415),
    ],
)
async def test_who_may_ask(headers: dict[str, str], scope: dict[str, Any], status: int) -> None:
    answered, shown = await ask(listener(), headers=headers, **scope)
    assert answered == status
    assert ("decision" in shown) == (status == 200)


@pytest.mark.parametrize("name", ["host", "origin", "content-type"])
async def test_a_doubled_header_is_none(name: str) -> None:
    """The second one is what an attacker would add."""
    other = {"host": "attacker.example", "origin": "http://attacker.example", "content-type": "text/plain"}[name]
    headers = [(key.encode(), value.encode()) for key, value in {**JSON, "origin": "http://127.0.0.1:9090"}.items()]
    talk = Conversation(listener(), "POST", "/explain", client=("127.0.0.1", 50_000), headers=[*headers, (name.encode(), other.encode())])
    await talk.run(_sent(json.dumps(QUESTION).encode()))
    assert talk.status in {403, 415, 421}


@pytest.mark.parametrize("path", ["/explain", "/explain/page.js", "/explain/page.css"])
async def test_the_page_is_as_guarded_as_the_answers(path: str) -> None:
    assert (await get(listener(), path)).status == 200
    assert (await get(listener(), path, headers={"host": "attacker.example"})).status == 421
    assert (await get(listener(), path, client=("10.0.0.7", 5))).status == 403


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("OPTIONS", "/explain", "GET, HEAD, POST"),
        ("PUT", "/explain", "GET, HEAD, POST"),
        ("POST", "/explain/page.js", "GET, HEAD"),
    ],
)
async def test_other_methods(method: str, path: str, allow: str) -> None:
    """A preflight is none of ours: no other origin may ask."""
    talk = await get(listener(), path, method, {**HERE, "origin": "http://attacker.example"})
    assert (talk.status, talk.headers["allow"]) == (405, allow)
    assert not [name for name in talk.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/explain/", "/explain/../livez", "/explainx", "/explain/page.html", "/explain/page.js/x"])
async def test_nothing_else_is_there(path: str) -> None:
    assert (await get(listener(), path)).status == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_switched_off_there_is_nothing(method: str) -> None:
    for app in (listener(on=False), Management(_ready)):
        for path in ("/explain", "/explain/page.js"):
            assert (await get(app, path, method, JSON)).status == 404


async def test_health_is_as_it_was() -> None:
    talk = await get(listener(), "/livez", headers={"host": "10.0.0.3:9090"}, client=("10.0.0.7", 5))
    assert (talk.status, talk.body) == (200, b"alive\n")


# --- how the page is held


async def test_the_page_runs_nothing_but_its_own() -> None:
    page = await get(listener(), "/explain")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    said = page.headers["content-security-policy"]
    assert "default-src 'none'" in said
    assert "unsafe" not in said
    assert "*" not in said
    assert "http" not in said
    for part in (
        "script-src 'self'",
        "frame-ancestors 'none'",
        "form-action 'none'",
        "base-uri 'none'",
        "trusted-types 'none'",
    ):
        assert part in said
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert page.headers["x-content-type-options"] == "nosniff"
    text = page.body.decode()
    assert text.count("<script") == 1
    assert "<style" not in text
    assert " style=" not in text
    assert re.search(r"<[^>]* on[a-z]+=", text) is None
    assert "://" not in text
    for name in ("page.js", "page.css"):
        assert "://" not in (await get(listener(), f"/explain/{name}")).body.decode()
    script = (await get(listener(), "/explain/page.js")).body.decode()
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "sessionStorage", "cookie"):
        assert sink not in script


async def test_head_has_no_body() -> None:
    page, head = await get(listener(), "/explain"), await get(listener(), "/explain", "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(page.body)))


# --- what is taken


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"[]",
        b"{",
        b'{"method": "GET", "method": "PUT", "target": "/"}',
        b"\xff",
        b"[" * 100_000,
        {},
        {"method": "GET"},
        {"method": "", "target": "/"},
        {"method": 1, "target": "/"},
        {"method": "GET", "target": None},
        {**QUESTION, "token": TOKEN},
        {"method": "GET", "target": "/", "token": ""},
        {"method": "GET", "target": "/", "token": 7},
        {**QUESTION, "tokn": TOKEN},
        {**QUESTION, "tenant": 1},
        {**QUESTION, "principal": "patient/*.rs"},
        {**QUESTION, "principal": {"scopes": "patient/*.rs"}},
        {**QUESTION, "principal": {"claims": []}},
        {**QUESTION, "principal": {"patient": "../1"}},
        {**QUESTION, "principal": {"fhir_user": "Observation/1"}},
        {**QUESTION, "headers": "Accept: x"},
        {**QUESTION, "headers": ["Accept"]},
        {**QUESTION, "headers": [f"Authorization: Bearer {TOKEN}"]},
        {**QUESTION, "headers": ["DPoP: x"]},
        {**QUESTION, "body": {}},
        {**QUESTION, "body": "x", "body_base64": "eA=="},
        {**QUESTION, "body_base64": "%"},
        {**QUESTION, "body_base64": "\u20ac"},
    ],
    ids=lambda question: str(question)[:60],
)
async def test_what_cannot_be_understood_is_not_asked(question: object) -> None:
    status, shown = await ask(listener(), question)
    assert (status, list(shown)) == (400, ["error"])
    assert TOKEN not in json.dumps(shown)


@pytest.mark.parametrize("target", ["", "/Obs\ud800", "/Observation?\u20ac=1", "Observation", "//", "/" + "x" * 9000, "/O?code=%zz"])
async def test_any_target_has_an_answer(target: str) -> None:
    status, shown = await ask(listener(), {**QUESTION, "target": target})
    assert (status, "decision" in shown) in {(200, True), (400, False)}


async def test_a_question_has_a_size() -> None:
    status, shown = await ask(listener(), {**QUESTION, "body": "x" * 1024 * 1024})
    assert (status, list(shown)) == (413, ["error"])


async def test_bytes_and_texts_are_bodies() -> None:
    body = json.dumps({"resourceType": "Observation", "subject": {"reference": "Patient/999"}})
    who = {"scope": "patient/Observation.c", "patient": "123"}
    question = {"method": "POST", "target": "/Observation", "principal": who}
    for member in ({"body": body}, {"body_base64": base64.b64encode(body.encode()).decode()}):
        status, shown = await ask(listener(), {**question, **member})
        assert (status, shown["decision"], shown["code"]) == (200, "deny", "outside-boundary")
    assert (await ask(listener(), question))[1]["decision"] == "permit"


# --- tokens that do not count, and what goes wrong


@pytest.mark.parametrize(
    ("verifier", "status", "code"),
    [
        (FakeVerifier({TOKEN: TokenError("The token has expired.", reason="token-expired")}), 401, "token-expired"),
        (FakeVerifier({TOKEN: HookRefused("Not today.")}), 403, "refused-by-hook"),
        (FakeVerifier({}), 401, "invalid-token"),
    ],
)
async def test_a_token_that_does_not_count_is_explained(verifier: FakeVerifier, status: int, code: str) -> None:
    answered, shown = await ask(listener(verifier=verifier), {"method": "GET", "target": "/Observation", "token": TOKEN})
    assert (answered, shown["decision"], shown["status"], shown["code"]) == (200, "deny", status, code)
    assert (shown["grounds"], shown["upstream"]) == ([], [])


@pytest.mark.parametrize("token", ["a b", "Basic x", "\u20ac", "x" * 20_000])
async def test_what_is_no_token_is_explained(token: str) -> None:
    answered, shown = await ask(listener(), {"method": "GET", "target": "/Observation", "token": token})
    assert (answered, shown["decision"]) == (200, "deny")
    assert token not in json.dumps(shown, ensure_ascii=False)


async def test_an_issuer_that_is_down() -> None:
    down = FakeVerifier({TOKEN: DependencyUnavailable("https://idp.internal/keys cannot be had")})
    status, shown = await ask(listener(verifier=down), {"method": "GET", "target": "/Observation", "token": TOKEN})
    assert (status, shown) == (503, {"error": "the token cannot be verified at the moment"})


async def test_an_issuer_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smart_gateway.admin.explaining._WITHIN", 0.0)
    status, _ = await ask(listener(verifier=Hanging({})), {"method": "GET", "target": "/Observation", "token": TOKEN})
    assert status == 503


async def test_a_fault_tells_nothing_of_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    status, shown = await ask(listener(verifier=Broken({})), {"method": "GET", "target": "/Observation", "token": TOKEN})
    assert (status, shown) == (500, {"error": "this could not be explained"})
    assert "ValueError" in caplog.text
    assert TOKEN not in caplog.text


async def test_nothing_is_logged_or_recorded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    log = MemoryLog()
    status, _ = await ask(listener(log=log), {"method": "GET", "target": "/Observation?code=7", "token": TOKEN})
    assert (status, log.events, caplog.text) == (200, [], "")


async def test_each_question_is_judged_by_the_settings_of_its_moment() -> None:
    held = [snapshot(policy()), snapshot(replace(policy(), clients={}))]
    app = Management(_ready, ExplainPage(lambda _tenant: held[0], lambda: True))
    assert (await ask(app))[1]["decision"] == "permit"
    held.reverse()
    assert (await ask(app))[1]["code"] == "client-not-allowed"


async def test_by_a_client_over_http() -> None:
    """As httpx frames it."""
    transport = httpx.ASGITransport(app=listener(), client=("127.0.0.1", 123))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:9090") as http:
        answer = await http.post("/explain", json=QUESTION)
    assert (answer.status_code, answer.headers["content-type"], answer.json()["decision"]) == (200, "application/json", "permit")
