"""Break-glass: who may call an emergency, what it lifts for one request, and what it never opens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smart_gateway.boundary.labels import LabelLimit
from smart_gateway.fhir.fields import parse_field
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.break_glass import break_glass
from smart_gateway.policy.emergencies import BreakGlass, EmergencyCall, Lift, StepUpWanted
from smart_gateway.policy.model import ActorRule, ClientRule, OpenedOperation, PlainScopes, Policy, UserBound, UserRule
from smart_gateway.policy.plan import Deny, Permit
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.policy.rules.labelling import LabelRule
from smart_gateway.policy.rules.plain_scopes import holds_plain
from smart_gateway.principal import Actor, Ceiling
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context
from tests.support.deciding import denied, parse, permitted, policy, principal, scopes

NOW = 1_750_000_000.0
SCOPE = "__break-glass"
RULE = BreakGlass(SCOPE, frozenset({Lift.USERS, Lift.PATIENTS, Lift.LIMIT, Lift.LABELS}))
CALL = EmergencyCall("BTG", "Patient unconscious")
READ, SEARCH, UPDATE = Permission.READ, Permission.SEARCH, Permission.UPDATE
OWN = {"Practitioner": UserRule(UserBound.COMPARTMENT)}
WHO: dict[str, Any] = {"subject": "dr", "client_id": "ehr", "fhir_user": "Practitioner/p", "issued_at": NOW - 10, "patient": None}


def access(scope: str = f"user/*.cruds {SCOPE}", under: Policy | None = None, **claims: Any) -> Access:
    return Access(principal(scope, **{**WHO, **claims}), under or policy(users=OWN, break_glass=RULE))


def called(found: Access, call: EmergencyCall = CALL, target: str = "/Observation/o1", method: str = "GET") -> Access | Deny:
    return break_glass(call, parse(method, target), found, NOW)


def lifted(found: Access, call: EmergencyCall = CALL) -> Access:
    given = called(found, call)
    assert isinstance(given, Access), given
    return given


def refused(found: Access, call: EmergencyCall = CALL, target: str = "/Observation/o1", method: str = "GET") -> str:
    given = called(found, call, target, method)
    assert isinstance(given, Deny)
    assert (given.status, given.missing) == (403, ())
    return given.causes[0].code


# --- what is lifted ---------------------------------------------------------------------------------------------------------------


def test_the_limit_of_users_is_lifted_and_what_the_scopes_leave_out_is_not() -> None:
    ordinary = access(f"user/Observation.rs?category=laboratory user/Patient.rs {SCOPE}")
    emergency = lifted(ordinary)
    assert not ordinary.boundary("Patient", READ).is_everything
    assert emergency.boundary("Patient", READ).is_everything
    assert [f.parameter for r in emergency.boundary("Observation", SEARCH).regions for f in r.filters] == ["category"]
    assert emergency.boundary("Condition", READ).is_nothing
    assert emergency.boundary("Observation", UPDATE).is_nothing


def test_limits_are_lifted_for_reading_only_unless_the_rule_says_more() -> None:
    emergency = lifted(access())
    assert emergency.boundary("Observation", READ).is_everything
    assert emergency.boundary("Observation", UPDATE) == access().boundary("Observation", UPDATE)
    assert not emergency.boundary("Observation", UPDATE).is_everything
    assert emergency.unlimited(READ)
    assert not emergency.unlimited(UPDATE)
    every = policy(users=OWN, break_glass=replace(RULE, permissions=READ | SEARCH | UPDATE))
    assert lifted(access(under=every)).boundary("Observation", UPDATE).is_everything


@pytest.mark.parametrize("wanted", ["user/*.u", "user/Encounter.u"])
@pytest.mark.parametrize("limit", [["user/Observation.cruds"], ["user/*.rs", "user/Observation.u"]])
def test_an_operation_opened_by_writing_stays_closed_where_writing_is_not_lifted(wanted: str, limit: list[str]) -> None:
    rule = ClientRule(limit=scopes(*limit), plain=PlainScopes(limit=frozenset({SCOPE})))
    operation = OpenedOperation("$my-op", frozenset({"type"}), frozenset({"GET"}), scopes=scopes(wanted))
    under = policy(clients={"ehr": rule}, operations=(operation,), break_glass=RULE)
    emergency = lifted(access(under=under))
    assert emergency.boundary("Encounter", READ).is_everything
    assert emergency.boundary_by(Context.USER, "Encounter", UPDATE).is_nothing
    for found in (access(under=under), emergency):
        assert denied(authorize(parse("GET", "/Encounter/$my-op"), found)).causes[0].code == "insufficient-scope"
    every = replace(under, break_glass=replace(RULE, permissions=READ | SEARCH | UPDATE))
    assert isinstance(authorize(parse("GET", "/Encounter/$my-op"), lifted(access(under=every))), Permit)


def test_a_plain_scope_that_the_client_may_not_have_opens_nothing_in_an_emergency() -> None:
    """What it opens may be anything, writing too."""
    rule = ClientRule(limit=scopes("user/*.cruds"), plain=PlainScopes(limit=frozenset({SCOPE})))
    operation = OpenedOperation("$my-op", frozenset({"type"}), frozenset({"GET"}), plain=frozenset({"__my-op"}))
    under = policy(clients={"ehr": rule}, operations=(operation,), break_glass=RULE)
    ordinary = access(f"user/*.cruds {SCOPE} __my-op", under=under)
    for found in (ordinary, lifted(ordinary)):
        assert denied(authorize(parse("GET", "/Encounter/$my-op"), found)).causes[0].code == "insufficient-scope"


LIMITS = [
    (Lift.USERS, {"users": OWN}),
    (Lift.PATIENTS, {"patients": "panel"}),
    (Lift.LIMIT, {"clients": {"ehr": ClientRule(limit=scopes("user/Encounter.rs"), plain=PlainScopes(limit=frozenset({SCOPE})))}}),
    (Lift.LABELS, {"labels": (LabelRule(LabelLimit(ceiling="N")),)}),
]


@pytest.mark.parametrize(("lift", "limits"), LIMITS, ids=[str(lift) for lift, _ in LIMITS])
def test_each_limit_is_lifted_by_its_own_name_and_by_no_other(lift: Lift, limits: dict[str, Any]) -> None:
    others = frozenset(Lift) - {lift}
    for lifts, open_now in ((frozenset({lift}), True), (others, False)):
        under = policy(**{"users": {"Practitioner": UserRule(UserBound.EVERYTHING)}, **limits}, break_glass=replace(RULE, lifts=lifts))
        ordinary = access(under=under)
        assert not ordinary.boundary("Observation", READ).is_everything
        assert lifted(ordinary).boundary("Observation", READ).is_everything is open_now


def test_hidden_elements_are_shown_and_what_may_be_written_stays_as_it_is() -> None:
    every = READ | SEARCH | UPDATE
    rule = FieldRule("Patient", every, hide=(parse_field("birthDate"),), only=(parse_field("telecom"),))
    for lifts, hides in ((frozenset({Lift.FIELDS}), False), (frozenset({Lift.USERS}), True)):
        emergency = lifted(access(under=policy(fields=(rule,), break_glass=replace(RULE, lifts=lifts, permissions=every))))
        assert emergency.restrictions.fields.hides is hides
        assert emergency.restrictions_for(UPDATE).fields.writing("Patient", UPDATE)
    writing = replace(RULE, lifts=frozenset({Lift.FIELDS}), permissions=UPDATE)
    assert lifted(access(under=policy(fields=(rule,), break_glass=writing))).restrictions.fields.hides


def test_nobody_known_stays_nobody() -> None:
    """A token without a usable fhirUser gets the labels lifted, and no user's rights."""
    under = policy(users=OWN, labels=(LabelRule(LabelLimit(ceiling="N")),), break_glass=RULE)
    emergency = lifted(access(f"user/*.rs patient/*.rs {SCOPE}", under, fhir_user=None, patient="123"))
    (region,) = emergency.boundary("Observation", READ).regions
    assert [str(c.ids) for c in region.compartments] == ["('123',)"]
    assert not region.labels


