"""What FHIR R4 says of the types of these worlds: compartments and search parameters."""

from __future__ import annotations

from collections.abc import Mapping

from tests.integration.policed.words import listed, references
from tests.integration.policed.world import Resource

# Elements by which a type is in a compartment, of the types of these worlds (CompartmentDefinitions of R4).
MEMBERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "Patient": {
        "Observation": ("subject", "performer"),
        "Condition": ("subject", "asserter"),
        "Encounter": ("subject",),
        "Group": ("member.entity",),
    },
    "Practitioner": {
        "Observation": ("performer",),
        "Condition": ("asserter",),
        "Encounter": ("participant.individual",),
        "Patient": ("generalPractitioner",),
        "Group": ("member.entity",),
    },
    "RelatedPerson": {
        "Observation": ("performer",),
        "Condition": ("asserter",),
        "Encounter": ("participant.individual",),
        "Patient": ("link.other",),
    },
}
NARROWED = {"Observation": ("subject",), "Condition": ("subject",)}
PARAMETERS = {
    "Observation": ("category", "code", "status", "subject"),
    "Condition": ("category", "code", "subject"),
    "Encounter": ("status", "participant", "subject"),
    "Patient": ("organization", "gender"),
}


def satisfies(resource: Resource, name: str, value: str) -> bool:
    """Whether a parameter of a search finds this one by this value."""
    match name:
        case "_id":
            return bool(resource["id"] == value)
        case "category" | "code":
            concepts = resource.get(name, [])
            system, bar, code = value.rpartition("|")
            codings = [coding for one in listed(concepts) for coding in one.get("coding", [])]
            return any(coding["code"] == code and (not bar or coding["system"] == system) for coding in codings)
        case "status" | "gender":
            return bool(resource.get(name) == value)
    path = {"subject": "subject", "participant": "participant.individual", "organization": "managingOrganization"}[name]
    return value in references(resource, path)
