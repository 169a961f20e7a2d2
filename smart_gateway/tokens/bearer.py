"""The access token of a request's headers, and the scheme that it comes with."""

from __future__ import annotations

import re
from collections.abc import Sequence

from smart_gateway.errors import HeadersTooLarge, RequestError, TokenError, TokenMissing
from smart_gateway.request.limits import Limits
from smart_gateway.tokens.presented import Scheme

# RFC 6750 section 2.1: "Bearer" 1*SP b64token, RFC 9449 section 7.1: "DPoP" 1*SP token68, which is the same; schemes are
# case-insensitive (RFC 9110 section 11.1).
_CREDENTIALS = re.compile(rb"((?i:bearer|dpop)) +([A-Za-z0-9\-._~+/]+=*)")
_SCHEMES = {b"bearer": Scheme.BEARER, b"dpop": Scheme.DPOP}
_SCHEME_ROOM = 32  # bytes that the scheme's name and spaces may take beside the token


def read_token(headers: Sequence[tuple[bytes, bytes]], limits: Limits) -> tuple[Scheme, str | None]:
    """The scheme and token of the one ``Authorization`` header of ASGI ``headers``; None without that header.

    Raises RequestError for two such headers, HeadersTooLarge for a token over ``limits.token``, TokenError for another
    scheme or characters outside of b64token. Spec: RFC 6750 section 2.1, RFC 9449 section 7.1.
    """
    values = [value for name, value in headers if name.lower() == b"authorization"]
    if not values:
        return Scheme.BEARER, None
    if len(values) > 1:
        raise RequestError("The request has two Authorization headers.", reason="duplicate-header", expression="http.Authorization")
    if len(values[0]) > limits.token + _SCHEME_ROOM:
        raise _too_long()
    match = _CREDENTIALS.fullmatch(values[0])
    if match is None:
        raise _objection(values[0])
    if len(match[2]) > limits.token:
        raise _too_long()
    return _SCHEMES[match[1].lower()], match[2].decode("ascii")


def _too_long() -> HeadersTooLarge:
    return HeadersTooLarge("The access token is longer than is accepted here.", reason="token-too-long", expression="http.Authorization")


def _objection(value: bytes) -> TokenError:
    """A scheme that is not known counts as no authentication at all: then there is no error code. Spec: RFC 6750 section 3.1."""
    scheme = value.split(b" ", 1)[0].lower()
    if scheme in _SCHEMES:
        return TokenError("The Authorization header holds no well-formed token.", reason="malformed-token")
    return TokenMissing("The Authorization header uses a scheme other than Bearer and DPoP.", reason="unknown-scheme")
