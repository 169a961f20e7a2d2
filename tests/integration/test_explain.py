"""``explain`` says what the running gateway then does: both are asked the same few hundred questions."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from smart_gateway.cli import main
from tests.integration.app import FHIR_JSON, App, MakeApp
from tests.integration.records import EVERYBODY, lab
from tests.integration.servers.gateway import Gateway
from tests.integration.servers.keycloak import Keycloak
from tests.integration.servers.realm import LAB

USERS: list[tuple[str, tuple[str, ...], str]] = [  # user, scopes, whose records they may see
    ("amy", ("patient/*.rs",), "ac"),
    ("amy", ("patient/*.cruds",), "ac"),
    ("amy", ("patient/*.read",), "ac"),
    ("amy", ("patient/Observation.rs", "patient/Patient.r"), "ac"),
    ("amy", (f"patient/Observation.rs?category={LAB}",), "a"),
    ("amy", ("patient/Observation.rs?nonsense=1",), ""),
    ("amy", ("patient/Observation.write",), ""),
    ("amy", ("user/*.rs",), "ac"),
    ("dr-house", ("user/*.cruds",), EVERYBODY),
    ("dr-house", ("user/Observation.rs?status=final",), EVERYBODY),
    ("dr-wilson", ("patient/Observation.rs", "user/Patient.rs"), EVERYBODY),
    ("nobody", ("user/*.rs", "patient/*.rs"), ""),
]

QUESTIONS: list[tuple[str, str]] = [
    ("GET", "/Patient/pat-a"),
    ("GET", "/Patient/pat-b"),
    ("HEAD", "/Observation/lab-0-chart-a"),
    ("GET", "/Observation/lab-0-chart-a/_history/1"),
    ("GET", "/Observation/vital-0-chart-a"),
    ("GET", "/Observation/lab-1-chart-b"),
    ("GET", "/Observation/performed-by-anna"),
    ("GET", "/Practitioner/prac-1"),
    ("GET", "/Observation"),
    ("GET", "/Observation?code=8867-4&_count=2"),
    ("GET", "/Observation?patient=pat-a"),
    ("GET", "/Observation?patient=pat-b"),
    ("GET", "/Observation?category=laboratory&_sort=-date"),
    ("GET", "/Observation?_summary=count"),
    ("GET", "/Observation?_elements=status"),
    ("GET", "/Observation?_include=Observation:encounter"),
    ("GET", "/Observation?subject.name=x"),
    ("GET", "/Observation?nonsense=1"),
    ("GET", "/Observation?code:nonsense=1"),
    ("GET", "/Patient?_id=pat-b"),
    ("GET", "/Patient/pat-a/Observation"),
    ("GET", "/Patient/pat-b/Observation"),
    ("GET", "/Condition"),
    ("GET", "/Medication"),
    ("POST", "/Observation/_search"),
    ("POST", "/Subscription"),
    ("PUT", "/Observation/lab-0-chart-b"),
    ("DELETE", "/Observation/never-was"),
    ("PATCH", "/Observation/lab-0-chart-a"),
    ("GET", "/Patient/pat-a/$everything"),
    ("GET", "/Patient/_history"),
    ("GET", "/Nonsense"),
    ("GET", "/metadata"),
]

# What is stored counts as to be checked: found outside or absent, which the gateway judges before any body, it looks absent.
BY_WHAT_IS_STORED = {"read", "vread", "update", "delete"}


def body_of(method: str, target: str) -> dict[str, Any] | None:
    """A body for a write; a PUT of it changes nothing, whoever is let through."""
    if method == "PUT":
        return lab("b", 0)
    if method in {"POST", "PATCH"} and "_search" not in target:
        return {"resourceType": "Subscription", "status": "off"}
    return None


def explained(
    capsys: pytest.CaptureFixture[str], gateway: Gateway, token: str, method: str, target: str, body: str | None
) -> dict[str, Any]:
    """What the command says, and that its exit code says the same."""
    options = ["--config", str(gateway.config), "--token", token, "--format", "json", *(["--body", body] if body else [])]
    code = main(["explain", *options, method, target])
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (0 if said["decision"] == "permit" else 3)
    return said


def asked(app: App, method: str, target: str) -> httpx.Response:
    """What the running gateway does."""
    body = body_of(method, target)
    if body is not None:
        return app.send(method, target, body)
    headers = {"content-type": "application/x-www-form-urlencoded"} if "_search" in target else {}
    return app(method, target, headers=headers)


@pytest.mark.parametrize(("user", "scopes", "sees"), USERS, ids=str)
def test_explain_and_gateway_decide_alike(
    user: str,
    scopes: tuple[str, ...],
    sees: str,
    gateway: Gateway,
    keycloak: Keycloak,
    as_user: MakeApp,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    token, app = keycloak.user_token(user, *scopes), as_user(user, *scopes, sees=sees)
    for method, target in QUESTIONS:
        body = body_of(method, target)
        file = tmp_path_factory.mktemp("bodies") / "body.json"
        file.write_text(json.dumps(body))
        said = explained(capsys, gateway, token, method, target, str(file) if body else None)
        answer = asked(app, method, target)
        compare(said, answer, f"{method} {target}")


def compare(said: dict[str, Any], answer: httpx.Response, question: str) -> None:
    """A refusal has the status and code that were said; a permit is served, unless what is stored says otherwise."""
    told = f"{question}: said {said}, did {answer.status_code} {answer.text[:500]}"
    if said["interaction"] in BY_WHAT_IS_STORED and answer.status_code == 404:
        assert said["decision"] == "permit" or said["status"] == 404 or said["interaction"] == "update", told
    elif said["decision"] == "deny":
        assert answer.status_code == said["status"], told
        if answer.request.method != "HEAD":
            assert answer.headers["content-type"].startswith(FHIR_JSON)
            assert said["code"] in answer.text, told
        assert answer.headers.get("www-authenticate", "").count("scope=") == (1 if said["required_scopes"] else 0), told
    elif said["interaction"] in BY_WHAT_IS_STORED:
        assert answer.status_code in {200, 201, 204}, told
    elif said["checks"]:
        assert answer.status_code == 200, told
    else:  # nothing to check: the upstream's own answer, an error of its own included
        assert answer.status_code == 200 or "HAPI-" in answer.text, told
