"""Tokens that an issuer is asked about: which answers count, for how long, and what happens while nobody answers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from smart_gateway.errors import DependencyUnavailable, SettingsError, TokenError
from smart_gateway.fhir.references import Bases
from smart_gateway.principal import Principal
from smart_gateway.tokens.cache import DenyList
from smart_gateway.tokens.client_authentication import ClientAuthentication, ClientMethod
from smart_gateway.tokens.issuer import ClaimPaths, IntrospectionConfig, IssuerConfig
from smart_gateway.tokens.shared_cache import LocalCache
from smart_gateway.tokens.transport import FetchError, Received
from smart_gateway.tokens.verifier import Verifier
from tests.support.issuer import AUDIENCE, ISSUER, NOW, MemoryTransport, Posted, ScriptedIssuer, json_answer, make_key

BASES = Bases(public=AUDIENCE, upstream="http://127.0.0.1:8090/fhir")
ENDPOINT = f"{ISSUER}/introspect"
OTHER = "https://other.example.org"
BASIC = ClientAuthentication(ClientMethod.BASIC, "gateway", "s3cr3t")
NOTHING: Mapping[str, Any] = MappingProxyType({})
OPAQUE = "opaque-token-of-somebody"


def active(**changes: Any) -> dict[str, Any]:
    """What is said of a good token; ``...`` takes a member away."""
    said = {
        "active": True,
        "scope": "patient/Observation.rs openid",
        "client_id": "growth-chart",
        "token_type": "Bearer",
        "sub": "subject-1",
        "aud": AUDIENCE,
        "iss": ISSUER,
        "exp": int(NOW) + 300,
        "iat": int(NOW),
        "jti": "token-1",
        "patient": "123",
    }
    return {name: value for name, value in {**said, **changes}.items() if value is not ...}


class Asked:
    """A verifier of one issuer that is asked, the issuer's endpoint, and what it answers."""

    def __init__(self, *more: IssuerConfig, verifier: Mapping[str, Any] = NOTHING, issuer: Mapping[str, Any] = NOTHING, **asking: Any):
        self.issuer = ScriptedIssuer(keys=[make_key("ES256")])
        self.other = ScriptedIssuer(OTHER, keys=[make_key("ES384", "key-2")])
        self.transport = MemoryTransport(self.issuer, self.other)
        self.answer: Any = active()
        self.transport.endpoints[ENDPOINT] = lambda posted: self.answer(posted) if callable(self.answer) else json_answer(self.answer)
        given = {"authentication": BASIC, "url": ENDPOINT, **asking}
        config = IssuerConfig(ISSUER, (AUDIENCE,), introspection=IntrospectionConfig(**given), **issuer)
        options: dict[str, Any] = {"clock": lambda: NOW, "entropy": lambda size: b"\x01" * size, **verifier}
        self.verifier = Verifier([config, *more], BASES, self.transport, **options)

    async def __call__(self, token: str = OPAQUE, now: float = NOW) -> Principal:
        return await self.verifier.verify(token, now)

    async def refused(self, token: str = OPAQUE, now: float = NOW) -> str:
        with pytest.raises(TokenError) as refusal:
            await self(token, now)
        assert token not in refusal.value.text
        return refusal.value.reason

    async def unavailable(self, token: str = OPAQUE, now: float = NOW) -> DependencyUnavailable:
        with pytest.raises(DependencyUnavailable) as failure:
            await self(token, now)
        assert failure.value.status == 503
        assert failure.value.text == "The token's issuer cannot be asked about it at the moment."
        return failure.value

    @property
    def questions(self) -> list[Posted]:
        return self.transport.posted


def fails(error: Exception) -> Callable[[Posted], Received]:
    def answer(_posted: Posted) -> Received:
        raise error

    return answer


def answers(status: int, body: bytes = b"{}", media: str = "application/json") -> Callable[[Posted], Received]:
    return lambda _posted: Received(status, media, body)


