"""Introspection by real Keycloak: what its answers open, and how soon a session that has ended is one for the gateway too (RFC 7662)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm

from smart_gateway.cli import main
from tests.integration.app import MakeApp, refused
from tests.integration.servers import realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.keycloak import Keycloak

REALM = "introspected"
SECRET = "gateway s3cr3t: 100%+ü-test-only"  # what a form must encode (RFC 6749 section 2.3.1)
BASIC = {"client_id": "gateway", "client_secret": SECRET}
KID = "gateway-es384"


class Issuer:
    """A realm of its own with the gateway as a client, the apps of ``realm.py``, and an administrator's hand on its sessions."""

    def __init__(self, keycloak: Keycloak, key: ec.EllipticCurvePrivateKey) -> None:
        self._keycloak = keycloak
        self._http = httpx.Client(timeout=60, trust_env=False)
        self.url = keycloak.import_realm(_realm(key))

    def token(self, user: str, *scopes: str, client: str = realm.APP) -> str:
        """A new token of a new session."""
        return self.tokens(user, *scopes, client=client)["access_token"]

    def tokens(self, user: str, *scopes: str, client: str = realm.APP) -> dict[str, str]:
        """Access, ID and refresh token of one session."""
        scope = " ".join(("openid", "fhirUser", "launch/patient", *scopes))
        return self._issued(grant_type="password", username=user, password=f"{user}-test-only", client_id=client, scope=scope)

    def _issued(self, **form: str) -> dict[str, Any]:
        answer = self._http.post(f"{self.url}/protocol/openid-connect/token", data=form)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def revoke(self, token: str) -> None:
        """By the app itself. Spec: RFC 7009."""
        form = {"token": token, "client_id": realm.APP}
        assert self._http.post(f"{self.url}/protocol/openid-connect/revoke", data=form).status_code == 200

    def end_sessions(self, user: str) -> None:
        """By an administrator."""
        self._admin("POST", f"users/{self._user(user)}/logout")

    def enable(self, user: str, enabled: bool) -> None:
        self._admin("PUT", f"users/{self._user(user)}", {"enabled": enabled})

    def _user(self, name: str) -> str:
        (found,) = self._admin("GET", f"users?exact=true&username={name}").json()
        return str(found["id"])

    def _admin(self, method: str, path: str, body: Any = None) -> httpx.Response:
        login = {"grant_type": "password", "client_id": "admin-cli", "username": realm.ADMIN, "password": realm.ADMIN_PASSWORD}
        origin = self._keycloak.origin
        token = self._http.post(f"{origin}/realms/master/protocol/openid-connect/token", data=login).json()["access_token"]
        url = f"{origin}/admin/realms/{REALM}/{path}"
        answer = self._http.request(method, url, json=body, headers={"authorization": f"Bearer {token}"})
        assert answer.is_success, answer.text
        return answer

    def close(self) -> None:
        self._http.close()


