"""The bearer token of a request's headers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from smart_gateway.errors import HeadersTooLarge, RequestError, TokenError, TokenMissing
from smart_gateway.request.limits import Limits

# RFC 6750 section 2.1: "Bearer" 1*SP b64token; the scheme is case-insensitive (RFC 9110 section 11.1).
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")
_SCHEME_ROOM = 32  # bytes that the scheme's name and spaces may take beside the token


def bearer_token(headers: Sequence[tuple[bytes, bytes]], limits: Limits) -> str | None:
    """The token of the one ``Authorization`` header of ASGI ``headers``, or None without that header.

    Raises RequestError for two such headers, HeadersTooLarge for a token over ``limits.token``, TokenError for another
    scheme or characters outside of b64token. Spec: RFC 6750 section 2.1.
    """
    values = [value for name, value in headers if name.lower() == b"authorization"]
    if not values:
        return None
    if len(values) > 1:
        raise RequestError("The request has two Authorization headers.", reason="duplicate-header", expression="http.Authorization")
    if len(values[0]) > limits.token + _SCHEME_ROOM:
        raise _too_long()
    match = _BEARER.fullmatch(values[0])
    if match is None:
        raise _objection(values[0])
    if len(match[1]) > limits.token:
        raise _too_long()
    return match[1].decode("ascii")


def _too_long() -> HeadersTooLarge:
    return HeadersTooLarge("The access token is longer than is accepted here.", reason="token-too-long", expression="http.Authorization")


def _objection(value: bytes) -> TokenError:
    """A scheme that is not known counts as no authentication at all: then there is no error code. Spec: RFC 6750 section 3.1."""
    scheme = value.split(b" ", 1)[0].lower()
    if scheme == b"bearer":
        return TokenError("The Authorization header holds no well-formed bearer token.", reason="malformed-token")
    if scheme == b"dpop":
        return TokenError("Tokens of the DPoP scheme cannot be checked here yet and are refused.", reason="unknown-scheme")
    return TokenMissing("The Authorization header uses a scheme other than Bearer.", reason="unknown-scheme")
