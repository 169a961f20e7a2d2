"""DPoP proofs (RFC 9449): good ones, and any others."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from typing import Any

from tests.support.issuer import AUDIENCE, NOW, SigningKey, compact

_NUMBERS = itertools.count(1)
_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}


def hashed(data: bytes) -> str:
    """SHA-256 in base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def public_jwk(key: SigningKey) -> dict[str, Any]:
    """The members that make the public key, and no other."""
    return key.jwk(kid=None, alg=None, use=None)


def thumbprint(key: SigningKey) -> str:
    """RFC 7638, reckoned by json, apart from the code under test."""
    jwk = public_jwk(key)
    assert set(jwk) == set(_MEMBERS[jwk["kty"]])
    return hashed(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode())


def proof(
    key: SigningKey,
    token: str,
    method: str = "GET",
    url: str = f"{AUDIENCE}/Observation/o1",
    *,
    now: float = NOW,
    header: dict[str, Any] | None = None,
    signer: SigningKey | None = None,
    **claims: Any,
) -> str:
    """A proof for one request, signed by ``signer`` for ``key``. ``header`` and ``claims`` are set over the usual ones, ``...`` takes one
    away."""
    parameters = {"typ": "dpop+jwt", "alg": key.alg, "jwk": public_jwk(key), **(header or {})}
    usual = {"jti": f"proof-{next(_NUMBERS)}", "htm": method, "htu": url, "iat": int(now), "ath": hashed(token.encode())}
    kept = [{name: value for name, value in given.items() if value is not ...} for given in (parameters, {**usual, **claims})]
    return compact(kept[0], kept[1], signer or key)