def test_the_patient_of_the_token_is_no_limit_of_the_policy() -> None:
    emergency = lifted(access(f"patient/*.rs {SCOPE}", patient="123"))
    assert not emergency.boundary("Observation", READ).is_everything
    assert isinstance(authorize(parse("GET", "/Patient/456"), emergency), Deny)


@pytest.mark.parametrize(
    "ceiling",
    [
        {"ceilings": (Ceiling("the issuer", scopes("user/Encounter.rs"), plain=frozenset({SCOPE})),)},
        {"actors": (Actor("robot"),)},
    ],
    ids=["issuer", "actor"],
)
def test_limits_that_are_not_the_policys_own_for_the_client_stay(ceiling: dict[str, Any]) -> None:
    actors = {"robot": ActorRule(scopes("user/Encounter.rs"), frozenset({SCOPE}))}
    emergency = lifted(access(under=policy(users=OWN, actors=actors, break_glass=RULE), **ceiling))
    assert emergency.boundary("Encounter", READ).is_everything
    assert emergency.boundary("Observation", READ).is_nothing


def test_grounds_say_that_it_was_an_emergency_and_where_its_rule_is() -> None:
    under = policy(users=OWN, break_glass=RULE, places={("break_glass",): "policy.yaml:7:1"})
    ground = lifted(access(under=under)).grounds("Observation", READ)[0]
    assert (ground.source, ground.rule, ground.result, ground.place) == ("break-glass", SCOPE, "lifts", "policy.yaml:7:1")
    assert "break-glass" not in {g.source for g in lifted(access(under=under)).grounds("Observation", UPDATE)}


