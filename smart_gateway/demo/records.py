"""The patients of the demonstration, all invented."""

from __future__ import annotations

from typing import Any

Resource = dict[str, Any]

AMY, BEN = "amy", "ben"

_CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"
_CLASSES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def demo_records() -> list[Resource]:
    """Two patients with encounters, observations, conditions, allergies, and who cares for them."""
    return [*_shared(), *_amy(), *_ben()]


def _shared() -> list[Resource]:
    return [
        {"resourceType": "Organization", "id": "clinic", "name": "Harbour Clinic"},
        {"resourceType": "Practitioner", "id": "dr-lee", "name": [{"family": "Lee", "given": ["Robin"]}]},
        {"resourceType": "Location", "id": "ward-3", "name": "Ward 3", "managingOrganization": {"reference": "Organization/clinic"}},
    ]


def _amy() -> list[Resource]:
    return [
        _patient(AMY, "Shaw", "Amy", "1987-02-20", "female"),
        _encounter("amy-visit", AMY, "AMB", "2026-03-02"),
        _encounter("amy-stay", AMY, "IMP", "2026-05-11"),
        _measure("amy-heart-rate", AMY, "vital-signs", "8867-4", "Heart rate", 72.5, "/min", "amy-visit", "2026-03-02"),
        _measure("amy-weight", AMY, "vital-signs", "29463-7", "Body weight", 61.2, "kg", "amy-stay", "2026-05-11"),
        _measure("amy-glucose", AMY, "laboratory", "2339-0", "Glucose", 98, "mg/dL", "amy-visit", "2026-03-02"),
        _measure("amy-sodium", AMY, "laboratory", "2951-2", "Sodium", 139, "mmol/L", "amy-stay", "2026-05-11"),
        _condition("amy-asthma", AMY, "195967001", "Asthma"),
        _allergy("amy-penicillin", AMY, "91936005", "Allergy to penicillin"),
    ]


def _ben() -> list[Resource]:
    return [
        _patient(BEN, "Okafor", "Ben", "1959-11-03", "male"),
        _encounter("ben-visit", BEN, "AMB", "2026-04-20"),
        _measure("ben-heart-rate", BEN, "vital-signs", "8867-4", "Heart rate", 81, "/min", "ben-visit", "2026-04-20"),
        _measure("ben-glucose", BEN, "laboratory", "2339-0", "Glucose", 141, "mg/dL", "ben-visit", "2026-04-20"),
        _condition("ben-diabetes", BEN, "44054006", "Type 2 diabetes mellitus"),
    ]


def _patient(id: str, family: str, given: str, born: str, gender: str) -> Resource:
    return {
        "resourceType": "Patient",
        "id": id,
        "identifier": [{"system": "http://clinic.example/mrn", "value": f"MRN-{id}"}],
        "name": [{"family": family, "given": [given]}],
        "gender": gender,
        "birthDate": born,
        "generalPractitioner": [{"reference": "Practitioner/dr-lee"}],
        "managingOrganization": {"reference": "Organization/clinic"},
    }


def _encounter(id: str, patient: str, kind: str, day: str) -> Resource:
    return {
        "resourceType": "Encounter",
        "id": id,
        "status": "finished",
        "class": {"system": _CLASSES, "code": kind},
        "subject": _owner(patient),
        "period": {"start": day, "end": day},
        "location": [{"location": {"reference": "Location/ward-3"}}],
    }


def _measure(id: str, patient: str, category: str, code: str, name: str, value: float, unit: str, encounter: str, day: str) -> Resource:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "category": [{"coding": [{"system": _CATEGORIES, "code": category}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": name}], "text": name},
        "subject": _owner(patient),
        "encounter": {"reference": f"Encounter/{encounter}"},
        "effectiveDateTime": f"{day}T09:30:00Z",
        "performer": [{"reference": "Practitioner/dr-lee"}],
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
    }


def _condition(id: str, patient: str, code: str, name: str) -> Resource:
    coding = {"system": "http://snomed.info/sct", "code": code, "display": name}
    return {"resourceType": "Condition", "id": id, "code": {"coding": [coding], "text": name}, "subject": _owner(patient)}


def _allergy(id: str, patient: str, code: str, name: str) -> Resource:
    coding = {"system": "http://snomed.info/sct", "code": code, "display": name}
    return {"resourceType": "AllergyIntolerance", "id": id, "code": {"coding": [coding], "text": name}, "patient": _owner(patient)}


def _owner(patient: str) -> dict[str, str]:
    return {"reference": f"Patient/{patient}"}
