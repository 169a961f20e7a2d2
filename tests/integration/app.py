"""A client app in front of a gateway, which fails at once where an answer holds somebody else's record."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httpx

from tests.integration.records import PATIENTS, canary, marks

FHIR_JSON = "application/fhir+json"
FORM = "application/x-www-form-urlencoded"


class App:
    """Sends requests relative to ``base`` with one token; ``sees`` are the patients whose record may show up in answers."""

    def __init__(self, base: str, token: str | None, *, sees: str = "", verify: ssl.SSLContext | bool = True) -> None:
        self.base = base
        self.forbidden = [patient for patient in PATIENTS if patient not in sees]
        headers = {"accept": FHIR_JSON} | ({"authorization": f"Bearer {token}"} if token is not None else {})
        hooks = {"response": [self._check]}
        self._http = httpx.Client(base_url=base, headers=headers, event_hooks=hooks, timeout=60, trust_env=False, verify=verify)

    def __call__(self, method: str, target: str, **more: Any) -> httpx.Response:
        """``app("GET", "/Patient/pat-a")``."""
        return self._http.request(method, self.base + target, **more)

    def get(self, target: str, **more: Any) -> httpx.Response:
        """A read or search."""
        return self("GET", target, **more)

    def follow(self, link: str) -> httpx.Response:
        """A link as the gateway gave it: always below its own base."""
        assert link.startswith((f"{self.base}/", f"{self.base}?")), link
        return self._http.get(link)

    def send(self, method: str, target: str, resource: dict[str, Any], **headers: str) -> httpx.Response:
        """A write; header names with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self(method, target, json=resource, headers={"content-type": FHIR_JSON, **named})

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def _check(self, response: httpx.Response) -> None:
        """The client's own words may come back (in a self link, say); nothing else of somebody else's record may."""
        response.read()
        request = response.request
        asked = unquote(str(request.url)) + request.content.decode(errors="replace")
        seen = response.text + str(response.headers)
        for patient in self.forbidden:
            told = [mark for mark in marks(patient) if mark in seen and (mark not in asked or mark == canary(patient))]
            assert not told, f"{request.method} {request.url} tells {[_around(mark, seen) for mark in told]}"


def _around(mark: str, text: str) -> str:
    at = text.index(mark)
    return text[max(0, at - 500) : at + 500]


MakeApp = Callable[..., App]


def ids(response: httpx.Response) -> list[str]:
    """``Type/id`` of every entry of a searchset, in order."""
    assert response.status_code == 200, response.text
    bundle = response.json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "searchset")
    return [f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in bundle.get("entry", [])]


def link(response: httpx.Response, relation: str) -> str | None:
    """The URL of one of a Bundle's links."""
    found = [link["url"] for link in response.json().get("link", []) if link["relation"] == relation]
    assert len(found) < 2
    return found[0] if found else None


def whole(app: App, target: str) -> list[str]:
    """``Type/id`` of every entry on all pages from ``target`` on."""
    page = app.get(target)
    found = ids(page)
    while (onward := link(page, "next")) is not None:
        page = app.follow(onward)
        found += ids(page)
    return found


def refused(response: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Asserts that this is a refusal as semantics 10 wants it, of this status and code; answers its OperationOutcome."""
    assert response.status_code == status, f"{response.status_code} {response.text}"
    outcome: dict[str, Any] = response.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert response.headers["content-type"].startswith(FHIR_JSON)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in response.headers["cache-control"]
    codes = [coding["code"] for issue in outcome["issue"] for coding in issue["details"]["coding"]]
    assert code is None or code in codes, codes
    return outcome


CORE_EXTENSION = "http://hl7.org/fhir/StructureDefinition/operationoutcome-required-scope"


def required_scopes(outcome: dict[str, Any], url: str = CORE_EXTENSION) -> list[str]:
    """The scopes of the required-scope extension, wherever the outcome carries it."""
    found = [extension for part in (outcome, *outcome["issue"]) for extension in part.get("extension", [])]
    return [extension["valueString"] for extension in found if extension["url"] == url]
