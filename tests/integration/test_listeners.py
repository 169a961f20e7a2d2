"""An open and a secure listener side by side in one real gateway: real TLS, real certificates, real Keycloak, real HAPI."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.app import refused
from tests.integration.servers import realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.keycloak import Keycloak
from tests.integration.servers.machine import free_port
from tests.support.certificates import Certified, authority, trusting

ROOT = authority("Listeners CA")
LAB, APP, STRANGER = (ROOT.issue(name) for name in ("Lab", "App", "Stranger"))
FOREIGN = authority("Foreign CA").issue("Lab")


def fingerprint(one: Certified) -> str:
    return hashlib.sha256(one.der).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("listeners")
    ROOT.issue("Server").write(made, "server")
    (made / "ca.pem").write_bytes(ROOT.pem)
    return made


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def both(gateways: StartGateway, settings: dict[str, Any], folder: Path, ports: tuple[int, int]) -> Gateway:
    tls = {
        "certificate": str(folder / "server.pem"),
        "key": str(folder / "server.key"),
        "client_ca": str(folder / "ca.pem"),
        "client_certificates": "optional",
    }
    secure = {
        "name": "secure",
        "listen": f"127.0.0.1:{ports[1]}",
        "tls": tls,
        "certificate": {"missing": "limit", "unknown": "reject"},
        "token": {"missing": "ignore", "unknown": "reject"},
        "limit": ["patient/Patient.r"],
    }
    everybody = {"name": "open", "listen": f"127.0.0.1:{ports[0]}", "limit": ["system/Practitioner.r"]}
    lab = {"role": "system", "registered_scopes": ["system/Patient.rs"], "certificates": [{"sha256": fingerprint(LAB)}]}
    app = {"certificates": [{"subject": APP.certificate.subject.rfc4514_string()}]}
    clients = {"lab": lab, realm.APP: app, realm.SERVICE: {"role": "system"}}
    return gateways({**settings, "server": {"listeners": [everybody, secure]}, "policy": {"clients": clients}})


class Doors:
    """Requests at either listener, with or without a certificate and a token."""

    def __init__(self, folder: Path, ports: tuple[int, int]) -> None:
        self._folder = folder
        self._open, self._secure = (f"http://127.0.0.1:{ports[0]}/fhir", f"https://127.0.0.1:{ports[1]}/fhir")

    def open(self, target: str, token: str | None = None) -> httpx.Response:
        return self._get(self._open + target, token, True)

    def secure(self, target: str, token: str | None = None, shown: Certified | None = None) -> httpx.Response:
        return self._get(self._secure + target, token, trusting(ROOT, shown, self._folder))

    def _get(self, url: str, token: str | None, verify: ssl.SSLContext | bool) -> httpx.Response:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        with httpx.Client(verify=verify, timeout=60, trust_env=False) as client:
            return client.get(url, headers=headers)


@pytest.fixture(scope="module")
def doors(both: Gateway, folder: Path, ports: tuple[int, int]) -> Doors:
    return Doors(folder, ports)


def test_the_open_listener_opens_what_it_says_to_everybody(doors: Doors, keycloak: Keycloak) -> None:
    assert doors.open("/Practitioner/prac-1").status_code == 200
    refused(doors.open("/Practitioner"), 401, "token-missing")
    refused(doors.open("/Patient/pat-a"), 401, "token-missing")
    assert doors.open("/Patient/pat-a", keycloak.user_token("amy", "patient/*.rs")).status_code == 200
    refused(doors.open("/Practitioner/prac-1", "forged"), 401)


def test_a_certificate_alone_names_its_client(doors: Doors) -> None:
    read = doors.secure("/Patient/pat-a", shown=LAB)
    assert read.status_code == 200
    assert doors.secure("/Patient", shown=LAB).status_code == 200
    refused(doors.secure("/Observation", shown=LAB), 403, "insufficient-scope")
    refused(doors.secure("/Patient/pat-a", shown=APP), 403)


def test_the_record_says_which_client_came(doors: Doors, both: Gateway) -> None:
    read = doors.secure("/Patient/pat-a", shown=LAB)
    (event,) = both.events_of(read.headers["x-request-id"])
    assert (event["client_id"], event["issuer"], event["subject"]) == ("lab", "certificate", None)


def test_a_certificate_of_nobody_is_refused_and_one_of_another_authority_gets_no_connection(doors: Doors, keycloak: Keycloak) -> None:
    refused(doors.secure("/Patient/pat-a", shown=STRANGER), 401, "certificate-unknown")
    refused(doors.secure("/Patient/pat-a", keycloak.user_token("amy", "patient/*.rs"), STRANGER), 401, "certificate-unknown")
    with pytest.raises(httpx.TransportError):
        doors.secure("/Patient/pat-a", shown=FOREIGN)


def test_without_a_certificate_a_token_is_limited(doors: Doors, keycloak: Keycloak) -> None:
    token = keycloak.user_token("amy", "patient/*.rs")
    assert doors.secure("/Patient/pat-a", token).status_code == 200
    refused(doors.secure("/Patient/pat-b", token), 404)
    refused(doors.secure("/Observation", token), 403, "insufficient-scope")
    refused(doors.secure("/Patient/pat-a"), 401)


def test_a_token_counts_with_the_certificate_of_its_client_only(doors: Doors, keycloak: Keycloak) -> None:
    token = keycloak.user_token("amy", "patient/*.rs")
    assert doors.secure("/Observation", token, APP).status_code == 200
    refused(doors.secure("/Observation", token, LAB), 401, "certificate-mismatch")
    refused(doors.secure("/Patient/pat-a", keycloak.service_token("system/*.rs"), LAB), 401, "certificate-mismatch")


def test_discovery_is_for_everybody_at_both(doors: Doors) -> None:
    for answer in (doors.open("/metadata"), doors.secure("/metadata"), doors.secure("/.well-known/smart-configuration", shown=STRANGER)):
        assert answer.status_code == 200
