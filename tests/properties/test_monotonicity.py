"""A limiting rule that is added opens nothing, nor does an opening rule that is removed: in 20,000 generated policies.

By hand: ``SMART_GATEWAY_POLICIES=1000000 make test ARGS=tests/properties/test_monotonicity.py``.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from smart_gateway.boundary.verdict import OUTSIDE
from smart_gateway.errors import RequestError, TokenError
from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import Arrival, refuse_arrival, refuse_party
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.break_glass import break_glass
from smart_gateway.policy.emergencies import EmergencyCall
from smart_gateway.policy.plan import BodyCheck, Deny, Permit
from smart_gateway.policy.rules.groups import may_export
from smart_gateway.policy.rules.plain_scopes import holds_plain
from smart_gateway.policy.writes.changing import refuse_changes
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context
from tests.properties import policies
from tests.properties.changes import LIMITING, REMOVING, Change
from tests.properties.policies import FAR, NOW, OPERATION, PLAIN, World
from tests.support.deciding import parse

POLICIES = int(os.environ.get("SMART_GATEWAY_POLICIES", "20000"))
PARTS = 8
CHANGES = (*LIMITING.items(), *REMOVING.items())
CALL = EmergencyCall("BTG", "unconscious")
Resource = dict[str, Any]


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_opens(part: int) -> None:
    """Each change of each kind in its turn, each in a world of its own."""
    closed = Counter[str]()
    for change, world, changed, resources in _turns(part):
        before, after = _opened(world, resources), _opened(changed, resources)
        assert after <= before, (change.__name__, sorted(after - before), world, changed, resources)
        closed[change.__name__] += after < before
    if POLICIES >= 20000:
        assert len(closed) == len(CHANGES)
        assert sum(map(bool, closed.values())) > len(CHANGES) * 0.8, closed


def _turns(part: int) -> Iterator[tuple[Change, World, World, list[Resource]]]:
    for turn in range(part, POLICIES, PARTS):
        change, about = CHANGES[turn // PARTS % len(CHANGES)]
        rng, changed = random.Random(turn), None
        while changed is None:
            world = policies.world(rng, about)
            changed = change(rng, world)
        yield change, world, changed, policies.resources(rng, about)


def _opened(world: World, resources: list[Resource]) -> frozenset[str]:
    """All that is open to who asks, as far as ``resources`` of one type tell, and in an emergency."""
    policy, type, id = world.policy, resources[0]["resourceType"], resources[0]["id"]
    access = Access(world.principal, policy)
    found = {*_party(access), *_requests(access, type, id), *_seen(access, resources)}
    if policy.break_glass is not None:
        called = break_glass(CALL, _parsed("GET", f"/{type}/{id}"), access, NOW)
        found |= set() if isinstance(called, Deny) else {f"emergency: {one}" for one in _seen(called, resources)}
    return frozenset(found)


def _seen(access: Access, resources: list[Resource]) -> Iterator[str]:
    yield from _types(access, resources[0]["resourceType"])
    for number, resource in enumerate(resources):
        yield from (f"{number}: {one}" for one in (*_inside(access, resource), *_elements(access, resource)))


def _types(access: Access, type: str) -> Iterator[str]:
    for permission in Permission:
        if access.boundary(type, permission).is_everything:
            yield f"{permission.letters} everything"
        if access.unlimited(permission):
            yield f"{permission.letters} unlimited"
    if access.sees_all:
        yield "sees all"


def _inside(access: Access, resource: Resource) -> Iterator[str]:
    """What depends on other resources (a Binary on its securityContext) counts as open: those are judged by themselves."""
    type, admits = resource["resourceType"], access.matcher.admits
    for permission in Permission:
        if admits(access.boundary(type, permission), resource, type) is not OUTSIDE:
            yield f"{permission.letters} inside"
        for context in Context if permission is Permission.READ else ():
            if admits(access.boundary_by(context, type, permission), resource, type) is not OUTSIDE:
                yield f"{permission.letters} inside by {context}"


def _party(access: Access) -> Iterator[str]:
    if refuse_party(access) is not None:  # all else is asked of those who are known
        return
    yield "known"
    for address, shown in ((FAR, frozenset[str]()), ("10.1.1.1", frozenset({"dpop"}))):
        try:
            if refuse_arrival(access, Arrival(NOW, address, shown)) is None:
                yield f"comes from {address}"
        except TokenError:
            continue
    yield from (text for text in PLAIN if holds_plain(access, text))
    yield from (f"exports Group/{id}" for id in "abc" if may_export(access.client, "Group", id))


def _requests(access: Access, type: str, id: str) -> Iterator[str]:
    """Those that would be sent, whatever is stored."""
    of = f"/{type}/{id}"
    asked = (
        ("GET", of),
        ("DELETE", of),
        ("GET", f"/{type}?ward=a"),
        *(("GET", f"{of}/{OPERATION}?{query}") for query in ("language=de", "patient=a")),
    )
    yield from (f"{method} {target}" for method, target in asked if _permits(access, method, target))


def _elements(access: Access, resource: Resource) -> Iterator[str]:
    fields, type = access.restrictions.fields, resource["resourceType"]
    hidden = {path.text for path in fields.hidden_in(resource, type)}
    yield from (f"sees {name}" for name in policies.ELEMENTS if name not in hidden)
    for name in policies.ELEMENTS[:-1]:
        changed = {**resource, name: "another"}
        body = BodyCheck(type, resource["id"], access.boundary(type, Permission.UPDATE))
        if type != "Binary" and refuse_changes(resource, changed, body, access) is None:
            yield f"changes {name}"


def _permits(access: Access, method: str, target: str) -> bool:
    try:
        return isinstance(authorize(_parsed(method, target), access), Permit)
    except RequestError:
        return False


_parsed = cache(parse)
