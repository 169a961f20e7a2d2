"""Writes that name their resource by criteria: judged and narrowed as a search, then written by id (semantics 6)."""

from __future__ import annotations

import pytest

from smart_gateway.errors import PreconditionFailed, RequestError
from smart_gateway.policy.model import Capabilities
from smart_gateway.policy.plan import AnswerToWrite, BodyCheck, CheckSearchset, Stream
from tests.support.deciding import decide, denied, permitted, policy, sent

JSON = {"Content-Type": "application/fhir+json"}
PATCH = {"Content-Type": "application/json-patch+json"}
ALL = "patient/Observation.cruds"
WRITES = [("PUT", JSON), ("PATCH", PATCH), ("DELETE", {})]


@pytest.mark.parametrize(("method", "headers"), WRITES)
def test_the_criteria_are_narrowed_and_nothing_is_planned_before_they_are_asked(method: str, headers: dict[str, str]) -> None:
    plan = permitted(decide(method, "/Observation?code=http://loinc.org|1&_format=json&_pretty=true", ALL, headers=headers))
    assert plan.upstream is None
    assert plan.criteria is not None
    search = plan.criteria.search
    assert (search.method, search.path) == ("GET", ("Observation",))
    assert search.query == (("code", "http://loinc.org|1"), ("patient", "Patient/123"), ("_count", "2"))
    assert dict(search.headers) == {"Prefer": "handling=strict", "Cache-Control": "no-cache"}
    assert isinstance(plan.criteria.rule, CheckSearchset)
    assert plan.criteria.rule.exact


def test_a_create_carries_the_narrowed_criteria() -> None:
    plan = permitted(decide("POST", "/Observation", ALL, headers=JSON | {"If-None-Exist": "identifier=urn:x|1"}))
    assert plan.upstream is not None
    assert plan.upstream.headers == (("If-None-Exist", "identifier=urn:x%7C1&patient=Patient/123"),)
    assert isinstance(plan.body, BodyCheck)
    assert isinstance(plan.answer, AnswerToWrite)
    assert plan.answer.found is not None
    assert not plan.answer.found.is_everything


@pytest.mark.parametrize(
    "given", ["identifier=1", "?identifier=1", "Observation?identifier=1", "https://fhir.example.org/fhir/Observation?identifier=1"]
)
def test_the_type_may_stand_before_the_criteria_of_a_create(given: str) -> None:
    plan = permitted(decide("POST", "/Observation", ALL, headers=JSON | {"If-None-Exist": given}))
    assert plan.upstream is not None
    assert dict(plan.upstream.headers)["If-None-Exist"] == "identifier=1&patient=Patient/123"