async def test_what_is_said_of_an_active_token_becomes_the_principal() -> None:
    asked = Asked()
    asked.answer = active(fhirUser="Practitioner/p1", encounter="e1", tenant="t1", username="amy", cnf={"jkt": "x"}, act={"sub": "proxy"})
    who = await asked()
    assert (who.issuer, who.subject, who.client_id, who.patient, who.encounter) == (ISSUER, "subject-1", "growth-chart", "123", "e1")
    assert (str(who.fhir_user.type if who.fhir_user else None), who.expires_at, who.token_id) == ("Practitioner", NOW + 300, "token-1")
    assert who.scopes.has("openid")
    assert dict(who.confirmation) == {"jkt": "x"}
    assert who.claims["username"] == "amy"


async def test_authorization_details_of_the_answer_count() -> None:
    """RFC 9396 section 9.2; semantics 3: for this base, compared whole, and then in place of the top-level scope."""
    asked = Asked()
    detail = {"type": "smart_on_fhir", "locations": [AUDIENCE], "scope": "patient/Condition.rs", "patient": "d1"}
    for details, scopes, patient in (
        ([detail], ["patient/Condition.rs"], "d1"),
        ([{**detail, "locations": [AUDIENCE + "/"]}], [], None),
        ([{**detail, "locations": ["https://other.example.org/fhir"]}], [], None),
        ([{"type": "payment"}], ["patient/Observation.rs"], "123"),
    ):
        asked.answer = active(authorization_details=details)
        who = await asked(f"token-{scopes}-{details}".replace(" ", ""))
        assert ([scope.text for scope in who.scopes.resources], who.patient) == (scopes, patient)


async def test_the_question_is_that_of_the_standard() -> None:
    """RFC 7662 section 2.1, RFC 6749 section 2.3.1."""
    asked = Asked()
    await asked()
    (question,) = asked.questions
    assert (question.url, question.form) == (ENDPOINT, {"token": OPAQUE, "token_type_hint": "access_token"})
    assert question.headers["accept"] == "application/json"
    assert question.headers["authorization"] == "Basic Z2F0ZXdheTpzM2NyM3Q="


async def test_the_endpoint_is_that_of_the_discovery_document_unless_it_is_said() -> None:
    asked = Asked(url=None)
    document = {**asked.issuer.discovery(), "introspection_endpoint": ENDPOINT}
    asked.transport.answers[asked.issuer.discovery_uri] = document
    assert (await asked()).patient == "123"
    assert asked.transport.asked == [asked.issuer.discovery_uri, ENDPOINT]


@pytest.mark.parametrize(
    "endpoint", [..., None, 5, "", "http://idp.example.org/introspect", "https://user:pw@idp.example.org/i", "ftp://x"]
)
async def test_no_endpoint_that_may_be_asked_is_no_access(endpoint: Any) -> None:
    asked = Asked(url=None)
    document = {**asked.issuer.discovery(), "introspection_endpoint": endpoint}
    asked.transport.answers[asked.issuer.discovery_uri] = {k: v for k, v in document.items() if v is not ...}
    await asked.unavailable()
    assert asked.questions == []


@pytest.mark.parametrize("said", [False, "true", "True", 1, None, [], {}, "active", [True]], ids=repr)
async def test_only_true_is_active(said: object) -> None:
    asked = Asked()
    asked.answer = active(active=said)
    assert await asked.refused() == "inactive"


