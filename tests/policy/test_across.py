"""Searches over several types, and by several parameters: what is asked, and what is refused (semantics 4)."""

from __future__ import annotations

import pytest

from smart_gateway.boundary.model import Filter
from smart_gateway.errors import NotAcceptable, RequestError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.releases import Release
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.explanation import explain_decision
from smart_gateway.policy.model import Capabilities, ClientRule
from smart_gateway.policy.plan import CheckSearchset, CheckUnion, Decision, EmptySearchset, SortKey, Stream
from smart_gateway.policy.searching import plan_search
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, parse, permitted, policy, principal, scopes, sent

UNION = policy(compartment_search="union")
NO_SYSTEM_SEARCH = policy(capabilities=Capabilities({t: frozenset({"patient", "_id"}) for t in ("Observation", "Patient")}, False))


def union(decision: Decision) -> CheckUnion:
    plan = permitted(decision)
    assert isinstance(plan.answer, CheckUnion)
    assert plan.upstream is None
    return plan.answer


def asked(decision: Decision) -> list[str]:
    return [f"{branch.upstream.method} {branch.upstream.target}" for branch in union(decision).branches]


@pytest.mark.parametrize(
    ("target", "scope", "expected"),
    [
        ("/Observation?code=x", "patient/Observation.rs", [f"Observation?code=x&{by}=Patient/123" for by in ("subject", "performer")]),
        ("/Patient/123/Observation", "patient/Observation.rs", ["Observation?subject=Patient/123", "Observation?performer=Patient/123"]),
        (
            "/Encounter/9/Observation",
            "patient/Observation.rs",
            ["Observation?encounter=Encounter/9&subject=Patient/123", "Observation?encounter=Encounter/9&performer=Patient/123"],
        ),
        ("/Condition", "patient/Condition.rs", ["Condition?patient=Patient/123", "Condition?asserter=Patient/123"]),
        ("/Patient/9/Observation", "system/Observation.rs", ["Observation?subject=Patient/9", "Observation?performer=Patient/9"]),
        ("/Patient/9/Observation", "system/*.rs", ["Observation?subject=Patient/9", "Observation?performer=Patient/9"]),
        (
            "/Observation",
            "patient/Observation.rs?category=laboratory",
            ["Observation?subject=Patient/123&category=laboratory", "Observation?performer=Patient/123&category=laboratory"],
        ),
    ],
)  # fmt: skip
def test_each_inclusion_parameter_is_a_branch(target: str, scope: str, expected: list[str]) -> None:
    assert asked(decide("GET", target, scope, under=UNION)) == [f"GET /{each}" for each in expected]


@pytest.mark.parametrize(
    ("target", "scope", "expected"),
    [
        ("/Patient", "patient/Patient.rs", "GET /Patient?_id=123"),
        ("/Patient/123/Patient", "patient/Patient.rs", "GET /Patient?_id=123"),
        ("/Organization?name=x", "patient/Organization.rs", "GET /Organization?name=x"),
        ("/Device", "patient/Device.rs", "GET /Device?patient=Patient/123"),
        ("/Encounter", "patient/Encounter.rs", "GET /Encounter?patient=Patient/123"),
        ("/Observation", "system/Observation.rs", "GET /Observation"),
        ("/Observation", "system/*.rs", "GET /Observation"),
    ],
)
def test_one_search_is_enough_where_there_is_one_parameter(target: str, scope: str, expected: str) -> None:
    assert sent(decide("GET", target, scope, under=UNION)) == expected


def test_a_branch_leaves_to_those_before_it_what_they_find() -> None:
    first, second = union(decide("GET", "/Observation", "patient/Observation.rs", under=UNION)).branches
    assert first.unless == ()
    assert second.unless == (Filter("subject", None, ("Patient/123",)),)
    branches = union(
        decide("GET", "/Patient/9/Observation", "patient/Observation.rs system/Observation.s?status=final", under=UNION)
    ).branches
    assert [branch.unless for branch in branches] == [(), (Filter("subject", None, ("Patient/9",)),)]


def test_only_parameters_that_the_upstream_has_are_asked_by() -> None:
    for had, expected in (
        ({"subject", "code"}, "GET /Observation?subject=Patient/123"),
        ({"patient"}, "GET /Observation?patient=Patient/123"),
        ({"code"}, "GET /Observation"),
    ):
        under = policy(compartment_search="union", capabilities=Capabilities({"Observation": frozenset(had)}))
        assert sent(decide("GET", "/Observation", "patient/Observation.rs", under=under)) == expected
    under = policy(compartment_search="union", capabilities=Capabilities({"Observation": frozenset({"patient", "performer"})}))
    assert len(asked(decide("GET", "/Observation", "patient/Observation.rs", under=under))) == 2


def test_what_the_policy_adds_to_a_compartment_is_a_branch_too() -> None:
    under = policy(compartment_search="union", compartment_additions={"Observation": ("focus",)})
    assert "GET /Observation?focus=Patient/123" in asked(decide("GET", "/Observation", "patient/Observation.rs", under=under))


