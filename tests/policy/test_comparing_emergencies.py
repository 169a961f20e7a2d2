"""What a change of break-glass opens: part by part, and in boundaries, held to emergencies that are called in fact."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from smart_gateway.boundary.labels import LabelLimit
from smart_gateway.boundary.model import Boundary
from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import refuse_party
from smart_gateway.policy.break_glass import break_glass
from smart_gateway.policy.comparing import boundaries as comparing
from smart_gateway.policy.comparing.boundaries import compare_boundaries, group_changes
from smart_gateway.policy.comparing.circumstances import Asked, asked_by
from smart_gateway.policy.comparing.emergencies import compare_emergencies
from smart_gateway.policy.comparing.rules import compare_rules
from smart_gateway.policy.comparing.token_kinds import Who, principal_of, whos
from smart_gateway.policy.emergencies import BreakGlass, EmergencyCall, Lift
from smart_gateway.policy.model import ClientRule, PlainScopes, Policy, UserBound, UserRule
from smart_gateway.policy.rules.labelling import LabelRule
from smart_gateway.scopes.permissions import Permission
from tests.policy.test_comparing import held
from tests.support.deciding import parse, policy, scopes

QUICK = (Phase.explicit, Phase.generate)
NOW = 1_750_000_000.0
SCOPE = "__break-glass"
RULE = BreakGlass(SCOPE, frozenset({Lift.USERS}))
READS = Permission.READ | Permission.SEARCH
OWN = {"Practitioner": UserRule(UserBound.COMPARTMENT)}
WHOLE = {"Practitioner": UserRule(UserBound.EVERYTHING)}


@pytest.mark.parametrize(
    ("part", "before", "after", "opens", "closes"),
    [
        ("lifts", frozenset({Lift.USERS}), frozenset({Lift.USERS, Lift.LABELS}), True, False),
        ("lifts", frozenset({Lift.USERS}), frozenset({Lift.LABELS}), True, True),
        ("purposes", frozenset({"BTG", "ETREAT"}), frozenset({"BTG"}), False, True),
        ("permissions", READS, READS | Permission.UPDATE, True, False),
        ("kinds", frozenset({"Practitioner"}), frozenset({"Practitioner", "Patient"}), True, False),
        ("acr_values", (), ("mfa",), False, True),
        ("acr_values", ("mfa",), ("mfa", "pin"), True, False),
        ("acr_values", ("mfa", "pin"), ("pin", "mfa"), None, None),
        ("max_duration", 1800.0, 3600.0, True, False),
        ("max_auth_age", 600.0, None, True, False),
        ("max_auth_age", None, 600.0, False, True),
        ("scope", SCOPE, "__other", True, True),
        ("reason_header", "X-Reason", "X-Why", True, True),
        ("reason_header", "X-Reason", "x-reason", None, None),
        ("purpose_header", "X-Purpose", "X-Use", True, True),
    ],
)
def test_part_by_part(part: str, before: Any, after: Any, opens: bool | None, closes: bool | None) -> None:
    one, other = replace(RULE, **{part: before}), replace(RULE, **{part: after})
    found = list(compare_emergencies(one, other))
    assert [(one.opens, one.closes, one.unknown) for one in found] == ([] if opens is None else [(opens, closes, False)])


def test_no_part_is_overlooked() -> None:
    assert {field.name for field in fields(BreakGlass)} == {
        "scope", "lifts", "reason_header", "purpose_header", "purposes", "max_duration", "permissions", "kinds", "acr_values",
        "max_auth_age",
    }  # fmt: skip


def test_a_new_one_is_told_whole() -> None:
    [found] = compare_rules(policy(), policy(break_glass=RULE))
    assert (found.before, found.opens, found.closes, found.unknown) == ("no emergency", True, False, False)
    assert found.after == "__break-glass lifts users (rs) for Practitioner, PractitionerRole, none; BTG, ETREAT; 3600 s"
    [back] = compare_rules(policy(break_glass=RULE), policy())
    assert (back.opens, back.closes) == (False, True)


def test_the_boundaries_that_it_lifts_are_told() -> None:
    groups = group_changes(compare_boundaries(policy(users=OWN), policy(users=OWN, break_glass=RULE)))
    assert all(group.emergency and group.opens and not group.closes for group in groups)
    assert {(group.users, group.contexts, group.permissions.letters) for group in groups} == {
        (("Practitioner",), ("user",), "rs"),
        (("PractitionerRole",), ("user",), "rs"),
    }


def test_what_is_lifted_anyway_does_not_change_in_an_emergency() -> None:
    old, new = policy(users=WHOLE, break_glass=RULE), policy(users=OWN, break_glass=RULE)
    changes = list(compare_boundaries(old, new))
    assert changes
    assert not any(one.opens for one in changes)
    assert not [one for one in changes if one.who.emergency and one.permission in READS and not one.before.is_everything]
    assert {one.permission for one in changes if one.who.emergency} <= {Permission.CREATE, Permission.UPDATE, Permission.DELETE}


def test_a_client_that_may_call_now_is_told() -> None:
    def limited(*plain: str) -> Policy:
        rule = ClientRule(limit=scopes("user/*.rs"), plain=PlainScopes(limit=frozenset(plain)))
        return policy(users=OWN, clients={"ehr": rule}, break_glass=RULE)

    opened = [one for one in compare_boundaries(limited(), limited(SCOPE)) if one.opens]
    assert {(one.who.client, one.who.user, one.who.emergency) for one in opened} == {
        ("ehr", "Practitioner", True),
        ("ehr", "PractitionerRole", True),
    }


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    limit = draw(st.sampled_from((None, ("user/*.rs",), ("user/Observation.rs?category=a", "patient/*.rs"))))
    plain = PlainScopes(limit=draw(st.sampled_from((frozenset({SCOPE}), frozenset({SCOPE}), frozenset()))))
    client = ClientRule(limit=None if limit is None else scopes(*limit), plain=plain)
    emergency = BreakGlass(
        draw(st.sampled_from((SCOPE, SCOPE, "__other"))),
        draw(st.frozensets(st.sampled_from(list(Lift)))),
        permissions=draw(st.sampled_from((READS, READS, Permission.READ, READS | Permission.UPDATE))),
        kinds=draw(st.sampled_from((frozenset({"Practitioner", "none"}), frozenset({"Practitioner", "Patient"})))),
    )
    return policy(
        clients=draw(st.sampled_from((None, {"app": client}))),
        users={
            kind: UserRule(draw(st.sampled_from((UserBound.EVERYTHING, UserBound.COMPARTMENT, UserBound.NOTHING))))
            for kind in ("Practitioner", "Patient")
        },
        patients=draw(st.sampled_from((None, None, "mine"))),
        labels=draw(st.sampled_from((None, (LabelRule(LabelLimit("N", "N")),), (LabelRule(LabelLimit("N", "V")),)))),
        break_glass=draw(st.sampled_from((None, emergency, emergency, emergency))),
    )


def reached(who: Who, under: Policy, asked: Asked, permission: Permission) -> Boundary:
    """What a request gets that says why; where it is refused, what one gets without."""
    principal = replace(principal_of(who, under, asked, "*"), issued_at=NOW)
    access = Access(principal, under)
    if refuse_party(access) is not None:
        return Boundary()
    if under.break_glass is not None and who.emergency:
        called = break_glass(EmergencyCall("BTG", "found unconscious"), parse("GET", "/Observation/1"), access, NOW)
        access = called if isinstance(called, Access) else access
    return access.boundary("Observation", permission)


@pytest.mark.generated
@given(old=policies(), new=policies())
@settings(max_examples=25, deadline=None, phases=QUICK)
def test_compare_agrees_with_emergencies_that_are_called(old: Policy, new: Policy) -> None:
    relation, asked = comparing._Relation("Observation", old, new), asked_by(old, new)
    for who in (replace(one, emergency=called) for one in whos(old, new, asked) for called in (False, True)):
        said = {one.permission: one for one in comparing._Both(who, old, new, asked).changes((relation,))}
        for permission in Permission:
            one, other = (reached(who, under, asked, permission) for under in (old, new))
            opens = bool(held(other) - held(one)) or (other.is_everything and not one.is_everything)
            assert not opens or said[permission].opens, (who, permission, one, other)
            assert opens or one != other or permission not in said
