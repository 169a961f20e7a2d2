"""Introspection answers that are signed by the issuer. Spec: RFC 9701."""

from __future__ import annotations

from typing import Any

from smart_gateway.errors import TokenError
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.jwt import Jwt, check_header, check_signature, parse_jwt
from smart_gateway.tokens.key_source import KeySource
from smart_gateway.tokens.transport import FetchError, Received

_TYPE = "token-introspection+jwt"
SIGNED_MEDIA = f"application/{_TYPE}"
_MOST_AGE = 10.0  # seconds beyond the leeway; an answer is made when it is asked for


async def read_signed(received: Received, config: IssuerConfig, keys: KeySource, now: float) -> Any:
    """The answer that the JWT carries. Raises FetchError for one that is not signed for this client just now, DependencyUnavailable."""
    if received.media != SIGNED_MEDIA:
        raise FetchError("the answer is not signed", answered=received.status)
    try:
        jwt = parse_jwt(received.body.decode("ascii"))
        algorithm, kid = check_header(jwt.header, config.algorithms, {_TYPE, SIGNED_MEDIA})
        check_signature(jwt, algorithm, await keys.candidates(kid, algorithm, now))
    except (TokenError, UnicodeDecodeError):
        raise FetchError("the answer is not signed by a key of the issuer", answered=received.status) from None
    _check(jwt, config, now)
    return jwt.claims.get("token_introspection")


def _check(jwt: Jwt, config: IssuerConfig, now: float) -> None:
    """Spec: RFC 9701 section 5: ``iss``, ``aud`` and ``iat`` are there."""
    assert config.introspection is not None
    audience, issued_at = jwt.claims.get("aud"), jwt.claims.get("iat")
    named = [audience] if isinstance(audience, str) else audience
    ours = {config.introspection.authentication.client_id, *config.audiences}
    if jwt.claims.get("iss") != config.issuer:
        raise FetchError("the answer is signed as another issuer's", answered=200)
    if not isinstance(named, list) or not any(isinstance(name, str) and name in ours for name in named):
        raise FetchError("the answer is signed for somebody else", answered=200)
    if isinstance(issued_at, bool) or not isinstance(issued_at, int | float):
        raise FetchError("the answer does not say when it was made", answered=200)
    if not now - config.leeway - _MOST_AGE <= issued_at <= now + config.leeway + _MOST_AGE:
        raise FetchError("the answer was made at another time", answered=200)
