"""Who asks, told to the upstream in a short-lived JWT that the gateway signs. Spec: RFC 7519, RFC 7515."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jwt.api_jws import PyJWS

from smart_gateway.errors import SettingsError
from smart_gateway.principal import Actor, Principal
from smart_gateway.tokens.client_authentication import AssertionKey

_LEAST_SECRET = 32  # bytes; RFC 7518 section 3.2 for HS256


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """A secret that gateway and upstream share. Raises SettingsError for one that can be guessed."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < _LEAST_SECRET:
            raise SettingsError(f"The secret that signs identities needs at least {_LEAST_SECRET} bytes.")

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JWT of ``claims``, HS256."""
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return PyJWS(algorithms=["HS256"]).encode(payload, self.secret, algorithm="HS256", headers={"typ": "JWT"})


@dataclass(frozen=True, slots=True)
class IdentitySigner:
    """``issuer`` and ``audience`` are the gateway's public base and the upstream's; ``lifetime`` is in seconds."""

    key: AssertionKey | SharedSecret
    issuer: str
    audience: str
    lifetime: float = 30.0

    def sign(self, principal: Principal, request_id: str, now: float) -> str:
        """The assertion for one request; facts that the principal lacks are left out."""
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "iat": int(now),
            "exp": int(now + self.lifetime),
            "jti": request_id,
            "token_issuer": principal.issuer or None,
            "sub": principal.subject,
            "client_id": principal.client_id,
            "fhirUser": None if principal.fhir_user is None else str(principal.fhir_user),
            "patient": principal.patient,
            "encounter": principal.encounter,
            "tenant": principal.tenant,
            "act": _actor(principal.actors[0]) if principal.actors else None,
        }
        return self.key.sign(_said(claims))


def _actor(actor: Actor) -> Mapping[str, Any]:
    return _said({"sub": actor.subject, "client_id": actor.client_id, "iss": actor.issuer})


def _said(claims: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in claims.items() if value is not None}
