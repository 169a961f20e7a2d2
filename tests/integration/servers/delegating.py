"""Further realms of Keycloak: one whose tokens the gateway exchanges and whose backends sign, and one of another organisation."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.integration.servers import realm
from tests.integration.servers.keycloak import Keycloak, TokenRefusedError
from tests.support.issuer import SigningKey, compact, make_key

GATEWAY, GATEWAY_SECRET = "gateway", "gateway-secret-test-only"
FHIR_SERVER, FHIR_SERVER_SECRET = "fhir-server", "fhir-server-secret-test-only"
BACKEND = "backend-signing"
SCHEDULER = "scheduler-app"  # its tokens say that the scheduler acts
BACKEND_KEYS = {alg: make_key(alg, f"backend-{alg}") for alg in ("ES384", "RS384")}


def content(name: str) -> dict[str, Any]:
    """The realm file of the tests under another name, with the clients of this module beside."""
    made: dict[str, Any] = json.loads(realm.realm())
    made["realm"] = name
    scopes = ["launch/patient", "fhirUser", *realm.SCOPES]
    made["clientScopes"] += [
        _scope("for-gateway", _mapper("aud", "oidc-audience-mapper", {"included.client.audience": GATEWAY})),
        _scope("for-fhir-server", _mapper("aud", "oidc-audience-mapper", {"included.client.audience": FHIR_SERVER})),
        _scope("acted", _claim("act", '{"sub":"scheduler"}')),
        _scope("chosen", _claim("may_act", '{"client_id":"somebody-else"}')),
    ]
    for client in made["clients"]:
        client["defaultClientScopes"] = [*client["defaultClientScopes"], "for-gateway"]
        client["optionalClientScopes"] = [*client["optionalClientScopes"], "chosen"]
    usual = ["basic", "fhir-audience", "for-gateway"]
    made["clients"] += [
        _client(
            GATEWAY, ["basic", "for-fhir-server"], scopes, secret=GATEWAY_SECRET, attributes={"standard.token.exchange.enabled": "true"}
        ),
        _client(FHIR_SERVER, ["basic"], [], secret=FHIR_SERVER_SECRET),
        _client(
            BACKEND,
            usual,
            scopes,
            clientAuthenticatorType="client-jwt",
            attributes={"use.jwks.string": "true", "jwks.string": json.dumps({"keys": [key.jwk() for key in BACKEND_KEYS.values()]})},
        ),
        _client(SCHEDULER, [*usual, "acted"], scopes, secret=f"{SCHEDULER}-test-only", directAccessGrantsEnabled=True),
    ]
    return made


class Realm:
    """A realm of its own in a running Keycloak."""

    def __init__(self, keycloak: Keycloak, name: str) -> None:
        self.keycloak = keycloak
        self.issuer = keycloak.import_realm(content(name))

    @property
    def token_endpoint(self) -> str:
        return f"{self.issuer}/protocol/openid-connect/token"

    def user_token(self, user: str, *scopes: str, client: str = realm.APP, **more: str) -> str:
        """By the password grant, with fhirUser and launch context."""
        login = {"username": user, "password": f"{user}-test-only", "scope": " ".join(("openid", "fhirUser", "launch/patient", *scopes))}
        return self._token({"grant_type": "password", "client_id": client, **login, **more})

    def scheduled_token(self, user: str, *scopes: str) -> str:
        """A token in which the scheduler acts for ``user``."""
        return self.user_token(user, *scopes, client=SCHEDULER, client_secret=f"{SCHEDULER}-test-only")

    def service_token(self, *scopes: str) -> str:
        """By client_credentials and secret."""
        client = {"client_id": realm.SERVICE, "client_secret": realm.SERVICE_SECRET}
        return self._token({"grant_type": "client_credentials", "scope": " ".join(scopes), **client})

    def signed_token(self, key: SigningKey, *scopes: str) -> str:
        """By client_credentials and a signed assertion, as SMART backend services do. Spec: SMART App Launch 2.2, RFC 7523."""
        now = int(time.time())
        claims = {
            "iss": BACKEND,
            "sub": BACKEND,
            "aud": self.token_endpoint,
            "jti": f"{now}-{time.monotonic_ns()}",
            "iat": now,
            "exp": now + 60,
        }
        assertion = compact({"alg": key.alg, "kid": key.kid, "typ": "JWT"}, claims, key)
        type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        signed = {"client_assertion_type": type, "client_assertion": assertion}
        return self._token({"grant_type": "client_credentials", "scope": " ".join(scopes), **signed})

    def introspect(self, token: str) -> dict[str, Any]:
        """What the realm says of ``token`` to the FHIR server."""
        client = {"client_id": FHIR_SERVER, "client_secret": FHIR_SERVER_SECRET}
        return _post(f"{self.token_endpoint}/introspect", {"token": token, **client})

    def _token(self, form: Mapping[str, str]) -> str:
        return str(_post(self.token_endpoint, form)["access_token"])


def _post(url: str, form: Mapping[str, str]) -> dict[str, Any]:
    try:
        with urlopen(Request(url, urlencode(form).encode()), timeout=60) as answer:
            parsed: dict[str, Any] = json.load(answer)
            return parsed
    except HTTPError as refusal:
        raise TokenRefusedError(refusal.read().decode()) from None


def _scope(name: str, *mappers: dict[str, Any]) -> dict[str, Any]:
    attributes = {"include.in.token.scope": "false", "display.on.consent.screen": "false"}
    return {"name": name, "protocol": "openid-connect", "attributes": attributes, "protocolMappers": list(mappers)}


def _mapper(name: str, kind: str, config: Mapping[str, str]) -> dict[str, Any]:
    everywhere = {"access.token.claim": "true", "introspection.token.claim": "true"}
    return {"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": {**everywhere, **config}}


def _claim(name: str, value: str) -> dict[str, Any]:
    return _mapper(name, "oidc-hardcoded-claim-mapper", {"claim.name": name, "claim.value": value, "jsonType.label": "JSON"})


def _client(name: str, default: list[str], optional: list[str], **more: Any) -> dict[str, Any]:
    return {
        "clientId": name,
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "serviceAccountsEnabled": True,
        "defaultClientScopes": default,
        "optionalClientScopes": optional,
        **more,
    }
