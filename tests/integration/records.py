"""The records in HAPI: Anna (pat-a), Bea (pat-b), Carl (pat-c), and Wanda (pat-w), whose chart the writing tests use.

Every text in a patient's record holds that patient's canary, and every id of theirs but the Patient's own ends in ``-chart-x``: an
answer to somebody who may not see the record must hold neither, and a log line no canary at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
PATIENTS = ("a", "b", "c", "w")
CANARY = "-7Q2x"  # the end of every canary, those of tests/properties/searches.py among them
EVERYBODY = "".join(PATIENTS)
LABS = 7  # laboratory Observations of each patient
VITALS = 3

Resource = dict[str, Any]


def canary(patient: str) -> str:
    """The text that is in every resource of this patient's record."""
    return f"canary-{patient}{CANARY}"


def marks(patient: str) -> tuple[str, ...]:
    """What an answer must not hold where the record is not the caller's."""
    return (canary(patient), f"-chart-{patient}", f"pat-{patient}")


def told_by(log: str) -> list[str]:
    """The lines of a log that tell of a record: by a canary, or by an id elsewhere than where it says what was asked, and by whom."""
    return [line for line in log.splitlines() if CANARY in line or any(mark in _beside(line) for p in PATIENTS for mark in marks(p))]


def _beside(line: str) -> str:
    """A line of the decision log without what names its request; other lines whole."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    return json.dumps({name: value for name, value in event.items() if name not in {"id", "patient", "fhir_user"}})


def all_records() -> list[Resource]:
    """Everything that is put into HAPI before the first test."""
    return [*shared_types(), *between_records(), *(r for patient in PATIENTS for r in record(patient))]


def record(patient: str) -> Iterator[Resource]:
    """One patient's record."""
    subject, text = {"reference": f"Patient/pat-{patient}"}, canary(patient)
    note = [{"text": text}]
    of = f"chart-{patient}"
    yield {
        "resourceType": "Patient",
        "id": f"pat-{patient}",
        "identifier": [{"system": "urn:test:mrn", "value": text}],
        "name": [{"family": text, "given": [f"Name {text}"]}],
        "birthDate": "1970-01-02",
        "gender": "female",
        "generalPractitioner": [{"reference": "Practitioner/prac-1"}],
        "managingOrganization": {"reference": "Organization/org-1"},
    }
    yield from (lab(patient, number) for number in range(LABS))
    yield from (vital(patient, number) for number in range(VITALS))
    yield {"resourceType": "Condition", "id": f"condition-{of}", "subject": subject, "note": note, "code": {"text": text}}
    yield {
        "resourceType": "Encounter",
        "id": f"encounter-{of}",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": subject,
        "reasonCode": [{"text": text}],
        "participant": [{"individual": {"reference": "Practitioner/prac-1"}}],
    }
    yield {"resourceType": "AllergyIntolerance", "id": f"allergy-{of}", "patient": subject, "code": {"text": text}, "note": note}
    yield {
        "resourceType": "MedicationRequest",
        "id": f"medication-{of}",
        "status": "active",
        "intent": "order",
        "subject": subject,
        "medicationReference": {"reference": "Medication/med-1"},
        "note": note,
    }
    yield {"resourceType": "Device", "id": f"device-{of}", "patient": subject, "note": note}
    yield {
        "resourceType": "RelatedPerson",
        "id": f"relative-{of}",
        "patient": subject,
        "name": [{"family": text}],
    }
    yield {
        "resourceType": "Provenance",
        "id": f"provenance-{of}",
        "target": [{"reference": f"Observation/lab-0-{of}"}],
        "recorded": "2024-03-01T10:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/prac-1"}}],
        "activity": {"text": text},
    }


def lab(patient: str, number: int) -> Resource:
    """A laboratory result; its value keeps a trailing zero, as a laboratory means it."""
    return {
        "resourceType": "Observation",
        "id": f"lab-{number}-chart-{patient}",
        "status": "final" if number % 2 == 0 else "preliminary",
        "category": [{"coding": [{"system": CATEGORY, "code": "laboratory"}]}],
        "code": {"coding": [{"system": LOINC, "code": "2339-0"}], "text": canary(patient)},
        "subject": {"reference": f"Patient/pat-{patient}"},
        "encounter": {"reference": f"Encounter/encounter-chart-{patient}"},
        "performer": [{"reference": "Practitioner/prac-1"}],
        "effectiveDateTime": f"2024-01-0{number + 1}",
        "valueQuantity": {"value": 72.5 + number, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
        "note": [{"text": canary(patient)}],
    }


def vital(patient: str, number: int) -> Resource:
    """A heart rate."""
    return {
        "resourceType": "Observation",
        "id": f"vital-{number}-chart-{patient}",
        "status": "final" if number < 2 else "amended",
        "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": LOINC, "code": "8867-4"}], "text": canary(patient)},
        "subject": {"reference": f"Patient/pat-{patient}"},
        "effectiveDateTime": f"2024-02-0{number + 1}T08:00:00Z",
        "valueQuantity": {"value": 60 + number, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
        "note": [{"text": canary(patient)}],
    }


def shared_types() -> Iterator[Resource]:
    """Resources that belong to nobody's record."""
    yield {"resourceType": "Practitioner", "id": "prac-1", "name": [{"family": "House"}]}
    yield {"resourceType": "Practitioner", "id": "prac-2", "name": [{"family": "Wilson"}]}
    yield {"resourceType": "Organization", "id": "org-1", "name": "Princeton"}
    yield {"resourceType": "Medication", "id": "med-1", "code": {"text": "Aspirin"}}
    yield {
        "resourceType": "Group",
        "id": "group-chart-b",
        "type": "person",
        "actual": True,
        "member": [{"entity": {"reference": "Patient/pat-b"}}],
        "name": canary("b"),
    }


def between_records() -> Iterator[Resource]:
    """Resources that touch two records: Bea's and Carl's, with Anna in a part that matters or does not."""
    yield {  # Anna performed it, so it is a member of her compartment too; Carl is not named but by reference
        "resourceType": "Observation",
        "id": "performed-by-anna",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "72514-3"}]},
        "subject": {"reference": "Patient/pat-c"},
        "performer": [{"reference": "Patient/pat-a"}],
    }
    yield {  # `focus` is no membership element: this is Bea's alone
        "resourceType": "Observation",
        "id": "focus-on-anna-chart-b",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "8867-4"}], "text": canary("b")},
        "subject": {"reference": "Patient/pat-b"},
        "focus": [{"reference": "Patient/pat-a"}],
    }
    yield {  # somebody else's record points at Anna by identifier only
        "resourceType": "Condition",
        "id": "identifier-chart-b",
        "subject": {"identifier": {"system": "urn:test:mrn", "value": canary("a")}, "display": "Anna"},
        "code": {"text": canary("b")},
    }
    yield {  # one of its targets is Bea's: outside, whoever the other target belongs to
        "resourceType": "Provenance",
        "id": "mixed-targets-chart-b",
        "target": [{"reference": "Observation/lab-0-chart-a"}, {"reference": "Observation/lab-0-chart-b"}],
        "recorded": "2024-03-02T10:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/prac-1"}}],
        "activity": {"text": canary("b")},
    }


def transaction(resources: list[Resource]) -> Resource:
    """A Bundle that puts every resource under its own id."""
    entries = [{"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}} for r in resources]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}
