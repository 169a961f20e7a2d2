"""Attacks on the decision about writes."""

from __future__ import annotations

import pytest

from smart_gateway.policy.plan import BodyCheck, Permit
from tests.support.deciding import decide, denied, permitted

JSON = {"Content-Type": "application/fhir+json"}


@pytest.mark.parametrize(
    ("type", "scope"),
    [
        ("Patient", "patient/Patient.cruds"),
        ("Patient", "patient/*.write"),
        ("Observation", "system/Observation.c?_id=mine"),
        ("Observation", "patient/Observation.c?_id:not=theirs"),
    ],
)
def test_nothing_is_created_inside_a_bound_that_is_an_id(type: str, scope: str) -> None:
    """The server chooses the id of what is created, whatever id the body claims: a second Patient is nobody's own."""
    refusal = denied(decide("POST", f"/{type}", scope, headers=JSON))
    assert (refusal.status, refusal.missing) == (403, ())


def test_other_regions_still_create() -> None:
    scope = "system/Observation.c?_id=mine system/Observation.c?status=final"
    check = permitted(decide("POST", "/Observation", scope, headers=JSON)).body
    assert isinstance(check, BodyCheck)
    assert [[f.text for f in region.filters] for region in check.boundary.regions] == [["status=final"]]
    assert isinstance(decide("POST", "/Patient", "system/Patient.c", headers=JSON), Permit)
    assert isinstance(decide("PUT", "/Patient/123", "patient/Patient.u", headers=JSON), Permit)
