"""Whom a rule of ``policy.labels`` or ``policy.fields`` is for, and which permissions it bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from smart_gateway.policy.rules.whom import EVERYBODY, Whom
from smart_gateway.scopes.permissions import Permission
from smart_gateway.settings.sections.section import Section, Text, spelled
from smart_gateway.settings.sections.users import ClaimTexts, UserKinds, listed

Letters = Annotated[str, spelled(lambda text: Permission.of(text) is not None, "permissions", "must be letters of cruds, in this order")]
Texts = Annotated[
    list[Text],
    Field(min_length=1),
    BeforeValidator(listed, json_schema_input_type=Text | Annotated[list[Text], Field(min_length=1)]),
]


class WhomSettings(Section):
    """Whom a limit is for: all of this must hold."""

    client: Texts | None = None
    """The client's id, or several of which it must be one."""
    fhir_user: UserKinds | None = None
    """The kind of fhirUser, or several of which it must be one; `none` is a token without a usable fhirUser."""
    claim: Annotated[dict[Text, ClaimTexts], Field(min_length=1)] | None = None
    """Claims by their paths (`purpose_of_use`), and the text that each must have, or several of which it must have one. A claim with
    several values has each of them; for one that is there and cannot be read, the limit holds."""


def build_whom(when: WhomSettings | None) -> Whom:
    """Whom ``when`` means."""
    if when is None:
        return EVERYBODY
    return Whom(
        None if when.client is None else frozenset(when.client),
        None if when.fhir_user is None else frozenset[str](when.fhir_user),
        tuple((path, frozenset(texts)) for path, texts in (when.claim or {}).items()),
    )
