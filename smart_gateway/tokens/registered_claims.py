"""What the registered claims of a token must say, whether a JWT brings them or an introspection endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_gateway.errors import TokenError
from smart_gateway.scopes.claim_paths import find_claim
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.jwt import Jwt, is_access_token

_ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash")
# How widespread issuers mark tokens that are no access tokens: Keycloak's ``typ``, Cognito's and Hydra's ``token_use``, ``token_type``.
_OTHER_TOKEN_MARKS = {
    "typ": frozenset({"ID", "Refresh", "Offline", "Logout"}),
    "token_use": frozenset({"id", "refresh", "refresh_token"}),
    "token_type": frozenset({"id", "id_token", "refresh", "refresh_token"}),
}
# What an answer of an introspection endpoint may call an access token: the kinds of RFC 6749 section 7.1 and RFC 9449, and what some
# servers say in their place. In a JWT ``token_type`` is any issuer's own claim.
_TOKEN_TYPES = frozenset({"bearer", "dpop", "access_token", "urn:ietf:params:oauth:token-type:access_token"})
_LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z; a time beyond it is no time


def check_claims(jwt: Jwt, config: IssuerConfig, now: float) -> None:
    """Raises TokenError unless the token is an access token of this issuer, for this resource, at ``now``.

    Spec: RFC 9068 section 4, RFC 7519 section 4.1; semantics 2. The leeway is for ``nbf`` and ``iat``; ``exp`` has none.
    """
    claims = jwt.claims
    if claims.get("iss") != config.issuer:
        raise TokenError("The token's issuer is not trusted here.", reason="unknown-issuer")
    _check_kind(claims, marked=is_access_token(jwt.header))
    _check_audience(find_claim(claims, config.claims.audience), config.audiences)
    if "exp" not in claims:
        raise TokenError("The token has no expiry.", reason="malformed-token")
    _check_times(claims, config, now)
    _check_forms(claims)


def check_introspected(claims: Mapping[str, Any], config: IssuerConfig, now: float) -> None:
    """Raises TokenError unless what the issuer says of an active token makes it an access token for this resource, at ``now``.

    Issuer, audience and times count where they are said. Spec: RFC 7662 section 2.2; semantics 2.
    """
    if "iss" in claims and claims["iss"] != config.issuer:
        raise TokenError("The token's issuer is not trusted here.", reason="unknown-issuer")
    _check_kind(claims, marked=False)
    _check_token_type(claims)
    audience = find_claim(claims, config.claims.audience)
    if audience is not None or "aud" in claims:
        _check_audience(audience, config.audiences)
    _check_times(claims, config, now)
    _check_forms(claims)


def _check_kind(claims: Mapping[str, Any], *, marked: bool) -> None:
    """Spec: RFC 9068 section 2.1 and semantics 2: an ID token is no access token."""
    if not marked and any(claim in claims for claim in _ID_TOKEN_CLAIMS):
        raise TokenError("An ID token is not an access token.", reason="id-token")
    for claim, marks in _OTHER_TOKEN_MARKS.items():
        if isinstance(claims.get(claim), str) and claims[claim] in marks:
            raise TokenError("The token is not an access token.", reason="wrong-token-type")


def _check_token_type(claims: Mapping[str, Any]) -> None:
    """Spec: RFC 7662 section 2.2, RFC 9449 section 6.2: a DPoP token is one of a key, which the answer must name."""
    if "token_type" not in claims:
        return
    named = str(claims["token_type"]).lower()
    if named not in _TOKEN_TYPES:
        raise TokenError("The token is not an access token.", reason="wrong-token-type")
    if named == "dpop" and (not isinstance(claims.get("cnf"), dict) or "jkt" not in claims["cnf"]):
        raise TokenError("The token is bound by DPoP, and its issuer does not say to which key.", reason="sender-constrained")


def _check_audience(claim: Any, audiences: tuple[str, ...]) -> None:
    named = [claim] if isinstance(claim, str) else claim
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise TokenError("The token names no audience.", reason="wrong-audience")
    if not any(name in audiences for name in named):
        raise TokenError("The token is not meant for this server.", reason="wrong-audience")


def _check_times(claims: Mapping[str, Any], config: IssuerConfig, now: float) -> None:
    expires_at, not_before, issued_at = (_time(claims, claim) for claim in ("exp", "nbf", "iat"))
    if expires_at is not None and now >= expires_at:
        raise TokenError("The token has expired.", reason="expired")
    if any(moment is not None and moment > now + config.leeway for moment in (not_before, issued_at)):
        raise TokenError("The token is not valid yet.", reason="not-yet-valid")
    lifetime = config.max_token_lifetime
    if lifetime is not None and (issued_at is None or expires_at is None or expires_at - issued_at > lifetime):
        raise TokenError("The token lives longer than is accepted from this issuer.", reason="lifetime-refused")


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    """A NumericDate, or None where the claim is absent; raises TokenError for what is no number in the range of times."""
    if claim not in claims:
        return None
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:  # NaN is in no range
        raise TokenError(f"The token's {claim} is not a time.", reason="malformed-token")
    return float(value)


def _check_forms(claims: Mapping[str, Any]) -> None:
    for claim in ("sub", "jti"):
        if claim in claims and not isinstance(claims[claim], str):
            raise TokenError(f"The token's {claim} is not a string.", reason="malformed-token")
    if "act" in claims and not isinstance(claims["act"], dict):
        raise TokenError("The token's act is not an object.", reason="malformed-token")
    if "cnf" in claims and (not isinstance(claims["cnf"], dict) or not claims["cnf"]):
        raise TokenError("The token's cnf names no key.", reason="sender-constrained")
