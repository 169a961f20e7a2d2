"""The vocabulary: famous parameters of each release as hand-written expectations, and how types inherit them."""

from __future__ import annotations

import dataclasses

import pytest

from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import ElementPath, Operation, ParameterKind, load_vocabulary

R4, R4B, R5 = Release.R4, Release.R4B, Release.R5
ALL = (R4, R4B, R5)


def text(path: ElementPath) -> str:
    steps = ".".join(step.name + (f"[{step.where[0]}={step.where[1]}]" if step.where else "") for step in path.steps)
    return f"{steps}:{path.type}" + ("@" + ",".join(sorted(path.targets)) if path.targets else "")


PARAMETERS = [
    (ALL, "Observation.patient", "reference", "subject:Reference@Patient"),
    (ALL, "Observation.subject", "reference", "subject:Reference"),
    (ALL, "Observation.performer", "reference", "performer:Reference"),
    (ALL, "Observation.category", "token", "category:CodeableConcept"),
    (ALL, "Observation.code", "token", "code:CodeableConcept"),
    (ALL, "Observation.status", "token", "status:code"),
    (ALL, "Observation.value-quantity", "quantity", "valueQuantity:Quantity valueSampledData:SampledData"),
    (ALL, "Observation.component-code", "token", "component.code:CodeableConcept"),
    (ALL, "Observation.combo-code", "token", "code:CodeableConcept component.code:CodeableConcept"),
    (ALL, "Observation.combo-code-value-quantity", "composite", ":Observation component:BackboneElement"),
    (
        ALL,
        "Observation.date",
        "date",
        "effectiveDateTime:dateTime effectivePeriod:Period effectiveTiming:Timing effectiveInstant:instant",
    ),
    (ALL, "Observation._id", "token", "id:id"),
    (ALL, "Observation._lastUpdated", "date", "meta.lastUpdated:instant"),
    (ALL, "Observation._security", "token", "meta.security:Coding"),
    (ALL, "Observation._tag", "token", "meta.tag:Coding"),
    ((R4, R4B), "Observation._profile", "uri", "meta.profile:canonical"),
    ((R5,), "Observation._profile", "reference", "meta.profile:canonical"),
    (ALL, "Patient.general-practitioner", "reference", "generalPractitioner:Reference"),
    (ALL, "Patient.phone", "token", "telecom[system=phone]:ContactPoint"),
    (ALL, "Patient.telecom", "token", "telecom:ContactPoint"),
    (ALL, "Patient.name", "string", "name:HumanName"),
    (ALL, "Patient.family", "string", "name.family:string"),
    (ALL, "Patient.address-city", "string", "address.city:string"),
    (ALL, "Patient.identifier", "token", "identifier:Identifier"),
    (ALL, "Patient.active", "token", "active:boolean"),
    (ALL, "Patient.birthdate", "date", "birthDate:date"),
    (ALL, "Patient.death-date", "date", "deceasedDateTime:dateTime"),
    (ALL, "Patient.deceased", "token", ""),
    (ALL, "Patient.link", "reference", "link.other:Reference"),
    (ALL, "Condition.onset-date", "date", "onsetDateTime:dateTime onsetPeriod:Period"),
    (ALL, "Condition.patient", "reference", "subject:Reference@Patient"),
    ((R4, R4B), "Condition.asserter", "reference", "asserter:Reference"),
    ((R5,), "Condition.participant-actor", "reference", "participant.actor:Reference"),
    ((R4, R4B), "Encounter.class", "token", "class:Coding"),
    ((R5,), "Encounter.class", "token", "class:CodeableConcept"),
    ((R4, R4B), "Encounter.date", "date", "period:Period"),
    ((R5,), "Encounter.date", "date", "actualPeriod:Period"),
    ((R4, R4B), "Encounter.participant", "reference", "participant.individual:Reference"),
    (ALL, "Encounter.practitioner", "reference", None),
    ((R4, R4B), "Encounter.reason-reference", "reference", "reasonReference:Reference"),
    ((R5,), "Encounter.reason-reference", "reference", "reason.value.reference:Reference"),
    ((R4, R4B), "MedicationRequest.medication", "reference", "medicationReference:Reference"),
    ((R5,), "MedicationRequest.medication", "reference", "medication.reference:Reference"),
    ((R4, R4B), "MedicationRequest.code", "token", "medicationCodeableConcept:CodeableConcept"),
    ((R5,), "MedicationRequest.code", "token", "medication.concept:CodeableConcept"),
    (
        (R4, R4B),
        "Procedure.date",
        "date",
        "performedDateTime:dateTime performedPeriod:Period performedString:string performedAge:Age performedRange:Range",
    ),
    ((R4, R4B), "AuditEvent.patient", "reference", "agent.who:Reference@Patient entity.what:Reference@Patient"),
    ((R5,), "AuditEvent.patient", "reference", "patient:Reference"),
    ((R4, R4B), "Provenance.patient", "reference", "target:Reference@Patient"),
    ((R4, R4B), "Device.patient", "reference", "patient:Reference"),
    (ALL, "Group.member", "reference", "member.entity:Reference"),
    (ALL, "Appointment.actor", "reference", "participant.actor:Reference"),
    (ALL, "Library.predecessor", "reference", "relatedArtifact[type=predecessor].resource:canonical"),
    ((R4, R4B), "RiskAssessment.probability", "number", "prediction.probabilityDecimal:decimal prediction.probabilityRange:Range"),
    ((R4, R4B), "InsurancePlan.name", "string", "name:string alias:string"),
    (
        (R5,),
        "CareTeam.name",
        "string",
        "name:string extension[url=http://hl7.org/fhir/StructureDefinition/careteam-alias].valueString:string",
    ),
    ((R5,), "Observation.value-markdown", "string", "valueCodeableConcept.text:string"),
    ((R4B,), "Ingredient.substance-code", "token", None),
]