@pytest.mark.parametrize(
    "answer",
    [
        answers(200, b"{}"),
        answers(200, b"[]"),
        answers(200, b"true"),
        answers(200, b"null"),
        answers(200, b""),
        answers(200, b'{"active": true', "application/json"),
        answers(200, b'{"active": false, "active": true}'),
        answers(200, json.dumps(active()).encode(), "text/html"),
        answers(200, json.dumps(active()).encode(), ""),
        answers(200, json.dumps(active()).encode(), "application/token-introspection+jwt"),
        answers(201, json.dumps(active()).encode()),
        answers(204, b""),
        answers(302, json.dumps(active()).encode()),
        answers(400, json.dumps(active()).encode()),
        answers(401, json.dumps(active()).encode()),
        answers(403, json.dumps(active()).encode()),
        answers(404, json.dumps(active()).encode()),
        answers(500, json.dumps(active()).encode()),
        answers(503, json.dumps(active()).encode()),
        fails(FetchError("no whole answer within the time limit")),
        fails(FetchError("the answer is too long", answered=200)),
        fails(RuntimeError("a bug")),
    ],
)
async def test_an_endpoint_that_does_not_say_gives_503_and_never_access(answer: Callable[[Posted], Received]) -> None:
    asked = Asked()
    asked.answer = answer
    await asked.unavailable()
    assert await asked.verifier.ready() is False


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iss": "https://other.example.org"}, "unknown-issuer"),
        ({"iss": ISSUER + "/"}, "unknown-issuer"),
        ({"iss": None}, "unknown-issuer"),
        ({"iss": [ISSUER]}, "unknown-issuer"),
        ({"aud": "https://elsewhere.example/fhir"}, "wrong-audience"),
        ({"aud": AUDIENCE + "/"}, "wrong-audience"),
        ({"aud": AUDIENCE + "/x"}, "wrong-audience"),
        ({"aud": AUDIENCE[:-1]}, "wrong-audience"),
        ({"aud": []}, "wrong-audience"),
        ({"aud": None}, "wrong-audience"),
        ({"aud": {"0": AUDIENCE}}, "wrong-audience"),
        ({"aud": ["https://elsewhere.example/fhir"]}, "wrong-audience"),
        ({"exp": NOW}, "expired"),
        ({"exp": NOW - 1}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": str(int(NOW) + 300)}, "malformed-token"),
        ({"exp": None}, "malformed-token"),
        ({"exp": True}, "malformed-token"),
        ({"exp": 10**30}, "malformed-token"),
        ({"exp": -1}, "malformed-token"),
        ({"nbf": NOW + 31}, "not-yet-valid"),
        ({"iat": NOW + 31}, "not-yet-valid"),
        ({"nbf": "now"}, "malformed-token"),
        ({"sub": 5}, "malformed-token"),
        ({"jti": []}, "malformed-token"),
        ({"act": "proxy"}, "malformed-token"),
        ({"cnf": {}}, "sender-constrained"),
        ({"cnf": "x"}, "sender-constrained"),
        ({"typ": "ID"}, "wrong-token-type"),
        ({"typ": "Refresh"}, "wrong-token-type"),
        ({"typ": "Offline"}, "wrong-token-type"),
        ({"token_use": "refresh_token"}, "wrong-token-type"),
        *(({"token_type": said}, "wrong-token-type") for said in ("refresh_token", "Refresh", "id_token", "mac", "", None, ["Bearer"], 5)),
        ({"token_type": "DPoP"}, "sender-constrained"),
        ({"token_type": "DPoP", "cnf": {"x5t#S256": "x"}}, "sender-constrained"),
        ({"nonce": "n"}, "id-token"),
        ({"at_hash": "h"}, "id-token"),
    ],
    ids=str,
)
async def test_what_an_active_token_says_must_be_right_where_it_is_said(change: dict[str, Any], reason: str) -> None:
    asked = Asked()
    asked.answer = active(**change)
    assert await asked.refused() == reason
    assert await asked.refused() == reason, "also when it is asked for again"


@pytest.mark.parametrize(
    "change",
    [
        {"token_type": "bearer"},
        {"token_type": "BEARER"},
        {"token_type": "access_token"},
        {"token_type": "DPoP", "cnf": {"jkt": "x"}},
        {"token_type": "dpop", "cnf": {"jkt": "x"}},
        {"token_type": "urn:ietf:params:oauth:token-type:access_token"},
        {"token_type": ...},
    ],
    ids=str,
)
async def test_what_servers_call_an_access_token(change: dict[str, Any]) -> None:
    asked = Asked()
    asked.answer = active(**change)
    assert (await asked()).patient == "123"


