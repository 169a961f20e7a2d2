"""examples/hooks does what its README says."""

from __future__ import annotations

from pathlib import Path

import pytest

from smart_gateway.errors import HookRefused
from smart_gateway.policy.access import Access
from smart_gateway.scopes.permissions import Permission
from smart_gateway.settings.building.snapshot import build
from smart_gateway.settings.loading import load_settings
from tests.support.deciding import principal

EXAMPLE = Path(__file__).parents[1] / "examples" / "hooks"


async def test_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setenv("SEALING_KEY", "0123456789012345678901234567890123456789")
    built = build(load_settings(EXAMPLE / "gateway.yaml"), recording=False)
    amendments, policy = built.snapshot.amendments, built.snapshot.policy
    with pytest.raises(HookRefused, match="withdrawn consent"):
        await amendments.of(principal("patient/*.rs", patient="ben"), 0.0)
    assert (await amendments.of(principal("patient/*.rs", patient="amy"), 0.0)).ceilings == ()
    house = await amendments.of(principal("user/*.rs", patient=None, fhir_user="Practitioner/house"), 0.0)
    assert house.claims["hook"] == {"units": ["north", "west"]}
    assert Access(house, policy).boundary("Patient", Permission.SEARCH).regions
    assert Access(house, policy).boundary("Observation", Permission.SEARCH).is_nothing
    nobody = await amendments.of(principal("user/*.rs", patient=None, fhir_user="Practitioner/wilson"), 0.0)
    assert Access(nobody, policy).boundary("Patient", Permission.SEARCH).is_nothing
    await built.aclose()
