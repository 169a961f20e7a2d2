"""DPoP proofs: whether one shows, for this request and this token, the key that the token is bound to. Spec: RFC 9449 section 4.3."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

from smart_gateway.errors import ProofRefused, TokenError
from smart_gateway.tokens.algorithms import DEFAULT_ALGORITHMS, SignatureAlgorithm, signature_holds
from smart_gateway.tokens.jwks import parse_key
from smart_gateway.tokens.jwt import Jwt, check_header, parse_jwt
from smart_gateway.tokens.presented import Presented
from smart_gateway.tokens.thumbprints import digest, jwk_thumbprint

PROOF_ALGORITHMS = DEFAULT_ALGORITHMS
_TYPES = frozenset({"dpop+jwt"})
_LONGEST = 8192  # bytes; one with an RSA key of 4,096 bits has 2,200
_PRINTABLE = re.compile(r"[!-~]+")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class ProofRules:
    """When a proof counts, in seconds: made at most ``age`` ago by clocks that differ by at most ``leeway``."""

    age: float = 60.0
    leeway: float = 30.0


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that holds but for what must be remembered: ``id`` tells it from all others, for the seconds that it ``lasts``."""

    id: str
    lasts: float
    nonce: str | None


def refuse_proof(text: str, reason: str) -> NoReturn:
    """Raises ProofRefused."""
    raise ProofRefused(text, algorithms=PROOF_ALGORITHMS, reason=reason)


def read_proof(presented: Presented, jkt: str, rules: ProofRules, now: float) -> Proof:
    """The proof of a request whose token is bound to the key ``jkt``. Raises ProofRefused.

    The key is compared before anything is reckoned with it: only keys that the issuer has taken cost any time.
    """
    jwt, algorithm = _parse(presented)
    jwk = _bound_key(jwt.header, jkt)
    key = parse_key(jwk)
    if key is None or not key.fits(algorithm):
        refuse_proof("The key of the DPoP proof is not a public key for its algorithm.", "proof-key")
    if not signature_holds(algorithm, key.public_key, jwt.signed, jwt.signature):
        refuse_proof("The signature of the DPoP proof is not valid.", "proof-signature")
    _check_request(jwt.claims, presented)
    return Proof(_id(jwt.claims, jkt), _remaining(jwt.claims, rules, now), _nonce(jwt.claims))


def _parse(presented: Presented) -> tuple[Jwt, SignatureAlgorithm]:
    if not presented.proofs:
        refuse_proof("The request has no DPoP proof.", "proof-missing")
    if len(presented.proofs) > 1:
        refuse_proof("The request has two DPoP proofs.", "proof-doubled")
    if len(presented.proofs[0]) > _LONGEST:
        refuse_proof("The DPoP proof is longer than is accepted here.", "proof-malformed")
    try:
        jwt = parse_jwt(presented.proofs[0].decode("latin-1"))
        algorithm, _ = check_header(jwt.header, PROOF_ALGORITHMS, _TYPES)
    except TokenError:
        refuse_proof("The DPoP proof is not a signed JWT of type dpop+jwt by an algorithm that is accepted here.", "proof-malformed")
    return jwt, algorithm


def _bound_key(header: Mapping[str, Any], jkt: str) -> dict[str, Any]:
    jwk = header.get("jwk")
    thumbprint = jwk_thumbprint(jwk) if isinstance(jwk, dict) else None
    if not isinstance(jwk, dict) or thumbprint is None:
        refuse_proof("The DPoP proof does not carry its public key.", "proof-key")
    if not hmac.compare_digest(thumbprint, jkt):
        refuse_proof("The token is bound to another key than that of the DPoP proof.", "proof-other-key")
    return jwk


def _check_request(claims: Mapping[str, Any], presented: Presented) -> None:
    if claims.get("htm") != presented.method:
        refuse_proof("The DPoP proof is for another method.", "proof-other-request")
    htu = claims.get("htu")
    asked = _normal(presented.url)
    if not isinstance(htu, str) or asked is None or _normal(htu) != asked:
        refuse_proof("The DPoP proof is for another address than that of this request.", "proof-other-request")
    ath = claims.get("ath")
    assert presented.token is not None  # INVARIANT: there is no principal without a token
    if not isinstance(ath, str) or not ath.isascii() or not hmac.compare_digest(ath, digest(presented.token.encode("ascii"))):
        refuse_proof("The DPoP proof is for another token.", "proof-other-token")


def _id(claims: Mapping[str, Any], jkt: str) -> str:
    """``jti`` counts for its key alone, so that nobody uses up the proofs of others. Spec: RFC 9449 section 11.1."""
    jti = claims.get("jti")
    if not isinstance(jti, str) or not jti:
        refuse_proof("The DPoP proof has no id.", "proof-malformed")
    return digest(f"{jkt} {jti}".encode("utf-8", "surrogatepass"))


def _remaining(claims: Mapping[str, Any], rules: ProofRules, now: float) -> float:
    """For how many seconds the proof would still count. Spec: RFC 9449 sections 4.3 and 11.1; RFC 7519 sections 4.1.4 and 4.1.5."""
    issued_at, begins, ends = (_time(claims, name) for name in ("iat", "nbf", "exp"))
    if issued_at is None:
        refuse_proof("The DPoP proof does not say when it was made.", "proof-malformed")
    if max(issued_at, begins or 0.0) > now + rules.leeway:
        refuse_proof("The DPoP proof is of a time to come.", "proof-out-of-time")
    remaining = issued_at + rules.age + rules.leeway - now
    if remaining < 0 or (ends is not None and ends <= now):
        refuse_proof("The DPoP proof is too old.", "proof-out-of-time")
    return remaining + 1.0  # until the clock has left the last moment in which it counts


def _time(claims: Mapping[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if claim not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:  # NaN is in no range
        refuse_proof(f"The {claim} of the DPoP proof is not a time.", "proof-malformed")
    return float(value)


def _nonce(claims: Mapping[str, Any]) -> str | None:
    nonce = claims.get("nonce")
    if "nonce" in claims and not isinstance(nonce, str):
        refuse_proof("The nonce of the DPoP proof is not a string.", "proof-malformed")
    return nonce


def _normal(url: str) -> tuple[str, str, int, str] | None:
    """``url`` without query and fragment, so that two spellings of one address are equal; None for what is no http address.

    Spec: RFC 9449 section 4.3 number 9, RFC 3986 sections 6.2.2.1, 6.2.2.2 and 6.2.3.
    """
    if _PRINTABLE.fullmatch(url) is None:  # urlsplit would drop some of the others
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    path = _ESCAPE.sub(_unescape, parts.path) or "/"
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port, path


def _unescape(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if _UNRESERVED.fullmatch(character) else match[0].upper()
