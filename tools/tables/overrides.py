"""What HL7's definitions do not say, or say wrongly, said by hand: every line here is one of theirs corrected or given up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Override:
    """``expression`` instead of HL7's, or None with the ``reason`` why the parameter cannot be evaluated."""

    expression: str | None
    reason: str = ""


_DECEASED = Override(None, "computed from whether the element exists")
_INLINE = Override(None, "points to a resource inside the Bundle, by place")
_ALIAS = "http://hl7.org/fhir/StructureDefinition/careteam-alias"

# (release, type, code)
OVERRIDES: dict[tuple[str, str, str], Override] = {
    **{(name, "Patient", "deceased"): _DECEASED for name in ("r4", "r4b", "r5")},
    ("r5", "Person", "deceased"): _DECEASED,
    ("r5", "Practitioner", "deceased"): _DECEASED,
    **{(name, "Bundle", code): _INLINE for name in ("r4", "r4b", "r5") for code in ("composition", "message")},
    **{(name, "InsurancePlan", "name"): Override("InsurancePlan.name | InsurancePlan.alias") for name in ("r4", "r4b")},
    ("r5", "Appointment", "requested-period"): Override("Appointment.requestedPeriod"),
    ("r5", "Appointment", "date"): Override(None, "the first of two elements"),
    ("r5", "CareTeam", "name"): Override(f"CareTeam.name | CareTeam.extension.where(url = '{_ALIAS}').value.ofType(string)"),
    ("r5", "Location", "contains"): Override(None, "a position inside a boundary, which is geometry"),
    ("r5", "QuestionnaireResponse", "item-subject"): Override(None, "items by an extension of theirs"),
    ("r5", "Resource", "_in"): Override(None, "membership in a list or group, which is not in the resource"),
}

# Parameters that components of R5's composites name, but that do not exist: the kind that the element asks for.
COMPONENT_KINDS = {
    "DeviceDefinition-version": "string",
    "Encounter-period": "date",
    "Ingredient-denominator": "quantity",
    "Ingredient-numerator": "quantity",
    "Observation-value-string": "string",
    "ResearchStudy-actual": "token",
    "ResearchStudy-period": "date",
    "ResearchStudy-state": "token",
    "TestScript-artifact": "reference",
    "TestScript-conformance": "token",
    "TestScript-phase": "token",
}

# (release, type, code, HL7's expression of a component): what it should say.
COMPONENT_EXPRESSIONS = {("r5", "Encounter", "location-period", "location.reference"): "location"}

# R4 does not say which operations change state; R4B does, but no longer has this one.
AFFECTS_STATE = {"MedicinalProduct-everything": False}