def test_an_emergency_leaves_the_ordinary_access_as_it_is() -> None:
    ordinary = access()
    before = ordinary.boundary("Observation", READ)
    lifted(ordinary)
    assert ordinary.policy.emergency is None
    assert ordinary.boundary("Observation", READ) is before


def test_each_entry_of_a_batch_is_judged_in_the_emergency_writes_not() -> None:
    emergency = lifted(access())
    permitted(authorize(parse("GET", "/Observation/o1"), emergency))
    write = permitted(authorize(parse("DELETE", "/Observation/o1"), emergency))
    assert write.stored is not None  # judged by what the user may touch ordinarily


def test_a_search_by_criteria_for_a_write_sees_the_emergency_as_searches_do_and_writes_as_before() -> None:
    emergency = lifted(access())
    plan = permitted(authorize(parse("DELETE", "/Observation?code=x"), emergency))
    assert plan.criteria is not None or plan.stored is not None


# --- who, how, and how long -------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("without the scope", {"scope": "user/*.cruds"}, "break-glass-not-allowed"),
    ("a scope that only begins so", {"scope": f"user/*.rs {SCOPE}2"}, "break-glass-not-allowed"),
    ("no subject", {"subject": None}, "break-glass-not-allowed"),
    ("a patient", {"fhir_user": "Patient/1"}, "break-glass-not-allowed"),
    ("a relative", {"fhir_user": "RelatedPerson/1"}, "break-glass-not-allowed"),
    ("not said since when", {"issued_at": None}, "break-glass-over"),
    ("too old", {"issued_at": NOW - 3601}, "break-glass-over"),
    ("of a time to come", {"issued_at": NOW + 61}, "break-glass-over"),
    ("a ceiling without the scope", {"ceilings": (Ceiling("the hook", scopes("user/*.cruds")),)}, "break-glass-not-allowed"),
    ("a UMA token", {"permitted": ()}, "break-glass-not-allowed"),
]


@pytest.mark.parametrize(("claims", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_who_may_not(claims: dict[str, Any], code: str) -> None:
    assert refused(access(**claims)) == code


def test_at_its_last_second_it_is_not_over() -> None:
    assert isinstance(called(access(issued_at=NOW - 3600)), Access)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (EmergencyCall("BTG", None), "break-glass-reason"),
        (EmergencyCall("BTG", ""), "break-glass-reason"),
        (EmergencyCall(None, "why"), "break-glass-purpose"),
        (EmergencyCall("TREAT", "why"), "break-glass-purpose"),
        (EmergencyCall("btg", "why"), "break-glass-purpose"),
        (EmergencyCall("BTG, TREAT", "why"), "break-glass-purpose"),
    ],
)
def test_without_reason_or_purpose_it_is_refused(call: EmergencyCall, code: str) -> None:
    assert refused(access(), call) == code


def test_who_may_not_is_not_told_what_is_missing() -> None:
    assert refused(access("user/*.rs"), EmergencyCall("BTG", None)) == "break-glass-not-allowed"


