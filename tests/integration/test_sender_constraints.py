"""Tokens that are bound to their sender, as real Keycloak makes them: by DPoP, and by a certificate over the gateway's own TLS."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from smart_gateway.cli import main
from tests.integration.app import App, ids, link, refused
from tests.integration.servers import realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.keycloak import Keycloak
from tests.integration.servers.redis import has_redis, start_redis
from tests.support.certificates import Certified, authority, trusting
from tests.support.issuer import SigningKey, make_key
from tests.support.proofs import hashed, proof, thumbprint

AMYS, EVES = make_key("ES256", "amy"), make_key("ES256", "eve")
LONG = 30.0  # seconds for what takes the gateway two


def claims(token: str) -> dict[str, Any]:
    """What a token says."""
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


class Prover:
    """An app that sends each request with a proof of its own, for the address by ``public``."""

    def __init__(self, app: App, token: str, key: SigningKey, public: str | None = None) -> None:
        self._app = app
        self.public = public or app.base
        self._token = token
        self._key = key
        self.nonce: str | None = None

    def __call__(self, method: str, target: str, *, scheme: str = "DPoP", proofs: list[str] | None = None, **more: Any) -> httpx.Response:
        """``target`` relative to the base, or absolute; ``proofs`` in place of a good one."""
        url = target if target.startswith("http") else self._app.base + target
        made = [self.prove(method, url.replace(self._app.base, self.public, 1))] if proofs is None else proofs
        headers = [("authorization", f"{scheme} {self._token}"), *(("dpop", one) for one in made)]
        answer = self._app(method, url.removeprefix(self._app.base), headers=headers, **more)
        self.nonce = answer.headers.get("dpop-nonce", self.nonce)
        return answer

    def prove(self, method: str, url: str, key: SigningKey | None = None, **changes: Any) -> str:
        """A proof of a request at this moment, with the newest nonce."""
        nonce = {} if self.nonce is None else {"nonce": self.nonce}
        return proof(key or self._key, self._token, method, url.partition("?")[0], now=time.time(), **{**nonce, **changes})


@pytest.fixture(scope="module")
def amys_token(keycloak: Keycloak) -> str:
    """A token that Keycloak bound to ``AMYS``: a client that sends a proof gets one."""
    form = {
        "grant_type": "password",
        "client_id": realm.APP,
        "username": "amy",
        "password": "amy-test-only",
        "scope": "openid fhirUser launch/patient patient/*.rs",
    }
    url = f"{keycloak.issuer}/protocol/openid-connect/token"
    shown = proof(AMYS, "", "POST", url, now=time.time(), ath=...)
    answer = httpx.post(url, data=form, headers={"dpop": shown}, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "DPoP"
    token: str = answer.json()["access_token"]
    assert claims(token)["cnf"]["jkt"] == thumbprint(AMYS)
    return token


@pytest.fixture
def amy(app: Callable[..., App], amys_token: str) -> Callable[..., Prover]:
    """Amy's app, with the key that her token is bound to or another, in front of the usual gateway or another."""
    return lambda key=AMYS, public=None, **more: Prover(app(None, sees="a", **more), amys_token, key, public)


def test_a_bound_token_reads_searches_and_pages_with_a_proof_for_each(amy: Callable[..., Prover]) -> None:
    mine = amy()
    assert mine("GET", "/Patient/pat-a").status_code == 200
    refused(mine("GET", "/Patient/pat-b"), 404)
    first = mine("GET", "/Observation?_count=1")
    assert len(ids(first)) == 1
    following = link(first, "next")
    assert following is not None
    assert len(ids(mine("GET", following))) == 1
    assert ids(mine("POST", "/Observation/_search", data={"_count": "1"})) == ids(first)


