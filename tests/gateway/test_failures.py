"""Every exception is a refusal, every request leaves one record, and nobody works for a client that has left (semantics 0.8, 12)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from smart_gateway.errors import DependencyUnavailable, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from smart_gateway.gateway.middleware import AnswerBrokenOff
from smart_gateway.principal import Actor
from smart_gateway.request.limits import Limits
from tests.support.asgi import FHIR, Conversation, FakeVerifier, Front, Reply, ScriptedUpstream, code_of, observation, searchset

BOUNDED = "patient/Observation.cruds"
UNBOUNDED = "system/*.cruds"
TOKEN = {"Authorization": "Bearer t"}


@pytest.mark.parametrize("scope", [BOUNDED, UNBOUNDED])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UpstreamUnavailable("down"), 503, "upstream-unavailable"),
        (UpstreamTimeout("late"), 504, "upstream-timeout"),
        (UpstreamError("odd"), 502, "upstream-error"),
        (RuntimeError("secret"), 502, "upstream-error"),
        (KeyError("secret"), 502, "upstream-error"),
    ],
)
async def test_whatever_the_upstream_raises(scope: str, error: Exception, status: int, code: str) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation/o1"] = Reply(raises=error)
    front = Front(upstream, scope)
    response = await front.get("/Observation/o1")
    assert (response.status_code, code_of(response)) == (status, code)
    assert "secret" not in response.text
    assert (front.event.outcome, front.event.code, front.event.status) == ("error", code, status)


async def test_a_failure_of_our_own_is_500_without_details(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeVerifier):
        async def verify(self, token: str, now: float) -> Any:
            raise ZeroDivisionError("secret of patient 123")

    upstream = ScriptedUpstream(observation())
    front = Front(upstream, BOUNDED, verifier=Broken({}))
    with caplog.at_level(logging.DEBUG):
        response = await front.get("/Observation/o1")
    assert (response.status_code, code_of(response)) == (500, "internal-error")
    assert "secret" not in response.text + caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert upstream.asked == []
    assert front.event.outcome == "error"


async def test_no_keys_is_503_and_never_access() -> None:
    upstream = ScriptedUpstream(observation())
    verifier = FakeVerifier({"t": DependencyUnavailable("The issuer cannot be reached.", retry_after=9)})
    response = await Front(upstream, BOUNDED, verifier=verifier).get("/Observation/o1")
    assert (response.status_code, response.headers["retry-after"]) == (503, "9")
    assert upstream.asked == []


async def test_refusals_before_the_decision_have_their_own_faces() -> None:
    front = Front(ScriptedUpstream(), BOUNDED)
    targets = {"/Observation//o1": 400, "/Nonsense/1": 404, "/Observation/o1/x": 404}
    cases = (("/Observation/o1", None, 401), ("/Observation/o1", "stranger", 401), *((t, "t", status) for t, status in targets.items()))
    for target, token, status in cases:
        assert (await front.get(target, token=token)).status_code == status
    assert [event.outcome for event in front.log.events] == ["deny"] * len(cases)
    assert [event.status for event in front.log.events] == [case[2] for case in cases]


@pytest.mark.parametrize("scope", [BOUNDED, UNBOUNDED])
async def test_an_answer_that_is_broken_off_never_looks_complete(scope: str) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation"] = Reply(200, chunks=(b'{"resourceType":', b'"Bundle"'), cut_short=True)
    front = Front(upstream, scope)
    conversation = Conversation(front.gateway, "GET", "/fhir/Observation", TOKEN)
    if scope == BOUNDED:
        await conversation.run()
        assert conversation.status == 502
    else:
        with pytest.raises(AnswerBrokenOff):
            await conversation.run()
        assert all(message.get("more_body", True) for message in conversation.sent[1:])
    assert (front.event.outcome, front.event.code) == ("error", "upstream-error")


async def test_an_answer_larger_than_can_be_checked_is_502_also_when_the_app_swallows_it() -> None:
    class Stubborn(ScriptedUpstream):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def kept(message: Any) -> None:
                with suppress(UpstreamError):
                    await send(message)

            await super().__call__(scope, receive, kept)

    for app in (ScriptedUpstream, Stubborn):
        upstream = app()
        upstream.replies["GET /Observation"] = Reply(200, chunks=(b"x" * 600, b"y" * 600, b""))
        assert (await Front(upstream, BOUNDED, answer_size=1000).get("/Observation")).status_code == 502
        upstream.replies["GET /Observation"] = Reply(302, b"", {"Location": "http://10.0.0.7/"})
        assert (await Front(upstream, UNBOUNDED).get("/Observation")).status_code == 502


@pytest.mark.parametrize("name", ["Content-Type", "Content-Length", "ETag", "Location", "Content-Location"])
async def test_a_header_that_is_there_twice_is_502(name: str) -> None:
    twice = ((name.lower().encode(), b"6"), (name.lower().encode(), b"7"))
    for scope in (BOUNDED, UNBOUNDED):
        upstream = ScriptedUpstream()
        upstream.replies["GET /Observation"] = Reply(200, type=None, chunks=(b"abc", b"def"), raw_headers=twice)
        assert (await Front(upstream, scope).get("/Observation")).status_code == 502


async def test_an_app_that_says_nothing_or_begins_in_the_middle_is_502() -> None:
    async def silent(_scope: Any, _receive: Any, _send: Any) -> None:
        pass

    async def headless(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.body", "body": b"x", "more_body": False})

    for app in (silent, headless):
        for scope in (BOUNDED, UNBOUNDED):
            assert (await Front(app, scope).get("/Observation/o1")).status_code == 502


async def test_an_app_that_does_not_answer_in_time_is_504() -> None:
    async def stuck(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.Event().wait()

    assert (await Front(stuck, BOUNDED, answer_time=0.01).get("/Observation/o1")).status_code == 504


class Client:
    """A client that sends ``messages`` and then waits; ``leave`` makes it go."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages = messages or ({"type": "http.request", "body": b"", "more_body": False},)
        self._gone = asyncio.Event()

    def leave(self) -> None:
        self._gone.set()

    async def says(self) -> AsyncIterator[dict[str, Any]]:
        for message in self._messages:
            yield message
        await self._gone.wait()
        yield {"type": "http.disconnect"}


