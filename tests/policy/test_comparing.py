"""What a change of the policy opens: by hand, and held to brute force over every resource of a small world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from ipaddress import ip_network
from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from smart_gateway.boundary.containment import is_within
from smart_gateway.boundary.labels import LabelLimit
from smart_gateway.boundary.matching import INSIDE
from smart_gateway.boundary.model import Boundary, Compartment, Filter, Region, everything
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.comparing import boundaries as comparing
from smart_gateway.policy.comparing.boundaries import Change, compare_boundaries, group_changes
from smart_gateway.policy.comparing.circumstances import asked_by
from smart_gateway.policy.comparing.differences import Difference
from smart_gateway.policy.comparing.rules import compare_rules
from smart_gateway.policy.comparing.token_kinds import PATIENT, USER, Who, whos
from smart_gateway.policy.model import (
    ActorRule,
    Certification,
    ClientRule,
    ConditionalRule,
    OpenedOperation,
    Policy,
    PublicInteraction,
    UserBound,
    UserRule,
    When,
)
from smart_gateway.policy.rules.labelling import LabelRule, Raise
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import DEFAULT, policy, scopes

QUICK = (Phase.explicit, Phase.generate)  # an example that fails is small enough as it is
CODES = ("a", "b")
OWNERS = (PATIENT, USER, "somebody")


def world() -> Iterator[Mapping[str, Any]]:
    """Every Observation of one of three subjects, with or without the user as performer, with any of two codes and one or two of
    six categories, of which some have a code or a system that no filter names, as one subject is nobody's."""
    kinds = [("s", "a"), ("s", "b"), ("t", "a"), ("u", "a"), ("u", "b"), ("s", "unnamed")]
    groups = [some for count in range(3) for some in combinations(kinds, count)]  # as many as a region has filters
    performers = ([], [{"reference": f"Practitioner/{USER}"}])
    for owner, categories, codings, performer in product((*OWNERS, "unnamed"), groups, ((), ("x",), ("y",), ("x", "y")), performers):
        yield {
            "resourceType": "Observation",
            "id": "o",
            "subject": {"reference": f"Patient/{owner}"},
            "performer": performer,
            "category": [{"coding": [{"system": system, "code": code}]} for system, code in categories],
            "code": {"coding": [{"code": code} for code in codings]},
        }


WORLD = tuple(world())


@cache
def held(boundary: Boundary) -> frozenset[int]:
    return frozenset(i for i, r in enumerate(WORLD) if DEFAULT.matcher.admits(boundary, r, "Observation") is INSIDE)


category = st.lists(st.sampled_from([*CODES, "s|a", "s|b", "t|a", "s|"]), min_size=1, max_size=2, unique=True)
filters = st.one_of(
    category.map(lambda values: Filter("category", None, tuple(values))),
    st.sampled_from([("x",), ("y",), ("x", "y")]).map(lambda values: Filter("code", None, values)),
)
regions = st.builds(
    Region,
    st.one_of(
        st.just(()),
        st.lists(st.sampled_from(OWNERS), min_size=1, max_size=2, unique=True).map(lambda i: (Compartment("Patient", tuple(i)),)),
    ),
    st.lists(filters, max_size=2, unique=True).map(tuple),
)
boundaries = st.lists(regions, max_size=3).map(Boundary.of)
denying = regions.flatmap(
    lambda region: st.sampled_from([("a",), ("b",), ("a", "b")]).map(
        lambda values: Region(region.compartments, (*region.filters, Filter("category", "not", values)))
    )
)
TOKENS = frozenset({"category", "code"})


@given(inner=boundaries, outer=boundaries)
@settings(max_examples=300, deadline=None, phases=QUICK)
def test_what_is_contained_is_exact_for_alternatives(inner: Boundary, outer: Boundary) -> None:
    within = is_within(inner, outer, is_token=TOKENS.__contains__)
    assert within is (held(inner) <= held(outer))


