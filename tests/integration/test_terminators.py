"""Real nginx, Envoy and Traefik before the gateway: the certificate of their client reaches it, and nobody else's word does."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.integration.app import App, refused
from tests.integration.servers import realm, terminators
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.terminators import Files, Start, Terminating, terminate
from tests.integration.test_tokens import mint
from tests.support.certificates import Certified, authority, trusting
from tests.support.issuer import ScriptedIssuer, serve
from tests.support.proofs import hashed

SERVERS, CLIENTS = authority("Terminator CA"), authority("Client CA")
ROBOT, OTHER = CLIENTS.issue("robot"), CLIENTS.issue("other")
ESCAPED, BARE = quote(ROBOT.pem.decode(), safe=""), base64.b64encode(ROBOT.der).decode()
XFCC = f'Hash={hashlib.sha256(ROBOT.der).hexdigest()};Cert="{ESCAPED}"'
# What a client without the certificate would say in its place, by the terminator that is before the gateway.
FORGED = {
    "nginx": [("ssl-client-cert", ESCAPED), ("SSL-Client-Cert", ESCAPED), ("ssl_client_cert", ESCAPED)],
    "envoy": [("x-forwarded-client-cert", XFCC), ("X-Forwarded-Client-Cert", f"{XFCC},{XFCC}"), ("x_forwarded_client_cert", XFCC)],
    "traefik": [
        ("x-forwarded-tls-client-cert", BARE),
        ("X-Forwarded-Tls-Client-Cert", f"{BARE},{BARE}"),
        ("x_forwarded_tls_client_cert", BARE),
    ],
}
STARTS: dict[str, Start] = {
    "nginx": terminators.start_nginx,
    "envoy": terminators.start_envoy,
    "traefik": terminators.start_traefik,
}


@pytest.fixture(scope="module")
def issuer() -> Iterator[ScriptedIssuer]:
    with serve(ScriptedIssuer()) as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("terminator")
    certificate, key = SERVERS.issue("terminator").write(folder, "server")
    (folder / "clients.pem").write_bytes(CLIENTS.pem)
    return Files(certificate, key, folder / "clients.pem")


class Before:
    """A gateway and the terminator before it; ``app`` makes clients of the terminator, with a token and a certificate."""

    def __init__(self, name: str, gateway: Gateway, terminating: Terminating, folder: Path) -> None:
        self.name = name
        self.gateway = gateway
        self.terminating = terminating
        self._folder = folder
        self._made: list[App] = []

    def app(self, token: str | None, shown: Certified | None, *, sees: str = "") -> App:
        self._made.append(App(f"{self.terminating.origin}/fhir", token, sees=sees, verify=trusting(SERVERS, shown, self._folder)))
        return self._made[-1]

    def close(self) -> None:
        for app in self._made:
            app.close()
        self.terminating.running.stop()


@pytest.fixture(scope="module", params=STARTS)
def before(
    request: pytest.FixtureRequest,
    gateways: StartGateway,
    hapi: Hapi,
    issuer: ScriptedIssuer,
    files: Files,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Before]:
    name = request.param
    terminators.find(name)
    made = _before(name, STARTS[name], name, gateways, hapi, issuer, files, tmp_path_factory)
    yield made
    made.close()


def _before(
    name: str,
    start: Start,
    format: str,
    gateways: StartGateway,
    hapi: Hapi,
    issuer: ScriptedIssuer,
    files: Files,
    folders: pytest.TempPathFactory,
) -> Before:
    folder = folders.mktemp(name)
    gateway = gateways(
        {
            "server": {"trusted_proxies": ["127.0.0.1"], "client_certificate_header": {"format": format}},
            "upstream": {"url": hapi.base, "fhir_version": "R4"},
            "issuers": [{"issuer": issuer.issuer, "audiences": [realm.AUDIENCE], "jwks_uri": issuer.jwks_uri}],
        }
    )
    address = "{}:{}".format(*gateway.address)
    return Before(name, gateway, terminate(start, folder / "work", files, address, trusting(SERVERS, None, folder)), folder)


@pytest.fixture
def robots(issuer: ScriptedIssuer) -> str:
    """A token that is bound to the robot's certificate."""
    return mint(issuer, cnf={"x5t#S256": hashed(ROBOT.der)})


def test_the_clients_certificate_reaches_the_gateway(before: Before, robots: str) -> None:
    app = before.app(robots, ROBOT, sees="a")
    for _ in range(2):
        assert app.get("/Patient/pat-a").status_code == 200
    refused(app.get("/Patient/pat-b"), 404)


def test_a_stolen_token_opens_nothing(before: Before, robots: str) -> None:
    refused(before.app(robots, None).get("/Patient/pat-a"), 401, "certificate-missing")
    refused(before.app(robots, OTHER).get("/Patient/pat-a"), 401, "certificate-mismatch")


def test_a_certificate_of_another_authority_is_not_let_through(before: Before, robots: str) -> None:
    stranger = authority("Client CA").issue("robot")
    try:
        answer = before.app(robots, stranger).get("/Patient/pat-a")
    except httpx.TransportError:
        return
    assert answer.status_code in {400, 401}


def test_free_tokens_count_with_a_certificate_or_without(before: Before, issuer: ScriptedIssuer) -> None:
    for shown in (None, OTHER):
        assert before.app(mint(issuer), shown, sees="a").get("/Patient/pat-a").status_code == 200


def test_what_a_client_says_itself_is_not_believed(before: Before, robots: str) -> None:
    """Through the terminator, with no certificate and with another: its own header is overwritten or taken away."""
    for name, value in FORGED[before.name]:
        for shown in (None, OTHER):
            answer = before.app(robots, shown).get("/Patient/pat-a", headers={name: value})
            assert answer.status_code in {400, 401}, (name, answer.text)


def test_the_gateways_own_port_believes_trusted_addresses_only(
    before: Before, gateways: StartGateway, hapi: Hapi, issuer: ScriptedIssuer, robots: str, app: Callable[..., App]
) -> None:
    """Here the proxy is somewhere else: who reaches the gateway directly is nobody's terminator."""
    elsewhere = gateways(
        {
            "server": {"trusted_proxies": ["127.0.0.2"], "client_certificate_header": {"format": before.name}},
            "upstream": {"url": hapi.base, "fhir_version": "R4"},
            "issuers": [{"issuer": issuer.issuer, "audiences": [realm.AUDIENCE], "jwks_uri": issuer.jwks_uri}],
        }
    )
    name, value = FORGED[before.name][0]
    refused(app(robots, at=elsewhere).get("/Patient/pat-a", headers={name: value}), 400, "foreign-header")
    refused(app(mint(issuer), at=elsewhere).get("/Patient/pat-a", headers={name: value}), 400, "foreign-header")


def test_envoy_that_appends_is_not_believed(
    gateways: StartGateway, hapi: Hapi, issuer: ScriptedIssuer, files: Files, tmp_path_factory: pytest.TempPathFactory, robots: str
) -> None:
    """Set up wrongly, Envoy passes the client's own element on before its own: then nothing counts."""
    terminators.find("envoy")
    made = _before("appending", terminators.start_appending_envoy, "envoy", gateways, hapi, issuer, files, tmp_path_factory)
    try:
        assert made.app(robots, ROBOT, sees="a").get("/Patient/pat-a").status_code == 200
        refused(made.app(robots, OTHER).get("/Patient/pat-a", headers={"x-forwarded-client-cert": XFCC}), 400, "malformed-header")
    finally:
        made.close()
