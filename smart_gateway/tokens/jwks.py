"""Key sets: which published keys may verify a token, and which one does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from smart_gateway.tokens.algorithms import ALGORITHMS, SignatureAlgorithm
from smart_gateway.tokens.transport import FetchError

_MIN_RSA_BITS = 2048
_MAX_KEYS = 100
_CURVES = frozenset({"P-256", "P-384", "P-521", "Ed25519"})
_PUBLIC_MEMBERS = {"RSA": ("n", "e"), "EC": ("x", "y", "crv"), "OKP": ("x", "crv")}
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_FROM_JWK: Mapping[str, Callable[[dict[str, Any]], Any]] = MappingProxyType(
    {"RSA": RSAAlgorithm.from_jwk, "EC": ECAlgorithm.from_jwk, "OKP": OKPAlgorithm.from_jwk}
)


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key of an issuer, with what its JWK says about its use; ``crv`` is None for RSA."""

    kid: str | None
    alg: str | None
    kty: str
    crv: str | None
    public_key: Any

    def fits(self, algorithm: SignatureAlgorithm) -> bool:
        """Whether this key may verify signatures of ``algorithm``."""
        return self.kty == algorithm.kty and self.crv == algorithm.crv and self.alg in (None, algorithm.name)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of one issuer."""

    keys: tuple[VerifyingKey, ...]

    def candidates(self, kid: str | None, algorithm: SignatureAlgorithm) -> tuple[VerifyingKey, ...]:
        """The keys that may have signed a token with this ``kid`` and algorithm; each of them is to be tried.

        Several keys under one ``kid`` are all the issuer's own, so trying each is safe. A token without ``kid`` has a key
        only where exactly one fits its algorithm; a ``kid`` never falls back to keys without one.
        """
        fitting = tuple(key for key in self.keys if key.fits(algorithm))
        if kid is None:
            return fitting if len(fitting) == 1 else ()
        return tuple(key for key in fitting if key.kid == kid)


def parse_key_set(document: Any) -> KeySet:
    """The usable keys of a JWK Set; keys for another use, weak, symmetric or private ones are left out.

    Raises FetchError when ``document`` is no JWK Set. Spec: RFC 7517 section 5; semantics 2.
    """
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise FetchError("the answer is not a JWK Set")
    if len(keys) > _MAX_KEYS:
        raise FetchError(f"the JWK Set holds more than {_MAX_KEYS} keys")
    parsed = (parse_key(jwk) for jwk in keys)
    return KeySet(tuple(key for key in parsed if key is not None))


def parse_key(jwk: Any) -> VerifyingKey | None:
    """The public key of a JWK; None for one that cannot verify signatures, or should not."""
    if not isinstance(jwk, dict) or not _may_verify(jwk):
        return None
    kty, kid, alg, crv = jwk["kty"], jwk.get("kid"), jwk.get("alg"), jwk.get("crv")
    try:
        public_key = _FROM_JWK[kty](jwk)
    except Exception:  # one broken key must not take the others with it, whatever the library raises for it
        return None
    if isinstance(public_key, RSAPublicKey):
        return VerifyingKey(kid, alg, kty, None, public_key) if public_key.key_size >= _MIN_RSA_BITS else None
    return VerifyingKey(kid, alg, kty, crv, public_key) if crv in _CURVES else None


def _may_verify(jwk: dict[str, Any]) -> bool:
    """Whether what the JWK says of itself lets it verify signatures. Spec: RFC 7517 section 4."""
    kty = jwk.get("kty")
    if not isinstance(kty, str) or kty not in _PUBLIC_MEMBERS or not _PRIVATE_MEMBERS.isdisjoint(jwk):
        return False  # a published private key is one that anybody signs with
    return (
        all(isinstance(jwk.get(member), str) for member in _PUBLIC_MEMBERS[kty])
        and jwk.get("use", "sig") == "sig"
        and _says_verify(jwk.get("key_ops", ["verify"]))
        and ("kid" not in jwk or isinstance(jwk["kid"], str))
        and ("alg" not in jwk or (isinstance(jwk["alg"], str) and jwk["alg"] in ALGORITHMS))
    )


def _says_verify(key_ops: Any) -> bool:
    return isinstance(key_ops, list) and "verify" in key_ops
