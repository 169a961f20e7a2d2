"""``policy.labels``: what security labels may say of a resource that a token touches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from smart_gateway.boundary.labels import LabelLimit
from smart_gateway.fhir.search_values import ValueSyntaxError
from smart_gateway.fhir.search_values_tokens import parse_token
from smart_gateway.policy.rules.labelling import ALL, LabelRule, Raise
from smart_gateway.scopes.permissions import Permission
from smart_gateway.settings.sections.section import Section, Text, shape
from smart_gateway.settings.sections.whom import Letters, WhomSettings, build_whom

Confidentiality = Literal["U", "L", "M", "N", "R", "V"]


def _require_label(text: str) -> str:
    try:
        value = parse_token(text)
    except ValueSyntaxError:
        value = None
    if value is None or (value.system == "" or (not value.system and not value.code)):
        raise PydanticCustomError("label", "must be system|code, system| or a code")
    return text


def _require_pair(text: str) -> str:
    _require_label(text)
    value = parse_token(text)
    if not value.system or not value.code:
        raise PydanticCustomError("label", "must be system|code")
    return text


Label = Annotated[str, AfterValidator(_require_label)]
LabelPair = Annotated[str, AfterValidator(_require_pair)]


class RaiseSettings(Section):
    """What a plain scope adds to a limit."""

    ceiling: Confidentiality | None = None
    """Confidentiality up to this."""
    allowed: list[Label] = Field(default=[])
    """Labels of `forbidden` that are not, spelled as there."""


class LabelSettings(Section):
    """A limit on security labels (`meta.security`). Resources outside of it look absent."""

    when: WhomSettings | None = None
    """Absent: for everybody."""
    types: Annotated[list[Text], Field(min_length=1)] | None = None
    """The types that it holds for. Absent: all."""
    permissions: Letters | None = None
    """The permissions that it bounds (`rs`). Absent: all, writes too."""
    ceiling: Confidentiality = "V"
    """The highest confidentiality: `U` (unrestricted), `L` (low), `M` (moderate), `N` (normal), `R` (restricted), `V` (very restricted: no
    ceiling). Of several labels the highest counts; a label of that code system that is not known is the highest."""
    unlabelled: Confidentiality = "V"
    """What a resource without a label of confidentiality is taken for."""
    forbidden: list[Label] = Field(default=[])
    """Labels that none may have: `system|code`, `system|` (any code of it) or a code."""
    required: list[LabelPair] = Field(default=[])
    """Labels that each must have, all of them: `system|code`."""
    raised_by: dict[
        Text,
        Annotated[Annotated[Confidentiality, Tag("word")] | Annotated[RaiseSettings, Tag("mapping")], Discriminator(shape)],
    ] = Field(default={})
    """Plain scopes (`__restricted`), and the ceiling that a token with it has instead; or a mapping."""


Labels = Annotated[Annotated[LabelSettings, Tag("mapping")] | Annotated[list[LabelSettings], Tag("list")], Discriminator(shape)]


def listed_labels(labels: LabelSettings | list[LabelSettings]) -> list[tuple[tuple[str | int, ...], LabelSettings]]:
    """Every rule and its path below the policy."""
    if isinstance(labels, LabelSettings):
        return [(("labels",), labels)]
    return [(("labels", index), rule) for index, rule in enumerate(labels)]


def build_labels(labels: LabelSettings | list[LabelSettings] | None) -> tuple[LabelRule, ...] | None:
    """The limits as ``authorize`` knows them; None where there is no such section."""
    return None if labels is None else tuple(_rule(rule, path) for path, rule in listed_labels(labels))


def _rule(rule: LabelSettings, path: tuple[str | int, ...]) -> LabelRule:
    return LabelRule(
        limit=LabelLimit(rule.ceiling, rule.unlabelled, tuple(rule.forbidden), tuple(rule.required)),
        whom=build_whom(rule.when),
        types=None if rule.types is None else frozenset(rule.types),
        permissions=ALL if rule.permissions is None else Permission.of(rule.permissions) or ALL,
        raised_by=tuple(_raise(scope, raised) for scope, raised in rule.raised_by.items()),
        path=path,
    )


def _raise(scope: str, raised: str | RaiseSettings) -> Raise:
    if isinstance(raised, str):
        return Raise(scope, raised)
    return Raise(scope, raised.ceiling, tuple(raised.allowed))
