"""How the gateway shows an authorization server who it is: by secret, by signed assertion or by a token of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import quote_plus

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt import PyJWK
from jwt.api_jws import PyJWS

from smart_gateway.errors import SettingsError
from smart_gateway.fhir.strict_json import parse_json
from smart_gateway.tokens.algorithms import ALGORITHMS

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFETIME = 60  # seconds; SMART App Launch 2.2 allows five minutes at most
_JTI_BYTES = 16
_MIN_RSA_BITS = 2048
# SMART App Launch 2.2 wants RS384 or ES384 of servers; with keys of other kinds RFC 7518 and RFC 8037 know one way to sign.
_USUAL = {("RSA", None): "RS384", ("EC", "P-256"): "ES256", ("EC", "P-384"): "ES384", ("EC", "P-521"): "ES512", ("OKP", "Ed25519"): "EdDSA"}
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

Entropy = Callable[[int], bytes]


class ClientMethod(Enum):
    """Spec: RFC 6749 section 2.3.1, RFC 7523 section 2.2, RFC 6750 section 2.1."""

    BASIC = "basic"
    POST = "post"
    PRIVATE_KEY_JWT = "private_key_jwt"
    BEARER = "bearer"


@dataclass(frozen=True, slots=True)
class AssertionKey:
    """A private key that signs assertions. Two are equal when they were read from the same bytes under the same id."""

    alg: str
    kid: str | None
    source: bytes = field(repr=False)
    private: Any = field(repr=False, compare=False)

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A signed JWT of ``claims``."""
        header = {"typ": "JWT"} if self.kid is None else {"typ": "JWT", "kid": self.kid}
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return PyJWS(algorithms=[self.alg]).encode(payload, self.private, algorithm=self.alg, headers=header)


@dataclass(frozen=True, slots=True)
class ClientAuthentication:
    """The gateway as a client of one authorization server.

    ``secret`` is the client's secret (basic, post) or the bearer token; ``key`` signs assertions (private_key_jwt), whose ``aud`` is
    ``audience`` or, without it, the endpoint that they are sent to. Raises SettingsError for a method without what it needs.
    """

    method: ClientMethod
    client_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    key: AssertionKey | None = None
    audience: str | None = None

    def __post_init__(self) -> None:
        bearer = self.method is ClientMethod.BEARER
        if self.client_id is None and not bearer:
            raise SettingsError("A client needs its client_id to authenticate.")
        if (self.key is None) is (self.method is ClientMethod.PRIVATE_KEY_JWT):
            raise SettingsError("A client that authenticates by private_key_jwt needs a key, and no other client has one.")
        if (self.secret is None) is not (self.method is ClientMethod.PRIVATE_KEY_JWT):
            raise SettingsError("A client that authenticates without a key needs a secret, and no other client has one.")

    def apply(
        self, form: Mapping[str, str], headers: Mapping[str, str], endpoint: str, now: float, entropy: Entropy
    ) -> tuple[dict[str, str], dict[str, str]]:
        """``form`` and ``headers`` with the credentials for a request to ``endpoint`` at ``now`` (seconds since the epoch)."""
        match self.method:
            case ClientMethod.BASIC:
                return dict(form), {**headers, "authorization": f"Basic {self._basic()}"}
            case ClientMethod.BEARER:
                return dict(form), {**headers, "authorization": f"Bearer {self.secret}"}
            case ClientMethod.POST:
                return {**form, "client_id": str(self.client_id), "client_secret": str(self.secret)}, dict(headers)
            case ClientMethod.PRIVATE_KEY_JWT:
                return {**form, **self._assertion(endpoint, now, entropy)}, dict(headers)

    def _basic(self) -> str:
        """Id and secret are form-encoded first. Spec: RFC 6749 section 2.3.1 and appendix B."""
        pair = f"{quote_plus(str(self.client_id))}:{quote_plus(str(self.secret))}"
        return base64.b64encode(pair.encode("ascii")).decode("ascii")

    def _assertion(self, endpoint: str, now: float, entropy: Entropy) -> dict[str, str]:
        """Spec: RFC 7523 section 3; SMART App Launch 2.2, "Asymmetric client authentication"."""
        assert self.key is not None
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience or endpoint,
            "jti": entropy(_JTI_BYTES).hex(),
            "iat": int(now),
            "exp": int(now) + _ASSERTION_LIFETIME,
        }
        assertion = self.key.sign(claims)
        return {"client_id": str(self.client_id), "client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}


def read_assertion_key(data: bytes, kid: str | None = None) -> AssertionKey:
    """The private key of a PEM file or of a JWK; ``kid`` goes before the JWK's own.

    Raises SettingsError for anything else, and for keys that are too weak to sign.
    """
    private, own_kid, alg = _read_jwk(data) if data.lstrip().startswith(b"{") else (_read_pem(data), None, None)
    return AssertionKey(alg or _algorithm(private), kid or own_kid, data, _strong(private))


def _read_pem(data: bytes) -> Any:
    try:
        return load_pem_private_key(data, password=None)
    except Exception:  # whatever the library raises: it may quote the key
        raise SettingsError("The key file holds no private key in PEM or JWK form, or one that is locked by a password.") from None


def _read_jwk(data: bytes) -> tuple[Any, str | None, str | None]:
    try:
        jwk = parse_json(data)
        kid, alg = jwk.get("kid"), jwk.get("alg", _USUAL.get((jwk.get("kty"), jwk.get("crv"))))
        algorithm = ALGORITHMS[alg]
        private = PyJWK(jwk, algorithm=alg).key if algorithm.kty == jwk["kty"] and algorithm.crv == jwk.get("crv") else None
    except Exception:  # whatever the library raises: it may quote the key
        raise SettingsError("The key file holds no usable private JWK.") from None
    return private, kid if isinstance(kid, str) else None, algorithm.name


def _algorithm(private: Any) -> str:
    match private:
        case RSAPrivateKey():
            return _USUAL["RSA", None]
        case EllipticCurvePrivateKey() if private.curve.name in _CURVES:
            return _USUAL["EC", _CURVES[private.curve.name]]
        case Ed25519PrivateKey():
            return _USUAL["OKP", "Ed25519"]
    raise SettingsError("The key file holds a key of a kind that no assertion is signed with.")


def _strong(private: Any) -> Any:
    if not isinstance(private, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise SettingsError("The key file holds no private key in PEM or JWK form.")
    if isinstance(private, RSAPrivateKey) and private.key_size < _MIN_RSA_BITS:
        raise SettingsError(f"The key file holds an RSA key below {_MIN_RSA_BITS} bits.")
    return private
