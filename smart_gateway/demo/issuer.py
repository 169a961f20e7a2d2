"""An OAuth issuer for the demonstration: discovery, a key set, and tokens signed by a key made at start. It asks nobody for a password."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.types import Receive, Scope, Send

_KEY_ID = "demo-1"
_COORDINATE_BYTES = 32  # P-256


class DemoIssuer:
    """An issuer at ``url`` as an ASGI app. ``clock`` gives seconds since the epoch; its tokens live ``lifetime`` seconds."""

    def __init__(self, url: str, audience: str, clock: Callable[[], float], lifetime: int = 12 * 3600) -> None:
        self.url = url
        self._audience = audience
        self._clock = clock
        self._lifetime = lifetime
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._tokens = 0

    def token(self, client: str, scope: str, **claims: Any) -> str:
        """An access token (RFC 9068) for ``client``; ``claims`` are added: ``patient``, ``fhirUser``, ``sub``."""
        self._tokens += 1
        now = int(self._clock())
        payload = {
            "iss": self.url,
            "aud": self._audience,
            "sub": claims.pop("sub", client),
            "client_id": client,
            "scope": scope,
            "iat": now,
            "exp": now + self._lifetime,
            "jti": f"demo-{now}-{self._tokens}",
            **claims,
        }
        return self._signed({"alg": "ES256", "kid": _KEY_ID, "typ": "at+jwt"}, payload)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        documents = {"/.well-known/openid-configuration": self._discovery, "/jwks": self._jwks}
        document = documents.get(scope["path"])
        body = json.dumps(document() if document is not None else {"error": "not_found"}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if document is not None else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "scopes_supported": ["launch/patient", "patient/*.rs", "user/*.cruds", "system/*.rs"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "code_challenge_methods_supported": ["S256"],
        }

    def _jwks(self) -> dict[str, Any]:
        numbers = self._key.public_key().public_numbers()
        point = {name: _encode(value.to_bytes(_COORDINATE_BYTES, "big")) for name, value in (("x", numbers.x), ("y", numbers.y))}
        return {"keys": [{"kty": "EC", "crv": "P-256", **point, "kid": _KEY_ID, "alg": "ES256", "use": "sig"}]}

    def _signed(self, header: dict[str, Any], payload: dict[str, Any]) -> str:
        """JWS compact serialisation. Spec: RFC 7515 section 3.1, RFC 7518 section 3.4."""
        content = ".".join(_encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, payload))
        r, s = decode_dss_signature(self._key.sign(content.encode(), ec.ECDSA(SHA256())))
        return f"{content}.{_encode(r.to_bytes(_COORDINATE_BYTES, 'big') + s.to_bytes(_COORDINATE_BYTES, 'big'))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