@pytest.mark.parametrize("scope", [BOUNDED, UNBOUNDED])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_cancels_the_upstream_call(scope: str, begun: bool) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def slow(_scope: Any, _receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", FHIR.encode())]})
            await send({"type": "http.response.body", "body": b'{"resourceType":', "more_body": True})
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    front, client = Front(slow, scope), Client()
    task = asyncio.create_task(Conversation(front.gateway, "GET", "/fhir/Observation", TOKEN).run(client.says()))
    await asked.wait()
    client.leave()
    await task  # ends by itself, and without an exception
    assert cancelled.is_set()
    assert front.event.outcome == ("permit" if begun and scope == UNBOUNDED else "error")
    assert front.event.status == (200 if begun and scope == UNBOUNDED else 499)


async def test_any_other_cancellation_goes_on_its_way() -> None:
    asked = asyncio.Event()

    async def slow(_scope: Any, _receive: Any, _send: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    front = Front(slow, BOUNDED)
    task = asyncio.create_task(Conversation(front.gateway, "GET", "/fhir/Observation", TOKEN).run(Client().says()))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert front.event.status == 499


async def test_an_inner_app_that_goes_on_receiving_is_told_of_the_departure() -> None:
    told = asyncio.Event()

    async def listening(_scope: Any, receive: Any, _send: Any) -> None:
        assert (await receive())["type"] == "http.request"
        waiting = asyncio.create_task(receive())
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            assert (await waiting) == {"type": "http.disconnect"}
            told.set()
            raise

    client = Client()
    front = Front(listening, UNBOUNDED)
    task = asyncio.create_task(Conversation(front.gateway, "GET", "/fhir/Observation", TOKEN).run(client.says()))
    client.leave()
    await task
    assert told.is_set()
    assert front.event.status == 499


JSON = {**TOKEN, "Content-Type": FHIR}


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize("scope", [BOUNDED, UNBOUNDED])
async def test_a_client_that_leaves_within_its_body_is_not_answered_and_nothing_is_sent(scope: str) -> None:
    upstream = ScriptedUpstream()
    front, client = Front(upstream, scope), Client(part(b"{", more=True))
    client.leave()
    conversation = Conversation(front.gateway, "POST", "/fhir/Observation", JSON)
    await conversation.run(client.says())
    assert (conversation.sent, upstream.asked) == ([], [])
    assert (front.event.status, front.event.code) == (499, "client-gone")


async def test_a_slow_body_is_408_and_ends_the_connection() -> None:
    front = Front(ScriptedUpstream(), BOUNDED, limits=Limits(body_time=0.02))
    conversation = Conversation(front.gateway, "POST", "/fhir/Observation", JSON)
    await conversation.run(Client(part(b"{", more=True)).says())
    assert (conversation.status, conversation.headers["connection"]) == (408, "close")
    assert front.event.code == "too-slow"


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "2000"}], ids=["unsaid", "said"])
async def test_a_large_body_is_413_and_ends_the_connection(headers: dict[str, str]) -> None:
    upstream = ScriptedUpstream()
    front = Front(upstream, BOUNDED, limits=Limits(body=1000))
    conversation = Conversation(front.gateway, "POST", "/fhir/Observation", {**JSON, **headers})
    await conversation.run(Client(part(b"x" * 600, more=True), part(b"y" * 600, more=True)).says())
    assert (conversation.status, conversation.headers["connection"]) == (413, "close")
    assert upstream.asked == []


