"""Certified statements about clients: JWTs whose signer shows a chain of certificates up to an anchor that the settings name.

Spec: UDAP Certifications and Endorsements for Client Applications; UDAP Dynamic Client Registration, "software statement".
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from smart_gateway.errors import TokenError
from smart_gateway.tokens.algorithms import ALGORITHMS, SignatureAlgorithm, signature_holds
from smart_gateway.tokens.certificates import alternative_names, read_certificate, read_certificates
from smart_gateway.tokens.jwt import Jwt, parse_jwt

Anchors = tuple[x509.Certificate, ...]

_ALGORITHMS = ("RS256", "RS384", "ES256", "ES384")  # UDAP: RS256 is a must, the others may be taken
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384"}
_MIN_RSA_BITS = 2048
_MOST_CERTIFICATES = 10
_LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z


class StatementRefused(Exception):
    """The statement certifies nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class CertifiedStatement:
    """What a certifier says of a client: ``scope`` as it stands, from ``since`` and before ``until`` (seconds since the epoch)."""

    certifier: str
    subject: str
    scope: str
    since: float
    until: float


def read_anchors(data: bytes) -> Anchors:
    """The certificates of a PEM file. Raises StatementRefused where there is none."""
    try:
        return read_certificates(data)
    except ValueError:
        raise StatementRefused("holds no certificate in PEM form") from None


def verify_statement(text: str, anchors: Sequence[x509.Certificate]) -> CertifiedStatement:
    """What the compact JWS ``text`` certifies. Raises StatementRefused for everything that is not signed by a chain up to ``anchors``.

    The chain must hold for the moment at which all of it had begun; ``until`` is where the first part of it ends. So nothing here
    reads a clock, and whether the statement is in force is asked with every request.
    """
    try:
        jwt = parse_jwt(text.strip())
    except TokenError:
        raise StatementRefused("is no signed JWT in compact form") from None
    if "crit" in jwt.header or "b64" in jwt.header:
        raise StatementRefused("has critical extensions")
    presented = _presented(jwt.header.get("x5c"))
    begun, ended = _times(jwt.claims)
    begun = max(begun, *(certificate.not_valid_before_utc.timestamp() for certificate in presented))
    chain = _chain(presented, anchors, begun)
    _require_signature(jwt, chain[0])
    since = max(begun, *(certificate.not_valid_before_utc.timestamp() for certificate in chain))
    until = min(ended, *(certificate.not_valid_after_utc.timestamp() for certificate in chain))
    if since >= until:
        raise StatementRefused("is at no time in force: statement and certificates do not overlap")
    certifier, subject, scope = (_text(jwt.claims, name) for name in ("iss", "sub", "scope"))
    if certifier not in _uris(chain[0]):
        raise StatementRefused("names an iss that its certificate does not (subjectAltName, URI)")
    return CertifiedStatement(certifier, subject, scope, since, until)


def _presented(x5c: Any) -> tuple[x509.Certificate, ...]:
    """Spec: RFC 7515 section 4.1.6: base64 of DER, the signer's own first."""
    if not isinstance(x5c, list) or not 0 < len(x5c) <= _MOST_CERTIFICATES:
        raise StatementRefused("shows no chain of certificates (x5c)")
    try:
        return tuple(read_certificate(base64.b64decode(item, validate=True)) for item in x5c)
    except (ValueError, TypeError):
        raise StatementRefused("shows certificates (x5c) that cannot be read") from None


def _chain(presented: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], at: float) -> Sequence[x509.Certificate]:
    """From the signer's certificate to an anchor."""
    try:
        verifier = PolicyBuilder().store(Store(list(anchors))).time(datetime.fromtimestamp(at, UTC)).build_client_verifier()
        return verifier.verify(presented[0], list(presented[1:])).chain
    except (VerificationError, ValueError, OverflowError):
        raise StatementRefused("has a chain of certificates that leads to none of the anchors, or did not hold when it began") from None


def _require_signature(jwt: Jwt, signer: x509.Certificate) -> None:
    alg = jwt.header.get("alg")
    if not isinstance(alg, str) or alg not in _ALGORITHMS:
        raise StatementRefused(f"is signed by another algorithm than {', '.join(_ALGORITHMS)}")
    key = signer.public_key()
    if not _fits(ALGORITHMS[alg], key) or not signature_holds(ALGORITHMS[alg], key, jwt.signed, jwt.signature):
        raise StatementRefused("is not signed by the key of its certificate")


def _fits(algorithm: SignatureAlgorithm, key: Any) -> bool:
    match key:
        case RSAPublicKey():
            return algorithm.kty == "RSA" and key.key_size >= _MIN_RSA_BITS
        case EllipticCurvePublicKey():
            return algorithm.kty == "EC" and algorithm.crv == _CURVES.get(key.curve.name)
        case _:
            return False


def _uris(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        return alternative_names(certificate, x509.UniformResourceIdentifier)
    except ValueError:
        return ()


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise StatementRefused(f"has no {name}")
    return value


def _times(claims: Mapping[str, Any]) -> tuple[float, float]:
    times = [claims.get(name) for name in ("iat", "exp")]
    if any(isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST for value in times):
        raise StatementRefused("has no iat and exp")
    return float(times[0] or 0), float(times[1] or 0)
