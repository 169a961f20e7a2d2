"""Records as AuditEvents in a real FHIR server, and what becomes of requests whose record is required."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.servers.gateway import Gateway
from tests.integration.ward import Ward

BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit"
CALL = {"X_Break_Glass_Reason": "Patient unconscious", "X_Purpose_Of_Use": "BTG"}


@pytest.fixture(scope="module", autouse=True)
def records(ward: Ward) -> Any:
    made = {"resourceType": "Observation", "status": "final", "code": {"text": "audit"}, "subject": {"reference": "Patient/au-pat"}}
    ward.put({"resourceType": "Patient", "id": "au-pat"}, {**made, "id": "au-obs"})
    yield
    ward.delete("Observation/au-obs", "Patient/au-pat")


def collected(ward: Ward, request_id: str, least: int = 1) -> list[dict[str, Any]]:
    """The AuditEvents of one request, once the server has them."""
    deadline = time.monotonic() + 20
    found: list[dict[str, Any]] = []
    while len(found) < least and time.monotonic() < deadline:
        answer = httpx.get(
            f"{ward.hapi.base}/AuditEvent?_sort=-_lastUpdated&_count=100", trust_env=False, headers={"cache-control": "no-cache"}
        )
        events = [entry["resource"] for entry in answer.json().get("entry", [])]
        found = [event for event in events if event["entity"][0]["what"]["identifier"]["value"] == request_id]
        time.sleep(0 if len(found) >= least else 0.1)
    return found


def sinking(ward: Ward, **more: Any) -> dict[str, Any]:
    return {"audit": {"sinks": ["log", {"fhir": ward.hapi.base, **more}]}, "break_glass": {"scope": "__break-glass", "lifts": ["users"]}}


KINDS = [
    ("GET", "/Observation/au-obs", 200, "PatientRead", "R", "0"),
    ("GET", "/Observation?code:text=secret-value", None, "PatientQuery", "E", "0"),
    ("GET", "/Patient/au-pat", 200, "PatientRead", "R", "0"),
    ("GET", "/Condition", 403, None, "E", "4"),
    ("GET", "/Observation/no-such", 404, None, "R", "4"),
]


@pytest.mark.parametrize(("method", "target", "status", "profile", "action", "outcome"), KINDS, ids=[f"{k[0]} {k[1]}" for k in KINDS])
def test_each_decision_is_an_audit_event(
    ward: Ward, method: str, target: str, status: int | None, profile: str | None, action: str, outcome: str
) -> None:
    app = ward.client(sinking(ward), "patient/Observation.rs patient/Patient.rs", patient="au-pat")
    answer = app(method, target)
    assert status in (None, answer.status_code), answer.text
    (event,) = collected(ward, answer.headers["x-request-id"])
    profiles = [one for one in event["meta"].get("profile", []) if one.startswith(BALP)]
    if answer.status_code == 200:
        assert profiles == [f"{BALP}.{profile}"]
    assert (event["action"], event["outcome"]) == (action, outcome if answer.status_code != 400 else "4")
    assert "secret-value" not in str(event)
    person = [entity for entity in event["entity"] if entity["type"]["code"] == "1"]
    assert [entity["what"]["display"] for entity in person] == ["Patient/au-pat"]


def test_an_emergency_is_collected_with_its_reason(ward: Ward) -> None:
    app = ward.client(sinking(ward), "user/*.rs __break-glass", patient="au-pat")
    answer = app.get("/Observation/au-obs", **CALL)
    assert answer.status_code == 200
    (event,) = collected(ward, answer.headers["x-request-id"])
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"
    assert "Patient unconscious" in str(event["entity"][0]["detail"])


def test_literal_references_make_the_events_of_a_patient_found(ward: Ward) -> None:
    app = ward.client(sinking(ward, references="literal"), "patient/Observation.rs", patient="au-pat")
    answer = app.get("/Observation/au-obs")
    assert collected(ward, answer.headers["x-request-id"])
    found = httpx.get(f"{ward.hapi.base}/AuditEvent?entity=Patient/au-pat&_count=100", trust_env=False).json()
    named = [entry["resource"]["entity"][0]["what"]["identifier"]["value"] for entry in found.get("entry", [])]
    assert answer.headers["x-request-id"] in named


@pytest.fixture
def silent() -> Any:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/fhir"


def test_a_sink_that_does_not_answer_holds_up_nothing_but_what_must_be_recorded(ward: Ward, silent: str) -> None:
    audit = {"sinks": ["log", {"fhir": silent, "timeout": "500ms"}]}
    policy: dict[str, Any] = {"audit": audit, "break_glass": {"scope": "__break-glass", "lifts": ["users"]}}
    app = ward.client(policy, "user/*.rs __break-glass")
    assert [app.get("/Observation/au-obs").status_code for _ in range(5)] == [200] * 5
    emergency = app.get("/Observation/au-obs", **CALL)
    assert (emergency.status_code, emergency.json()["issue"][0]["details"]["coding"][0]["code"]) == (503, "dependency-unavailable")
    required = ward.client({"audit": {**audit, "required": True}}, "user/*.rs")
    assert required.get("/Observation/au-obs").status_code == 503
    assert required.get("/metadata").status_code == 200
    events = ward.gateway({"audit": {**audit, "required": True}}).events()
    assert {"permit", "error"} <= {event["outcome"] for event in events}


def test_a_required_file_that_cannot_be_written_refuses_reads_and_writes(ward: Ward) -> None:
    """/dev/full is a disk without space."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    app = ward.client({"audit": {"required": True, "sinks": [{"file": "/dev/full"}]}}, "user/*.cruds")
    before = ward.stored("Observation/au-obs")
    assert app.get("/Observation/au-obs").status_code == 503
    assert app("DELETE", "/Observation/au-obs").status_code == 503
    assert ward.stored("Observation/au-obs") == before


def test_a_required_file_has_each_beginning_and_each_end(ward: Ward, tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    policy = {"audit": {"required": True, "sinks": ["log", {"file": str(path)}]}}
    answer = ward.client(policy, "user/*.rs").get("/Observation/au-obs")
    assert answer.status_code == 200
    gateway: Gateway = ward.gateway(policy)
    stages = [event["stage"] for event in gateway.events_of(answer.headers["x-request-id"])]
    assert stages == ["begun", "ended"]
    assert path.read_text().count(answer.headers["x-request-id"]) == 2
    assert not os.access(path, os.X_OK)
