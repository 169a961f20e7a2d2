"""Introspection answers as JWTs (RFC 9701): only those that the issuer signed for this client just now."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.errors import DependencyUnavailable, TokenError
from smart_gateway.fhir.references import Bases
from smart_gateway.principal import Principal
from smart_gateway.tokens.client_authentication import ClientAuthentication, ClientMethod
from smart_gateway.tokens.issuer import IntrospectionConfig, IssuerConfig
from smart_gateway.tokens.transport import Received
from smart_gateway.tokens.verifier import Verifier
from tests.support.issuer import (
    AUDIENCE,
    ISSUER,
    NOW,
    MemoryTransport,
    Posted,
    ScriptedIssuer,
    SigningKey,
    access_claims,
    compact,
    make_key,
)

BASES = Bases(public=AUDIENCE, upstream="http://127.0.0.1:8090/fhir")
ENDPOINT = f"{ISSUER}/introspect"
MEDIA = "application/token-introspection+jwt"
KEY = make_key("ES256")
SAID = {"active": True, "scope": "patient/*.rs", "patient": "123", "aud": AUDIENCE, "exp": int(NOW) + 300}


def answer(
    said: Any = SAID, *, key: SigningKey | None = KEY, header: dict[str, Any] | None = None, media: str = MEDIA, **claims: Any
) -> Received:
    """A signed answer; ``...`` takes a parameter or claim away."""
    parameters = {"alg": "ES256", "kid": "key-1", "typ": "token-introspection+jwt", **(header or {})}
    payload = {"iss": ISSUER, "aud": "gateway", "iat": int(NOW), "token_introspection": said, **claims}
    kept = [{name: value for name, value in part.items() if value is not ...} for part in (parameters, payload)]
    return Received(200, media, compact(kept[0], kept[1], key).encode())


async def judge(received: Received, *, now: float = NOW) -> Principal:
    issuer = ScriptedIssuer(keys=[KEY])
    transport = MemoryTransport(issuer)
    asked: list[Posted] = []
    transport.endpoints[ENDPOINT] = lambda posted: asked.append(posted) or received
    authentication = ClientAuthentication(ClientMethod.BASIC, "gateway", "s")
    config = IssuerConfig(
        ISSUER, (AUDIENCE,), jwks_uri=issuer.jwks_uri, introspection=IntrospectionConfig(authentication, ENDPOINT, signed=True)
    )
    principal = await Verifier([config], BASES, transport).verify("opaque", now)
    assert asked[0].headers["accept"] == MEDIA
    return principal


@pytest.mark.parametrize(
    "received",
    [
        answer(),
        answer(header={"typ": "application/token-introspection+jwt"}),
        answer(header={"typ": "Token-Introspection+JWT"}),
        answer(aud=["gateway"]),
        answer(aud=AUDIENCE),
        answer(aud=["x", "gateway"]),
        answer(iat=int(NOW) - 40),
        answer(iat=int(NOW) + 40),
    ],
)
async def test_what_the_issuer_signed_for_this_client_counts(received: Received) -> None:
    assert (await judge(received)).patient == "123"


async def test_a_signed_no_is_a_no() -> None:
    with pytest.raises(TokenError) as refusal:
        await judge(answer({"active": False}))
    assert refusal.value.reason == "inactive"


ACCESS_TOKEN = compact({"alg": "ES256", "kid": "key-1", "typ": "at+jwt"}, access_claims(), KEY).encode()


@pytest.mark.parametrize(
    "received",
    [
        answer(media="application/json"),
        answer(media="application/jwt"),
        answer(media=""),
        Received(200, "application/json", b'{"active": true, "scope": "patient/*.rs", "patient": "123"}'),
        Received(200, MEDIA, b'{"active": true, "scope": "patient/*.rs", "patient": "123"}'),
        Received(200, MEDIA, b""),
        Received(200, MEDIA, "é.é.é".encode()),
        Received(200, MEDIA, ACCESS_TOKEN),
        Received(200, MEDIA, b"eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn"),
        answer(key=None),
        answer(key=make_key("ES256", "stranger")),
        answer(key=make_key("ES256", "stranger"), header={"kid": "stranger"}),
        answer(key=make_key("ES256", "stranger"), header={"jwk": make_key("ES256", "stranger").jwk()}),
        answer(header={"alg": "none"}, key=None),
        answer(header={"alg": "HS256"}),
        answer(header={"typ": ...}),
        answer(header={"typ": "JWT"}),
        answer(header={"typ": "at+jwt"}),
        answer(header={"crit": ["exp"]}),
        answer(header={"kid": "unknown"}),
        answer(iss=...),
        answer(iss=ISSUER + "/"),
        answer(iss="https://other.example.org"),
        answer(aud=...),
        answer(aud=[]),
        answer(aud="somebody-else"),
        answer(aud={"gateway": True}),
        answer(aud=[["gateway"]]),
        answer(iat=...),
        answer(iat="now"),
        answer(iat=True),
        answer(iat=int(NOW) - 41),
        answer(iat=int(NOW) + 41),
        answer(token_introspection=...),
        answer(None),
        answer("active"),
        answer({}),
        answer(active=True, token_introspection=...),
    ],
)
async def test_everything_else_is_no_answer(received: Received) -> None:
    with pytest.raises(DependencyUnavailable):
        await judge(received)
