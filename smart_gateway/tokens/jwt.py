"""JSON Web Tokens: the strict compact form, its header, its signature, its registered claims."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.errors import TokenError
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.tokens.algorithms import ALGORITHMS, SignatureAlgorithm, signature_holds
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.jwks import VerifyingKey

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_TYPES = _ACCESS_TOKEN_TYPES | {"jwt"}
# Header parameters that would change what the payload is. ``jku``, ``jwk``, ``x5u`` and ``x5c`` are never looked at.
_REFUSED_PARAMETERS = {
    "crit": "The token's header has critical extensions.",
    "b64": "The token's payload is not encoded as a JWT's must be.",
    "enc": "Encrypted tokens are not accepted.",
    "zip": "Compressed tokens are not accepted.",
    "cty": "Nested tokens are not accepted.",
}
_ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash")
# How widespread issuers mark tokens that are no access tokens in the payload: Keycloak's ``typ``, Cognito's ``token_use``.
_OTHER_TOKEN_MARKS = {"typ": frozenset({"ID", "Refresh", "Offline", "Logout"}), "token_use": frozenset({"id", "refresh"})}
_LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z; a time beyond it is no time


@dataclass(frozen=True, slots=True)
class Jwt:
    """A token as it stands, nothing verified: ``signed`` are the bytes that ``signature`` is over."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


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


def check_header(header: Mapping[str, Any], algorithms: Iterable[str]) -> tuple[SignatureAlgorithm, str | None]:
    """The algorithm and key id of a header that may be believed; raises TokenError for every other. Spec: RFC 7515 section 4."""
    for parameter, objection in _REFUSED_PARAMETERS.items():
        if parameter in header:
            raise TokenError(objection, reason="header-refused")
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in algorithms or alg not in ALGORITHMS:
        raise TokenError("The token's signature algorithm is not accepted from this issuer.", reason="algorithm-refused")
    if "typ" in header and _media_type(header["typ"]) not in _TYPES:
        raise TokenError("The token's type is not that of an access token.", reason="wrong-token-type")
    kid = header.get("kid")
    if "kid" in header and not isinstance(kid, str):
        raise TokenError("The token's key id is not a string.", reason="malformed-token")
    return ALGORITHMS[alg], kid


def _media_type(typ: Any) -> str | None:
    """``typ`` in lower case: media types are not case-sensitive (RFC 7515 section 4.1.9)."""
    return typ.lower() if isinstance(typ, str) and typ.isascii() else None


def check_signature(jwt: Jwt, algorithm: SignatureAlgorithm, keys: Iterable[VerifyingKey]) -> None:
    """Raises TokenError unless one of ``keys`` verifies the token."""
    if not any(signature_holds(algorithm, key.public_key, jwt.signed, jwt.signature) for key in keys):
        raise TokenError("The token's signature is not valid.", reason="bad-signature")


def check_claims(jwt: Jwt, config: IssuerConfig, now: float) -> None:
    """Raises TokenError unless the token is an access token of this issuer, for this resource, at ``now``.

    Spec: RFC 9068 section 4, RFC 7519 section 4.1; semantics 2. The leeway is for ``nbf`` and ``iat``; ``exp`` has none.
    """
    if jwt.claims.get("iss") != config.issuer:
        raise TokenError("The token's issuer is not trusted here.", reason="unknown-issuer")
    _check_kind(jwt)
    _check_audience(jwt.claims.get("aud"), config.audiences)
    _check_times(jwt.claims, config, now)
    for claim in ("sub", "jti"):
        if claim in jwt.claims and not isinstance(jwt.claims[claim], str):
            raise TokenError(f"The token's {claim} is not a string.", reason="malformed-token")
    if "act" in jwt.claims and not isinstance(jwt.claims["act"], dict):
        raise TokenError("The token's act is not an object.", reason="malformed-token")
    if "cnf" in jwt.claims and (not isinstance(jwt.claims["cnf"], dict) or not jwt.claims["cnf"]):
        raise TokenError("The token's cnf names no key.", reason="sender-constrained")


def _check_kind(jwt: Jwt) -> None:
    """Spec: RFC 9068 section 2.1 and semantics 2: an ID token is no access token."""
    claims = jwt.claims
    is_access_token = _media_type(jwt.header.get("typ")) in _ACCESS_TOKEN_TYPES
    if not is_access_token and any(claim in claims for claim in _ID_TOKEN_CLAIMS):
        raise TokenError("An ID token is not an access token.", reason="id-token")
    for claim, marks in _OTHER_TOKEN_MARKS.items():
        if isinstance(claims.get(claim), str) and claims[claim] in marks:
            raise TokenError("The token is not an access token.", reason="wrong-token-type")


def _check_audience(claim: Any, audiences: tuple[str, ...]) -> None:
    named = [claim] if isinstance(claim, str) else claim
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise TokenError("The token names no audience.", reason="wrong-audience")
    if not any(name in audiences for name in named):
        raise TokenError("The token is not meant for this server.", reason="wrong-audience")


def _check_times(claims: Mapping[str, Any], config: IssuerConfig, now: float) -> None:
    expires_at = _time(claims, "exp")
    if expires_at is None:
        raise TokenError("The token has no expiry.", reason="malformed-token")
    if now >= expires_at:
        raise TokenError("The token has expired.", reason="expired")
    not_before, issued_at = _time(claims, "nbf"), _time(claims, "iat")
    if any(moment is not None and moment > now + config.leeway for moment in (not_before, issued_at)):
        raise TokenError("The token is not valid yet.", reason="not-yet-valid")
    lifetime = config.max_token_lifetime
    if lifetime is not None and (issued_at is None or expires_at - issued_at > lifetime):
        raise TokenError("The token lives longer than is accepted from this issuer.", reason="lifetime-refused")


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    """A NumericDate, or None where the claim is absent; raises TokenError for what is no number in the range of times."""
    if claim not in claims:
        return None
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:  # NaN is in no range
        raise TokenError(f"The token's {claim} is not a time.", reason="malformed-token")
    return float(value)
