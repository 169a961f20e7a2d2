"""What counts as a change of an element that is kept."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.boundary.labels import LabelLimit
from smart_gateway.boundary.model import everything
from smart_gateway.fhir.fields import parse_field
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import BodyCheck
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.policy.rules.labelling import LabelRule
from smart_gateway.policy.writes import changing
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import policy, principal


@pytest.mark.parametrize(
    ("stored", "new", "changed"),
    [
        ({"valueString": "2020"}, {"valueDateTime": "2020"}, ["valueDateTime", "valueString"]),  # the same text, of another type
        ({"valueString": "2020"}, {"valueString": "2021"}, ["valueString"]),
        ({"valueString": "2020"}, {"_valueString": "2020"}, ["_valueString", "valueString"]),
        ({"valueString": "2020"}, {"valueString": "2020", "status": "final"}, []),
    ],
)
def test_an_element_of_several_types_keeps_its_type(stored: dict[str, Any], new: dict[str, Any], changed: list[str]) -> None:
    rule = FieldRule("*", Permission.UPDATE, keep=(parse_field("value[x]"),))
    assert changing._changed(stored, new, (rule,)) == changed


VIP = {"meta": {"security": [{"system": "http://acme.example", "code": "VIP"}]}}
BARE: dict[str, Any] = {"meta": {}}
CHECK = BodyCheck("Observation", "o", everything())


@pytest.mark.parametrize("permissions", ["r", "s", "rs", "rd"])
@pytest.mark.parametrize(
    ("stored", "new", "code"),
    [
        (VIP, BARE, "element-not-writable"),
        (VIP, {"meta": {"security": [{"system": "http://acme.example", "code": "OTHER"}]}}, "element-not-writable"),
        (VIP, {**VIP, "status": "final"}, None),
        (BARE, VIP, None),
        (BARE, {"status": "final"}, None),
    ],
)
def test_an_update_shows_nothing_of_what_labels_hide(
    stored: dict[str, Any], new: dict[str, Any], code: str | None, permissions: str
) -> None:
    letters = Permission.of(permissions)
    assert letters is not None
    rule = LabelRule(LabelLimit(forbidden=("http://acme.example|VIP",)), permissions=letters)
    access = Access(principal("user/*.cruds", fhir_user="Practitioner/p"), policy(labels=(rule,)))
    assert not access.boundary("Observation", Permission.UPDATE).is_everything  # so what is stored is looked at
    assert not access.unlimited(Permission.UPDATE)
    assert access.boundary("Observation", Permission.CREATE).is_everything
    for refused in (changing.refuse_changes(stored, new, CHECK, access), changing.refuse_result(stored, new, "Observation", access)):
        assert (refused.causes[0].code if refused is not None else None) == code
        assert refused is None or refused.causes[0].expression == "Observation.meta.security"
