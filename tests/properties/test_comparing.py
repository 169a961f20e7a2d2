"""What a change of the policy opens, ``compare`` says: held to generated resources of many types, under every kind of rule there is.

It may say so of what opens nothing here (``docs/policy-testing.md``), never the other way round. By hand:
``SMART_GATEWAY_COMPARISONS=20000 make test ARGS=tests/properties/test_comparing.py``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest

from smart_gateway.boundary.model import Boundary
from smart_gateway.boundary.verdict import OUTSIDE
from smart_gateway.policy.comparing import boundaries as comparing
from smart_gateway.policy.comparing.circumstances import asked_by
from smart_gateway.policy.comparing.token_kinds import PATIENT, RELATED, USER, whos
from smart_gateway.policy.model import Policy
from smart_gateway.scopes.permissions import Permission
from tests.properties import policies
from tests.properties.changes import LIMITING, REMOVING

CHANGES = int(os.environ.get("SMART_GATEWAY_COMPARISONS", "300"))
PARTS = 4
OWNERS = (PATIENT, USER, RELATED, "a", "b")
TYPES = (*policies.TYPES, "Provenance", "AuditEvent", "MedicationRequest", "Practitioner", "RelatedPerson")
Resource = dict[str, Any]


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_opens_is_said_to(part: int) -> None:
    opened, said = Counter[str](), 0
    for turn in range(part, CHANGES, PARTS):
        rng = random.Random(turn)
        old, new = change(rng)
        asked = asked_by(old, new)
        kinds, types = list(whos(old, new, asked)), rng.sample(TYPES, 6)
        held = {type: [resource(rng, type) for _ in range(20)] for type in types}
        relations = {type: comparing._Relation(type, old, new) for type in types}
        for who in rng.sample(kinds, min(12, len(kinds))):
            both = comparing._Both(who, old, new, asked)
            for type, permission in ((type, permission) for type in types for permission in Permission):
                before, after = both.boundaries(type, permission)
                told = relations[type].opens(before, after)
                seen = opens(before, after, held[type], (old, new))
                assert told or not seen, (turn, who, type, permission, before, after)
                opened[type] += seen
                said += told
    if CHANGES >= 300:
        assert sum(map(bool, opened.values())) > len(TYPES) // 2, opened
        assert opened.total() > said * 0.5  # it does not say so of everything


def change(rng: random.Random) -> tuple[Policy, Policy]:
    """Two policies, mostly alike."""
    while True:
        make, about = rng.choice([*LIMITING.items(), *REMOVING.items()])
        world = policies.world(rng, about)
        changed = policies.world(rng) if rng.random() < 0.2 else make(rng, world)
        if changed is not None:
            pair = world.policy, changed.policy
            return pair if rng.random() < 0.5 else pair[::-1]


def opens(before: Boundary, after: Boundary, resources: list[Resource], both: tuple[Policy, Policy]) -> bool:
    """Whether any of ``resources`` was outside and is no more, be it that others have a say."""
    if after.is_everything and not before.is_everything:
        return True
    (old, new), type = (policy.matcher.admits for policy in both), resources[0]["resourceType"]
    return any(old(before, one, type) is OUTSIDE and new(after, one, type) is not OUTSIDE for one in resources)


def resource(rng: random.Random, type: str) -> Resource:
    """One of a patient or user of the tokens that are tried, or of others."""
    made = policies._resource(rng, type) if type in policies.TYPES else {"resourceType": type, "id": rng.choice(OWNERS)}
    match type:
        case "Provenance":
            made["target"] = [owner(rng) for _ in range(rng.choice((1, 2)))]
        case "AuditEvent":
            made |= {"agent": [{"who": owner(rng)}], "entity": [{"what": owner(rng)} for _ in range(rng.choice((0, 1, 2)))]}
        case "MedicationRequest":
            made |= {"subject": owner(rng), "status": rng.choice(("final", "draft")), "requester": {"reference": f"Practitioner/{USER}"}}
        case "RelatedPerson":
            made["patient"] = owner(rng)
        case "Encounter":
            made["participant"] = [{"individual": {"reference": f"Practitioner/{USER}"}}] if rng.random() < 0.5 else []
        case _:
            made = owned(rng, made)
    return {**made, "id": rng.choice((made["id"], *OWNERS))}


def owner(rng: random.Random) -> Resource:
    return {"reference": f"Patient/{rng.choice(OWNERS)}"}


def owned(rng: random.Random, value: Any) -> Any:
    """``value`` with other patients in it."""
    match value:
        case {"reference": str(text)} if text.startswith("Patient/"):
            return owner(rng)
        case dict():
            return {name: owned(rng, member) for name, member in value.items()}
        case list():
            return [owned(rng, item) for item in value]
        case _:
            return value
