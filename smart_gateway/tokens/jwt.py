"""JSON Web Tokens: the strict compact form, its header, its signature."""

from __future__ import annotations

import base64
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.errors import TokenError
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.tokens.algorithms import ALGORITHMS, SignatureAlgorithm, signature_holds
from smart_gateway.tokens.jwks import VerifyingKey

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_TYPES = _ACCESS_TOKEN_TYPES | {"jwt", None}
# Header parameters that would change what the payload is. ``jku``, ``jwk``, ``x5u`` and ``x5c`` are never looked at.
_REFUSED_PARAMETERS = {
    "crit": "The token's header has critical extensions.",
    "b64": "The token's payload is not encoded as a JWT's must be.",
    "enc": "Encrypted tokens are not accepted.",
    "zip": "Compressed tokens are not accepted.",
    "cty": "Nested tokens are not accepted.",
}


@dataclass(frozen=True, slots=True)
class Jwt:
    """A token as it stands, nothing verified: ``signed`` are the bytes that ``signature`` is over."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def looks_like_jwt(token: str) -> bool:
    """Whether ``token`` is to be read as a signed JWT: three parts, of which the first begins as a JSON object does."""
    header, _, rest = token.partition(".")
    try:
        return rest.count(".") == 1 and _decode(header).lstrip().startswith(b"{")
    except TokenError:
        return False


def parse_jwt(token: str) -> Jwt:
    """Takes a token apart; raises TokenError for anything but the strict compact form. Spec: RFC 7519 section 7.2."""
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise _malformed(token)
    header, claims, signature = (_decode(part) for part in match.groups())
    return Jwt(_parse_object(header), _parse_object(claims), f"{match[1]}.{match[2]}".encode("ascii"), signature)


def _malformed(token: str) -> TokenError:
    if token.count(".") == 4:
        return TokenError("Encrypted tokens are not accepted.", reason="encrypted-token")
    if token.count(".") != 2:
        return TokenError("The token is not a JWT, and no issuer here accepts opaque tokens.", reason="opaque-token")
    return TokenError("The token is not a well-formed JWT.", reason="malformed-token")


def _decode(part: str) -> bytes:
    """Base64url without padding, in its one canonical spelling. Spec: RFC 7515 section 2, RFC 4648 section 3.5."""
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise TokenError("The token is not a well-formed JWT.", reason="malformed-token") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode("ascii"):
        raise TokenError("The token is not a well-formed JWT.", reason="malformed-token")
    return decoded


def _parse_object(data: bytes) -> Mapping[str, Any]:
    try:
        value = parse_json(data)
    except JsonError:
        raise TokenError("The token's parts are not strict JSON.", reason="malformed-token") from None
    if not isinstance(value, dict):
        raise TokenError("The token's parts are not JSON objects.", reason="malformed-token")
    return value


def check_header(
    header: Mapping[str, Any], algorithms: Iterable[str], types: Container[str | None] = _TYPES
) -> tuple[SignatureAlgorithm, str | None]:
    """The algorithm and key id of a header that may be believed; raises TokenError for every other. Spec: RFC 7515 section 4.

    ``types`` are the values that ``typ`` may have, in lower case; None among them: it may be absent.
    """
    for parameter, objection in _REFUSED_PARAMETERS.items():
        if parameter in header:
            raise TokenError(objection, reason="header-refused")
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in algorithms or alg not in ALGORITHMS:
        raise TokenError("The token's signature algorithm is not accepted from this issuer.", reason="algorithm-refused")
    if _type(header) not in types:
        raise TokenError("The token's type is not that of an access token.", reason="wrong-token-type")
    kid = header.get("kid")
    if "kid" in header and not isinstance(kid, str):
        raise TokenError("The token's key id is not a string.", reason="malformed-token")
    return ALGORITHMS[alg], kid


def _type(header: Mapping[str, Any]) -> str | None:
    """``typ`` in lower case, for media types are not case-sensitive (RFC 7515 section 4.1.9); None where there is none."""
    typ = header.get("typ")
    return typ.lower() if isinstance(typ, str) and typ.isascii() else "" if "typ" in header else None


def is_access_token(header: Mapping[str, Any]) -> bool:
    """Whether the header says so itself. Spec: RFC 9068 section 2.1."""
    return _type(header) in _ACCESS_TOKEN_TYPES


def check_signature(jwt: Jwt, algorithm: SignatureAlgorithm, keys: Iterable[VerifyingKey]) -> None:
    """Raises TokenError unless one of ``keys`` verifies the token."""
    if not any(signature_holds(algorithm, key.public_key, jwt.signed, jwt.signature) for key in keys):
        raise TokenError("The token's signature is not valid.", reason="bad-signature")
