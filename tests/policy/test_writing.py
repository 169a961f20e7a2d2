"""create, update and delete by id (semantics 6)."""

from __future__ import annotations

import pytest

from smart_gateway.errors import NotSupported, RequestError
from smart_gateway.policy.plan import AnswerToWrite, BodyCheck, StoredCheck, Stream
from tests.support.deciding import decide, denied, permitted, policy

JSON = {"Content-Type": "application/fhir+json"}


def test_create_checks_the_body() -> None:
    plan = permitted(decide("POST", "/Observation", "patient/Observation.c", headers=JSON))
    assert isinstance(plan.body, BodyCheck)
    assert (plan.body.type, plan.body.id, plan.stored) == ("Observation", None, None)
    assert isinstance(plan.answer, AnswerToWrite)
    assert plan.answer.boundary.is_nothing
    assert plan.upstream is not None
    assert plan.upstream.headers == (("Prefer", "return=minimal"),)


def test_update_checks_stored_and_body() -> None:
    plan = permitted(decide("PUT", "/Observation/o1", "patient/Observation.ru", headers=JSON | {"If-Match": 'W/"3"'}))
    assert isinstance(plan.stored, StoredCheck)
    assert (plan.stored.type, plan.stored.id, plan.stored.if_match, plan.stored.create_allowed) == ("Observation", "o1", 'W/"3"', False)
    assert isinstance(plan.body, BodyCheck)
    assert plan.body.id == "o1"
    assert plan.upstream is not None
    assert plan.upstream.headers == ()


def test_delete_checks_stored() -> None:
    plan = permitted(decide("DELETE", "/Observation/o1", "patient/Observation.d"))
    assert isinstance(plan.stored, StoredCheck)
    assert plan.body is None


@pytest.mark.parametrize(
    ("choice", "id", "allowed"),
    [
        ("never", "o1", False),
        ("uuid_only", "o1", False),
        ("uuid_only", "0b7c9b86-9d5f-4f64-a5b1-6cfc5f1a7d21", True),
        ("always", "o1", True),
    ],
)
def test_update_as_create(choice: str, id: str, allowed: bool) -> None:
    plan = permitted(decide("PUT", f"/Observation/{id}", "patient/Observation.u", headers=JSON, under=policy(update_as_create=choice)))
    assert plan.stored is not None
    assert plan.stored.create_allowed is allowed


def test_without_a_bound_conditions_pass() -> None:
    plan = permitted(decide("PUT", "/Observation/o1", "system/*.cruds", headers=JSON | {"If-Match": 'W/"3"', "If-None-Match": "*"}))
    assert plan.answer == Stream()
    assert plan.stored is None
    assert plan.upstream is not None
    assert plan.upstream.headers == (("If-Match", 'W/"3"'), ("If-None-Match", "*"))


@pytest.mark.parametrize("wish", ["minimal", "representation"])
def test_prefer_passes_where_the_answer_may_be_read(wish: str) -> None:
    plan = permitted(decide("POST", "/Observation", "patient/Observation.cr", headers=JSON | {"Prefer": f"return={wish}"}))
    assert plan.upstream is not None
    assert plan.upstream.headers == (("Prefer", f"return={wish}"),)


def test_an_outcome_of_the_upstream_is_not_asked_for_under_a_bound() -> None:
    plan = permitted(decide("POST", "/Observation", "patient/Observation.cr", headers=JSON | {"Prefer": "return=OperationOutcome"}))
    assert plan.upstream is not None
    assert plan.upstream.headers == (("Prefer", "return=minimal"),)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("scope", ["patient/Observation.rs", "patient/Observation.read", "patient/Patient.cud", ""])
def test_without_the_permission_403(method: str, scope: str) -> None:
    target = "/Observation" if method == "POST" else "/Observation/o1"
    assert denied(decide(method, target, scope, headers=JSON)).causes[0].code == "insufficient-scope"


@pytest.mark.parametrize("type", ["Organization", "Practitioner", "ValueSet", "Binary", "Location"])
def test_shared_types_are_never_written_through_patient_scopes(type: str) -> None:
    assert denied(decide("POST", f"/{type}", "patient/*.cruds", headers=JSON)).status == 403


@pytest.mark.parametrize("scope", ["system/*.cruds", "system/Subscription.cruds", "user/Subscription.cruds"])
def test_server_types_are_written_by_name_and_policy_only(scope: str) -> None:
    claims = {"fhir_user": "Practitioner/p"}
    assert denied(decide("POST", "/Subscription", scope, headers=JSON, **claims)).status == 403
    listed = policy(writable_server_types=frozenset({"Subscription"}))
    decision = decide("POST", "/Subscription", scope, headers=JSON, under=listed, **claims)
    if scope == "system/*.cruds":
        assert denied(decision).status == 403
    else:
        assert permitted(decision).answer == Stream()


@pytest.mark.parametrize("query", ["_cascade=delete", "_expunge=true", "code=1", "x=1"])
@pytest.mark.parametrize("scope", ["patient/Observation.d", "system/*.cruds"])
def test_writes_take_no_parameters(query: str, scope: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide("DELETE", f"/Observation/o1?{query}", scope)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("PUT", "/Observation?identifier=x", {}),
        ("DELETE", "/Observation?identifier=x", {}),
        ("POST", "/Observation", {"If-None-Exist": "identifier=x"}),
        ("PUT", "/Observation/o1", {"If-None-Match": "*"}),
        ("GET", "/Observation/o1/_history", {}),
        ("GET", "/Observation/_history", {}),
        ("GET", "/_history", {}),
    ],
)
def test_what_is_not_judged_yet_is_refused(method: str, target: str, headers: dict[str, str]) -> None:
    given = headers if method in ("GET", "DELETE") else JSON | headers
    with pytest.raises(NotSupported):
        decide(method, target, "patient/*.cruds", headers=given)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("target", ["/$export", "/Patient/$everything", "/Patient/123/$everything", "/Observation/$lastn"])
def test_operations_are_not_opened_by_scope(method: str, target: str) -> None:
    headers = JSON if method == "POST" else {}
    for scope in ("patient/*.cruds", "system/*.cruds"):
        assert denied(decide(method, target, scope, headers=headers)).causes[0].code == "operation-not-opened"


def test_another_patients_record_is_absent_for_writes() -> None:
    assert denied(decide("PUT", "/Patient/456", "patient/Patient.u", headers=JSON)).status == 404
    assert denied(decide("DELETE", "/Patient/456", "patient/Patient.d")).status == 404
