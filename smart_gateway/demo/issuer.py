"""An OAuth issuer for the demonstration: discovery, a key set, tokens signed by a key made at start, and the client credentials grant."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.types import Receive, Scope, Send

_KEY_ID = "demo-1"
_COORDINATE_BYTES = 32  # P-256
_LONGEST_FORM = 4096  # bytes
_NOT_FOUND = {"error": "not_found"}


class DemoIssuer:
    """An issuer at ``url`` as an ASGI app. ``clock`` gives seconds since the epoch; its tokens live ``lifetime`` seconds.

    ``services`` are the clients of its token endpoint by their id: the secret, and the scopes that they get (RFC 6749 section 4.4).
    """

    def __init__(
        self,
        url: str,
        audience: str,
        clock: Callable[[], float],
        services: Mapping[str, tuple[str, str]] | None = None,
        lifetime: int = 12 * 3600,
    ) -> None:
        self.url = url
        self._audience = audience
        self._clock = clock
        self._services = services or {}
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["method"], scope["path"]:
            case "GET", "/.well-known/openid-configuration":
                status, document = 200, self._discovery()
            case "GET", "/jwks":
                status, document = 200, self._jwks()
            case "POST", "/token":
                status, document = self._grant(await _form(receive))
            case _:
                status, document = 404, _NOT_FOUND
        body = json.dumps(document).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _grant(self, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Spec: RFC 6749 sections 4.4 and 5.2."""
        if form.get("grant_type") != "client_credentials":
            return 400, {"error": "unsupported_grant_type"}
        client = form.get("client_id", "")
        secret, scope = self._services.get(client, ("", ""))
        if not secret or not hmac.compare_digest(form.get("client_secret", "").encode(), secret.encode()):
            return 401, {"error": "invalid_client"}
        return 200, {"access_token": self.token(client, scope), "token_type": "Bearer", "expires_in": self._lifetime, "scope": scope}

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint": f"{self.url}/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "scopes_supported": ["launch/patient", "patient/*.rs", "user/*.cruds", "system/*.rs"],
            "grant_types_supported": ["client_credentials"],
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


async def _form(receive: Receive) -> dict[str, str]:
    body, more = b"", True
    while more and len(body) <= _LONGEST_FORM:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return dict(parse_qsl(body[:_LONGEST_FORM].decode("latin-1")))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
