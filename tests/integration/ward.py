"""A HAPI of its own with labelled records, for tests that relabel and hide: whatever may not be seen holds the word of ``HIDDEN``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from tests.integration.records import transaction
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.support.issuer import AUDIENCE, ScriptedIssuer

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
OWN = "http://acme.example/labels"
HIDDEN = "hidden-word-9K4z"
FHIR_JSON = "application/fhir+json"
Resource = dict[str, Any]


def label(code: str, system: str = CONFIDENTIALITY) -> dict[str, str]:
    return {"system": system, "code": code}


class Client:
    """An app in front of a gateway; ``seeing``: the hidden word may show."""

    def __init__(self, base: str, token: str, *, seeing: bool) -> None:
        self.base = base
        self._seeing = seeing
        headers = {"authorization": f"Bearer {token}", "accept": FHIR_JSON}
        self._http = httpx.Client(headers=headers, timeout=60, trust_env=False)

    def __call__(self, method: str, target: str, resource: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if resource is None else json.dumps(resource).encode()
        if content is not None:
            named.setdefault("content-type", FHIR_JSON)
        url = target if target.startswith("http") else self.base + target
        answer = self._http.request(method, url, content=content, headers=named)
        assert self._seeing or HIDDEN not in answer.text + str(answer.headers), f"{method} {target}: {answer.text[:2000]}"
        return answer

    def close(self) -> None:
        self._http.close()

    def get(self, target: str, **headers: str) -> httpx.Response:
        return self("GET", target, **headers)

    def found(self, target: str) -> set[str]:
        """``Type/id`` of all entries of a search, page after page."""
        named: set[str] = set()
        url: str | None = target
        while url is not None:
            answer = self.get(url)
            assert answer.status_code == 200, answer.text
            bundle = answer.json()
            named |= {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in bundle.get("entry", []) if "resource" in e}
            url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        return named


class Ward:
    """The server, an issuer of tokens, and gateways by their policies."""

    def __init__(self, hapi: Hapi, issuer: ScriptedIssuer, gateways: StartGateway) -> None:
        self.hapi = hapi
        self._issuer = issuer
        self._start = gateways
        self._running: dict[str, Gateway] = {}
        self._clients: list[Client] = []

    def put(self, *resources: Resource) -> None:
        self.hapi.put(transaction(list(resources)))

    def delete(self, *names: str) -> None:
        """So that a test leaves nothing that another one finds."""
        for name in names:
            httpx.delete(f"{self.hapi.base}/{name}", trust_env=False)

    def stored(self, name: str) -> Resource:
        """A resource as HAPI has it."""
        found: Resource = httpx.get(f"{self.hapi.base}/{name}", trust_env=False).json()
        return found

    def gateway(self, policy: Mapping[str, Any]) -> Gateway:
        """The gateway with this policy."""
        key = json.dumps(policy, sort_keys=True)
        if key not in self._running:
            self._running[key] = self._start(self.settings(dict(policy)))
        return self._running[key]

    def settings(self, policy: dict[str, Any] | str) -> dict[str, Any]:
        """Those of a gateway with this policy, or with that of a file."""
        issuer = self._issuer
        trusted = {"issuer": issuer.issuer, "jwks_uri": issuer.jwks_uri, "audiences": [AUDIENCE], "algorithms": ["RS256"]}
        upstream = {"url": self.hapi.base, "fhir_version": "R4"}
        return {"upstream": upstream, "issuers": [trusted], "policy": policy}

    def token(self, scope: str, **claims: Any) -> str:
        """A practitioner's; ``claims`` are set over those of the token."""
        said = {"fhirUser": "Practitioner/doc", "patient": ..., **claims}
        return self._issuer.token(None, None, time.time(), AUDIENCE, scope=scope, **said)

    def client(self, policy: Mapping[str, Any], scope: str = "user/*.cruds", *, seeing: bool = False, **claims: Any) -> Client:
        """An app of a practitioner; ``claims`` are set over those of the token."""
        token = self.token(scope, **claims)
        self._clients.append(Client(self.gateway(policy).base, token, seeing=seeing))
        return self._clients[-1]

    def close(self) -> None:
        """Closes the connections of its apps."""
        for client in self._clients:
            client.close()