def test_a_stolen_bound_token_opens_nothing(amy: Callable[..., Prover]) -> None:
    thief = amy(EVES)
    refused(thief("GET", "/Patient/pat-a"), 401, "proof-other-key")
    refused(thief("GET", "/Patient/pat-a", proofs=[]), 401, "proof-missing")
    answer = thief("GET", "/Patient/pat-a", scheme="Bearer", proofs=[])
    refused(answer, 401, "proof-missing")
    assert answer.headers.get_list("www-authenticate")[0].startswith("DPoP ")
    refused(thief("GET", "/Patient/pat-a", scheme="Bearer"), 401, "proof-missing")


def test_a_stolen_proof_serves_for_nothing_else(amy: Callable[..., Prover]) -> None:
    mine = amy()
    url = mine.public + "/Patient/pat-a"
    once = mine.prove("GET", url)
    assert mine("GET", "/Patient/pat-a", proofs=[once]).status_code == 200
    refused(mine("GET", "/Patient/pat-a", proofs=[once]), 401, "proof-replayed")
    refused(mine("GET", "/Observation", proofs=[mine.prove("GET", url)]), 401, "proof-other-request")
    refused(mine("DELETE", "/Patient/pat-a", proofs=[mine.prove("GET", url)]), 401, "proof-other-request")
    refused(mine("GET", "/Patient/pat-a", proofs=[mine.prove("GET", url, iat=int(time.time()) - 600)]), 401, "proof-out-of-time")
    refused(mine("GET", "/Patient/pat-a", proofs=[mine.prove("GET", url, ath=hashed(b"another"))]), 401, "proof-other-token")
    refused(mine("GET", "/Patient/pat-a", proofs=[mine.prove("GET", url), mine.prove("GET", url)]), 400, "duplicate-header")


def test_nothing_of_a_refused_request_reaches_the_log(amy: Callable[..., Prover], gateway: Gateway) -> None:
    mine = amy()
    answer = mine("GET", "/Patient/pat-a", proofs=["x.y.z"])
    event = gateway.events_of(answer.headers["x-request-id"])[0]
    assert (event["outcome"], event["status"], event["code"]) == ("deny", 401, "proof-malformed")
    assert "x.y.z" not in json.dumps(event)


@pytest.fixture(scope="module")
def strict(gateways: StartGateway, settings: dict[str, Any]) -> Gateway:
    """A gateway that takes Keycloak's tokens only with proofs, and proofs only with nonces."""
    issuer = {**settings["issuers"][0], "dpop": {"required": True, "nonce": True}}
    return gateways({**settings, "issuers": [issuer]})


def test_a_nonce_is_given_and_then_demanded(amy: Callable[..., Prover], strict: Gateway) -> None:
    mine = amy(at=strict)
    answer = mine("GET", "/Patient/pat-a")
    refused(answer, 401, "nonce-wanted")
    assert 'error="use_dpop_nonce"' in answer.headers.get_list("www-authenticate")[0]
    given = answer.headers["dpop-nonce"]
    assert mine("GET", "/Patient/pat-a").status_code == 200
    refused(mine("GET", "/Patient/pat-b"), 404)
    assert mine.nonce is not None
    mine.nonce = given[:-4] + "AAAA"
    refused(mine("GET", "/Patient/pat-a"), 401, "nonce-wanted")
    assert mine("GET", "/Patient/pat-a").status_code == 200


def test_tokens_that_are_not_bound_do_not_count_where_they_must_be(app: Callable[..., App], strict: Gateway, keycloak: Keycloak) -> None:
    answer = app(keycloak.user_token("amy", "patient/*.rs"), at=strict).get("/Patient/pat-a")
    refused(answer, 401, "sender-constraint-required")
    assert 'algs="' in answer.headers["www-authenticate"]
    metadata = httpx.get(f"{strict.base}/.well-known/oauth-protected-resource", trust_env=False).json()
    assert "ES256" in metadata["dpop_signing_alg_values_supported"]
    assert metadata["dpop_bound_access_tokens_required"] is True


