"""A decision as a FHIR AuditEvent (R4), by the profiles of IHE Basic Audit Log Patterns where there is one for what was done.

Spec: https://profiles.ihe.net/ITI/BALP (1.1.4); FHIR R4 auditevent.html. The profiles are for what succeeded; a refusal or failure has the
same parts, and no profile. A search is recorded by its path: query values are in no record (semantics 12).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from smart_gateway.observe.events import BreakGlassUse, DecisionEvent

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_DICOM = "http://dicom.nema.org/resources/ontology/DCM"
_BALP = "https://profiles.ihe.net/ITI/BALP"
_REASONS = f"{_TERMINOLOGY}/v3-ActReason"
_SERIOUS, _MINOR, _SUCCESS = "8", "4", "0"

References = Literal["logical", "literal"]


@dataclass(frozen=True, slots=True)
class Observer:
    """Who records: the FHIR base that clients use. ``references``: records are named by identifiers below that base (``logical``), or by
    references to it (``literal``); ``relative``: those are relative, for the collector is the FHIR server itself."""

    base: str
    references: References = "logical"
    relative: bool = False


def _coding(system: str, code: str, display: str) -> dict[str, Any]:
    return {"system": system, "code": code, "display": display}


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [_coding(system, code, display)]}


def _dicom(code: str, display: str) -> dict[str, Any]:
    return _concept(_DICOM, code, display)


_SOURCE_OF_DATA, _DESTINATION_OF_DATA = _dicom("110153", "Source Role ID"), _dicom("110152", "Destination Role ID")
_APPLICATION = _dicom("110150", "Application")
_CUSTODIAN = _concept(f"{_TERMINOLOGY}/provenance-participant-type", "custodian", "Custodian")


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one interaction is recorded: AuditEvent.action, the profile, the roles of client and server, and whether its user gets data."""

    action: str
    profile: str | None = None
    client: Mapping[str, Any] = field(default_factory=lambda: _SOURCE_OF_DATA)
    server: Mapping[str, Any] = field(default_factory=lambda: _DESTINATION_OF_DATA)
    reads: bool = True

    @property
    def is_query(self) -> bool:
        return self.profile == "Query"


_READ = _Kind("R", "Read", _DESTINATION_OF_DATA, _SOURCE_OF_DATA)
_HISTORY = replace(_READ, profile=None)
_QUERY = _Kind("E", "Query")  # a query flows from the client
_UPDATE = _Kind("U", "Update", reads=False)
_KINDS: Mapping[str | None, _Kind] = {
    "read": _READ,
    "vread": _READ,
    "search-type": _QUERY,
    "search-system": _QUERY,
    "search-compartment": _QUERY,
    "page": _QUERY,
    "create": _Kind("C", "Create", reads=False),
    "update": _UPDATE,
    "patch": _UPDATE,
    "delete": _Kind("D", "Delete", _APPLICATION, _CUSTODIAN, reads=False),
    "history-instance": _HISTORY,
    "history-type": _HISTORY,
    "history-system": _HISTORY,
}
_OTHER = _Kind("E")
# The codes of http://hl7.org/fhir/restful-interaction that are not called as ours are.
_CODES: Mapping[str, str] = {"search-compartment": "search", "page": "search"}


def audit_event(event: DecisionEvent, observer: Observer) -> dict[str, Any]:
    """The AuditEvent of ``event`` as a JSON object."""
    kind = _KINDS.get(event.interaction, _OTHER)
    profile = _profile(event, kind)
    made: dict[str, Any] = {"resourceType": "AuditEvent"}
    made |= {"meta": {"profile": [profile]}} if profile is not None else {}
    made |= {"type": _coding(f"{_TERMINOLOGY}/audit-event-type", "rest", "Restful Operation")}
    made |= {"subtype": subtypes} if (subtypes := list(_subtypes(event))) else {}
    made |= {"action": kind.action, "recorded": _instant(event.time), "outcome": _outcome(event)}
    made |= {"outcomeDesc": event.code} if event.code is not None else {}
    made |= {"purposeOfEvent": [_purpose(event.break_glass)]} if event.break_glass is not None and event.break_glass.purpose else {}
    made |= {"agent": list(_agents(event, kind, observer))}
    source = {"site": observer.base, "observer": {"display": "smart-gateway", "identifier": {"value": observer.base}}}
    made |= {"source": {**source, "type": [_coding(f"{_TERMINOLOGY}/security-source-type", "4", "Application Server")]}}
    return made | {"entity": list(_entities(event, kind, observer))}


def _profile(event: DecisionEvent, kind: _Kind) -> str | None:
    """Profiles promise an instance of data, or a query."""
    if kind.profile is None or _outcome(event) != _SUCCESS or not (kind.is_query or (event.type is not None and event.id is not None)):
        return None
    return f"{_BALP}/StructureDefinition/IHE.BasicAudit.{'Patient' if _patient(event) is not None else ''}{kind.profile}"


