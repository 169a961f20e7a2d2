"""Limits on security labels, as decisions meet them: every interaction goes by them, and nothing is unbounded under one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_gateway.boundary.labels import CONFIDENTIALITY, LADDER, LabelLimit
from smart_gateway.boundary.matching import INSIDE
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.policy.plan import AnswerToWrite, CheckHistory, CheckResource, CheckSearchset, Stream
from smart_gateway.policy.rules.labelling import LabelRule, Raise
from smart_gateway.policy.rules.whom import Whom
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context
from tests.support.deciding import decide, denied, permitted, policy, principal, scopes, sent

EVERYTHING = "user/*.cruds"
NORMAL = LabelRule(LabelLimit("N", "N"))
RAISED = LabelRule(
    LabelLimit("N", "N", ("http://acme.example|SUD",)),
    raised_by=(Raise("__restricted", "R"), Raise("__sud", None, ("http://acme.example|SUD",))),
)
ABOVE = "&".join(f"_security:not={CONFIDENTIALITY}%7C{code}" for code in "RV")


def under(*rules: LabelRule, **choices: Any) -> Policy:
    return policy(labels=rules, **choices)


def access(scope: str, by: Policy, **claims: Any) -> Access:
    claims.setdefault("fhir_user", "Practitioner/1")
    return Access(principal(scope, **claims), by)


def ceiling(scope: str, by: Policy, type: str = "Observation", **claims: Any) -> str | None:
    """The ceiling of a search; None where there is no limit."""
    boundary = access(scope, by, **claims).boundary(type, Permission.SEARCH)
    found = {limit.ceiling for region in boundary.regions for limit in region.labels}
    assert len(found) < 2
    return next(iter(found), None)


def test_nothing_is_unlimited_under_a_limit() -> None:
    bounded, free = access(EVERYTHING, under(NORMAL)), access(EVERYTHING, policy())
    for permission in Permission:
        assert free.unlimited(permission)
        assert not bounded.unlimited(permission)
        assert not bounded.boundary("Observation", permission).is_everything
    assert free.sees_all
    assert not bounded.sees_all


def test_a_limit_that_limits_nothing_leaves_everything() -> None:
    assert access(EVERYTHING, under(LabelRule(LabelLimit()))).sees_all
    assert (
        access(EVERYTHING, under(LabelRule(LabelLimit("N", "N"), types=frozenset({"Patient"}))))
        .boundary("Observation", Permission.READ)
        .is_everything
    )
    assert not access(EVERYTHING, under(LabelRule(LabelLimit("N", "N"), types=frozenset({"Patient"})))).sees_all


def test_a_limit_for_some_permissions_leaves_the_others() -> None:
    reads = access(EVERYTHING, under(LabelRule(LabelLimit("N", "N"), permissions=Permission.READ | Permission.SEARCH)))
    assert reads.unlimited(Permission.CREATE)
    assert not reads.unlimited(Permission.READ)


@pytest.mark.parametrize(
    ("method", "target", "rule"),
    [
        ("GET", "/Observation/1", CheckResource),
        ("GET", "/Observation/1/_history/1", CheckResource),
        ("GET", "/Observation/1/_history", CheckHistory),
        ("GET", "/Observation/_history", CheckHistory),
        ("GET", "/_history", CheckHistory),
        ("GET", "/Observation", CheckSearchset),
        ("GET", "/Patient/1/Observation", CheckSearchset),
        ("GET", "/Patient/1/$everything", CheckSearchset),
        ("PUT", "/Observation/1", AnswerToWrite),
        ("PATCH", "/Observation/1", AnswerToWrite),
        ("DELETE", "/Observation/1", AnswerToWrite),
        ("POST", "/Observation", AnswerToWrite),
    ],
)
def test_every_interaction_is_judged(method: str, target: str, rule: type) -> None:
    headers = {"content-type": "application/fhir+json"} if method in {"PUT", "PATCH", "POST"} else None
    asked = {"fhir_user": "Practitioner/1", "headers": headers}
    assert not isinstance(permitted(decide(method, target, EVERYTHING, under=under(NORMAL), **asked)).answer, Stream)
    assert isinstance(permitted(decide(method, target, EVERYTHING, under=under(NORMAL), **asked)).answer, rule)
    assert isinstance(permitted(decide(method, target, EVERYTHING, **asked)).answer, Stream | AnswerToWrite | CheckSearchset)


def test_a_write_asks_what_is_stored_first() -> None:
    for method in ("PUT", "DELETE"):
        plan = permitted(decide(method, "/Observation/1", EVERYTHING, under=under(NORMAL), fhir_user="Practitioner/1"))
        assert plan.stored is not None
        assert plan.stored.boundary.regions[0].labels == (NORMAL.limit,)


def test_a_search_is_narrowed_and_never_counted() -> None:
    asked = {"under": under(NORMAL), "fhir_user": "Practitioner/1"}
    assert sent(decide("GET", "/Observation", EVERYTHING, **asked)) == f"GET /Observation?{ABOVE}"
    assert sent(decide("GET", "/Observation?_total=accurate", EVERYTHING, **asked)) == f"GET /Observation?{ABOVE}"
    assert denied(decide("GET", "/Observation?_summary=count", EVERYTHING, **asked)).causes[0].code == "inexact-count"
    assert denied(decide("GET", "/Observation?_count=0", EVERYTHING, **asked)).causes[0].code == "inexact-count"


def test_a_search_by_required_labels_is_exact() -> None:
    plan = permitted(
        decide(
            "GET",
            "/Observation?_summary=count",
            EVERYTHING,
            under=under(LabelRule(LabelLimit(required=("s|x",)))),
            fhir_user="Practitioner/1",
        )
    )
    assert isinstance(plan.answer, CheckSearchset)
    assert plan.answer.exact


@pytest.mark.parametrize("query", ["_summary=true", "_summary=text", "_summary=data"])
def test_a_summary_may_not_leave_the_labels_out(query: str) -> None:
    decision = decide("GET", f"/Observation?{query}", EVERYTHING, under=under(NORMAL), fhir_user="Practitioner/1")
    if query.endswith("data"):
        permitted(decision)
    else:
        assert denied(decision).causes[0].code == "summary-hides-check"


def test_elements_are_not_asked_for() -> None:
    assert "_elements" not in sent(
        decide("GET", "/Observation?_elements=code", EVERYTHING, under=under(NORMAL), fhir_user="Practitioner/1")
    )


@pytest.mark.parametrize("query", ["subject:Patient.name=x", "_has:Provenance:target:agent=Practitioner/1"])
def test_nothing_is_chained_through_what_may_be_hidden(query: str) -> None:
    asked = decide("GET", f"/Observation?{query}", EVERYTHING, under=under(NORMAL), fhir_user="Practitioner/1")
    assert denied(asked).causes[0].code == "chain-not-allowed"
    assert not denied(asked).missing  # no scope helps


def test_an_export_is_refused() -> None:
    claims = {"client_id": "backend"}
    by = {"clients": {"backend": ClientRule(system_role=True)}}
    permitted(
        decide(
            "GET",
            "/$export",
            "system/*.rs",
            under=policy(**by),
            headers={"prefer": "respond-async", "accept": "application/fhir+json"},
            **claims,
        )
    )
    denied(
        decide(
            "GET",
            "/$export",
            "system/*.rs",
            under=under(NORMAL, **by),
            headers={"prefer": "respond-async", "accept": "application/fhir+json"},
            **claims,
        )
    )
    bound = access("system/*.rs", under(NORMAL, **by), **claims).boundary_by(Context.SYSTEM, "Observation", Permission.READ)
    assert not bound.is_everything


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        (EVERYTHING, "N"),
        (f"{EVERYTHING} __restricted", "R"),
        (f"{EVERYTHING} __Restricted", "N"),
        (f"{EVERYTHING} __sud", "N"),
        (f"{EVERYTHING} __sud __restricted", "R"),
    ],
)
def test_named_scopes_raise_the_ceiling(scope: str, found: str) -> None:
    assert ceiling(scope, under(RAISED)) == found


def test_named_scopes_allow_labels() -> None:
    boundary = access(f"{EVERYTHING} __sud", under(RAISED)).boundary("Observation", Permission.READ)
    assert boundary.regions[0].labels == (LabelLimit("N", "N"),)


def test_a_scope_that_the_policy_takes_away_raises_nothing() -> None:
    scope = f"{EVERYTHING} __restricted"
    for rule in (
        ClientRule(pin=scopes(EVERYTHING)),
        ClientRule(limit=scopes(EVERYTHING)),
        ClientRule(registered_scopes=scopes(EVERYTHING)),
    ):
        assert ceiling(scope, under(RAISED, clients={"app": rule}), client_id="app") == "N"
    assert ceiling(scope, under(RAISED, clients={"app": ClientRule()}), client_id="app") == "R"


def test_rules_say_whom_they_are_for() -> None:
    research = LabelRule(LabelLimit("L", "N"), Whom(claims=(("purpose_of_use", frozenset({"HRESCH"})),)), path=("labels", 1))
    app = LabelRule(LabelLimit("M", "M"), Whom(clients=frozenset({"app"}), kinds=frozenset({"Patient"})), path=("labels", 2))
    by = under(LabelRule(LabelLimit("R", "N"), path=("labels", 0)), research, app)

    def limits(**claims: Any) -> list[str]:
        boundary = access("user/*.rs", by, **claims).boundary("Observation", Permission.READ)
        return [limit.ceiling for region in boundary.regions for limit in region.labels]

    assert limits() == ["R"]
    assert limits(claims={"purpose_of_use": "HRESCH"}) == ["R", "L"]
    assert limits(claims={"purpose_of_use": ["TREAT", "HRESCH"]}) == ["R", "L"]
    assert limits(claims={"purpose_of_use": "TREAT"}) == ["R"]
    assert limits(claims={"purpose_of_use": {"code": "TREAT"}}) == ["R", "L"]  # it cannot be read: the limit holds
    assert limits(client_id="app") == ["R"]
    assert limits(client_id="app", fhir_user="Patient/1") == ["R", "M"]


def test_who_is_met_by_no_rule_gets_nothing() -> None:
    by = under(LabelRule(LabelLimit("R", "N"), Whom(clients=frozenset({"app"}))))
    assert access(EVERYTHING, by).boundary("Observation", Permission.READ).is_nothing
    assert not access(EVERYTHING, by).sees_all
    assert not access(EVERYTHING, by, client_id="app").boundary("Observation", Permission.READ).is_nothing
    refused = denied(decide("GET", "/Observation", EVERYTHING, under=by, fhir_user="Practitioner/1"))
    assert not refused.missing
    assert any(ground.source == "labels" and ground.result == "denies" for ground in refused.grounds)
    assert access(EVERYTHING, under()).boundary("Observation", Permission.READ).is_nothing


@pytest.mark.parametrize("said", [{"code": "TREAT"}, [{"code": "TREAT"}], [["TREAT"]], ["TREAT", None], "TREAT" * 200, 1.5, "\u0000"])
def test_a_claim_that_cannot_be_read_opens_no_more_than_none(said: Any) -> None:
    """Rules that a purpose of use asks for leave something to those who have it: an unreadable one is nobody's."""
    treating = LabelRule(LabelLimit("R", "N"), Whom(claims=(("purpose", frozenset({"TREAT"})),)))
    low = LabelRule(LabelLimit("L", "N"))
    for claims in ({}, {"purpose": said}):
        assert access(EVERYTHING, under(treating), claims=claims).boundary("Observation", Permission.READ).is_nothing
    assert not access(EVERYTHING, under(treating), claims={"purpose": "TREAT"}).boundary("Observation", Permission.READ).is_nothing
    [region] = access(EVERYTHING, under(low, treating), claims={"purpose": said}).boundary("Observation", Permission.READ).regions
    assert [limit.ceiling for limit in region.labels] == ["L", "R"]


