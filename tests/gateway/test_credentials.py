"""What the upstream gets to know of who asks: made from what was verified, for every request alike, and never the client's to set."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.gateway.credentials import (
    FACTS,
    Asking,
    Credentials,
    ExchangedAuthorization,
    FixedToken,
    ForwardedToken,
    IdentityHeaders,
    NoAuthorization,
    OwnAuthorization,
    UpstreamAuthorization,
)
from smart_gateway.policy.model import PublicInteraction
from smart_gateway.principal import Actor, Principal
from smart_gateway.tokens.client_authentication import read_assertion_key
from smart_gateway.tokens.identity_assertion import IdentitySigner, SharedSecret
from smart_gateway.tokens.token_exchange import ExchangedTokens, ExchangeTerms
from tests.support.asgi import FHIR, NOW, PUBLIC, UPSTREAM, FakeVerifier, Front, Reply, ScriptedUpstream, code_of, observation, searchset
from tests.support.deciding import policy, principal
from tests.support.issuer import json_answer
from tests.tokens.test_gateways_own_tokens import ISSUER, URL, Tokens

SCOPE = "patient/*.cruds"
NAMES = tuple((f"x-{fact}".replace("_", "-").encode(), fact) for fact in FACTS)
SECRET = b"a secret of thirty-two bytes or more"


def upstream() -> ScriptedUpstream:
    made = ScriptedUpstream(observation())
    made.replies["GET /Observation"] = Reply(200, searchset(observation()))
    return made


def front(authorization: UpstreamAuthorization, app: ScriptedUpstream, **choices: Any) -> Front:
    return Front(app, SCOPE, credentials=Credentials(authorization, choices.pop("identity", IdentityHeaders())), **choices)


def exchanging(tokens: Tokens) -> UpstreamAuthorization:
    return ExchangedAuthorization(ExchangedTokens(tokens.endpoint(), ExchangeTerms(frozenset({ISSUER, "https://idp.example.org"}))))


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (NoAuthorization, None),
        (ForwardedToken, "Bearer t"),
        (lambda: FixedToken("fixed"), "Bearer fixed"),
        (lambda: OwnAuthorization(Tokens().own()), "Bearer given-1"),
        (lambda: exchanging(Tokens()), "Bearer given-1"),
    ],
)
async def test_every_request_to_the_upstream_carries_what_the_settings_say(
    make: Callable[[], UpstreamAuthorization], value: str | None
) -> None:
    app = upstream()
    asking = front(make(), app)
    resource = json.dumps({**observation(), "meta": {}}).encode()
    await asking.get("/Observation/o1")
    await asking.get("/Observation")
    await asking.request("PUT", "/Observation/o1", content=resource, headers={"content-type": FHIR})
    entry = {"request": {"method": "GET", "url": "Observation/o1"}}
    bundle = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": [entry]}).encode()
    await asking.request("POST", "/", content=bundle, headers={"content-type": FHIR})
    assert {asked.method for asked in app.asked} == {"GET", "PUT", "POST"}
    assert [asked.header("authorization") for asked in app.asked] == [value] * len(app.asked)


async def test_of_nobodys_requests_only_the_gateways_own_tokens_go_up() -> None:
    under = policy(public=(PublicInteraction(Interaction.READ, "Observation"),))
    for authorization, value in (
        (ForwardedToken(), None),
        (OwnAuthorization(Tokens().own()), "Bearer given-1"),
        (exchanging(Tokens()), None),
    ):
        app = upstream()
        assert (await front(authorization, app, policy=under).get("/Observation/o1", token=None)).status_code == 200
        assert app.asked[0].header("authorization") == value


async def test_a_token_that_was_not_verified_goes_nowhere() -> None:
    app, tokens = upstream(), Tokens()
    asking = front(exchanging(tokens), app, verifier=FakeVerifier({}))
    assert (await asking.get("/Observation/o1", token="forged")).status_code == 401
    await asking.get("/metadata", token="forged")
    assert tokens.transport.posted == []
    assert [asked.header("authorization") for asked in app.asked] == [None]


async def test_nobody_is_asked_for_what_is_refused() -> None:
    tokens = Tokens()
    assert (await front(exchanging(tokens), upstream()).get("/Observation?patient=other")).status_code == 403
    assert (await front(OwnAuthorization(tokens.own()), upstream()).get("/.well-known/smart-configuration")).status_code == 200
    assert tokens.transport.posted == []


@pytest.mark.parametrize(
    ("status", "error", "expected", "code"),
    [
        (400, "invalid_request", 401, "exchange-refused"),
        (400, "invalid_target", 503, "dependency-unavailable"),
        (500, "x", 503, "dependency-unavailable"),
    ],
)
async def test_without_a_credential_nothing_is_sent(status: int, error: str, expected: int, code: str) -> None:
    app, tokens = upstream(), Tokens(error=error)
    tokens.status = status
    for target in ("/Observation/o1", "/Observation"):
        answer = await front(exchanging(tokens), app).get(target)
        assert (answer.status_code, code_of(answer)) == (expected, code)
    assert app.asked == []


async def test_a_token_of_another_issuer_is_not_exchanged() -> None:
    tokens = Tokens()
    foreign = FakeVerifier({"t": Principal("https://other.example", scopes=principal(SCOPE).scopes, patient="123")})
    answer = await front(exchanging(tokens), upstream(), verifier=foreign).get("/Observation/o1")
    assert (answer.status_code, code_of(answer)) == (401, "exchange-refused")
    assert tokens.transport.posted == []


def everything() -> IdentityHeaders:
    return IdentityHeaders(NAMES, b"x-identity", IdentitySigner(SharedSecret(SECRET), PUBLIC, UPSTREAM))


CLAIMS = {"subject": "s 1%\u00fc\r\nX-Evil: 1", "client_id": "c", "fhir_user": "Practitioner/p", "actors": (Actor("a"), Actor("b"))}


async def test_who_asks_is_told_by_headers_that_clients_cannot_set() -> None:
    app = upstream()
    asking = front(NoAuthorization(), app, identity=everything(), claims=CLAIMS)
    forged = {name.decode(): "forged" for name, _ in NAMES} | {"x-identity": "forged", "x_patient": "forged", "X-PATIENT": "forged"}
    await asking.get("/Observation/o1", headers=forged)
    (asked,) = app.asked
    assert "forged" not in str(asked.headers)
    assert {name: asked.header(name) for name in ("x-issuer", "x-client-id", "x-fhir-user", "x-patient", "x-actor")} == {
        "x-issuer": "https://idp.example.org",
        "x-client-id": "c",
        "x-fhir-user": "Practitioner/p",
        "x-patient": "123",
        "x-actor": "a",
    }
    assert asked.header("x-subject") == "s%201%25%C3%BC%0D%0AX-Evil:%201"
    assert (asked.header("x-encounter"), asked.header("x-tenant")) == ("", "")


async def test_the_assertion_says_the_same_signed() -> None:
    app = upstream()
    await front(NoAuthorization(), app, identity=everything(), claims=CLAIMS).get("/Observation/o1")
    told = jwt.decode(str(app.asked[0].header("x-identity")), SECRET, ["HS256"], audience=UPSTREAM, options={"verify_exp": False})
    assert told == {
        "iss": PUBLIC,
        "aud": UPSTREAM,
        "iat": NOW,
        "exp": NOW + 30,
        "jti": app.asked[0].header("x-request-id"),
        "token_issuer": "https://idp.example.org",
        "sub": CLAIMS["subject"],
        "client_id": "c",
        "fhirUser": "Practitioner/p",
        "patient": "123",
        "act": {"sub": "a"},
    }


async def test_nobody_is_told_as_nobody() -> None:
    app = upstream()
    under = policy(public=(PublicInteraction(Interaction.READ, "Observation"),))
    await front(NoAuthorization(), app, identity=everything(), policy=under).get("/Observation/o1", token=None, headers={"x-patient": "1"})
    asked = app.asked[0]
    assert [asked.header(name.decode()) for name, _ in NAMES] == [""] * len(NAMES)
    told = jwt.decode(str(asked.header("x-identity")), SECRET, ["HS256"], audience=UPSTREAM, options={"verify_exp": False})
    assert set(told) == {"iss", "aud", "iat", "exp", "jti"}


def test_an_assertion_by_a_key_is_verified_by_its_public_half() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    signed = IdentitySigner(read_assertion_key(pem, "k1"), PUBLIC, UPSTREAM).sign(principal(SCOPE), "7", NOW)
    assert jwt.get_unverified_header(signed) == {"alg": "ES384", "typ": "JWT", "kid": "k1"}
    told = jwt.decode(signed, key.public_key(), ["ES384"], audience=UPSTREAM, issuer=PUBLIC, options={"verify_exp": False})
    assert told["patient"] == "123"


@pytest.mark.parametrize("one", ["%", "%25", "a b", "a%20b", "\u00fc", "%C3%BC"])
@pytest.mark.parametrize("other", ["%", "%25", "a b", "a%20b", "\u00fc", "%C3%BC"])
def test_no_two_facts_look_the_same(one: str, other: str) -> None:
    tells = IdentityHeaders(((b"x-s", "subject"),))
    first, second = (tells.tell(Principal("i", subject=text), "7", NOW) for text in (one, other))
    assert (first == second) is (one == other)


async def test_a_credential_is_made_once_for_all_that_a_request_sends() -> None:
    tokens = Tokens(expires_in=0)
    credential = Credentials(exchanging(tokens)).of(Asking(principal(SCOPE), token="t"), "7", lambda: NOW)
    first, *others = await asyncio.gather(*(credential.headers() for _ in range(5)))
    assert all(other == first for other in others)
    assert tokens.given == 1


async def test_secrets_are_shown_nowhere() -> None:
    tokens = Tokens()
    tokens.transport.endpoints[URL] = lambda posted: json_answer({"error": "invalid_client"}, 401)
    answer = await front(exchanging(tokens), upstream()).get("/Observation/o1")
    assert "secret" not in answer.text + repr(everything()) + repr(tokens.own().__dict__)
    assert "t0ken" not in repr(Asking(token="t0ken"))