def _subtypes(event: DecisionEvent) -> Iterator[dict[str, Any]]:
    if event.interaction is not None:
        code = _CODES.get(event.interaction, event.interaction)
        yield _coding("http://hl7.org/fhir/restful-interaction", code, code)
    if event.break_glass is not None and event.break_glass.granted:
        yield _coding(_DICOM, "110127", "Emergency Override Started")


def _outcome(event: DecisionEvent) -> str:
    if event.outcome == "permit" and event.status < 400:
        return _SUCCESS
    return _SERIOUS if event.outcome == "error" or event.status >= 500 else _MINOR


def _agents(event: DecisionEvent, kind: _Kind, observer: Observer) -> Iterator[dict[str, Any]]:
    """Client, server, user, and who acts for the user."""
    client = {"who": _identified(event.issuer, event.client_id or "unknown"), "requestor": event.subject is None}
    yield {"type": kind.client, **client, "network": {"address": event.address or "unknown", "type": "2" if event.address else "1"}}
    server = {"who": {"identifier": {"value": observer.base}, "display": observer.base}, "requestor": False}
    yield {"type": kind.server, **server, "network": {"address": observer.base, "type": "5"}}
    if event.subject is not None:
        yield _user(event, kind)
    if event.actor is not None:
        yield {"who": _identified(event.issuer, event.actor), "name": event.actor, "requestor": False}


def _user(event: DecisionEvent, kind: _Kind) -> dict[str, Any]:
    system = f"{_TERMINOLOGY}/v3-ParticipationType"
    type = _concept(system, "IRCP", "information recipient") if kind.reads else _concept(system, "AUT", "author (originator)")
    user: dict[str, Any] = {"type": type, "who": _identified(event.issuer, event.subject)}
    user |= {"altId": event.fhir_user} if event.fhir_user is not None else {}
    user |= {"requestor": True}
    use = event.break_glass
    return user | ({"purposeOfUse": [_purpose(use)]} if use is not None and use.purpose else {})


def _entities(event: DecisionEvent, kind: _Kind, observer: Observer) -> Iterator[dict[str, Any]]:
    request_id = {"type": _coding(f"{_BALP}/CodeSystem/BasicAuditEntityType", "XrequestId", "XrequestId")}
    yield {**request_id, "what": {"identifier": {"value": event.request_id}}, **_details(event)}
    thing = {"type": _coding(f"{_TERMINOLOGY}/audit-entity-type", "2", "System Object")}
    if kind.is_query:
        path = f"{event.method} {event.type or ''}"
        role = _coding(f"{_TERMINOLOGY}/object-role", "24", "Query")
        yield {**thing, "role": role, "description": path, "query": b64encode(path.encode()).decode("ascii")}
    elif event.type is not None and event.id is not None:
        role = _coding(f"{_TERMINOLOGY}/object-role", "4", "Domain Resource")
        yield {**thing, "role": role, "what": _record(event.type, event.id, observer)}
    patient = _patient(event)
    if patient is not None:
        person = {"type": _coding(f"{_TERMINOLOGY}/audit-entity-type", "1", "Person")}
        yield {**person, "role": _coding(f"{_TERMINOLOGY}/object-role", "1", "Patient"), "what": _record("Patient", patient, observer)}


def _patient(event: DecisionEvent) -> str | None:
    """Whose record it is, as far as the request and its token say."""
    return event.id if event.type == "Patient" and event.id is not None else event.patient


def _details(event: DecisionEvent) -> dict[str, Any]:
    """The rules that decided, and all of an emergency."""
    use, said = event.break_glass, {"rule": " ".join(event.rules), "stage": event.stage if event.stage != "ended" else ""}
    if use is not None:
        said |= {"break-glass": "granted" if use.granted else "refused", "break-glass scope": use.scope, "reason": use.reason or ""}
        said |= {"lifts": " ".join(use.lifts), "jti": use.token_id or "", "acr": use.acr or ""}
        said |= {"auth_time": _instant(use.auth_time) if use.auth_time is not None else ""}
    detail = [{"type": name, "valueString": text} for name, text in said.items() if text]
    return {"detail": detail} if detail else {}


def _purpose(use: BreakGlassUse) -> dict[str, Any]:
    return {"coding": [{"system": _REASONS, "code": use.purpose}]}


def _record(type: str, id: str, observer: Observer) -> dict[str, Any]:
    if observer.references == "literal":
        return {"reference": f"{type}/{id}" if observer.relative else f"{observer.base}/{type}/{id}"}
    return {"type": type, "identifier": {"system": f"{observer.base}/{type}", "value": id}, "display": f"{type}/{id}"}


def _identified(system: str | None, value: str | None) -> dict[str, Any]:
    """Who it is by its issuer; a certificate is no URI."""
    named = {"system": system} if system is not None and ":" in system else {}
    return {"identifier": {**named, "value": value}, "display": value}


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
