"""The signature algorithms that tokens may use: asymmetric ones only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jwt import PyJWS


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """A JWS algorithm and the one kind of key it goes with. Spec: RFC 7518 section 3.1, RFC 8037 section 3.1."""

    name: str
    kty: str
    crv: str | None = None


ALGORITHMS: Mapping[str, SignatureAlgorithm] = MappingProxyType(
    {
        algorithm.name: algorithm
        for algorithm in (
            SignatureAlgorithm("RS256", "RSA"),
            SignatureAlgorithm("RS384", "RSA"),
            SignatureAlgorithm("RS512", "RSA"),
            SignatureAlgorithm("PS256", "RSA"),
            SignatureAlgorithm("PS384", "RSA"),
            SignatureAlgorithm("PS512", "RSA"),
            SignatureAlgorithm("ES256", "EC", "P-256"),
            SignatureAlgorithm("ES384", "EC", "P-384"),
            SignatureAlgorithm("ES512", "EC", "P-521"),
            SignatureAlgorithm("EdDSA", "OKP", "Ed25519"),
        )
    }
)
DEFAULT_ALGORITHMS = ("RS256", "RS384", "ES256", "ES384", "PS256", "EdDSA")
_JWS = PyJWS(algorithms=list(ALGORITHMS))


def signature_holds(algorithm: SignatureAlgorithm, key: Any, signed: bytes, signature: bytes) -> bool:
    """Whether ``signature`` over ``signed`` was made with the private half of ``key`` (a ``cryptography`` public key)."""
    implementation = _JWS.get_algorithm_by_name(algorithm.name)
    try:
        return implementation.verify(signed, implementation.prepare_key(key), signature)
    except Exception:  # whatever the library meets in hostile bytes: no signature
        return False