def test_grounds_name_the_rule_and_where_it_is_written() -> None:
    by = under(NORMAL, places={("labels",): "policy.yaml:3:5"})
    (ground,) = (one for one in access(EVERYTHING, by).grounds("Observation", Permission.READ) if one.source == "labels")
    assert (ground.rule, ground.result, ground.place) == ("labels", "limits", "policy.yaml:3:5")
    assert "confidentiality up to N" in ground.text


codes = st.sampled_from([*LADDER, "X", None])
rules = st.builds(
    lambda ceiling, unlabelled, forbidden, required, permissions: LabelRule(
        LabelLimit(ceiling, unlabelled, forbidden, required), permissions=permissions
    ),
    st.sampled_from(LADDER),
    st.sampled_from(LADDER),
    st.lists(st.sampled_from(["http://acme.example|SUD", "HIV"]), max_size=1).map(tuple),
    st.lists(st.just("http://acme.example|RESEARCH"), max_size=1).map(tuple),
    st.sampled_from([Permission.READ, Permission.READ | Permission.SEARCH, Permission.UPDATE]),
)
resources = st.builds(
    lambda code, more, owner: {
        "resourceType": "Observation",
        "id": "o",
        "subject": {"reference": f"Patient/{owner}"},
        "meta": {"security": [*([{"system": CONFIDENTIALITY, "code": code}] if code else []), *more]},
    },
    codes,
    st.lists(
        st.sampled_from(
            [{"system": "http://acme.example", "code": "SUD"}, {"code": "HIV"}, {"system": "http://acme.example", "code": "RESEARCH"}]
        ),
        max_size=2,
    ),
    st.sampled_from(["123", "other"]),
)


@pytest.mark.generated
@given(
    first=st.lists(rules, min_size=1, max_size=2),
    more=rules,
    resource=resources,
    scope=st.sampled_from(["patient/*.rs", "user/*.cruds", "patient/Observation.r", "user/Observation.rs?status=final"]),
)
@settings(max_examples=800, deadline=None)
def test_one_more_rule_never_opens_anything(first: list[LabelRule], more: LabelRule, resource: dict[str, Any], scope: str) -> None:
    free, before, after = (access(scope, by) for by in (policy(), under(*first), under(*first, more)))
    for permission in (Permission.READ, Permission.SEARCH, Permission.UPDATE):
        admitted = [
            one.matcher.admits(one.boundary("Observation", permission), resource, "Observation") is INSIDE for one in (free, before, after)
        ]
        assert admitted == sorted(admitted, reverse=True)
        assert not (after.unlimited(permission) and not before.unlimited(permission))
