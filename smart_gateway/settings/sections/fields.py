"""``policy.fields``: elements that are hidden, and those that a write may change."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from smart_gateway.fhir.fields import FieldPath, parse_field
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.scopes.permissions import Permission
from smart_gateway.settings.sections.labels import LabelPair
from smart_gateway.settings.sections.section import Section, Text
from smart_gateway.settings.sections.whom import Letters, WhomSettings, build_whom


def _require_path(text: str) -> str:
    try:
        parse_field(_below_type(text))
    except ValueError:
        raise PydanticCustomError(
            "element", "must be an element: birthDate, name.family, value[x], identifier.where(system='...')"
        ) from None
    return text


def _below_type(text: str) -> str:
    """``Patient.birthDate`` is ``birthDate`` of Patient."""
    head, dot, rest = text.partition(".")
    return rest if dot and head[:1].isupper() else text


ElementText = Annotated[str, AfterValidator(_require_path)]
ElementList = Annotated[list[ElementText], Field(min_length=1)]


class FieldSettings(Section):
    """One rule on the elements of a type."""

    when: WhomSettings | None = None
    """Whom it is for. Absent: everybody."""
    type: Text
    """The resource type, or `"*"` for all."""
    permissions: Letters
    """`rs` for `hide`; `c`, `u` or `cu` for `only` and `keep`."""
    hide: ElementList | None = None
    """Elements (`birthDate`, `name.family`, `value[x]`, `identifier.where(system='...')`) that no answer holds, nor the narrative. The
    resource is tagged `SUBSETTED`, and nothing can be searched, sorted or included by them."""
    labelled: Annotated[list[LabelPair], Field(min_length=1)] | None = None
    """`hide` in resources with one of these security labels only (`system|code`)."""
    only: list[ElementText] | None = None
    """The elements that may be written, and no others; none when empty."""
    keep: ElementList | None = None
    """Elements that may not be changed (`meta.security`)."""


def build_fields(rules: list[FieldSettings]) -> tuple[FieldRule, ...]:
    """The rules as ``authorize`` knows them."""
    return tuple(_rule(rule, ("fields", index)) for index, rule in enumerate(rules))


def _rule(rule: FieldSettings, path: tuple[str | int, ...]) -> FieldRule:
    return FieldRule(
        type=rule.type,
        permissions=Permission.of(rule.permissions) or Permission(0),
        hide=_paths(rule.hide),
        only=None if rule.only is None else _paths(rule.only),
        keep=_paths(rule.keep),
        labelled=None if rule.labelled is None else tuple(rule.labelled),
        whom=build_whom(rule.when),
        path=path,
    )


def _paths(texts: list[str] | None) -> tuple[FieldPath, ...]:
    return tuple(parse_field(_below_type(text)) for text in texts or ())