async def test_what_is_not_said_is_not_checked() -> None:
    asked = Asked()
    asked.answer = {"active": True, "scope": "patient/*.rs", "patient": "123"}
    who = await asked()
    assert (who.patient, who.expires_at, who.subject, who.client_id) == ("123", None, None, None)


async def test_a_lifetime_that_is_bounded_must_be_known() -> None:
    asked = Asked(issuer={"max_token_lifetime": 600.0})
    assert (await asked()).patient == "123"
    for change in ({"exp": ...}, {"iat": ...}, {"iat": int(NOW) - 301}):
        asked.answer = active(**change)
        assert await asked.refused(f"token-{change}") == "lifetime-refused"


async def test_the_audience_is_looked_for_where_the_settings_say() -> None:
    asked = Asked(issuer={"claims": ClaimPaths(audience=("resource",))})
    asked.answer = active(aud=..., resource="https://elsewhere.example")
    assert await asked.refused() == "wrong-audience"
    asked.answer = active(aud=..., resource=AUDIENCE)
    assert (await asked("another")).patient == "123"


# How long an answer counts.


async def test_an_answer_serves_for_its_time_and_not_a_moment_longer() -> None:
    asked = Asked()
    first = await asked()
    assert await asked(now=NOW + 29.9) is first
    assert len(asked.questions) == 1
    asked.answer = {"active": False}
    assert await asked.refused(now=NOW + 30) == "inactive"
    assert len(asked.questions) == 2


async def test_an_answer_never_serves_past_the_expiry_of_the_token() -> None:
    asked = Asked(cache=3600.0)
    asked.answer = active(exp=int(NOW) + 10)
    assert (await asked(now=NOW + 9)).patient == "123"
    asked.answer = {"active": False}
    assert (await asked(now=NOW + 9.9)).patient == "123"
    assert await asked.refused(now=NOW + 10) == "inactive"


async def test_a_token_without_expiry_serves_for_the_cache_only() -> None:
    asked = Asked(cache=20.0)
    asked.answer = active(exp=...)
    first = await asked()
    assert await asked(now=NOW + 19) is first
    asked.answer = {"active": False}
    assert await asked.refused(now=NOW + 20) == "inactive"


async def test_without_a_cache_every_request_asks() -> None:
    asked = Asked(cache=0.0, negative_cache=0.0)
    for count in range(1, 4):
        await asked()
        assert len(asked.questions) == count
    asked.answer = {"active": False}
    await asked.refused()
    await asked.refused()
    assert len(asked.questions) == 5


async def test_the_time_counts_from_when_the_question_was_asked_although_another_worker_asked_it() -> None:
    shared = LocalCache()
    one, two = Asked(verifier={"cache": shared}), Asked(verifier={"cache": shared})
    await one()
    await two(now=NOW + 29)
    assert two.questions == []
    two.answer = {"active": False}
    assert await two.refused(now=NOW + 30) == "inactive"


async def test_a_clock_that_is_set_back_lets_nothing_live_longer() -> None:
    asked = Asked()
    await asked()
    asked.answer = {"active": False}
    assert await asked.refused(now=NOW - 3600) in {"inactive", "not-yet-valid"}


async def test_a_token_that_is_not_active_is_refused_for_seconds_without_a_question() -> None:
    asked = Asked()
    asked.answer = {"active": False}
    for moment in (0.0, 1.0, 4.9):
        assert await asked.refused(now=NOW + moment) == "inactive"
    assert len(asked.questions) == 1
    asked.answer = active()
    assert (await asked(now=NOW + 5)).patient == "123", "a user who is enabled again"


