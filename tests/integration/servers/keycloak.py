"""A real Keycloak with the realm ``smart`` (``realm.py``): fetched by Maven, built once, started from a seed database in seconds."""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.integration.servers import realm
from tests.integration.servers.machine import Running, answers, cache, digest, free_port, only_one, run, start
from tests.support.certificates import Certified, authority

POM = Path(__file__).resolve().parent.parent / "keycloak" / "pom.xml"
_JAVA = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xms128m -Xmx512m -XX:MetaspaceSize=96M -XX:MaxMetaspaceSize=256m "
    "-Dfile.encoding=UTF-8 -XX:+ExitOnOutOfMemoryError -Djava.security.egd=file:/dev/urandom"
)
_BUILD = ("--db=dev-mem", "--https-client-auth=request")  # what cannot be said at start
_H2 = "NON_KEYWORDS=VALUE;DB_CLOSE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE;TRACE_LEVEL_FILE=0"


class TokenRefusedError(Exception):
    """The token endpoint answered an error; the message is its body."""


@dataclass(frozen=True, slots=True)
class Keycloak:
    """A running server: ``issuer`` is what its tokens say in ``iss``."""

    origin: str
    running: Running
    secure: str = ""  # the origin by TLS, where clients may show certificates of ``authority``
    authority: Certified | None = None
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.origin}/realms/smart"

    def user_token(self, user: str, *scopes: str) -> str:
        """An access token of ``user`` (``realm.USERS``) by the password grant, with fhirUser and launch context."""
        scope = " ".join(("openid", "fhirUser", "launch/patient", *scopes))
        credentials = {"username": user, "password": f"{user}-test-only", "client_id": realm.APP}
        return self._token(user, {"grant_type": "password", "scope": scope, **credentials})

    def service_token(self, *scopes: str) -> str:
        """An access token of the backend service by client_credentials."""
        credentials = {"client_id": realm.SERVICE, "client_secret": realm.SERVICE_SECRET}
        return self._token(realm.SERVICE, {"grant_type": "client_credentials", "scope": " ".join(scopes), **credentials})

    def import_realm(self, content: Mapping[str, Any]) -> str:
        """Makes another realm of what a realm file says; answers its issuer."""
        self._admin("", content)
        return f"{self.origin}/realms/{content['realm']}"

    def rotate_keys(self) -> None:
        """A new signing key of higher priority; the old one stays in the key set."""
        self._admin(
            "/smart/components",
            {
                "name": "rotated",
                "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "config": {"priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]},
            },
        )
        self._tokens.clear()

    def _token(self, who: str, form: dict[str, str]) -> str:
        key = (who, form["scope"])
        if key not in self._tokens:
            self._tokens[key] = _post_form(f"{self.issuer}/protocol/openid-connect/token", form)["access_token"]
        return self._tokens[key]

    def _admin(self, path: str, body: Mapping[str, Any]) -> None:
        login = {"grant_type": "password", "client_id": "admin-cli", "username": realm.ADMIN, "password": realm.ADMIN_PASSWORD}
        token = _post_form(f"{self.origin}/realms/master/protocol/openid-connect/token", login)["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = f"{self.origin}/admin/realms{path}"
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST"), timeout=60).close()


def _post_form(url: str, form: dict[str, str]) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=60) as answer:
            parsed: dict[str, Any] = json.load(answer)
            return parsed
    except urllib.error.HTTPError as refusal:
        raise TokenRefusedError(refusal.read().decode()) from None


def start_keycloak(work: Path, *, port: int | None = None) -> Keycloak:
    """Starts on loopback with a home of its own in ``work`` and waits until the realm's discovery document answers."""
    server = _server()
    seed = _seed(server)
    home = _home(server, work / "keycloak")
    shutil.copy(seed, home / "data" / "kc.mv.db")
    issuing, https = authority(), free_port()
    certificate, key = issuing.issue("keycloak").write(home, "server")
    (home / "ca.pem").write_bytes(issuing.pem)
    files = [
        f"--https-certificate-file={certificate}",
        f"--https-certificate-key-file={key}",
        f"--https-trust-store-file={home / 'ca.pem'}",
    ]
    keycloak = _launch(home, port or free_port(), f"--https-port={https}", *files)
    return replace(keycloak, secure=f"https://127.0.0.1:{https}", authority=issuing)


def _server() -> Path:
    """The unpacked and built distribution, shared by all homes."""
    found = re.search(r"<keycloak.version>(.+)</keycloak.version>", POM.read_text())
    assert found is not None
    place = cache("keycloak", digest(POM.read_bytes(), *(option.encode() for option in _BUILD)))
    server = place / f"keycloak-{found[1]}"
    with only_one(place):
        if not (place / ".built").exists():
            shutil.rmtree(server, ignore_errors=True)
            shutil.rmtree(place / "markers", ignore_errors=True)
            run(["mvn", "-B", "-q", "-f", POM, f"-Dkeycloak.dir={place}", "package"], cwd=place)
            run([server / "bin" / "kc.sh", "build", *_BUILD], cwd=server, env=_environment())
            (place / ".built").touch()
    return server


def _seed(server: Path) -> Path:
    """A database with schema and realm, made once for each realm: importing takes far longer than starting."""
    place = cache("keycloak", "seeds", digest(POM.read_bytes(), realm.realm()))
    seed = place / "kc.mv.db"
    with only_one(place):
        if not seed.exists():
            home = _home(server, place / "home")
            (home / "data" / "import" / "smart-realm.json").write_bytes(realm.realm())
            _launch(home, free_port(), "--import-realm").running.stop()
            shutil.copy(home / "data" / "kc.mv.db", place / "kc.tmp")
            (place / "kc.tmp").rename(seed)
    return seed


def _home(server: Path, home: Path) -> Path:
    """A private home over the shared server: its own ``data``, the rest linked."""
    shutil.rmtree(home, ignore_errors=True)
    (home / "bin").mkdir(parents=True)
    (home / "data" / "import").mkdir(parents=True)
    shutil.copy(server / "bin" / "kc.sh", home / "bin" / "kc.sh")
    for name in ("lib", "providers", "themes", "conf"):
        (home / name).symlink_to(server / name)
    return home


def _environment() -> dict[str, str]:
    """Ours without ``KC_...``: Keycloak takes every such variable for an option of its own."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("KC_")}
    bootstrap = {"KC_BOOTSTRAP_ADMIN_USERNAME": realm.ADMIN, "KC_BOOTSTRAP_ADMIN_PASSWORD": realm.ADMIN_PASSWORD}
    return {**ours, **bootstrap, "JAVA_OPTS": _JAVA}


def _launch(home: Path, port: int, *more: str) -> Keycloak:
    origin = f"http://127.0.0.1:{port}"
    options = [
        "--optimized",
        "--cache=local",
        "--http-enabled=true",
        "--http-host=127.0.0.1",
        f"--http-port={port}",
        f"--hostname={origin}",
        "--shutdown-delay=0",
        f"--db-url=jdbc:h2:file:{home / 'data' / 'kc'};{_H2}",
    ]
    running = start([home / "bin" / "kc.sh", "start", *options, *more], log=home / "log", env=_environment(), cwd=home)
    keycloak = Keycloak(origin, running)
    running.wait_until(lambda: answers(f"{keycloak.issuer}/.well-known/openid-configuration"))
    return keycloak