@pytest.mark.parametrize(("release", "name", "kind", "paths"), [(release, *rest) for releases, *rest in PARAMETERS for release in releases])
def test_parameter(release, name, kind, paths):
    type, _, code = name.partition(".")
    parameter = load_vocabulary(release).parameter(type, code)
    assert parameter is not None
    assert (parameter.code, parameter.kind) == (code, ParameterKind(kind))
    if paths is None:
        assert parameter.evaluable
    else:
        assert [text(path) for path in parameter.paths] == paths.split()
        assert parameter.evaluable is bool(paths)


@pytest.mark.parametrize("release", ALL)
def test_components_of_a_composite(release):
    parameter = load_vocabulary(release).parameter("Observation", "combo-code-value-quantity")
    assert [(part.kind, [text(path) for path in part.paths], part.of_resource) for part in parameter.components] == [
        (ParameterKind.TOKEN, ["code:CodeableConcept"], False),
        (ParameterKind.QUANTITY, ["valueQuantity:Quantity"], False),
    ]


@pytest.mark.parametrize("release", [R4, R4B])
def test_component_that_starts_at_the_resource(release):
    parameter = load_vocabulary(release).parameter("MolecularSequence", "chromosome-variant-coordinate")
    assert [text(path) for path in parameter.paths] == ["variant:BackboneElement"]
    assert [([text(path) for path in part.paths], part.of_resource) for part in parameter.components] == [
        (["referenceSeq.chromosome:CodeableConcept"], True),
        (["start:integer"], False),
        (["end:integer"], False),
    ]


def test_value_of_a_choice_said_with_a_capital_is_read_as_meant():
    parameter = load_vocabulary(R4).parameter("Observation", "code-value-date")
    assert [text(path) for path in parameter.components[1].paths] == ["valueDateTime:dateTime", "valuePeriod:Period"]


@pytest.mark.parametrize("release", ALL)
def test_kind_special_is_never_evaluable(release):
    parameter = load_vocabulary(release).parameter("Location", "near")
    assert parameter.kind is ParameterKind.SPECIAL
    assert parameter.paths
    assert not parameter.evaluable