@given(
    inner=st.lists(st.one_of(regions, denying), max_size=3).map(Boundary.of),
    outer=st.lists(st.one_of(regions, denying), max_size=3).map(Boundary.of),
)
@settings(max_examples=300, deadline=None, phases=QUICK)
def test_what_is_said_to_be_contained_is(inner: Boundary, outer: Boundary) -> None:
    if is_within(inner, outer, is_token=TOKENS.__contains__):
        assert held(inner) <= held(outer)


def test_everything_is_in_nothing_but_itself() -> None:
    whole = Boundary.of([Region()])
    assert not is_within(everything(), whole)
    assert is_within(whole, everything())
    assert is_within(everything(), everything())


LISTS = (
    None,
    (),
    ("patient/*.rs",),
    ("patient/Observation.rs?category=a",),
    ("patient/Observation.rs?category=a,b", "user/Observation.s"),
    ("user/Observation.rs?category=b", "patient/Observation.r"),
    ("system/*.rs",),
)
USERS = (
    UserRule(UserBound.EVERYTHING),
    UserRule(UserBound.PATIENT),
    UserRule(UserBound.COMPARTMENT),
    UserRule(UserBound.NOTHING),
    UserRule(scopes=scopes("user/Observation.rs?category=a", "user/Observation.rs?category=s|b")),
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    def rule() -> ClientRule:
        limit, pin = draw(st.sampled_from(LISTS)), draw(st.sampled_from((None, None, None, *LISTS)))
        return ClientRule(
            limit=None if limit is None else scopes(*limit),
            pin=None if pin is None else scopes(*pin),
            system_role=draw(st.booleans()),
            issuers=draw(st.sampled_from((None, None, frozenset({"https://one"})))),
        )

    clients = draw(st.sampled_from((None, ("app",), ("app", "*"), ())))
    return policy(
        clients=None if clients is None else {name: rule() for name in clients},
        actors=draw(st.sampled_from((None, {"robot": ActorRule(scopes("user/*.rs"))}, {"*": ActorRule()}))),
        users={"Practitioner": draw(st.sampled_from(USERS)), "Patient": draw(st.sampled_from(USERS))},
        shared_types=draw(st.sampled_from((frozenset(), frozenset({"Organization"})))),
    )


@pytest.mark.generated
@given(old=policies(), new=policies())
@settings(max_examples=60, deadline=None, phases=QUICK)
def test_compare_agrees_with_brute_force(old: Policy, new: Policy) -> None:
    relation, asked, seen = comparing._Relation("Observation", old, new), asked_by(old, new), 0
    for who in whos(old, new, asked):
        before, after = comparing._Held(who, old, asked), comparing._Held(who, new, asked)
        for permission in Permission:
            one, other = before.boundary("Observation", permission), after.boundary("Observation", permission)
            unbound, bound = other.is_everything and not one.is_everything, one.is_everything and not other.is_everything
            assert relation.opens(one, other) is (bool(held(other) - held(one)) or unbound), (who, permission, one, other)
            assert relation.closes(one, other) is (bool(held(one) - held(other)) or bound), (who, permission, one, other)
            seen += 1
    assert seen


@given(one=policies())
@settings(max_examples=1, deadline=None, phases=QUICK)
def test_nothing_changes_between_a_policy_and_itself(one: Policy) -> None:
    assert not list(compare_boundaries(one, replace(one)))
    assert not list(compare_rules(one, replace(one)))


def opened(old: Policy, new: Policy) -> set[tuple[str, str, str, str, str]]:
    return {(c.who.client, c.who.user, c.who.context, c.type, c.permission.letters) for c in compare_boundaries(old, new) if c.opens}


def test_a_wider_limit_opens_just_that() -> None:
    old = policy(clients={"app": ClientRule(limit=scopes("patient/*.rs"))})
    new = policy(clients={"app": ClientRule(limit=scopes("patient/*.rs", "patient/Observation.c"))})
    found = opened(old, new)
    assert {(client, type, letters) for client, _, _, type, letters in found} == {("app", "Observation", "c")}
    assert not opened(new, old)


def test_a_client_that_is_named_anew_opens_for_it_alone() -> None:
    found = opened(policy(clients={}), policy(clients={"app": ClientRule()}))
    assert {client for client, *_ in found} == {"app"}
    assert ("app", "Practitioner", "user", "*", "r") in found


def test_other_clients_are_looked_at() -> None:
    assert {client for client, *_ in opened(policy(clients={}), policy(clients={"*": ClientRule()}))} == {"any other"}


def test_a_pinned_client_gives_to_tokens_without_scopes() -> None:
    old, new = policy(clients={"app": ClientRule()}), policy(clients={"app": ClientRule(pin=scopes("patient/Observation.rs"))})
    assert ("app", "none", "none", "Observation", "s") in opened(old, new)
    assert not {one for one in opened(old, new) if one[2] == "patient"}


def test_a_type_that_is_written_by_name_is_seen() -> None:
    found = opened(policy(), policy(writable_server_types=frozenset({"Subscription"})))
    assert {type for *_, type, _ in found} == {"Subscription"}


def test_another_definition_of_the_compartment_is_seen() -> None:
    found = opened(
        policy(compartment_additions={"Contract": ("patient",)}), policy(compartment_additions={"Contract": ("patient", "signer")})
    )
    assert {type for *_, type, _ in found} == {"Contract"}


def test_an_actor_that_may_do_more_is_seen() -> None:
    old, new = policy(actors={"robot": ActorRule(scopes("user/Patient.r"))}), policy(actors={"robot": ActorRule(scopes("user/Patient.rs"))})
    assert {(c.who.actor, c.type, c.permission) for c in compare_boundaries(old, new)} == {("robot", "Patient", Permission.SEARCH)}


@pytest.mark.parametrize(
    ("old", "new", "opens", "closes"),
    [
        ({}, {"networks": (ip_network("10.0.0.0/8"),)}, False, True),
        ({"networks": (ip_network("10.1.0.0/16"),)}, {"networks": (ip_network("10.0.0.0/8"),)}, True, False),
        ({"networks": (ip_network("10.1.0.0/16"),)}, {"networks": (ip_network("fd00::/8"),)}, True, True),
        ({"max_token_age": 60.0}, {"max_token_age": 120.0}, True, False),
        ({"max_token_age": 60.0}, {}, True, False),
        ({}, {"max_token_age": 60.0}, False, True),
        ({"sender_constraint": frozenset({"dpop"})}, {"sender_constraint": frozenset({"dpop", "mtls"})}, True, False),
        ({"sender_constraint": frozenset({"dpop"})}, {"sender_constraint": frozenset({"mtls"})}, True, True),
        ({"sender_constraint": frozenset({"dpop"})}, {}, True, False),
    ],
)
def test_how_a_client_may_come(old: dict[str, Any], new: dict[str, Any], opens: bool, closes: bool) -> None:
    [found] = compare_rules(policy(clients={"app": ClientRule(**old)}), policy(clients={"app": ClientRule(**new)}))
    assert (found.opens, found.closes) == (opens, closes)


def test_a_search_parameter_that_is_let_through_opens_and_one_that_is_not_closes() -> None:
    old = policy(search_parameters={"Observation": frozenset({"ward", "bed"})})
    new = policy(search_parameters={"Observation": frozenset({"ward"}), "*": frozenset({"site"})})
    found = {one.rule: (one.opens, one.closes) for one in compare_rules(old, new)}
    assert found == {"search.parameters.* site": (True, False), "search.parameters.Observation bed": (False, True)}


CERTIFIED = Certification(scopes("system/*.rs"), since=1.0, until=5.0)
OPENED = OpenedOperation("$mine", frozenset({"type"}), frozenset({"GET"}), scopes=scopes("user/Patient.r"))


@pytest.mark.parametrize(
    ("old", "new", "opens"),
    [
        ({}, {"public": (PublicInteraction(Interaction.SEARCH_TYPE, "ValueSet"),)}, True),
        ({"public": (PublicInteraction(Interaction.SEARCH_TYPE, "ValueSet"),)}, {}, False),
        ({"update_as_create": "always"}, {"update_as_create": "never"}, False),
        ({"update_as_create": "never"}, {"update_as_create": "uuid_only"}, True),
        ({"certified_only": True}, {}, True),
        ({}, {"certified_only": True}, False),
        ({"certified_only": True}, {"certified_only": True, "certifications": {"app": CERTIFIED}}, True),
        ({}, {"certifications": {"app": CERTIFIED}}, False),  # it bounds the client, who came without one
        ({"certifications": {"app": CERTIFIED}}, {"certifications": {"app": replace(CERTIFIED, until=9.0)}}, True),
        ({"certifications": {"app": CERTIFIED}}, {"certifications": {"app": replace(CERTIFIED, since=2.0)}}, False),
        ({}, {"operations": (OPENED,)}, True),
        ({"operations": (OPENED,)}, {}, False),
        ({"requests_per_minute": 10}, {"requests_per_minute": 20}, True),
        ({}, {"requests_per_minute": 20}, False),
        ({"clients": {"app": ClientRule()}}, {"clients": {"app": ClientRule(groups=frozenset({"g"}))}}, False),
        ({"clients": {"app": ClientRule(groups=frozenset())}}, {"clients": {"app": ClientRule(groups=frozenset({"g"}))}}, True),
        ({"clients": {"app": ClientRule(requests_per_minute=5)}}, {"clients": {"app": ClientRule()}}, True),
    ],
)
def test_rules_that_no_boundary_shows(old: dict[str, Any], new: dict[str, Any], opens: bool) -> None:
    [found] = compare_rules(policy(**old), policy(**new))
    assert (found.opens, found.closes, found.unknown) == (opens, not opens, False)


def test_what_nobody_weighed_counts_as_opened() -> None:
    [found] = compare_rules(DEFAULT, replace(DEFAULT, bases=replace(DEFAULT.bases, public="https://other.example/fhir")))
    assert found == Difference("bases", str(DEFAULT.bases), found.after, opens=True, closes=True, unknown=True) or found.unknown
    assert found.opens


def test_the_same_change_is_said_once() -> None:
    whole, none = everything(), Boundary()
    changes = [
        Change(Who(client, user, "user"), type, permission, none, whole, opens=True, closes=False)
        for client, user, type, permission in product(
            ("a", "b"), ("Practitioner", "none"), ("Patient", "Task"), (Permission.READ, Permission.SEARCH)
        )
    ]
    [group] = group_changes(changes)
    assert (group.clients, group.users, group.types, group.permissions.letters) == (
        ("a", "b"),
        ("Practitioner", "none"),
        ("Patient", "Task"),
        "rs",
    )


def test_no_condition_of_a_region_is_overlooked() -> None:
    assert {field.name for field in fields(Region)} == {"compartments", "filters", "labels", "sources"}


def test_labels_are_conditions() -> None:
    normal, restricted = (Boundary.of([Region(labels=(LabelLimit(ceiling, "N"),))]) for ceiling in "NR")
    assert is_within(normal, restricted)
    assert not is_within(restricted, normal)
    assert not is_within(Boundary.of([Region()]), restricted)


def test_a_claim_that_a_rule_asks_for_is_tried() -> None:
    rule = ConditionalRule(When(frozenset({"Practitioner"}), (("org", frozenset({"north"})),)), UserRule(UserBound.EVERYTHING))
    changes = [c for c in compare_boundaries(policy(users=()), policy(users=(rule,))) if c.opens]
    assert {(c.who.user, c.who.circumstance.text) for c in changes} == {("Practitioner", "org=north")}


def test_a_plain_scope_that_raises_labels_is_tried() -> None:
    def limited(ceiling: str) -> Policy:
        return policy(labels=(LabelRule(LabelLimit("N", "N"), raised_by=(Raise("__more", ceiling),)),))

    assert {c.who.circumstance.text for c in compare_boundaries(limited("N"), limited("R")) if c.opens} == {"__more"}
