"""AuditEvents by IHE Basic Audit Log Patterns: what its profiles fix, what a record may not hold, and what an emergency adds."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from msgspec.structs import replace

from smart_gateway.observe.audit_event import Observer, audit_event
from smart_gateway.observe.events import BreakGlassUse, DecisionEvent

BASE = "https://fhir.example.org/fhir"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit"
EVENT = DecisionEvent(
    time=1763719200.25,
    request_id="r-1",
    method="GET",
    outcome="permit",
    status=200,
    duration=1.5,
    interaction="read",
    type="Observation",
    id="o1",
    types=("Observation",),
    issuer="https://idp.example.org",
    subject="dr",
    client_id="ehr",
    fhir_user="Practitioner/p",
    patient="123",
    rules=("user/Observation.rs",),
    address="192.0.2.7",
)
USE = BreakGlassUse(
    granted=True,
    scope="__break-glass",
    purpose="BTG",
    reason="Patient unconscious",
    lifts=("labels", "users"),
    token_id="jti-1",
    auth_time=1763719000.0,
    acr="mfa",
)


def made(event: DecisionEvent = EVENT, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(audit_event(replace(event, **changes), Observer(BASE))))
    assert_r4(found)
    return found


def assert_r4(event: dict[str, Any]) -> None:
    """The cardinalities and required bindings of FHIR R4, and that nothing is empty."""
    assert event["resourceType"] == "AuditEvent"
    assert event["type"]["code"] == "rest"
    assert event["action"] in set("CRUDE")
    assert event["outcome"] in {"0", "4", "8", "12"}
    assert event["recorded"].endswith("Z")
    assert event["source"]["observer"]
    assert event["agent"]
    assert all(isinstance(agent["requestor"], bool) for agent in event["agent"])
    assert all(agent["network"]["type"] in {"1", "2", "3", "4", "5"} for agent in event["agent"] if "network" in agent)
    assert all(not {"name", "query"} <= entity.keys() for entity in event["entity"])  # sev-1
    assert '""' not in json.dumps(event)
    assert "null" not in json.dumps(event)


def agents(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {coding["code"]: agent for agent in event["agent"] for coding in agent.get("type", {}).get("coding", [])}


def entities(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entity["type"]["code"]: entity for entity in event["entity"]}


PROFILES = [
    ("read", "R", ["read"], "PatientRead", ("110152", "110153")),
    ("vread", "R", ["vread"], "PatientRead", ("110152", "110153")),
    ("search-type", "E", ["search-type"], "PatientQuery", ("110153", "110152")),
    ("search-compartment", "E", ["search"], "PatientQuery", ("110153", "110152")),
    ("page", "E", ["search"], "PatientQuery", ("110153", "110152")),
    ("create", "C", ["create"], None, ("110153", "110152")),  # what was made has no id yet
    ("update", "U", ["update"], "PatientUpdate", ("110153", "110152")),
    ("patch", "U", ["patch"], "PatientUpdate", ("110153", "110152")),
    ("delete", "D", ["delete"], "PatientDelete", ("110150", "custodian")),
    ("history-instance", "R", ["history-instance"], None, ("110152", "110153")),
    ("operation", "E", ["operation"], None, ("110153", "110152")),
    ("batch", "E", ["batch"], None, ("110153", "110152")),
]


@pytest.mark.parametrize(("interaction", "action", "codes", "profile", "roles"), PROFILES, ids=[case[0] for case in PROFILES])
def test_each_interaction_by_its_profile(
    interaction: str, action: str, codes: list[str], profile: str | None, roles: tuple[str, str]
) -> None:
    event = made(interaction=interaction, id=None if interaction == "create" else "o1")
    assert event["action"] == action
    assert [subtype["code"] for subtype in event["subtype"]] == codes
    assert event.get("meta") == (None if profile is None else {"profile": [f"{BALP}.{profile}"]})
    client, server = (agents(event)[role] for role in roles)
    assert client["who"]["identifier"] == {"system": "https://idp.example.org", "value": "ehr"}
    assert client["network"] == {"address": "192.0.2.7", "type": "2"}
    assert server["who"]["identifier"]["value"] == BASE
    assert server["network"] == {"address": BASE, "type": "5"}
    custodian = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
    systems = [coding["system"] for agent in (client, server) for coding in agent["type"]["coding"]]
    assert systems == [DCM, custodian if interaction == "delete" else DCM]


def test_a_read_names_the_record_the_patient_and_the_request() -> None:
    found = entities(made())
    assert found["XrequestId"]["what"]["identifier"]["value"] == "r-1"
    assert found["2"]["what"] == {
        "type": "Observation",
        "identifier": {"system": f"{BASE}/Observation", "value": "o1"},
        "display": "Observation/o1",
    }
    assert found["2"]["role"]["code"] == "4"
    assert (found["1"]["what"]["display"], found["1"]["role"]["code"]) == ("Patient/123", "1")


def test_the_patient_who_is_read_counts_before_the_one_of_the_token() -> None:
    assert entities(made(type="Patient", id="456"))["1"]["what"]["display"] == "Patient/456"


def test_without_a_patient_the_profile_is_the_plain_one() -> None:
    event = made(patient=None)
    assert event["meta"]["profile"] == [f"{BALP}.Read"]
    assert set(entities(event)) == {"XrequestId", "2"}


def test_a_search_holds_no_value() -> None:
    query = entities(made(interaction="search-type", id=None))["2"]
    assert base64.b64decode(query["query"]) == b"GET Observation"
    assert {"what", "detail", "lifecycle"}.isdisjoint(query)
    assert query["role"]["code"] == "24"


def test_the_user_is_the_one_who_asks() -> None:
    user = agents(made())["IRCP"]
    assert (user["requestor"], user["altId"], user["who"]["identifier"]["value"]) == (True, "Practitioner/p", "dr")
    assert "network" not in user
    assert sum(agent["requestor"] for agent in made()["agent"]) == 1
    assert agents(made(interaction="update"))["AUT"]["requestor"] is True


def test_without_a_user_the_client_asks() -> None:
    event = made(subject=None, fhir_user=None)
    assert [agent["requestor"] for agent in event["agent"]] == [True, False]


def test_who_acts_for_somebody_is_there_too() -> None:
    assert made(actor="robot")["agent"][-1]["who"]["identifier"]["value"] == "robot"


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        ("permit", 200, "0"),
        ("permit", 404, "4"),
        ("permit", 500, "8"),
        ("deny", 403, "4"),
        ("deny", 401, "4"),
        ("error", 502, "8"),
        ("error", 499, "8"),
    ],
)
def test_what_became_of_it(outcome: Any, status: int, code: str) -> None:
    event = made(outcome=outcome, status=status, code="some-code" if outcome != "permit" else None)
    assert event["outcome"] == code
    assert ("meta" in event) is (code == "0")
    assert event.get("outcomeDesc") == ("some-code" if outcome != "permit" else None)


def test_a_request_of_which_nothing_is_known() -> None:
    blank = DecisionEvent(time=0.0, request_id="r", method="TRACE", outcome="deny", status=405, duration=0.0)
    event = json.loads(json.dumps(audit_event(blank, Observer(BASE))))
    assert_r4(event)
    assert "subtype" not in event
    assert event["agent"][0]["who"]["identifier"]["value"] == "unknown"


def test_an_emergency_is_said_with_its_reason() -> None:
    event = made(break_glass=USE)
    assert [coding["code"] for coding in event["subtype"]] == ["read", "110127"]
    assert event["purposeOfEvent"][0]["coding"] == [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG"}]
    assert agents(event)["IRCP"]["purposeOfUse"] == event["purposeOfEvent"]
    told = {detail["type"]: detail["valueString"] for detail in entities(event)["XrequestId"]["detail"]}
    assert (told["reason"], told["lifts"], told["jti"], told["break-glass"]) == ("Patient unconscious", "labels users", "jti-1", "granted")
    assert told["auth_time"] == "2025-11-21T09:56:40.000Z"


def test_one_that_was_refused_is_no_override() -> None:
    event = made(outcome="deny", status=403, code="break-glass-purpose", break_glass=replace_use(granted=False, purpose=None, reason=None))
    assert [coding["code"] for coding in event["subtype"]] == ["read"]
    assert "purposeOfEvent" not in event


def replace_use(**changes: Any) -> BreakGlassUse:
    return replace(USE, **changes)


@pytest.mark.parametrize(("relative", "reference"), [(False, f"{BASE}/Patient/123"), (True, "Patient/123")])
def test_literal_references(relative: bool, reference: str) -> None:
    event = audit_event(EVENT, Observer(BASE, "literal", relative))
    assert entities(event)["1"]["what"] == {"reference": reference}