@pytest.mark.parametrize("given", ["Patient?identifier=1", "https://elsewhere/fhir/Observation?identifier=1", "Observation/1?identifier=1"])
def test_no_other_type_may(given: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide("POST", "/Observation", ALL, headers=JSON | {"If-None-Exist": given})
    assert caught.value.reason == "malformed-criteria"


@pytest.mark.parametrize("criteria", ["_format=json", "_pretty=true", "_count=1", "_format=json&_sort=date", "_summary=count", ""])
@pytest.mark.parametrize("scope", [ALL, "system/*.cruds"])
def test_without_a_search_parameter_412(criteria: str, scope: str) -> None:
    for method, headers in WRITES:
        with pytest.raises(PreconditionFailed) as caught:
            decide(method, f"/Observation?{criteria}", scope, headers=headers)
        assert caught.value.reason == "no-criteria"
    if criteria:
        with pytest.raises(PreconditionFailed):
            decide("POST", "/Observation", scope, headers=JSON | {"If-None-Exist": criteria})


@pytest.mark.parametrize(
    "more",
    [
        "_count=1",
        "_sort=date",
        "_summary=true",
        "_elements=id",
        "_total=none",
        "_include=Observation:subject",
        "_revinclude=Provenance:target",
        "_include:iterate=*",
        "_contained=false",
        "_type=Patient",
        "_cascade=delete",
        "_expunge=true",
        "_offset=1",
        "unknown=1",
        "x:y=1",
        "code:narrower=1",
        "identifier=",
        "identifier=,",
    ],
)
@pytest.mark.parametrize("scope", [ALL, "system/*.cruds"])
def test_criteria_take_what_selects_and_is_known_and_says_something(more: str, scope: str) -> None:
    for method, headers in WRITES:
        with pytest.raises(RequestError) as caught:
            decide(method, f"/Observation?code=1&{more}", scope, headers=headers)
        assert caught.value.status == 400
        assert caught.value.expression == f"http.{more.split('=', maxsplit=1)[0]}"
    with pytest.raises(RequestError):
        decide("POST", "/Observation", scope, headers=JSON | {"If-None-Exist": f"code=1&{more}"})


@pytest.mark.parametrize("criteria", ["patient=Patient/456", "patient=456", "subject=Patient/456", "subject:Patient=456"])
@pytest.mark.parametrize("choice", ["forbidden", "empty"])
def test_somebody_elses_record_is_not_named_by_criteria(criteria: str, choice: str) -> None:
    """Also where a search would be answered as empty: an update that finds nothing would create."""
    under = policy(foreign_patient_search=choice)
    for method, headers in WRITES:
        refusal = denied(decide(method, f"/Observation?{criteria}", ALL, headers=headers, under=under))
        assert (refusal.status, refusal.causes[0].code) == (403, "foreign-patient")
    assert denied(decide("POST", "/Observation", ALL, headers=JSON | {"If-None-Exist": criteria}, under=under)).status == 403


@pytest.mark.parametrize(
    "criteria", ["_has:Provenance:target:agent=1", "subject.name=x", "_list=1", "_filter=code eq 1", "patient:in=Group/1", "_id:not=1"]
)
def test_what_reaches_outside_is_refused_as_in_a_search(criteria: str) -> None:
    for method, headers in WRITES:
        refusal = denied(decide(method, f"/Observation?{criteria.replace(' ', '%20')}", ALL, headers=headers))
        assert refusal.status == 403
        assert (refusal.causes[0].expression or "").startswith("http.")


@pytest.mark.parametrize(
    "scope",
    [
        "patient/Observation.cruds?category=a patient/Observation.cruds?code=b",
        "patient/Observation.cruds?date=2024",
        "patient/Observation.cruds?code:not=a",
        "user/Observation.cruds?value-quantity=gt5",
    ],
)
def test_bounds_that_parameters_cannot_say_are_refused_by_name(scope: str) -> None:
    claims = {"fhir_user": "Practitioner/p"}
    for method, headers in WRITES:
        assert denied(decide(method, "/Observation?identifier=1", scope, headers=headers, **claims)).causes[0].code == "inexact-criteria"
    create = decide("POST", "/Observation", scope, headers=JSON | {"If-None-Exist": "identifier=1"}, **claims)
    assert denied(create).causes[0].code == "inexact-criteria"


@pytest.mark.parametrize(
    ("method", "scope", "missing"),
    [
        ("PUT", "patient/Observation.cru", ["patient/Observation.s"]),
        ("PUT", "patient/Observation.crs", ["patient/Observation.u"]),
        ("PUT", "patient/Observation.cr", ["patient/Observation.u", "patient/Observation.s"]),
        ("PATCH", "patient/Observation.u", ["patient/Observation.s"]),
        ("DELETE", "patient/Observation.d", ["patient/Observation.s"]),
        ("DELETE", "patient/Observation.rs", ["patient/Observation.d"]),
        ("DELETE", "patient/Patient.r", ["patient/Observation.d", "patient/Observation.s"]),
    ],
)
def test_both_permissions_are_needed_and_each_that_lacks_is_named(method: str, scope: str, missing: list[str]) -> None:
    refusal = denied(decide(method, "/Observation?code=1", scope, headers=PATCH if method == "PATCH" else JSON))
    assert [cause.code for cause in refusal.causes] == ["insufficient-scope"] * len(missing)
    assert [m.scope for m in refusal.missing] == missing


def test_a_create_on_a_condition_needs_to_search_too() -> None:
    refusal = denied(decide("POST", "/Observation", "patient/Observation.cr", headers=JSON | {"If-None-Exist": "code=1"}))
    assert [m.scope for m in refusal.missing] == ["patient/Observation.s"]


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("PUT", "PUT /Observation?code=1&subject=Patient/9"),
        ("PATCH", "PATCH /Observation?code=1&subject=Patient/9"),
        ("DELETE", "DELETE /Observation?code=1&subject=Patient/9"),
    ],
)
def test_without_any_bound_the_upstream_does_it(method: str, line: str) -> None:
    target = "/Observation?code=1&subject=https://fhir.example.org/fhir/Patient/9&_format=json"
    decision = decide(method, target, "system/*.cruds", headers=PATCH if method == "PATCH" else JSON)
    assert sent(decision) == line
    plan = permitted(decision)
    assert plan.answer == Stream()
    assert not isinstance(plan.body, BodyCheck) or plan.body.id is None