async def test_a_failure_is_not_kept() -> None:
    asked = Asked()
    asked.answer = answers(500)
    await asked.unavailable()
    asked.answer = active()
    assert (await asked()).patient == "123"


async def test_what_is_said_of_one_token_is_not_said_of_another() -> None:
    asked = Asked()
    asked.answer = lambda posted: json_answer(active(patient=posted.form["token"].removeprefix("token-of-")))
    assert [(await asked(f"token-of-{patient}")).patient for patient in ("a", "b", "a")] == ["a", "b", "a"]


async def test_answers_of_one_issuer_or_client_are_not_those_of_another() -> None:
    shared = LocalCache()
    await Asked(verifier={"cache": shared})()
    stranger = Asked(verifier={"cache": shared}, authentication=ClientAuthentication(ClientMethod.BASIC, "stranger", "x"))
    stranger.answer = {"active": False}
    assert await stranger.refused() == "inactive"


async def test_the_key_of_what_is_shared_says_nothing_of_the_token() -> None:
    keys: list[str] = []

    class Spying(LocalCache):
        async def put(self, key: str, value: bytes, ttl: float, now: float) -> None:
            keys.append(key)
            await super().put(key, value, ttl, now)

    await Asked(verifier={"cache": Spying()})()
    (key,) = keys
    kind, _, digest = key.partition(":")
    assert kind == "introspection"
    assert len(digest) == 64
    assert OPAQUE not in key


@pytest.mark.parametrize("value", [b"", b"[]", b"true", b"5", b"not json", b'{"a": 1, "a": 2}'])
async def test_nonsense_in_the_shared_cache_is_no_answer(value: bytes) -> None:
    class Nonsense(LocalCache):
        async def put(self, key: str, _value: bytes, ttl: float, now: float) -> None:
            await super().put(key, value, ttl, now)

    shared = Nonsense()
    await Asked(verifier={"cache": shared})()
    again = Asked(verifier={"cache": shared})
    again.answer = {"active": False}
    assert await again.refused() == "inactive"


async def test_a_denied_token_is_refused_although_it_is_active_and_known() -> None:
    asked = Asked()
    await asked()
    asked.verifier.deny_list = DenyList(frozenset({"token-1"}))
    assert await asked.refused() == "revoked"
    asked.verifier.deny_list = DenyList(subjects=frozenset({"subject-1"}))
    assert await asked.refused() == "revoked"
    asked.verifier.deny_list = DenyList()
    assert (await asked()).patient == "123"
    assert len(asked.questions) == 1


# Whose a token is.


async def test_a_jwt_of_the_issuer_is_judged_by_the_answer_alone() -> None:
    """Semantics 2: the mode decides, not the look of the token."""
    asked = Asked()
    asked.answer = active(patient="456")
    token = asked.issuer.token(patient="123", scope="system/*.cruds")
    assert (await asked(token)).patient == "456"
    unsigned = asked.issuer.token(make_key("ES256", "nobody"), patient="123")
    asked.answer = {"active": False}
    assert await asked.refused(unsigned) == "inactive"


async def test_each_token_goes_to_the_issuer_that_it_names_and_what_names_none_to_the_one_that_takes_it() -> None:
    asked = Asked(IssuerConfig(OTHER, (AUDIENCE,), jwks_uri=f"{OTHER}/keys"))
    assert (await asked(asked.other.token())).issuer == OTHER
    assert asked.questions == []
    assert (await asked(asked.issuer.token())).issuer == ISSUER
    assert (await asked()).issuer == ISSUER
    assert len(asked.questions) == 2


@pytest.mark.parametrize("iss", ["https://elsewhere.example", ..., None, 5, [ISSUER], ISSUER + "/", ISSUER.upper()], ids=str)
async def test_a_jwt_that_names_nobody_here_is_shown_to_nobody(iss: Any) -> None:
    asked = Asked()
    assert await asked.refused(asked.issuer.token(iss=iss)) == "unknown-issuer"
    assert asked.questions == []


