"""What counts as a change of an element that is kept."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.fhir.fields import parse_field
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.policy.writes import changing
from smart_gateway.scopes.permissions import Permission


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
