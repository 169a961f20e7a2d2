"""Attacks on tokens that an issuer is asked about, on its answers, and on what keeps them, each by name."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
import respx

from smart_gateway.errors import DependencyUnavailable, TokenError
from smart_gateway.fhir.references import Bases
from smart_gateway.principal import Principal
from smart_gateway.tokens.client_authentication import ClientAuthentication, ClientMethod
from smart_gateway.tokens.issuer import IntrospectionConfig, IssuerConfig
from smart_gateway.tokens.possession import Possessions
from smart_gateway.tokens.presented import Presented
from smart_gateway.tokens.shared_cache import LocalCache
from smart_gateway.tokens.transport import HttpTransport
from smart_gateway.tokens.verifier import Verifier
from tests.support.asgi import FHIR, PUBLIC, Front, ScriptedUpstream, code_of, observation
from tests.support.deciding import BASES as FRONT_BASES
from tests.support.issuer import AUDIENCE, ISSUER, NOW, MemoryTransport, ScriptedIssuer, access_claims, compact, json_answer, make_key

BASES = Bases(public=AUDIENCE, upstream="http://127.0.0.1:8090/fhir")
ENDPOINT = f"{ISSUER}/introspect"
BASIC = ClientAuthentication(ClientMethod.BASIC, "gateway", "s3cr3t")
KEY = make_key("ES256")


def said(**changes: Any) -> dict[str, Any]:
    members = {"active": True, "scope": "patient/*.rs", "patient": "123", "aud": AUDIENCE, "iss": ISSUER, "exp": int(NOW) + 300, **changes}
    return {name: value for name, value in members.items() if value is not ...}


def config(issuer: str = ISSUER, audience: str = AUDIENCE, **asking: Any) -> IssuerConfig:
    return IssuerConfig(issuer, (audience,), introspection=IntrospectionConfig(BASIC, f"{issuer}/introspect", **asking))


def verifier(answer: Any, *more: IssuerConfig, **options: Any) -> tuple[Verifier, MemoryTransport]:
    transport = MemoryTransport(ScriptedIssuer(keys=[KEY]))
    transport.endpoints[ENDPOINT] = lambda posted: answer(posted) if callable(answer) else json_answer(answer)
    return Verifier([config(), *more], BASES, transport, **options), transport


async def refuse(judge: Verifier, token: str, now: float = NOW) -> TokenError:
    with pytest.raises(TokenError) as refusal:
        await judge.verify(token, now)
    return refusal.value


async def test_a_forged_jwt_whose_claims_promise_more_than_the_answer() -> None:
    judge, _ = verifier(said(scope="patient/Observation.r", sub="amy"))
    forged = compact({"alg": "none"}, access_claims(scope="system/*.cruds", patient="999", sub="root"), None) + "AA"
    who = await judge.verify(forged, NOW)
    assert (who.patient, who.subject, who.scopes.has("system/*.cruds")) == ("123", "amy", False)


async def test_a_jwt_that_names_an_attackers_issuer_is_neither_sent_nor_fetched() -> None:
    judge, transport = verifier(said())
    evil = compact({"alg": "ES256", "jku": "https://evil.example/k"}, access_claims("https://evil.example"), KEY)
    assert (await refuse(judge, evil)).reason == "unknown-issuer"
    assert transport.asked == []


async def test_an_answer_about_introspection_replayed_as_an_access_token() -> None:
    """RFC 9701 section 8.1: it is signed by the very keys that sign access tokens."""
    issuer = ScriptedIssuer(keys=[KEY])
    transport = MemoryTransport(issuer)
    judge = Verifier([IssuerConfig(ISSUER, (AUDIENCE,), jwks_uri=issuer.jwks_uri)], BASES, transport)
    header = {"alg": "ES256", "kid": "key-1", "typ": "token-introspection+jwt"}
    answer = compact(header, access_claims(token_introspection=said()), KEY)
    assert (await refuse(judge, answer)).reason == "wrong-token-type"


async def test_an_id_token_or_refresh_token_that_the_endpoint_calls_active() -> None:
    by_claim = ({"typ": "ID"}, {"typ": "Refresh"}, {"nonce": "n"}, {"at_hash": "h"}, {"token_use": "id"}, {"token_use": "refresh_token"})
    for marks in (*by_claim, {"token_type": "refresh_token"}, {"token_type": "urn:ietf:params:oauth:token-type:id_token"}):
        judge, _ = verifier(said(**marks))
        assert (await refuse(judge, "t")).reason in {"id-token", "wrong-token-type"}


async def test_a_token_of_the_same_issuer_for_another_resource() -> None:
    for audience in ("https://billing.example", [AUDIENCE + ".evil.example"], AUDIENCE + "/Patient", AUDIENCE.upper(), "account"):
        judge, _ = verifier(said(aud=audience))
        assert (await refuse(judge, "t")).reason == "wrong-audience"


async def test_a_revoked_token_is_not_served_from_the_cache_of_verified_tokens() -> None:
    answers = [said()]
    judge, _ = verifier(lambda _: json_answer(answers[-1]), cache_ttl=3600.0)
    await judge.verify("t", NOW)
    answers.append({"active": False})
    assert (await judge.verify("t", NOW + 29.99)).patient == "123"
    assert (await refuse(judge, "t", NOW + 30)).reason == "inactive"


async def test_cached_past_its_expiry() -> None:
    judge, _ = verifier(said(exp=int(NOW) + 1), cache_ttl=3600.0)
    await judge.verify("t", NOW)
    assert (await refuse(judge, "t", NOW + 1)).reason == "expired"


async def test_a_token_of_one_tenant_is_not_known_to_the_other_that_shares_its_cache() -> None:
    shared = LocalCache()
    first, _ = verifier(said(), cache=shared)
    await first.verify("t", NOW)
    other = "https://other.example.org"
    transport = MemoryTransport()
    transport.endpoints[f"{other}/introspect"] = lambda _: json_answer({"active": False})
    second = Verifier([config(other)], BASES, transport, cache=shared)
    assert (await refuse(second, "t")).reason == "inactive"


async def test_a_replica_with_another_audience_judges_what_it_finds_in_the_cache_itself() -> None:
    shared = LocalCache()
    first, _ = verifier(said(), cache=shared)
    await first.verify("t", NOW)
    second = Verifier([config(audience="https://elsewhere.example")], BASES, MemoryTransport(), cache=shared)
    assert (await refuse(second, "t")).reason == "wrong-audience"


async def test_made_up_tokens_do_not_push_good_ones_out() -> None:
    shared = LocalCache(size=10)
    judge, transport = verifier(lambda posted: json_answer(said() if posted.form["token"] == "good" else {"active": False}), cache=shared)
    known = await judge.verify("good", NOW)
    for number in range(50):
        await refuse(judge, f"made-up-{number}")
    asked = len(transport.posted)
    assert await judge.verify("good", NOW + 1) is known
    assert len(transport.posted) == asked


async def test_a_bound_token_without_its_proof_is_refused_on_every_look() -> None:
    judge, _ = verifier(said(cnf={"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}))
    for _ in range(2):
        who = await judge.verify("t", NOW)
        with pytest.raises(TokenError):
            await Possessions().check(who, Presented("GET", AUDIENCE, "t"), NOW)


async def test_a_bound_jwt_of_which_the_answer_does_not_say_that_it_is_bound() -> None:
    """Some endpoints leave ``cnf`` out (RFC 9449 section 6.2 demands it): a stolen token must not become a free one by that."""
    issuer = ScriptedIssuer(keys=[KEY])
    for own, told, counts in (
        ({"jkt": "own"}, ..., {"jkt": "own"}),
        ({"jkt": "own"}, {"jkt": "told"}, {"jkt": "told"}),
        (..., {"jkt": "told"}, {"jkt": "told"}),
        (..., ..., {}),
    ):
        judge, _ = verifier({name: value for name, value in said(cnf=told).items() if value is not ...})
        who = await judge.verify(issuer.token(cnf=own), NOW)
        assert dict(who.confirmation) == counts
    judge, _ = verifier(said())
    assert (await refuse(judge, issuer.token(cnf={}))).reason == "sender-constrained"


@pytest.mark.parametrize("token", ["a+b", "a/b==", "a~b", "a%26active%3Dtrue", "x" * 16_000])
async def test_the_token_is_sent_as_it_is(token: str) -> None:
    judge, transport = verifier(said())
    await judge.verify(token, NOW)
    assert transport.posted[0].form["token"] == token


async def test_the_discovery_document_of_a_stranger_names_no_endpoint() -> None:
    issuer = ScriptedIssuer(keys=[KEY])
    transport = MemoryTransport(issuer)
    transport.answers[issuer.discovery_uri] = {
        "issuer": "https://evil.example",
        "introspection_endpoint": "https://evil.example/introspect",
    }
    asking = IntrospectionConfig(BASIC, url=None)
    judge = Verifier([IssuerConfig(ISSUER, (AUDIENCE,), introspection=asking)], BASES, transport)
    with pytest.raises(DependencyUnavailable):
        await judge.verify("t", NOW)
    assert transport.posted == []


# Over HTTP.


async def over_http(seconds: float = 5.0) -> Principal:
    judge = Verifier([config()], BASES, HttpTransport(seconds=seconds))
    try:
        return await judge.verify("t", NOW)
    finally:
        await judge.aclose()


@respx.mock
async def test_an_answer_over_http() -> None:
    respx.post(ENDPOINT).respond(json=said())
    assert (await over_http()).patient == "123"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@respx.mock
async def test_a_redirect_is_not_followed_with_the_token_and_the_secret(status: int) -> None:
    respx.post(ENDPOINT).respond(status, headers={"location": "https://evil.example/i"}, json=said())
    evil = respx.route(host="evil.example").respond(json=said())
    with pytest.raises(DependencyUnavailable):
        await over_http()
    assert not evil.called


@respx.mock
async def test_a_huge_answer_is_no_answer() -> None:
    respx.post(ENDPOINT).respond(json=said(padding="x" * (1 << 20)))
    with pytest.raises(DependencyUnavailable):
        await over_http()


@respx.mock
async def test_an_answer_that_never_ends_is_no_answer() -> None:
    async def dripping() -> Any:
        yield json.dumps(said()).encode()[:-1]
        await asyncio.Event().wait()

    respx.post(ENDPOINT).mock(side_effect=lambda _: httpx.Response(200, headers={"content-type": "application/json"}, content=dripping()))
    with pytest.raises(DependencyUnavailable):
        await over_http(0.01)


# Through the gateway.


def front(answer: Any) -> tuple[Front, ScriptedUpstream, MemoryTransport]:
    transport = MemoryTransport(ScriptedIssuer(keys=[KEY]))
    transport.endpoints[ENDPOINT] = lambda posted: answer(posted) if callable(answer) else json_answer(answer)
    upstream = ScriptedUpstream(observation("o1"))
    return Front(upstream, verifier=Verifier([config(audience=PUBLIC)], FRONT_BASES, transport)), upstream, transport


async def test_an_opaque_token_opens_what_the_answer_grants() -> None:
    gate, upstream, transport = front(said(aud=PUBLIC))
    answer = await gate.get("/Observation/o1", token="opaque")
    assert (answer.status_code, answer.json()["id"]) == (200, "o1")
    assert (await gate.get("/Observation/o1", token="opaque")).status_code == 200
    assert len(transport.posted) == 1
    assert all(asked.header("authorization") is None for asked in upstream.asked)


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ({"active": False}, 401, "inactive"),
        ({"active": "true"}, 401, "inactive"),
        (said(aud=PUBLIC + "/"), 401, "wrong-audience"),
        (said(aud=PUBLIC, exp=int(NOW)), 401, "expired"),
        (said(aud=PUBLIC, patient=...), 403, None),
        (said(aud=PUBLIC, scope=...), 403, None),
        (said(aud=PUBLIC, patient="456"), 404, None),
        ({}, 503, "dependency-unavailable"),
        (lambda _: json_answer(said(aud=PUBLIC), 500), 503, "dependency-unavailable"),
        (lambda _: json_answer(said(aud=PUBLIC), 401), 503, "dependency-unavailable"),
    ],
)
async def test_every_other_answer_is_a_refusal(answer: Any, status: int, code: str | None) -> None:
    gate, upstream, _ = front(answer)
    refusal = await gate.get("/Observation/o1", token="opaque")
    assert refusal.status_code == status
    assert refusal.headers["content-type"].startswith(FHIR)
    assert code is None or code_of(refusal) == code
    assert ("www-authenticate" in refusal.headers) is (status in {401, 403})
    assert ("retry-after" in refusal.headers) is (status == 503)
    assert "opaque" not in refusal.text + str(refusal.headers)
    assert upstream.asked == [] or status == 404