async def test_a_jwt_of_an_issuer_of_jwts_is_not_shown_to_the_other_even_when_it_is_spoiled() -> None:
    asked = Asked(IssuerConfig(OTHER, (AUDIENCE,), jwks_uri=f"{OTHER}/keys"))
    head, payload, signature = asked.other.token().split(".")
    for rest in (f"{payload}.{signature}AA", f"{payload}A.{signature}", f".{signature}", f"{payload}.", "e30.x"):
        await asked.refused(f"{head}.{rest}")
    await asked.refused("ewo.e30.x")
    assert asked.questions == []


@pytest.mark.parametrize("token", ["x", "a.b", "a.b.c", "a.b.c.d", "eyJ", "eyJ.eyJ", "W10.e30.x", "2YotnFZFEjr1zCsicMWpAA==", "A" * 16_000])
async def test_what_is_no_jwt_is_opaque(token: str) -> None:
    asked = Asked()
    assert (await asked(token)).patient == "123"
    assert asked.questions[0].form["token"] == token


async def test_an_encrypted_token_is_opaque_to_us() -> None:
    asked = Asked()
    assert (await asked("eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn")).patient == "123"


async def test_opaque_tokens_of_nobody_are_refused_as_before() -> None:
    asked = Asked(opaque=False)
    assert await asked.refused() == "opaque-token"
    assert asked.questions == []
    assert (await asked(asked.issuer.token())).patient == "123"


def test_opaque_tokens_can_be_of_one_issuer_only() -> None:
    second = IssuerConfig(OTHER, (AUDIENCE,), introspection=IntrospectionConfig(BASIC))
    with pytest.raises(SettingsError):
        Asked(second)


# While it fails.


async def test_many_requests_with_one_token_ask_once() -> None:
    asked = Asked()
    asked.transport.gate = asyncio.Event()
    waiting = [asyncio.create_task(asked()) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    asked.transport.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError), "who leaves does not take the question of the others away"
    assert {outcome.patient for outcome in outcomes[1:] if isinstance(outcome, Principal)} == {"123"}
    assert len(asked.questions) == 1


async def test_an_endpoint_that_does_not_answer_is_left_alone_for_longer_and_longer() -> None:
    asked = Asked()
    asked.answer = fails(FetchError("no whole answer within the time limit"))
    asked_at: list[float] = []
    for tenth in range(2000):
        before = len(asked.questions)
        await asked.unavailable(f"token-{tenth}", NOW + tenth / 10)
        if len(asked.questions) > before:
            asked_at.append(tenth / 10)
    assert asked_at == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 61.0, 91.0, 121.0, 151.0, 181.0]
    assert (await asked.unavailable(now=NOW + 182)).retry_after == 29
    asked.answer = active()
    assert (await asked(now=NOW + 211)).patient == "123"
    assert (await asked("another", NOW + 211)).patient == "123"


async def test_failures_side_by_side_count_once() -> None:
    asked = Asked()
    asked.transport.gate = asyncio.Event()
    asked.answer = fails(FetchError("no whole answer within the time limit"))
    waiting = [asyncio.create_task(asked(f"token-{n}")) for n in range(20)]
    await asyncio.sleep(0)
    asked.transport.gate.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    asked.answer = active()
    assert (await asked(now=NOW + 1)).patient == "123"


