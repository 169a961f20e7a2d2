"""``policy.users``: what bounds ``user/`` scopes, by the kind of fhirUser, or by rules that say whom they are for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from smart_gateway.settings.sections.section import Section, Text, shape

ScopeList = list[Text]
UserKind = Literal["Practitioner", "Patient", "RelatedPerson", "PractitionerRole", "Person", "none"]
USER_KINDS: tuple[UserKind, ...] = ("Practitioner", "Patient", "RelatedPerson", "PractitionerRole", "Person", "none")
UserWord = Literal["everything", "compartment", "patient", "related_patient", "nothing"]


class ListedPatients(Section):
    """Patients that a claim lists: ids, or references to them. Without the claim, with an empty one or one that cannot be read: nobody."""

    from_claim: Text
    """The path of the claim (`patient_list`, `ext.care_team[0].patients`); what a hook found out is below `hook` (`hook.patients`)."""


class BoundBySelection(Section):
    """A compartment, or patients of a list; just one of the two."""

    compartment: Text | None = None
    """`Type/id`; the id may be filled in: `Practitioner/${claim.practitioner}`."""
    patients: ListedPatients | None = None
    """The records of these patients."""


UserBoundary = Annotated[
    Annotated[UserWord, Tag("word")] | Annotated[ScopeList, Tag("list")] | Annotated[BoundBySelection, Tag("mapping")],
    Discriminator(shape),
]


class UserSettings(Section):
    """The boundary of `user/` scopes for each kind of fhirUser: `everything`, `compartment` (the user's own), `patient` (that of
    the token's patient), `related_patient` (that of the patient whom the stored RelatedPerson names), `nothing`, a list of scopes, or a
    mapping. A kind that the section does not name gets nothing."""

    practitioner: UserBoundary = Field(default="nothing", alias="Practitioner")
    """A token whose fhirUser is a Practitioner."""
    patient: UserBoundary = Field(default="nothing", alias="Patient")
    """A token whose fhirUser is a Patient."""
    related_person: UserBoundary = Field(default="nothing", alias="RelatedPerson")
    """A token whose fhirUser is a RelatedPerson."""
    practitioner_role: UserBoundary = Field(default="nothing", alias="PractitionerRole")
    """A token whose fhirUser is a PractitionerRole."""
    person: UserBoundary = Field(default="nothing", alias="Person")
    """A token whose fhirUser is a Person."""
    none: UserBoundary = "nothing"
    """A token without a usable fhirUser."""

    def of(self, kind: str) -> str | list[str] | BoundBySelection:
        """The boundary of one kind, by the name that the settings use."""
        name = next(name for name, field in type(self).model_fields.items() if kind in {name, field.alias})
        bound: str | list[str] | BoundBySelection = getattr(self, name)
        return bound


def listed(value: Any) -> Any:
    """One value where several may stand, as a list of it."""
    return [value] if isinstance(value, str | int) else value


def _as_text(value: Any) -> Any:
    """A claim's value as rules compare it: numbers and booleans by their text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


ClaimText = Annotated[Text, BeforeValidator(_as_text, json_schema_input_type=str | int | bool)]
ClaimTexts = Annotated[
    list[ClaimText],
    Field(min_length=1),
    BeforeValidator(listed, json_schema_input_type=str | int | bool | Annotated[list[str | int | bool], Field(min_length=1)]),
]
UserKinds = Annotated[
    list[UserKind],
    Field(min_length=1),
    BeforeValidator(listed, json_schema_input_type=UserKind | Annotated[list[UserKind], Field(min_length=1)]),
]


class WhenSettings(Section):
    """Whom a rule is for: all of this must hold."""

    fhir_user: UserKinds | None = None
    """The kind of fhirUser, or several of which it must be one; `none` is a token without a usable fhirUser."""
    claim: Annotated[dict[Text, ClaimTexts], Field(min_length=1)] | None = None
    """Claims by their paths, and the text that each must have, or several of which it must have one. A claim with several values
    (groups, roles) has each of them. One that is there and cannot be read leaves the user nothing."""


class UserRuleSettings(Section):
    """One rule for users."""

    when: WhenSettings | None = None
    """Absent: for every user."""
    boundary: UserBoundary
    """What it leaves of their `user/` scopes."""


class AnyOfSettings(Section):
    """Rules of which each adds to the others, instead of being intersected with them."""

    any_of: Annotated[list[UserRuleSettings], Field(min_length=1)]
    """What any of these that are for the user gives."""


def _kind_of_item(value: Any) -> str:
    return "any_of" if isinstance(value, AnyOfSettings) or (isinstance(value, dict) and "any_of" in value) else "rule"


UserItem = Annotated[
    Annotated[UserRuleSettings, Tag("rule")] | Annotated[AnyOfSettings, Tag("any_of")],
    Discriminator(_kind_of_item),
]
Users = Annotated[Annotated[UserSettings, Tag("mapping")] | Annotated[list[UserItem], Tag("list")], Discriminator(shape)]
Bound = str | list[str] | BoundBySelection