@pytest.mark.parametrize("release", list(Release))
def test_every_way_into_the_compartment_is_asked(release: Release) -> None:
    under = policy(release, compartment_search="union")
    access = Access(principal("patient/*.rs"), under)
    types = [type for type in sorted(under.vocabulary.types) if under.rules.covers("Patient", type)]
    assert len(types) > 60
    for type in types:
        if access.boundary(type, Permission.SEARCH).is_nothing:
            continue
        plan = permitted(plan_search(FhirRequest(Interaction.SEARCH_TYPE, "GET", type), access))
        upstreams = [b.upstream for b in plan.answer.branches] if isinstance(plan.answer, CheckUnion) else [plan.upstream]
        codes = [name for upstream in upstreams if upstream is not None for name, _ in upstream.query]
        defined = [under.vocabulary.parameter(type, code) for code in under.rules.inclusion("Patient", type)]
        assert codes == ([p.code for p in defined if p is not None and "Patient" in p.targets] if type != "Patient" else ["_id"])


def test_pages_and_order_of_a_union() -> None:
    found = union(decide("GET", "/Observation?_sort=-date,_lastUpdated&_count=5&_total=accurate", "patient/Observation.rs", under=UNION))
    assert (found.type, found.count) == ("Observation", 5)
    assert found.sort == (SortKey("date", True), SortKey("_lastUpdated"))
    assert all(("_total", "accurate") not in branch.upstream.query for branch in found.branches)
    assert not any(branch.rule.exact for branch in found.branches)
    huge = union(decide("GET", "/Observation?_count=999999", "patient/Observation.rs", under=UNION))
    assert ("_count", "1000") in huge.branches[0].upstream.query


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/?_type=Observation,Patient", ["GET /Observation?patient=Patient/123", "GET /Patient?_id=123"]),
        ("/?_type=Observation,Observation,Patient", ["GET /Observation?patient=Patient/123", "GET /Patient?_id=123"]),
        (
            "/?_type=Observation,Patient&_lastUpdated=gt2020&_include=Observation:subject",
            [
                "GET /Observation?_lastUpdated=gt2020&_include=Observation:subject&patient=Patient/123",
                "GET /Patient?_lastUpdated=gt2020&_id=123",
            ],
        ),
        ("/Patient/123/*?_type=Condition,Patient", ["GET /Condition?patient=Patient/123", "GET /Patient?_id=123"]),
        (
            "/Encounter/9/*?_type=Condition,Observation",
            ["GET /Condition?encounter=Encounter/9&patient=Patient/123", "GET /Observation?encounter=Encounter/9&patient=Patient/123"],
        ),
    ],
)
def test_types_are_asked_one_by_one(target: str, expected: list[str]) -> None:
    assert asked(decide("GET", target, "patient/*.rs")) == expected


def test_a_post_is_forwarded_as_posts() -> None:
    branches = union(decide("POST", "/_search", "patient/*.rs", form="_type=Patient,Observation&_id=123")).branches
    assert [(b.upstream.method, b.upstream.path, b.upstream.form) for b in branches] == [
        ("POST", ("Patient", "_search"), (("_id", "123"),)),
        ("POST", ("Observation", "_search"), (("_id", "123"), ("patient", "Patient/123"))),
    ]


def test_one_type_is_one_search() -> None:
    plan = permitted(decide("GET", "/?_type=Observation", "patient/*.rs"))
    assert isinstance(plan.answer, CheckSearchset)
    assert plan.answer.type == "Observation"


def test_a_whole_compartment_is_the_types_that_may_be_searched() -> None:
    found = union(decide("GET", "/Patient/123/*", "patient/Observation.rs patient/Condition.s patient/Encounter.r patient/Organization.rs"))
    assert [branch.rule.type for branch in found.branches] == ["Condition", "Observation"]
    every = union(decide("GET", "/Patient/123/*", "patient/*.rs"))
    assert len(every.branches) > 60
    assert "Device" in {branch.rule.type for branch in every.branches}
    had = Capabilities({type: frozenset({"patient"}) for type in ("Observation", "Condition", "Schedule")})
    plan = permitted(decide("GET", "/Patient/123/*", "patient/*.rs", under=policy(capabilities=had)))
    assert isinstance(plan.answer, CheckUnion)
    assert [branch.rule.type for branch in plan.answer.branches] == ["Condition", "Observation"]
    assert any("Schedule is left out" in check for check in plan.checks)


def test_a_compartment_of_somebody_else_has_no_part() -> None:
    refusal = denied(decide("GET", "/Patient/456/*", "patient/*.rs"))
    assert (refusal.status, refusal.causes[0].code) == (403, "foreign-patient")
    allowed = permitted(decide("GET", "/Patient/456/*", "patient/*.rs system/Condition.rs"))
    assert isinstance(allowed.answer, CheckSearchset)
    assert allowed.answer.type == "Condition"
    assert (
        denied(decide("GET", "/Patient/456/*?_type=Condition,Observation", "patient/*.rs system/Condition.rs")).causes[0].code
        == "foreign-patient"
    )
    empty = permitted(decide("GET", "/Patient/456/*", "patient/*.rs", under=policy(foreign_patient_search="empty")))
    assert empty.answer == EmptySearchset(None)