async def test_so_many_questions_stand_side_by_side_and_so_many_wait() -> None:
    """Made-up tokens cost a question each: they take no more than these, are no outage, and keep nothing from known tokens."""
    asked = Asked()
    known = await asked()
    asked.transport.gate = asyncio.Event()
    made_up = [asyncio.create_task(asked(f"made-up-{n}")) for n in range(256)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(asked.questions) == 1 + 32
    refused = await asked.unavailable("one more")
    assert refused.retry_after == 1
    assert await asked() is known
    asked.transport.gate.set()
    assert {who.patient for who in await asyncio.gather(*made_up)} == {"123"}
    assert (await asked("afterwards")).patient == "123"
    assert len(asked.questions) == 1 + 256 + 1


async def test_questions_that_wait_are_not_put_to_an_endpoint_that_stopped_answering() -> None:
    asked = Asked()
    asked.transport.gate = asyncio.Event()
    asked.answer = fails(FetchError("no whole answer within the time limit"))
    waiting = [asyncio.create_task(asked(f"token-{n}")) for n in range(100)]
    for _ in range(10):
        await asyncio.sleep(0)
    asked.transport.gate.set()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, DependencyUnavailable)
    assert len(asked.questions) == 32
    asked.answer = active()
    assert (await asked("afterwards", NOW + 1)).patient == "123"


async def test_after_an_outage_one_request_finds_out_whether_it_is_over() -> None:
    asked = Asked()
    asked.answer = fails(FetchError("no whole answer within the time limit"))
    await asked.unavailable()
    asked.transport.gate = asyncio.Event()
    first = asyncio.create_task(asked("first", NOW + 1))
    await asyncio.sleep(0)
    await asked.unavailable("second", NOW + 1)
    asked.answer = active()
    asked.transport.gate.set()
    assert (await first).patient == "123"
    assert len(asked.questions) == 2


async def test_a_token_that_the_endpoint_stumbles_over_locks_nobody_out() -> None:
    asked = Asked()
    asked.answer = lambda posted: json_answer({}, 500) if posted.form["token"].startswith("evil") else json_answer(active())
    for count in range(20):
        await asked.unavailable(f"evil-{count}")
        assert (await asked(f"good-{count}")).patient == "123"


async def test_known_tokens_go_on_through_an_outage_for_their_time() -> None:
    asked = Asked()
    known = await asked()
    asked.transport.down = True
    assert await asked(now=NOW + 29) is known
    await asked.unavailable(now=NOW + 30)


async def test_an_outage_is_said_once_and_nothing_of_the_token(caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked()
    asked.answer = answers(401)
    with caplog.at_level(logging.WARNING):
        for count in range(5):
            await asked.unavailable(f"{OPAQUE}-{count}")
    assert [record.getMessage() for record in caplog.records] == [
        f"the introspection endpoint of {ISSUER} cannot be asked: it refuses this client's credentials"
    ]
    asked.answer = active()
    await asked()
    asked.answer = answers(500)
    await asked.unavailable("another")
    assert len(caplog.records) == 2
    assert OPAQUE not in caplog.text


async def test_the_end_of_the_verifier_ends_its_questions() -> None:
    asked = Asked()
    asked.transport.gate = asyncio.Event()
    waiting = asyncio.create_task(asked())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asked.verifier.aclose()
    with pytest.raises(DependencyUnavailable):
        await waiting


# Whether it can be asked.


async def test_ready_asks_once_about_a_token_that_nobody_has() -> None:
    asked = Asked()
    asked.answer = {"active": False}
    assert await asked.verifier.ready()
    assert await asked.verifier.ready()
    (question,) = asked.questions
    assert question.form["token"] == "01" * 16


async def test_ready_follows_failures_and_recoveries() -> None:
    now = [NOW]
    asked = Asked(verifier={"clock": lambda: now[0]})
    asked.answer = fails(FetchError("no answer (ConnectError)"))
    assert not await asked.verifier.ready()
    assert not await asked.verifier.ready()
    assert len(asked.questions) == 1, "it is left alone for a while"
    now[0] += 1
    asked.answer = {"active": False}
    assert await asked.verifier.ready()
    asked.transport.down = True
    await asked.unavailable(now=now[0])
    assert await asked.verifier.ready(), "what is known is still served"
    now[0] += 3600
    assert not await asked.verifier.ready()


async def test_an_endpoint_that_calls_every_token_active_is_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked()
    assert not await asked.verifier.ready()
    assert "calls a token active that was made up" in caplog.text
