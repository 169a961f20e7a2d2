"""What keys and certificates are known by in ``cnf``: SHA-256, in base64url without padding."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

# Spec: RFC 7638 section 3.2, RFC 8037 section 2: the members that make the key, in this order.
_REQUIRED = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")  # what needs no escape in JSON, whoever writes it


def digest(data: bytes) -> str:
    """The SHA-256 of ``data``."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")


def jwk_thumbprint(jwk: Mapping[str, Any]) -> str | None:
    """``jkt`` of a public JWK, from the members as they are written; None for one that lacks any. Spec: RFC 7638 section 3."""
    kty = jwk.get("kty")
    members = [(name, jwk.get(name)) for name in _REQUIRED.get(kty, ())] if isinstance(kty, str) else []
    if not members or not all(isinstance(value, str) and _PLAIN.fullmatch(value) for _, value in members):
        return None
    return digest(("{" + ",".join(f'"{name}":"{value}"' for name, value in members) + "}").encode("ascii"))


def certificate_thumbprint(der: bytes) -> str:
    """``x5t#S256`` of a certificate. Spec: RFC 8705 section 3.1."""
    return digest(der)