@pytest.mark.parametrize(
    ("method", "scope", "headers"),
    [
        ("PUT", "system/Observation.cruds", {}),  # other types are bounded: criteria are judged
        ("PUT", "system/*.ruds", {}),  # without a match it would create
        ("PUT", "system/*.cruds", {"If-Match": 'W/"3"'}),  # kept by id alone
        ("DELETE", "system/*.cruds", {"If-Match": 'W/"3"'}),
        ("DELETE", "system/*.ds patient/*.s", {"If-None-Match": "*"}),
        ("PATCH", "system/*.us", {}),  # what a patch finds needs `r`
    ],
)
def test_with_any_bound_or_condition_it_is_resolved_here(method: str, scope: str, headers: dict[str, str]) -> None:
    plan = permitted(decide(method, "/Observation?code=1", scope, headers=(PATCH if method == "PATCH" else JSON) | headers))
    assert plan.upstream is None
    assert plan.criteria is not None


@pytest.mark.parametrize("choice", ["parameter", "compartment", "union"])
def test_criteria_are_one_query_on_the_type_wherever_compartments_are_searched(choice: str) -> None:
    plan = permitted(decide("PUT", "/Observation?code=1", ALL, headers=JSON, under=policy(compartment_search=choice)))
    assert plan.criteria is not None
    assert plan.criteria.search.target == "/Observation?code=1&patient=Patient/123&_count=2"


def test_a_server_that_says_it_ignores_the_header_is_not_asked() -> None:
    under = policy(capabilities=Capabilities(no_conditional_create=frozenset({"Observation"})))
    with pytest.raises(PreconditionFailed) as caught:
        decide("POST", "/Observation", ALL, headers=JSON | {"If-None-Exist": "code=1"}, under=under)
    assert caught.value.reason == "condition-not-supported"


def test_a_name_of_the_upstreams_own_is_a_criterion() -> None:
    known = frozenset({"my-own", "patient", "code"})
    under = policy(capabilities=Capabilities({"Observation": known}))
    assert permitted(decide("DELETE", "/Observation?my-own=1", ALL, under=under)).criteria is not None


def test_ones_own_patient_is_named_by_criteria_and_no_other_is_created() -> None:
    plan = permitted(decide("PUT", "/Patient?identifier=1", "patient/Patient.cruds", headers=JSON))
    assert plan.criteria is not None
    assert plan.criteria.search.target == "/Patient?identifier=1&_id=123&_count=2"
    create = decide("POST", "/Patient", "patient/Patient.cruds", headers=JSON | {"If-None-Exist": "identifier=1"})
    assert denied(create).causes[0].code == "outside-boundary"