@pytest.mark.parametrize("target", ["/$export", "/Patient/$export", "/Group/g/$export"])
def test_no_export_is_an_emergency(target: str) -> None:
    assert refused(access(f"system/*.rs {SCOPE}"), target=target) == "break-glass-export"


CLIENTS: list[tuple[str, ClientRule, bool]] = [
    ("registrations are not known", ClientRule(), True),
    ("registered", ClientRule(registered_scopes=scopes("user/*.rs"), plain=PlainScopes(registered=frozenset({SCOPE}))), True),
    ("registered for less", ClientRule(registered_scopes=scopes("user/*.rs")), False),
    ("registered for nothing", ClientRule(registered_scopes=()), False),
    ("limited to more", ClientRule(limit=scopes("user/*.rs"), plain=PlainScopes(limit=frozenset({SCOPE}))), True),
    ("limited to less", ClientRule(limit=scopes("user/*.rs")), False),
    ("pinned with it", ClientRule(pin=scopes("user/*.rs"), plain=PlainScopes(pin=frozenset({SCOPE}))), True),
    ("pinned without it", ClientRule(pin=scopes("user/*.rs")), False),
]


@pytest.mark.parametrize(("client", "may"), [case[1:] for case in CLIENTS], ids=[case[0] for case in CLIENTS])
def test_the_scope_counts_only_where_the_client_could_have_it(client: ClientRule, may: bool) -> None:
    found = access(under=policy(users=OWN, clients={"ehr": client}, break_glass=RULE))
    assert holds_plain(found, SCOPE) is may
    assert isinstance(called(found), Access) is may


def test_a_pinned_client_has_the_pinned_scope_whatever_its_token_says() -> None:
    pinned = ClientRule(pin=scopes("user/*.rs"), plain=PlainScopes(pin=frozenset({SCOPE})))
    assert isinstance(called(access("openid", policy(clients={"ehr": pinned}, break_glass=RULE))), Access)


# --- the login (RFC 9470) ---------------------------------------------------------------------------------------------------------

STRICT = replace(RULE, max_auth_age=300.0, acr_values=("mfa", "phr"))
LOGINS: list[tuple[dict[str, Any], bool]] = [
    ({"auth_time": NOW - 299, "acr": "mfa"}, True),
    ({"auth_time": int(NOW), "acr": "phr"}, True),
    ({"auth_time": NOW - 301, "acr": "mfa"}, False),
    ({"auth_time": NOW - 1, "acr": "password"}, False),
    ({"auth_time": NOW - 1}, False),
    ({"acr": "mfa"}, False),
    ({"auth_time": True, "acr": "mfa"}, False),
    ({"auth_time": str(NOW), "acr": "mfa"}, False),
    ({"auth_time": NOW + 3600, "acr": "mfa"}, False),
    ({"auth_time": float("nan"), "acr": "mfa"}, False),
    ({"auth_time": NOW, "acr": ["mfa"]}, False),
    ({"auth_time": NOW, "acr": "mfa phr"}, False),
]


@pytest.mark.parametrize(("claims", "enough"), LOGINS, ids=[str(claims) for claims, _ in LOGINS])
def test_a_login_that_is_fresh_and_strong(claims: dict[str, Any], enough: bool) -> None:
    found = access(under=policy(users=OWN, break_glass=STRICT), claims=claims)
    if enough:
        assert isinstance(called(found), Access)
        return
    with pytest.raises(StepUpWanted) as wanted:
        called(found)
    assert (wanted.value.acr_values, wanted.value.max_age) == (("mfa", "phr"), 300)


def test_who_may_not_is_not_asked_to_log_in() -> None:
    assert refused(access("user/*.rs", policy(users=OWN, break_glass=STRICT))) == "break-glass-not-allowed"


def test_a_hint_in_an_emergency_is_that_of_the_emergency() -> None:
    """A scope that helps with the limit lifted is one that the client can ask for; what stays out of reach is not hinted at."""
    emergency = lifted(access(f"user/Patient.rs {SCOPE}"))
    found = denied(authorize(parse("GET", "/Observation/o1"), emergency))
    assert [m.scope for m in found.missing] == ["user/Observation.r"]
    assert not isinstance(authorize(parse("GET", "/Patient/p1"), emergency), Deny)
    assert isinstance(authorize(parse("GET", "/Patient/p1"), emergency), Permit)