def _realm(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(realm.realm())
    jwk = {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": KID, "use": "sig", "alg": "ES384"}
    unaware = {"allow.token.introspection.without.audience.check": "true"}
    keys = {"use.jwks.string": "true", "jwks.string": json.dumps({"keys": [jwk]}), "token.endpoint.auth.signing.alg": "ES384"}
    gateways: list[dict[str, Any]] = [
        {"clientId": "gateway", "clientAuthenticatorType": "client-secret", "secret": SECRET, "attributes": unaware},
        {"clientId": "gateway-keys", "clientAuthenticatorType": "client-jwt", "attributes": {**unaware, **keys}},
        {"clientId": "stranger", "clientAuthenticatorType": "client-secret", "secret": SECRET},
    ]
    app = next(client for client in content["clients"] if client["clientId"] == realm.APP)
    light = {**app, "clientId": "light-app", "attributes": {"client.use.lightweight.access.token.enabled": "true"}}
    named = [{"enabled": True, "protocol": "openid-connect", "publicClient": False, **gateway} for gateway in gateways]
    return {**content, "realm": REALM, "clients": [*content["clients"], light, *named]}


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


@pytest.fixture(scope="module")
def issuer(keycloak: Keycloak, key: ec.EllipticCurvePrivateKey) -> Iterator[Issuer]:
    made = Issuer(keycloak, key)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def key_file(key: ec.EllipticCurvePrivateKey, work: Path) -> Path:
    path = work / "gateway-key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


StartAsking = Callable[..., Gateway]


@pytest.fixture(scope="module")
def asking(gateways: StartGateway, settings: dict[str, Any], issuer: Issuer) -> StartAsking:
    """Starts a gateway that asks the realm, as the client given."""

    def make(*, more: dict[str, Any] | None = None, ready: int = 200, **introspection: Any) -> Gateway:
        one = {"issuer": issuer.url, "mode": "introspection", "audiences": [realm.AUDIENCE], "introspection": introspection}
        return gateways({**settings, "issuers": [one], **(more or {})}, ready=ready)

    return make


@pytest.fixture(scope="module")
def at(asking: StartAsking) -> Gateway:
    """A gateway that asks with every request."""
    return asking(**BASIC, cache="0s", negative_cache="0s")


def until(refusal: Callable[[], httpx.Response], seconds: float = 30) -> httpx.Response:
    """The first answer that is no 200."""
    deadline = time.monotonic() + seconds
    while (answer := refusal()).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def ways(key_file: Path) -> dict[str, dict[str, Any]]:
    return {
        "basic": BASIC,
        "post": {**BASIC, "auth": "post"},
        "private_key_jwt": {"client_id": "gateway-keys", "key_file": str(key_file), "key_id": KID},
    }


@pytest.mark.parametrize("way", ["basic", "post", "private_key_jwt"])
def test_keycloak_knows_the_gateway(way: str, key_file: Path, asking: StartAsking, issuer: Issuer, app: MakeApp) -> None:
    gateway = asking(**ways(key_file)[way])
    amy = app(issuer.token("amy", "patient/*.rs"), sees="a", at=gateway)
    assert amy.get("/Patient/pat-a").json()["id"] == "pat-a"
    refused(amy.get("/Patient/pat-b"), 404)
    assert amy.get("/Observation?_count=50").json()["entry"]
    refused(amy.send("PUT", "/Patient/pat-a", {"resourceType": "Patient", "id": "pat-a"}), 403)


def test_the_answer_alone_says_who_asks_where_the_token_says_next_to_nothing(at: Gateway, issuer: Issuer, app: MakeApp) -> None:
    """Keycloak's lightweight tokens: patient, scopes and audience come from introspection only."""
    token = issuer.token("amy", "patient/Observation.rs", client="light-app")
    amy = app(token, sees="a", at=at)
    answer = amy.get("/Observation/lab-0-chart-a")
    assert answer.status_code == 200
    refused(amy.get("/Patient/pat-a"), 403)
    refused(app(token, at=at).get("/Observation/lab-1-chart-b"), 404)
    (event,) = at.events_of(answer.headers["x-request-id"])
    assert (event["client_id"], event["patient"], event["fhir_user"]) == ("light-app", "pat-a", "Patient/pat-a")


def test_other_tokens_of_the_session_are_no_access_tokens(at: Gateway, issuer: Issuer, app: MakeApp) -> None:
    tokens = issuer.tokens("amy", "patient/*.rs")
    assert app(tokens["access_token"], sees="a", at=at).get("/Patient/pat-a").status_code == 200
    for kind in ("id_token", "refresh_token"):
        refused(app(tokens[kind], at=at).get("/Patient/pat-a"), 401)


def test_what_is_no_token_of_keycloak_is_not_active(at: Gateway, keycloak: Keycloak, issuer: Issuer, app: MakeApp) -> None:
    good = issuer.token("amy", "patient/*.rs")
    for token in ("opaque", "a.b.c", good + "A", good[:-8] + "AAAAAAAA", "x" * 8000):
        refused(app(token, at=at).get("/Patient/pat-a"), 401)
    refused(app(keycloak.user_token("amy", "patient/*.rs"), at=at).get("/Patient/pat-a"), 401, "unknown-issuer")


@pytest.mark.parametrize("end", ["revoked", "logged out", "disabled"])
def test_a_token_that_has_ended_opens_nothing_any_more(end: str, at: Gateway, asking: StartAsking, issuer: Issuer, app: MakeApp) -> None:
    """At once where every request asks, within the cache's time where it does not."""
    kept = asking(**BASIC, cache="2s")
    token = issuer.token("ben", "patient/*.rs")
    now, soon = (app(token, sees="b", at=one) for one in (at, kept))
    assert [ben.get("/Patient/pat-b").status_code for ben in (now, soon)] == [200, 200]
    match end:
        case "revoked":
            issuer.revoke(token)
        case "logged out":
            issuer.end_sessions("ben")
        case _:
            issuer.enable("ben", False)
    try:
        refused(now.get("/Patient/pat-b"), 401, "inactive")
        refused(until(lambda: soon.get("/Patient/pat-b")), 401, "inactive")
    finally:
        issuer.enable("ben", True)


def test_a_client_that_the_token_is_not_meant_for_is_told_nothing(asking: StartAsking, issuer: Issuer, app: MakeApp) -> None:
    gateway = asking(client_id="stranger", client_secret=SECRET)
    refused(app(issuer.token("amy", "patient/*.rs"), at=gateway).get("/Patient/pat-a"), 401, "inactive")


def test_a_gateway_that_keycloak_does_not_know_is_not_ready_and_opens_nothing(asking: StartAsking, issuer: Issuer, app: MakeApp) -> None:
    gateway = asking(client_id="gateway", client_secret="wrong", ready=503)
    answer = app(issuer.token("amy", "patient/*.rs"), at=gateway).get("/Patient/pat-a")
    refused(answer, 503, "dependency-unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert "it refuses this client's credentials" in gateway.messages()
    assert "wrong" not in gateway.messages()


def test_a_wrong_audience_is_refused_although_the_token_is_active(
    gateways: StartGateway, settings: dict[str, Any], issuer: Issuer, app: MakeApp
) -> None:
    one = {"issuer": issuer.url, "mode": "introspection", "audiences": ["https://elsewhere.example"], "introspection": BASIC}
    gateway = gateways({**settings, "issuers": [one]})
    refused(app(issuer.token("amy", "patient/*.rs"), at=gateway).get("/Patient/pat-a"), 401, "wrong-audience")


def test_an_issuer_that_is_asked_beside_one_of_jwts(
    gateways: StartGateway, settings: dict[str, Any], issuer: Issuer, keycloak: Keycloak, app: MakeApp
) -> None:
    one = {"issuer": issuer.url, "mode": "introspection", "audiences": [realm.AUDIENCE], "introspection": BASIC}
    gateway = gateways({**settings, "issuers": [*settings["issuers"], one]})
    for token in (issuer.token("amy", "patient/*.rs"), keycloak.user_token("amy", "patient/*.rs")):
        assert app(token, sees="a", at=gateway).get("/Patient/pat-a").status_code == 200
    refused(app("opaque", at=gateway).get("/Patient/pat-a"), 401, "inactive")


def test_a_list_of_denied_tokens_counts_as_soon_as_it_is_written(asking: StartAsking, issuer: Issuer, app: MakeApp, work: Path) -> None:
    denied = work / "denied.yaml"
    denied.write_text("jti: [nobody]\n")
    gateway = asking(**BASIC, more={"revocation": {"file": str(denied)}})
    token = issuer.token("amy", "patient/*.rs")
    amy = app(token, sees="a", at=gateway)
    answer = amy.get("/Patient/pat-a")
    assert answer.status_code == 200
    (event,) = gateway.events_of(answer.headers["x-request-id"])
    replacement = work / "denied.new"
    replacement.write_text(f"subjects: [{event['subject']}]\n")
    replacement.rename(denied)
    refused(until(lambda: amy.get("/Patient/pat-a")), 401, "revoked")
    assert app(issuer.token("ben", "patient/*.rs"), sees="b", at=gateway).get("/Patient/pat-b").status_code == 200
    denied.unlink()
    until(lambda: httpx.Response(500 if "denied.yaml cannot be read" in gateway.messages() else 200))
    refused(amy.get("/Patient/pat-a"), 401, "revoked")


def test_the_command_line_asks_as_well(at: Gateway, issuer: Issuer, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["explain", "GET", "/Observation?patient=pat-a", "--config", str(at.config), "--format", "json", "--token"]
    assert main([*asked, issuer.token("amy", "patient/*.rs")]) == 0
    assert json.loads(capsys.readouterr().out)["decision"] == "permit"
    assert main([*asked, issuer.token("ben", "patient/*.rs")]) == 3
    assert main([*asked, "opaque"]) == 3
    capsys.readouterr()
    assert main(["check-config", str(at.config), "--online"]) == 0
    wrong = ["--set", "issuers.0.introspection.client_secret=wrong"]
    assert main(["check-config", str(at.config), "--online", *wrong]) == 1
    assert "it refuses this client's credentials" in capsys.readouterr().out