@pytest.mark.parametrize("release", ALL)
def test_types_inherit_what_they_are_derived_from(release):
    vocabulary = load_vocabulary(release)
    assert {type for type in vocabulary.types if vocabulary.parameter(type, "_id") is None} == set()
    if release is R4:  # R4B and R5 also define _text on Resource
        assert {type for type in vocabulary.types if vocabulary.parameter(type, "_text") is None} == {"Binary", "Bundle", "Parameters"}


@pytest.mark.parametrize("release", ALL)
@pytest.mark.parametrize(
    ("type", "code"),
    [("Observation", "Code"), ("Observation", "code:not"), ("observation", "code"), ("Resource", "_id"), ("", ""), ("Nope", "_id")],
)
def test_unknown_parameters(release, type, code):
    assert load_vocabulary(release).parameter(type, code) is None


@pytest.mark.parametrize("release", ALL)
def test_targets_of_any_type_are_all_types(release):
    vocabulary = load_vocabulary(release)
    assert vocabulary.parameter("Provenance", "target").targets == vocabulary.types
    assert {"Patient", "Practitioner"} <= vocabulary.parameter("Observation", "performer").targets


@pytest.mark.parametrize(
    ("release", "compartment", "type", "codes"),
    [
        (R4, "Patient", "Observation", ("subject", "performer")),
        (R4, "Patient", "AllergyIntolerance", ("patient", "recorder", "asserter")),
        (R4, "Patient", "Patient", ("link",)),
        (R4, "Patient", "Device", ()),
        (R4, "Patient", "Task", ()),
        (R5, "Patient", "Task", ("patient", "focus")),
        (R4, "Patient", "Coverage", ("policy-holder", "subscriber", "beneficiary", "payor")),
        (R4, "Encounter", "Encounter", ()),
        (R5, "Patient", "Patient", ("link",)),
        (R4, "Encounter", "Observation", ("encounter",)),
        (R4, "Group", "Observation", ()),
        (R4, "Patient", "Nope", ()),
    ],
)
def test_inclusion(release, compartment, type, codes):
    assert load_vocabulary(release).inclusion(compartment, type) == codes


@pytest.mark.parametrize("release", ALL)
def test_the_five_compartments(release):
    assert load_vocabulary(release).compartments == {"Patient", "Encounter", "RelatedPerson", "Practitioner", "Device"}


def test_operation_of_one_type_and_of_all():
    vocabulary = load_vocabulary(R4)
    assert vocabulary.operation("everything", "Encounter") == Operation("everything", False, False, True, frozenset({"Encounter"}), False)
    everywhere = vocabulary.operation("everything")
    assert everywhere.resources == {"Patient", "Encounter", "Group", "MedicinalProduct"}
    assert everywhere.type
    assert everywhere.instance
    assert not everywhere.system
    assert vocabulary.operation("everything", "Observation") is None
    assert vocabulary.operation("nope") is None


def test_operation_on_resource_is_on_every_type():
    assert load_vocabulary(R4).operation("meta-add", "Observation").affects_state
    assert load_vocabulary(R4).operation("validate", "Observation").resources == {"Resource"}


def test_merged_operation_changes_state_where_one_of_them_does():
    vocabulary = load_vocabulary(R4)
    assert not vocabulary.operation("apply", "PlanDefinition").affects_state
    assert vocabulary.operation("apply", "ChargeItemDefinition").affects_state
    assert vocabulary.operation("apply").affects_state


def test_loaded_once_and_built_once():
    vocabulary = load_vocabulary(R4)
    assert load_vocabulary(R4) is vocabulary
    assert vocabulary.parameters("Observation") is vocabulary.parameters("Observation")


def test_vocabulary_cannot_be_changed_by_those_who_read_it():
    parameters = load_vocabulary(R4).parameters("Observation")
    with pytest.raises(TypeError):
        parameters["code"] = parameters["status"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        parameters["code"].kind = ParameterKind.DATE
