"""Operations that the policy opens: by which scopes, where, with what (semantics 8)."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.errors import MethodNotAllowed, RequestError
from smart_gateway.policy.model import ClientRule, OpenedOperation, OperationAnswer, PlainScopes, Policy, UserBound, UserRule
from smart_gateway.policy.operations.checks import CheckOpened
from smart_gateway.policy.plan import Permit, StoredCheck, Stream
from tests.support.deciding import decide, denied, permitted, policy, scopes, sent

MINE = "/Patient/123/$my-op"


def opened(**choices: Any) -> Policy:
    clients = choices.pop("clients", None)
    defaults: dict[str, Any] = {
        "name": "$my-op",
        "levels": frozenset({"instance", "type", "system"}),
        "methods": frozenset({"GET", "HEAD"}),
        "plain": frozenset({"__my-op"}),
    }
    return policy(operations=(OpenedOperation(**{**defaults, **choices}),), clients=clients)


@pytest.mark.parametrize(
    ("scope", "permitted_too"),
    [
        ("patient/*.rs __my-op", True),
        ("patient/*.rs", False),
        ("patient/*.rs __my-o", False),
        ("patient/*.rs __MY-OP", False),
        ("user/*.cruds system/*.cruds", False),
    ],
)
def test_a_plain_scope_opens_it(scope: str, *, permitted_too: bool) -> None:
    decision = decide("GET", MINE, scope, under=opened(), fhir_user="Practitioner/p")
    assert isinstance(decision, Permit) is permitted_too
    if not permitted_too:
        assert denied(decision).causes[0].code == "insufficient-scope"


@pytest.mark.parametrize("uri", ["https://apps.example/scopes/score", "urn:example:score"])
def test_a_scope_may_be_a_uri(uri: str) -> None:
    under = opened(plain=frozenset({uri}))
    assert isinstance(decide("GET", MINE, f"patient/*.rs {uri}", under=under), Permit)
    for other in (f"{uri}s", uri.upper(), f"{uri}/", "patient/*.rs"):
        assert denied(decide("GET", MINE, f"patient/*.rs {other}", under=under)).causes[0].code == "insufficient-scope"


@pytest.mark.parametrize(
    ("wanted", "scope", "permitted_too"),
    [
        ("patient/Patient.u", "patient/Patient.ru", True),
        ("patient/Patient.u", "patient/Patient.r", False),
        ("patient/Patient.u", "user/Patient.u", False),
        ("patient/Patient.rs", "patient/*.rs", True),
        ("patient/*.rs", "patient/*.rs", True),
        ("patient/*.rs", "patient/Patient.rs patient/Observation.rs", False),
        ("system/*.rs", "patient/*.rs", False),
    ],
)
def test_a_scope_for_resources_opens_it(wanted: str, scope: str, *, permitted_too: bool) -> None:
    under = opened(plain=frozenset(), scopes=scopes(wanted))
    assert isinstance(decide("GET", MINE, scope, under=under), Permit) is permitted_too


@pytest.mark.parametrize(
    ("rule", "permitted_too"),
    [
        (ClientRule(), True),
        (ClientRule(limit=scopes("patient/*.rs")), False),
        (ClientRule(limit=scopes("patient/*.rs"), plain=PlainScopes(limit=frozenset({"__my-op"}))), True),
        (ClientRule(registered_scopes=scopes("patient/*.rs"), intersect_registered=True), False),
        (ClientRule(pin=scopes("patient/*.rs")), False),
    ],
)
def test_what_limits_a_client_limits_its_plain_scopes(rule: ClientRule, *, permitted_too: bool) -> None:
    decision = decide("GET", MINE, "patient/*.rs __my-op", under=opened(clients={"c": rule}), client_id="c")
    assert isinstance(decision, Permit) is permitted_too


@pytest.mark.parametrize(
    ("scope", "choices", "permitted_too"),
    [
        ("user/*.rs", {}, True),
        ("patient/*.rs", {}, True),
        ("system/*.rs", {}, True),
        ("system/*.rs", {"clients": {"*": ClientRule()}}, False),
        ("user/*.rs", {"clients": {"*": ClientRule(limit=scopes("user/*.rs"))}}, True),
        ("user/*.rs", {"clients": {"*": ClientRule(limit=scopes("user/Observation.rs"))}}, False),
        ("user/*.rs", {"clients": {"*": ClientRule(limit=scopes("user/*.r"))}}, False),
        ("user/*.rs", {"clients": {"*": ClientRule(limit=())}}, False),
        ("user/*.rs", {"clients": {}}, False),
        ("user/*.rs", {"users": {}}, False),
        ("user/*.rs", {"users": {"Practitioner": UserRule(scopes=scopes("user/Observation.rs"))}}, False),
        ("user/*.rs", {"users": {"Practitioner": UserRule(scopes=scopes("user/*.rs?_tag=a"))}}, False),
        ("user/*.rs", {"users": {"Practitioner": UserRule(UserBound.COMPARTMENT)}}, True),
        ("user/*.rs", {"patients": "missing"}, False),
        ("user/*.rs", {"labels": ()}, False),
    ],
)
def test_a_scope_for_all_types_counts_only_where_nothing_takes_types_from_it(scope: str, choices: Any, *, permitted_too: bool) -> None:
    rule = OpenedOperation("$my-op", frozenset({"system"}), frozenset({"GET"}), scopes=scopes(scope), answer=OperationAnswer.NONE)
    decision = decide("GET", "/$my-op", scope, under=policy(operations=(rule,), **choices), fhir_user="Practitioner/p")
    assert isinstance(decision, Permit) is permitted_too


def test_a_scope_for_all_types_needs_its_context() -> None:
    under = opened(plain=frozenset(), scopes=scopes("patient/*.rs", "user/*.rs"))
    assert isinstance(decide("GET", "/$my-op", "patient/*.rs", under=under), Permit)
    denied(decide("GET", "/$my-op", "patient/*.rs", under=under, patient=None))
    denied(decide("GET", "/$my-op", "user/*.rs", under=under))


def test_a_client_that_is_not_named_opens_nothing() -> None:
    assert denied(decide("GET", MINE, "patient/*.rs __my-op", under=opened(clients={}), client_id="c")).status == 403


@pytest.mark.parametrize(
    ("target", "levels", "types", "permitted_too"),
    [
        ("/$my-op", {"system"}, None, True),
        ("/Patient/$my-op", {"type"}, None, True),
        ("/Patient/$my-op", {"instance", "system"}, None, False),
        ("/$my-op", {"type"}, None, False),
        ("/Patient/$my-op", {"type"}, {"Observation"}, False),
        ("/Patient/$other", {"type"}, None, False),
    ],
)
def test_only_where_the_policy_says(target: str, levels: set[str], types: set[str] | None, *, permitted_too: bool) -> None:
    under = opened(levels=frozenset(levels), types=None if types is None else frozenset(types))
    decision = decide("GET", target, "patient/*.rs __my-op", under=under)
    assert isinstance(decision, Permit) is permitted_too
    if not permitted_too:
        assert denied(decision).causes[0].code == "operation-not-opened"


def test_only_by_the_methods_that_the_policy_says() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        decide("POST", "/Patient/$my-op", "patient/*.rs __my-op", under=opened())
    assert caught.value.allow == ("GET", "HEAD")


def test_the_instance_must_be_inside() -> None:
    assert denied(decide("GET", "/Patient/other/$my-op", "patient/*.rs __my-op", under=opened())).status == 404
    assert denied(decide("GET", "/Patient/123/$my-op", "patient/Observation.rs __my-op", under=opened())).status == 404
    plan = permitted(decide("GET", "/Observation/o/$my-op", "patient/*.rs __my-op", under=opened()))
    assert [(check.type, check.id, check.for_write) for check in plan.inside] == [("Observation", "o", False)]
    assert plan.upstream is not None
    assert plan.upstream.target == "/Observation/o/$my-op"


def test_the_instance_is_one_by_the_scope_that_opens() -> None:
    """Who may read more than update is let update no more by an operation."""
    under = opened(plain=frozenset(), scopes=scopes("user/Observation.u"))
    scope = "user/Observation.rs user/Observation.u?status=preliminary"
    (check,) = permitted(decide("GET", "/Observation/o/$my-op", scope, under=under, fhir_user="Practitioner/p")).inside
    assert isinstance(check, StoredCheck)
    assert [f.text for region in check.boundary.regions for f in region.filters] == ["status=preliminary"]


PARAMETERS = {"patient": True, "code": False, "subject": True}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("patient=123", "GET /Observation/$my-op?patient=123"),
        ("patient=Patient/123&code=a", "GET /Observation/$my-op?patient=Patient/123&code=a"),
        ("patient=https://fhir.example.org/fhir/Patient/123", "GET /Observation/$my-op?patient=Patient/123"),
        ("subject=Patient/123", "GET /Observation/$my-op?subject=Patient/123"),
        ("patient=other", 404),
        ("patient=123&patient=other", 404),
        ("subject=Patient/other", 404),
        ("subject=PlanDefinition/1", 404),
        ("subject=123", "malformed-parameter"),
        ("patient=https://elsewhere.example/fhir/Patient/123", "malformed-parameter"),
        ("patient=Patient/123/_history/1", "malformed-parameter"),
        ("patient=123,other", "malformed-parameter"),
        ("patient=..", "malformed-parameter"),
        ("patient=", "malformed-parameter"),
        ("encounter=1", "unknown-parameter"),
        ("_format=json&code=a", "GET /Observation/$my-op?code=a"),
    ],
)
def test_parameters_are_those_that_the_policy_names(query: str, expected: str | int) -> None:
    def ask() -> Any:
        return decide("GET", f"/Observation/$my-op?{query}", "patient/*.rs __my-op", under=opened(parameters=PARAMETERS))

    if isinstance(expected, int):
        assert denied(ask()).status == expected
    elif expected.startswith("GET"):
        assert sent(ask()) == expected
    else:
        with pytest.raises(RequestError) as caught:
            ask()
        assert caught.value.reason == expected


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (OperationAnswer.FILTER, CheckOpened(refuse=False)),
        (OperationAnswer.REFUSE, CheckOpened(refuse=True)),
        (OperationAnswer.NONE, Stream()),
    ],
)
def test_the_answer_is_checked_as_the_policy_says(answer: OperationAnswer, rule: object) -> None:
    assert permitted(decide("GET", MINE, "patient/*.rs __my-op", under=opened(answer=answer))).answer == rule


def test_without_bounds_everything_passes_but_only_by_the_scope() -> None:
    plan = permitted(decide("GET", "/Patient/1/$my-op?x=1", "system/*.cruds __my-op", under=opened()))
    assert (plan.answer, plan.inside) == (Stream(), ())
    assert denied(decide("GET", "/Patient/1/$my-op", "system/*.cruds", under=opened())).status == 403
