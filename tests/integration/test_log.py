"""The decision log of the running gateway: one line for each request, with who, what, outcome and rule, and nothing else (semantics 12)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.app import App, MakeApp
from tests.integration.records import canary, told_by
from tests.integration.servers.gateway import Gateway, StartGateway


@pytest.fixture(scope="module")
def logging(gateways: StartGateway, settings: dict[str, Any]) -> Gateway:
    """A gateway of its own: its log holds these requests only."""
    return gateways(settings)


@pytest.fixture
def amy(as_user: MakeApp, logging: Gateway) -> App:
    return as_user("amy", "patient/Observation.rs", sees="a", at=logging)


def event(gateway: Gateway, app: App, target: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    """The one line that this request left."""
    answer = app(method, target, **more)
    (line,) = gateway.events_of(answer.headers["x-request-id"])
    assert line["status"] == answer.status_code
    assert line["method"] == method
    assert line["duration"] > 0
    return line


def test_a_permitted_read(logging: Gateway, amy: App) -> None:
    line = event(logging, amy, "/Observation/lab-0-chart-a")
    assert line["outcome"] == "permit"
    assert (line["interaction"], line["type"], line["id"], line["patient"]) == ("read", "Observation", "lab-0-chart-a", "pat-a")
    assert (line["client_id"], line["fhir_user"], line["upstream_status"]) == ("growth-chart", "Patient/pat-a", 200)
    assert line["issuer"].endswith("/realms/smart")
    assert line["subject"]
    assert any("patient/Observation.rs" in rule for rule in line["rules"])


def test_a_search_with_an_include_taken_out(logging: Gateway, amy: App) -> None:
    line = event(logging, amy, "/Observation?code=2339-0&_include=*")
    assert (line["outcome"], line["interaction"], line["removed"] > 0) == ("permit", "search-type", True)
    assert "2339" not in str(line)


@pytest.mark.parametrize(
    ("target", "method", "outcome", "status", "code"),
    [
        ("/Condition?code=secret-value", "GET", "deny", 403, "insufficient-scope"),
        ("/Observation?patient=pat-b", "GET", "deny", 403, "foreign-patient"),
        ("/Observation/lab-0-chart-b", "GET", "deny", 404, None),
        ("/Observation?nonsense=secret-value", "GET", None, 400, None),
        ("/secret-value", "GET", None, 404, None),
        ("/Observation", "TRACE", None, 405, "method-not-allowed"),
    ],
)
def test_a_refusal(logging: Gateway, amy: App, target: str, method: str, outcome: str | None, status: int, code: str | None) -> None:
    line = event(logging, amy, target, method)
    assert line["status"] == status
    assert line["outcome"] == outcome or (outcome is None and line["outcome"] in {"deny", "error"})
    assert line["code"] == code or (code is None and line["code"])
    assert "secret-value" not in str(line)


def test_a_request_without_a_token_names_nobody(logging: Gateway, app: MakeApp) -> None:
    line = event(logging, app(None, at=logging), "/Patient/pat-a")
    assert (line["status"], line["code"], line["subject"], line["client_id"], line["patient"]) == (401, "token-missing", None, None, None)


@pytest.mark.parametrize(
    ("line", "tells"),
    [
        ({"id": "lab-0-chart-b", "patient": "pat-a", "fhir_user": "Patient/pat-a", "code": "not-found"}, False),
        ({"id": canary("b")}, True),
        ({"id": None, "rules": ["Observation/lab-0-chart-b"]}, True),
        ({"id": None, "code": "pat-c"}, True),
    ],
)
def test_a_line_that_tells_of_a_record_is_found(line: dict[str, Any], tells: bool) -> None:
    """What is asked of the log of every gateway at the end of the session (conftest.py) can fail."""
    assert bool(told_by(json.dumps(line))) is tells
    assert told_by(f"first\n{canary('w')} in words\nlast") == [f"{canary('w')} in words"]