@pytest.mark.parametrize(
    ("target", "code", "expression"),
    [
        ("/", "types-required", "http._type"),
        ("/?_id=1", "types-required", "http._type"),
        ("/?_type=Observation,Patient&_summary=count", "union-count", "http._summary"),
        ("/?_type=Observation,Patient&_sort=date", "malformed", None),
        ("/?_type=Observation,Patient&_sort=_id", "sort-not-mergeable", "http._sort"),
        ("/?_type=Observation,Patient&_filter=x", "parameter-not-allowed", "http._filter"),
        ("/Patient/123/*?_sort=_lastUpdated", "too-many-searches", "http._sort"),
        ("/?_getpages=x", "foreign-page", "http._getpages"),
    ],
)
def test_refusals(target: str, code: str, expression: str | None) -> None:
    if code == "malformed":
        with pytest.raises(RequestError):
            decide("GET", target, "patient/*.rs")
        return
    refusal = denied(decide("GET", target, "patient/*.rs"))
    assert (refusal.status, refusal.causes[0].code, refusal.causes[0].expression) == (403, code, expression)


@pytest.mark.parametrize("target", ["/?_type=Observation,Condition,Goal", "/Patient/123/*?_type=Observation,Condition,Goal"])
def test_each_type_without_its_scope_is_named(target: str) -> None:
    refusal = denied(decide("GET", target, "patient/Observation.rs patient/Goal.r"))
    assert [cause.code for cause in refusal.causes] == ["insufficient-scope", "insufficient-scope"]
    assert ["Condition" in refusal.causes[0].text, "Goal" in refusal.causes[1].text] == [True, True]
    assert [missing.scope for missing in refusal.missing] == ["patient/Condition.s", "patient/Goal.s"]


@pytest.mark.parametrize(
    "target",
    [
        "/?_type=Observation,Nonsense",
        "/?_type=",
        "/?_type=observation",
        "/?_type=Observation&_type=Patient",
        "/?_type:not=Observation",
        "/?_type=Observation,Patient&code=x",
        "/?_type=Observation,Patient&nonsense=1",
        "/Patient/123/*?_type=Organization",
        "/Patient/123/*?code=x",
    ],
)
def test_broken_parameters_are_refused(target: str) -> None:
    with pytest.raises(RequestError) as error:
        decide("GET", target, "patient/*.rs")
    assert error.value.status == 400
    assert error.value.expression is not None


def test_a_bounded_search_is_answered_in_json() -> None:
    with pytest.raises(NotAcceptable):
        decide("GET", "/?_type=Observation,Patient", "patient/*.rs", headers={"Accept": "application/fhir+xml"})


def test_without_a_bound_the_upstream_is_asked_as_the_client_asks() -> None:
    for target in ("/?_type=Observation,Patient", "/?_id=1", "/?_getpages=x"):
        plan = permitted(decide("GET", target, "system/*.rs"))
        assert plan.answer == Stream()
    posted = permitted(decide("POST", "/_search", "system/*.rs", form="_type=Patient"))
    assert posted.upstream is not None
    assert (posted.upstream.method, posted.upstream.path, posted.upstream.form) == ("POST", ("_search",), (("_type", "Patient"),))


def test_without_a_bound_and_without_system_search_types_are_asked_one_by_one() -> None:
    found = asked(decide("GET", "/?_type=Observation,Patient&_id=1", "system/*.rs", under=NO_SYSTEM_SEARCH))
    assert found == ["GET /Observation?_id=1", "GET /Patient?_id=1"]
    assert permitted(decide("GET", "/?_getpages=x", "system/*.rs", under=NO_SYSTEM_SEARCH)).answer == Stream()


def test_a_policy_that_limits_the_client_bounds_each_type() -> None:
    under = policy(clients={"*": ClientRule(limit=scopes("patient/Observation.rs"), system_role=True)})
    assert denied(decide("GET", "/?_type=Observation,Patient", "system/*.rs", under=under)).causes[0].code == "insufficient-scope"
    assert isinstance(permitted(decide("GET", "/?_type=Observation", "system/*.rs", under=under)).answer, CheckSearchset)


def test_a_compartment_that_the_upstream_cannot_search_is_refused_by_name() -> None:
    under = policy(capabilities=Capabilities({"Observation": frozenset({"code"})}))
    with pytest.raises(RequestError) as error:
        decide("GET", "/Encounter/9/Observation", "system/Observation.rs", under=under)
    assert (error.value.status, error.value.reason) == (400, "compartment-not-searchable")


def test_explain_names_every_search() -> None:
    request = parse("GET", "/Observation")
    access = Access(principal("patient/Observation.rs"), UNION)
    shown = explain_decision(request, authorize(request, access), access)
    assert [upstream["target"] for upstream in shown["upstream"]] == [
        "/Observation?subject=Patient/123",
        "/Observation?performer=Patient/123",
    ]
