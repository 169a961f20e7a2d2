"""The servers, once for all integration tests: real HAPI with everybody's records, real Keycloak, a real gateway between them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app import App, MakeApp
from tests.integration.records import EVERYBODY, all_records, told_by, transaction
from tests.integration.servers import realm
from tests.integration.servers.gateway import Gateway, StartGateway, start_gateway
from tests.integration.servers.hapi import Hapi, start_hapi
from tests.integration.servers.keycloak import Keycloak, start_keycloak
from tests.integration.servers.machine import missing_tools
from tests.integration.ward import Ward
from tests.support.issuer import ScriptedIssuer, serve

HERE = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)  # before items are selected by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the real servers."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def java() -> None:
    """Java and Maven; CI must have them, a laptop need not."""
    missing = missing_tools()
    if missing and os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"CI must run the integration tests, and this machine has no {' and no '.join(missing)}")
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} (Java 17 and Maven), to run real HAPI and Keycloak")


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs and homes of the servers."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def hapi(java: None, work: Path) -> Iterator[Hapi]:
    """HAPI FHIR JPA, R4, with all records in it."""
    server = start_hapi(work / "hapi.log")
    try:
        server.put(transaction(all_records()))
        yield server
    finally:
        server.running.stop()


@pytest.fixture(scope="session")
def keycloak(java: None, work: Path) -> Iterator[Keycloak]:
    """Keycloak with the realm of ``servers/realm.py``."""
    server = start_keycloak(work)
    try:
        yield server
    finally:
        server.running.stop()


@pytest.fixture(scope="session")
def gateways(work: Path) -> Iterator[StartGateway]:
    """Starts gateways that end with the session; no log of theirs may hold a word of anybody's record, nor a token."""
    started: list[Gateway] = []

    def start(settings: Mapping[str, Any], **more: Any) -> Gateway:
        started.append(start_gateway(work / f"gateway-{len(started)}", settings, **more))
        return started[-1]

    yield start
    for gateway in started:
        gateway.running.ask()
    codes = [gateway.running.ended() for gateway in started]
    for gateway in started:
        said = gateway.running.output() + gateway.messages()
        assert not told_by(said), gateway.running.log
        assert "eyJ" not in said, f"a token in {gateway.running.log}"
        assert "Traceback" not in said, said[-4000:]
    assert set(codes) <= {0, -signal.SIGTERM}, f"a gateway did not stop in good order: {codes}"


@pytest.fixture(scope="session")
def ward(java: None, work: Path, gateways: StartGateway) -> Iterator[Ward]:
    """A HAPI of its own for what tests relabel and hide, and an issuer that says what they want."""
    server = start_hapi(work / "ward.log")
    try:
        with serve(ScriptedIssuer()) as issuer:
            made = Ward(server, issuer, gateways)
            yield made
            made.close()
    finally:
        server.running.stop()


@pytest.fixture(scope="session")
def settings(hapi: Hapi, keycloak: Keycloak) -> dict[str, Any]:
    """The least settings of a gateway before this HAPI that trusts this Keycloak."""
    return {
        "upstream": {"url": hapi.base, "fhir_version": "R4"},
        "issuers": [{"issuer": keycloak.issuer, "audiences": [realm.AUDIENCE]}],
    }


@pytest.fixture(scope="session")
def gateway(gateways: StartGateway, settings: dict[str, Any]) -> Gateway:
    """The gateway that most tests use: every rule at its default."""
    return gateways(settings)


@pytest.fixture
def app(gateway: Gateway) -> Iterator[MakeApp]:
    """Makes apps in front of the gateway (or ``at=`` another one), with a token and whose records it may see."""
    made: list[App] = []

    def make(token: str | None, *, sees: str = "", at: Gateway = gateway) -> App:
        made.append(App(at.base, token, sees=sees))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def as_user(app: MakeApp, keycloak: Keycloak) -> MakeApp:
    """``as_user("amy", "patient/*.rs", sees="a")``: an app with that user's token of that scope, from Keycloak."""
    return lambda user, *scopes, sees="", **more: app(keycloak.user_token(user, *scopes), sees=sees, **more)


@pytest.fixture
def as_service(app: MakeApp, keycloak: Keycloak) -> MakeApp:
    """``as_service("system/*.rs")``: an app with a client_credentials token, which sees everybody unless ``sees`` says less."""
    return lambda *scopes, sees=EVERYBODY, **more: app(keycloak.service_token(*scopes), sees=sees, **more)
