"""create, update and delete by id (semantics 6)."""

from __future__ import annotations

import pytest

from smart_gateway.errors import PreconditionFailed, RequestError
from smart_gateway.policy.model import Capabilities
from smart_gateway.policy.plan import AnswerToWrite, BodyCheck, StoredCheck, Stream, UpstreamRequest
from smart_gateway.policy.writes.writing import hold, in_bundle
from tests.support.deciding import decide, denied, permitted, policy, sent

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


def test_only_new_is_a_condition_of_an_update() -> None:
    plan = permitted(decide("PUT", "/Observation/o1", "patient/Observation.u", headers=JSON | {"If-None-Match": "*"}))
    assert plan.stored is not None
    assert plan.stored.only_new
    assert not plan.stored.create_allowed  # that is the policy's to say, not the client's


@pytest.mark.parametrize(
    ("method", "condition"), [("PUT", 'W/"1"'), ("PUT", 'W/"1", W/"2"'), ("DELETE", "*"), ("DELETE", 'W/"1"'), ("DELETE", '"1", "2"')]
)
def test_other_conditions_on_what_is_not_stored_are_refused(method: str, condition: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide(method, "/Observation/o1", "patient/Observation.ud", headers=JSON | {"If-None-Match": condition})
    assert (caught.value.status, caught.value.reason) == (400, "unsupported-condition")


@pytest.mark.parametrize("value", ['W/"1", W/"2"', "1", "W/1", '"1', "", "*, *", 'w/"1"'])
@pytest.mark.parametrize("scope", ["patient/Observation.ud", "system/*.cruds"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_if_match_is_one_entity_tag(value: str, scope: str, method: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide(method, "/Observation/o1", scope, headers=JSON | {"If-Match": value})
    assert caught.value.status == 400


HAPI = [policy(conditions="hapi"), policy(capabilities=Capabilities(software="HAPI FHIR Server"))]
OTHERS = [
    policy(),
    policy(conditions="headers", capabilities=Capabilities(software="HAPI FHIR")),
    policy(capabilities=Capabilities(software="Other HAPI FHIR")),
]
MATCH, UNBORN, NEW = ("If-Match", 'W/"3"'), ("If-Match", 'W/"0"'), ("If-None-Match", "*")


@pytest.mark.parametrize(
    ("method", "condition", "path", "header"),
    [
        ("DELETE", MATCH, ("Observation", "o1", "_history", "3"), MATCH),
        ("DELETE", ("If-Match", '"3"'), ("Observation", "o1", "_history", "3"), ("If-Match", '"3"')),
        ("DELETE", ("If-Match", "*"), ("Observation", "o1"), ("If-Match", "*")),
        ("PUT", NEW, ("Observation", "o1"), UNBORN),
        ("PUT", MATCH, ("Observation", "o1"), MATCH),
        ("PATCH", MATCH, ("Observation", "o1"), MATCH),
    ],
)
def test_hapi_is_told_the_version_where_it_looks(
    method: str, condition: tuple[str, str], path: tuple[str, ...], header: tuple[str, str]
) -> None:
    plain = UpstreamRequest(method, ("Observation", "o1"))
    for under in HAPI:
        held = hold(plain, condition, under)
        assert (held.path, held.headers) == (path, (header,))
    for under in OTHERS:
        held = hold(plain, condition, under)
        assert (held.path, held.headers) == (("Observation", "o1"), (condition,))


def test_the_clients_own_condition_on_a_delete_is_kept_on_hapi_too() -> None:
    headers = {"If-Match": 'W/"3"'}
    assert sent(decide("DELETE", "/Observation/o1", "system/*.cruds", headers=headers)) == "DELETE /Observation/o1"
    decision = decide("DELETE", "/Observation/o1", "system/*.cruds", headers=headers, under=HAPI[0])
    assert sent(decision) == "DELETE /Observation/o1/_history/3"


def test_in_a_bundle_hapi_is_told_the_moment_of_the_version() -> None:
    held = hold(UpstreamRequest("DELETE", ("Observation", "o1")), MATCH, HAPI[0])
    moment = "2026-11-21T14:54:49.317+00:00"
    assert in_bundle(held, moment).target == "/Observation?_id=o1&_lastUpdated=2026-11-21T14:54:49.317%2B00:00"
    with pytest.raises(PreconditionFailed):
        in_bundle(held, None)
    for other in (hold(UpstreamRequest("DELETE", ("Observation", "o1")), MATCH, OTHERS[0]), UpstreamRequest("PUT", ("Observation", "o1"))):
        assert in_bundle(other, moment) == other


def test_another_patients_record_is_absent_for_writes() -> None:
    assert denied(decide("PUT", "/Patient/456", "patient/Patient.u", headers=JSON)).status == 404
    assert denied(decide("DELETE", "/Patient/456", "patient/Patient.d")).status == 404