async def test_the_record_says_who_what_and_by_which_rule() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation"] = Reply(200, searchset(observation()))
    claims = {"subject": "s", "client_id": "c", "fhir_user": "Practitioner/p1", "tenant": "t1", "actors": (Actor("a"), Actor(None, "b"))}
    front = Front(upstream, "patient/Observation.rs", claims=claims)
    await front.get("/Patient/123/Observation?code=secret")
    event = front.event
    assert (event.interaction, event.type, event.types) == ("search-compartment", "Observation", ("Observation", "Patient"))
    assert (event.subject, event.client_id, event.fhir_user, event.patient) == ("s", "c", "Practitioner/p1", "123")
    assert (event.actor, event.prior_actors, event.tenant) == ("a", ("b",), "t1")
    assert (event.outcome, event.status, event.rules, event.upstream_status) == ("permit", 200, ("patient/Observation.rs",), 200)
    assert "secret" not in repr(event)


@pytest.mark.parametrize("id", ["foreign", "nowhere"])
async def test_the_record_of_what_looks_absent_tells_which_rule_bounded_it(id: str) -> None:
    upstream = ScriptedUpstream(observation(id="foreign", patient="456"))
    front = Front(upstream, "patient/Observation.rs patient/Condition.rs")
    await front.get(f"/Observation/{id}")
    assert (front.event.outcome, front.event.code, front.event.rules) == ("deny", "not-found", ("patient/Observation.rs",))
    assert front.event.upstream_status == (200 if id == "foreign" else 404)


async def test_request_ids_are_ours_and_the_clients_own_is_given_back() -> None:
    upstream = ScriptedUpstream(observation())
    front = Front(upstream, BOUNDED)
    response = await front.get("/Observation/o1", headers={"X-Request-Id": "mine-1"})
    assert response.headers["x-correlation-id"] == "mine-1"
    assert response.headers["x-request-id"] == front.event.request_id == upstream.asked[0].header("x-request-id")
    assert front.event.request_id != "mine-1"
    odd = await front.get("/Observation/o1", headers={"X-Request-Id": "a b<script>"})
    assert "x-correlation-id" not in odd.headers


@pytest.mark.parametrize(("said", "told"), [("7", "7"), ("99999", "3600"), ("soon", "5"), ("²", "5"), ("-1", "5"), ("", "5")])
async def test_a_client_is_told_for_how_long_the_upstream_asks_to_wait(said: str, told: str) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation/o1"] = Reply(429, b"", {"Retry-After": said}, type=None)
    response = await Front(upstream, BOUNDED).get("/Observation/o1")
    assert (response.status_code, response.headers["retry-after"]) == (429, told)


@pytest.mark.parametrize(("status", "answered"), [(500, 502), (502, 502), (503, 503), (504, 504), (599, 502), (501, 501), (422, 422)])
async def test_what_a_server_says_when_it_fails_is_for_those_who_run_it(status: int, answered: int) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation"] = Reply(status, b"at ca.uhn.fhir.Secret.java:17", type="text/html")
    response = await Front(upstream, UNBOUNDED).get("/Observation")
    assert response.status_code == answered
    assert ("Secret" in response.text) == (status in {422, 501})
    assert (response.headers.get("content-security-policy") == "sandbox") == (status in {422, 501})  # a page of the server's own