def test_explain_says_what_a_bound_token_needs_and_refuses_a_free_one_where_it_must_be_bound(
    strict: Gateway, amys_token: str, keycloak: Keycloak, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for token in (amys_token, keycloak.user_token("amy", "patient/*.rs")):
        main(["explain", "--config", str(strict.config), "--token", token, "--format", "json", "GET", "/Patient/pat-a"])
        shown.append(json.loads(capsys.readouterr().out))
    assert (shown[0]["decision"], shown[1]["decision"], shown[1]["code"]) == ("permit", "deny", "sender-constraint-required")
    assert "the request has the scheme DPoP and a proof by the key that the token is bound to" in shown[0]["checks"]


def test_a_client_can_be_held_to_dpop_by_the_policy(
    gateways: StartGateway, settings: dict[str, Any], app: Callable[..., App], amy: Callable[..., Prover], keycloak: Keycloak
) -> None:
    held = gateways({**settings, "policy": {"clients": {realm.APP: {"sender_constraint": "dpop"}, "*": {}}}})
    refused(app(keycloak.user_token("amy", "patient/*.rs"), at=held).get("/Patient/pat-a"), 401, "sender-constraint-required")
    assert amy(at=held)("GET", "/Patient/pat-a").status_code == 200


def test_replicas_know_each_others_proofs_by_redis(
    gateways: StartGateway, settings: dict[str, Any], amy: Callable[..., Prover], work: Path
) -> None:
    if not has_redis():
        pytest.skip("needs redis-server (Debian package redis-server)")
    redis, public = start_redis(work), "http://fhir.example.test/fhir"
    try:
        server = {
            "public_url": public,
            "sealing": {"keys": ["0123456789012345678901234567890123456789"]},
            "shared_cache": {"redis": {"url": redis.url, "timeout": "5s"}},
        }
        issuer = {**settings["issuers"][0], "dpop": {"nonce": True}}
        replicas = [amy(public=public, at=gateways({**settings, "server": server, "issuers": [issuer]})) for _ in range(2)]
        one, other = replicas
        refused(one("GET", "/Patient/pat-a"), 401, "nonce-wanted")
        once = one.prove("GET", f"{public}/Patient/pat-a")
        assert other("GET", "/Patient/pat-a", proofs=[once]).status_code == 200
        for replica in (one, other, one):
            refused(replica("GET", "/Patient/pat-a", proofs=[once]), 401, "proof-replayed")
    finally:
        redis.stop()


# --- certificates


@pytest.fixture(scope="module")
def robot(keycloak: Keycloak) -> Certified:
    """The certificate of the backend service."""
    assert keycloak.authority is not None
    return keycloak.authority.issue(realm.MTLS_SERVICE)


@pytest.fixture(scope="module")
def robots_token(keycloak: Keycloak, robot: Certified, work: Path) -> str:
    """A token that Keycloak bound to the certificate by which the client authenticated."""
    assert keycloak.authority is not None
    form = {"grant_type": "client_credentials", "client_id": realm.MTLS_SERVICE, "scope": "system/*.rs"}
    with httpx.Client(verify=trusting(keycloak.authority, robot, work), trust_env=False) as http:
        answer = http.post(f"{keycloak.secure}/realms/smart/protocol/openid-connect/token", data=form)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    assert claims(token)["cnf"]["x5t#S256"] == hashed(robot.der)
    return token


class Secured:
    """A gateway that speaks TLS itself, and the files that it does it with."""

    def __init__(self, gateway: Gateway, folder: Path, issuing: Certified) -> None:
        self.gateway = gateway
        self.folder = folder
        self.issuing = issuing


@pytest.fixture(scope="module")
def secured(gateways: StartGateway, settings: dict[str, Any], keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> Secured:
    assert keycloak.authority is not None
    folder, issuing = tmp_path_factory.mktemp("tls"), authority("Gateway CA")
    certificate, key = issuing.issue("gateway").write(folder, "server")
    (folder / "clients.pem").write_bytes(keycloak.authority.pem)
    tls = {"certificate": str(certificate), "key": str(key), "client_ca": str(folder / "clients.pem"), "client_certificates": "optional"}
    return Secured(gateways({**settings, "server": {"tls": tls}}), folder, issuing)


@pytest.fixture
def over_tls(secured: Secured) -> Iterator[Callable[..., App]]:
    """Makes apps in front of it, with a token and the client certificate that they show."""
    made: list[App] = []

    def make(token: str, shown: Certified | None, *, sees: str = "") -> App:
        made.append(App(secured.gateway.base, token, sees=sees, verify=trusting(secured.issuing, shown, secured.folder)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_token_bound_to_a_certificate_counts_over_a_connection_with_it(
    over_tls: Callable[..., App], robots_token: str, robot: Certified
) -> None:
    mine = over_tls(robots_token, robot, sees="ab")
    for _ in range(2):
        assert mine.get("/Patient/pat-a").status_code == 200
    assert mine.get("/Patient/pat-b").status_code == 200


def test_a_stolen_token_of_a_certificate_opens_nothing(
    over_tls: Callable[..., App], app: Callable[..., App], robots_token: str, robot: Certified, keycloak: Keycloak
) -> None:
    assert keycloak.authority is not None
    refused(over_tls(robots_token, None).get("/Patient/pat-a"), 401, "certificate-missing")
    namesake = keycloak.authority.issue(realm.MTLS_SERVICE)
    refused(over_tls(robots_token, namesake).get("/Patient/pat-a"), 401, "certificate-mismatch")
    with pytest.raises(httpx.TransportError):
        over_tls(robots_token, authority().issue(realm.MTLS_SERVICE)).get("/Patient/pat-a")
    refused(app(robots_token).get("/Patient/pat-a"), 401, "certificate-missing")


def test_free_tokens_count_over_tls_with_a_certificate_or_without(
    over_tls: Callable[..., App], keycloak: Keycloak, robot: Certified
) -> None:
    token = keycloak.user_token("amy", "patient/*.rs")
    for shown in (None, robot):
        mine = over_tls(token, shown, sees="a")
        assert mine.get("/Patient/pat-a").status_code == 200
        refused(mine.get("/Patient/pat-b"), 404)


def test_a_header_makes_no_certificate(app: Callable[..., App], robots_token: str, robot: Certified) -> None:
    escaped = quote(robot.pem.decode(), safe="")
    for name, value in (("ssl-client-cert", escaped), ("x-forwarded-client-cert", f'Cert="{escaped}"')):
        refused(app(robots_token).get("/Patient/pat-a", headers={name: value}), 401, "certificate-missing")


def test_tokens_without_a_certificate_do_not_count_where_they_must_have_one(
    gateways: StartGateway, settings: dict[str, Any], app: Callable[..., App], keycloak: Keycloak, robots_token: str
) -> None:
    required = gateways({**settings, "issuers": [{**settings["issuers"][0], "mtls": {"required": True}}]})
    refused(app(keycloak.user_token("amy", "patient/*.rs"), at=required).get("/Patient/pat-a"), 401, "sender-constraint-required")
    refused(app(robots_token, at=required).get("/Patient/pat-a"), 401, "certificate-missing")


def test_a_new_certificate_is_served_without_a_restart(
    secured: Secured, over_tls: Callable[..., App], robots_token: str, robot: Certified
) -> None:
    """The last of its module: the gateway has another certificate afterwards, and the old authority is not believed any more."""
    before = over_tls(robots_token, robot, sees="a")
    assert before.get("/Patient/pat-a").status_code == 200
    renewing = authority("New CA")
    renewing.issue("gateway").write(secured.folder, "server")
    secured.gateway.running.wait_until(lambda: "read anew and are in force" in secured.gateway.messages(), LONG)
    with pytest.raises(httpx.ConnectError):
        over_tls(robots_token, robot).get("/Patient/pat-a")
    secured.issuing = renewing
    assert over_tls(robots_token, robot, sees="a").get("/Patient/pat-a").status_code == 200
    assert before.get("/Patient/pat-a").status_code == 200  # connections that are there go on
