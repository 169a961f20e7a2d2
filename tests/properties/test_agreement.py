"""Narrowing, admission, intersection and the hint say the same of one boundary, and what an independent judge says.

20,000 worlds for each of them here; by hand: ``SMART_GATEWAY_EXAMPLES=1000000 make test ARGS=tests/properties``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from smart_gateway.boundary.filters import satisfies
from smart_gateway.boundary.model import Boundary
from smart_gateway.boundary.narrowing import Narrower
from smart_gateway.boundary.verdict import INSIDE
from smart_gateway.errors import RequestError
from smart_gateway.fhir.search_values import split_values
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.model import ClientRule
from smart_gateway.policy.plan import CheckSearchset, Deny, Permit, Plan, Stream
from smart_gateway.scopes.permissions import Permission
from tests.properties import generating, judge
from tests.support.deciding import BASES, DEFAULT, parse, policy, principal, scopes, vocabulary

EXAMPLES = int(os.environ.get("SMART_GATEWAY_EXAMPLES", "20000"))
LETTERS = dict(zip("cruds", Permission, strict=True))


def worlds(salt: int) -> Iterator[random.Random]:
    """One seeded source of randomness for each example; a failure names its seed."""
    for seed in range(EXAMPLES):
        yield random.Random(salt * 10_000_000 + seed)


def who(rng: random.Random) -> tuple[list[str], str | None, str | None]:
    texts = [generating.scope(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
    return texts, rng.choice((*generating.IDS, None)), rng.choice((None, "Practitioner/p", "Patient/a", "Person/a"))


def access_of(texts: list[str], patient: str | None, user: str | None) -> Access:
    return Access(principal(" ".join(texts), patient=patient, fhir_user=user), DEFAULT)


def inside(boundary: Boundary, resource: dict[str, object], type: str) -> bool:
    return DEFAULT.matcher.admits(boundary, resource, type) is INSIDE


def test_admission_is_what_an_independent_judge_says() -> None:
    hits = 0
    for rng in worlds(1):
        texts, patient, user = who(rng)
        access = access_of(texts, patient, user)
        resource = generating.resource(rng)
        for letter in "rs":
            expected = any(judge.admits(text, letter, resource, patient, user) for text in texts)
            boundary = access.boundary(resource["resourceType"], LETTERS[letter])
            found = inside(boundary, resource, resource["resourceType"])
            assert found is expected, (texts, patient, user, letter, resource)
            hits += expected
    assert hits > EXAMPLES * 0.005  # the worlds are not empty


def test_an_exact_narrowing_returns_nothing_outside_and_loses_only_members_by_other_parameters() -> None:
    narrower = Narrower(vocabulary(), DEFAULT.rules, lambda type, code: vocabulary().parameter(type, code) is not None)
    exact = lost = 0
    for rng in worlds(2):
        texts, patient, user = who(rng)
        resource = generating.resource(rng)
        type = resource["resourceType"]
        boundary = access_of(texts, patient, user).boundary(type, Permission.SEARCH)
        if boundary.is_nothing:
            continue
        narrowing = narrower.narrow(boundary, type)
        returned = all(_satisfied(resource, type, name, value) for name, value in narrowing.parameters)
        admitted = inside(boundary, resource, type)
        if narrowing.exact:
            exact += 1
            assert admitted or not returned, (texts, patient, user, resource, narrowing)
        if admitted and not returned:
            lost += 1
            assert _member_by_another_parameter(narrower, boundary, resource, type), (texts, patient, user, resource, narrowing)
    assert exact > EXAMPLES * 0.01
    assert lost > 0


def _satisfied(resource: dict[str, object], type: str, name: str, value: str) -> bool:
    code, _, modifier = name.partition(":")
    parameter = vocabulary().parameter(type, code)
    assert parameter is not None
    return satisfies(resource, parameter, modifier or None, split_values(value), BASES)


def _member_by_another_parameter(narrower: Narrower, boundary: Boundary, resource: dict[str, object], type: str) -> bool:
    """The preferred inclusion parameter does not place the resource with an owner that some region names; another one does."""
    for region in boundary.regions:
        for owner in region.compartments:
            code = narrower.compartment_parameter(owner.type, type)
            value = ",".join(f"{owner.type}/{id}" for id in owner.ids)
            if code is not None and not _satisfied(resource, type, code, value):
                return True
    return False


def test_union_and_intersection_are_those_of_the_sets() -> None:
    for rng in worlds(3):
        resource = generating.resource(rng)
        type = resource["resourceType"]
        a, b = (access_of(*who(rng)).boundary(type, Permission.READ) for _ in range(2))
        in_a, in_b = inside(a, resource, type), inside(b, resource, type)
        assert inside(a.union(b), resource, type) is (in_a or in_b)
        if inside(a.intersect(b), resource, type):
            assert in_a
            assert in_b
        elif in_a and in_b:
            assert _owners(a) != _owners(b)  # two patients' records: the safer reading


def _owners(boundary: Boundary) -> set[object]:
    return {c for region in boundary.regions for c in region.compartments}


def test_a_limit_and_a_lost_scope_never_open_anything() -> None:
    for rng in worlds(4):
        texts, patient, user = who(rng)
        resource = generating.resource(rng)
        type = resource["resourceType"]
        limit = scopes(generating.scope(rng))
        limited = policy(clients={"*": ClientRule(limit=limit, system_role=True)})
        asks = principal(" ".join(texts), patient=patient, fhir_user=user)
        fewer = principal(" ".join(texts[1:]), patient=patient, fhir_user=user)
        for permission in Permission:
            wide = inside(Access(asks, DEFAULT).boundary(type, permission), resource, type)
            assert wide or not inside(Access(asks, limited).boundary(type, permission), resource, type)
            assert wide or not inside(Access(fewer, DEFAULT).boundary(type, permission), resource, type)


def test_the_hint_helps_and_nothing_less_does() -> None:
    hinted = 0
    for rng in worlds(5):
        texts, patient, user = who(rng)
        type = rng.choice(generating.TYPES)
        target = rng.choice((f"/{type}/{rng.choice(generating.IDS)}", f"/{type}"))
        request = parse("GET", target)
        decision = authorize(request, access_of(texts, patient, user))
        if not isinstance(decision, Deny) or not decision.missing:
            continue
        hinted += 1
        (missing,) = decision.missing
        helped = authorize(request, access_of([*texts, missing.scope], patient, user))
        assert isinstance(helped, Permit), (texts, patient, user, target, missing)
    assert hinted > EXAMPLES * 0.002


def test_a_search_never_returns_what_the_judge_keeps_back() -> None:
    """The plan as a whole, whatever the upstream returns: a disobedient one answers with any resource at all."""
    permitted = 0
    for rng in worlds(6):
        texts, patient, user = who(rng)
        type = rng.choice(generating.TYPES)
        query = generating.search(rng, type)
        try:
            decision = authorize(parse("GET", f"/{type}?{query}"), access_of(texts, patient, user))
        except RequestError as error:
            pytest.fail(f"{query}: {error}")
        if not isinstance(decision, Permit):
            continue
        permitted += 1
        for _ in range(3):
            resource = generating.resource(rng)
            if _leaves(decision.plan, resource):
                assert any(judge.admits(text, "s", resource, patient, user) for text in texts), (texts, patient, user, query, resource)
    assert permitted > EXAMPLES * 0.01


def _leaves(plan: Plan, resource: dict[str, object]) -> bool:
    """Whether a match of the searched type would leave under this plan."""
    if isinstance(plan.answer, Stream):
        return True
    if not isinstance(plan.answer, CheckSearchset) or resource["resourceType"] != plan.answer.type:
        return False
    return inside(plan.answer.boundary, resource, plan.answer.type)
