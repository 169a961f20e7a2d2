"""Which operations are opened, to whom, and what becomes of what is given to them (semantics 8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.errors import MethodNotAllowed, RequestError, UnsupportedMediaType
from smart_gateway.fhir.releases import Release
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize, authorize_types
from smart_gateway.policy.model import Policy
from smart_gateway.policy.operations.checks import CheckMeta, CheckOutcome, CheckTerms
from smart_gateway.policy.operations.table import SHIPPED, Level, OperationRule
from smart_gateway.policy.plan import BodyCheck, CheckSearchset, Decision, EmptySearchset, StoredCheck, Stream
from smart_gateway.policy.wording import describe
from smart_gateway.request.limits import Limits
from smart_gateway.request.operations import read_operation
from tests.support.deciding import DEFAULT, denied, parse, permitted, policy, principal, sent, vocabulary

ALL = "patient/*.cruds"
OPEN = "system/*.cruds"
JSON = {"Content-Type": "application/fhir+json"}
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/123"}}


def parameters(*items: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(items), **members}


def call(
    method: str, target: str, scope: str, body: Any = None, *, under: Policy = DEFAULT, headers: dict[str, str] | None = None, **claims: Any
) -> Decision:
    """The decision on a call, in the order in which the gateway takes it: nothing of the body is read for those who may not call."""
    access = Access(principal(scope, **claims), under)
    request = parse(method, target, headers={**(JSON if body is not None else {}), **(headers or {})})
    refused = authorize_types(request, access)
    if refused is not None:
        return refused
    if request.body_pending:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = read_operation(request, content, Limits())
    return authorize(request, access)


def fault(method: str, target: str, scope: str, body: Any = None, **more: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        call(method, target, scope, body, **more)
    return caught.value


def code(decision: Decision) -> str:
    return denied(decision).causes[0].code


NOT_OPENED = [
    "/$graphql",
    "/$expunge",
    "/Patient/$expunge",
    "/Patient/123/$expunge",
    "/$reindex",
    "/$mark-all-resources-for-reindexing",
    "/$perform-reindexing-pass",
    "/$process-message",
    "/$get-resource-counts",
    "/$delete-expunge",
    "/$diff",
    "/Patient/123/$diff",
    "/Patient/123/$graphql",
    "/PlanDefinition/1/$apply",
    "/Patient/$member-match",
    "/Patient/$match",
    "/Patient/$merge",
    "/Patient/123/$hapi.fhir.merge",
    "/Patient/123/$meta-add",
    "/Patient/123/$meta-delete",
    "/Composition/1/$document",
    "/ConceptMap/$closure",
    "/$closure",
    "/StructureDefinition/1/$snapshot",
    "/Library/1/$evaluate",
    "/List/$find",
    "/Group/1/$everything",
    "/Practitioner/1/$everything",
    "/$everything",
    "/Encounter/$everything",
    "/Patient/$lastn",
    "/Observation/o1/$lastn",
    "/Patient/$docref",
    "/DocumentReference/1/$docref",
    "/$validate",
    "/$expand",
    "/Patient/$expand",
    "/$Everything",
    "/Patient/123/$EVERYTHING",
    "/Patient/123/$everything.",
    "/CodeSystem/$expand",
    "/ValueSet/$lookup",
    "/ValueSet/$invalidate-expansion",
    "/CodeSystem/$upload-external-code-system",
    "/CodeSystem/$apply-codesystem-delta-add",
]


@pytest.mark.parametrize("scope", [ALL, OPEN, "user/*.cruds", "system/*.rs"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("target", NOT_OPENED)
def test_what_is_not_listed_is_not_opened_to_anybody(method: str, target: str, scope: str) -> None:
    refusal = denied(call(method, target, scope, fhir_user="Practitioner/1"))
    assert (refusal.status, refusal.causes[0].code, refusal.missing) == (403, "operation-not-opened", ())
    assert target.rpartition("/")[2] in refusal.causes[0].text


@pytest.mark.parametrize("rule", SHIPPED, ids=lambda rule: f"{rule.name} {sorted(rule.types or ())}")
def test_the_list_keeps_to_what_the_releases_define(rule: OperationRule) -> None:
    """Nothing that changes state is in it, but $docref (so R5 says: documents are made on demand), which US Core has by GET."""
    found = [vocabulary(release).operation(rule.name[1:], type) for release in Release for type in rule.types or (None,)]
    defined = [operation for operation in found if operation is not None]
    levels = {Level.SYSTEM: any(o.system for o in defined), Level.TYPE: any(o.type for o in defined)}
    levels[Level.INSTANCE] = any(o.instance for o in defined)
    assert all(levels[level] for level in rule.levels)
    assert rule.name == "$docref" or not any(operation.affects_state for operation in defined)


EVERY = "/Patient/123/$everything"
NEEDS = [
    ("GET", EVERY, "patient/Patient.r", "patient/Patient.s patient/Observation.rs"),
    ("POST", EVERY, "patient/Patient.rs", "patient/Observation.rs"),
    ("GET", "/Encounter/e1/$everything", "patient/Encounter.r", "patient/Patient.rs"),
    ("GET", "/DocumentReference/$docref?patient=123", "patient/DocumentReference.s", "patient/DocumentReference.r"),
    ("GET", "/Observation/$lastn", "patient/Observation.s", "patient/Observation.r"),
    ("GET", "/Observation/o1/$meta", "patient/Observation.r", "patient/Observation.cuds"),
    ("GET", "/ValueSet/$expand?url=x", "patient/ValueSet.r", "patient/CodeSystem.rs"),
    ("GET", "/ValueSet/$expand?url=x", "patient/ValueSet.s", "patient/ValueSet.cud"),
    ("GET", "/ValueSet/v1/$expand", "patient/ValueSet.r", "patient/*.cud"),
    ("GET", "/ValueSet/$validate-code?url=x&code=y", "patient/*.r", "patient/Observation.rs"),
    ("GET", "/CodeSystem/$validate-code?url=x&code=y", "patient/CodeSystem.s", "patient/ValueSet.rs"),
    ("GET", "/CodeSystem/$lookup?system=x&code=y", "patient/CodeSystem.r", "patient/Observation.rs"),
    ("GET", "/CodeSystem/$subsumes?system=x&codeA=y&codeB=z", "patient/CodeSystem.r", "patient/Observation.rs"),
    ("GET", "/ConceptMap/$translate?url=x&code=y", "user/ConceptMap.r", "patient/*.rs"),
]


@pytest.mark.parametrize(("method", "target", "enough", "less"), NEEDS)
def test_each_needs_its_permission_on_the_type(method: str, target: str, enough: str, less: str) -> None:
    permitted(call(method, target, enough, fhir_user="Practitioner/1"))
    assert code(call(method, target, less)) == "insufficient-scope"


@pytest.mark.parametrize(
    ("target", "scope", "status"),
    [
        ("/Observation/$validate", "patient/Observation.c", None),
        ("/Observation/$validate", "patient/Observation.u", None),
        ("/Observation/$validate", "patient/Observation.rds", 403),
        ("/Observation/o1/$validate", "patient/Observation.u", None),
        ("/Observation/o1/$validate", "patient/Observation.c", 403),
    ],
)
def test_who_may_write_may_validate(target: str, scope: str, status: int | None) -> None:
    decision = call("POST", target, scope, OBSERVATION)
    if status is None:
        permitted(decision)
    else:
        assert (denied(decision).status, code(decision)) == (status, "insufficient-scope")


def test_the_missing_scope_is_named() -> None:
    assert [m.scope for m in denied(call("GET", EVERY, "patient/Observation.rs")).missing] == ["patient/Patient.r"]
    assert denied(call("GET", "/Patient/999/$everything", "patient/Observation.rs")).missing == ()


def test_the_body_of_a_call_is_not_read_for_those_who_may_not_call() -> None:
    assert code(call("POST", "/Patient/123/$everything", "patient/Observation.rs", b"not JSON")) == "insufficient-scope"
    assert code(call("POST", "/$graphql", OPEN, b"not JSON")) == "operation-not-opened"


@pytest.mark.parametrize("scope", [ALL, OPEN])
def test_a_method_that_a_level_does_not_take(scope: str) -> None:
    error = fault("GET", "/Observation/$validate", scope)
    assert isinstance(error, MethodNotAllowed)
    assert error.allow == ("POST",)
    for method in ("PUT", "DELETE", "PATCH"):
        assert isinstance(fault(method, EVERY, scope), MethodNotAllowed)


# $everything


def test_everything_of_ones_own_is_judged_before_and_after() -> None:
    plan = permitted(call("GET", f"{EVERY}?start=2020-01-01&_count=10", ALL))
    assert plan.answer == CheckSearchset(None, None, exact=False)
    assert plan.stored is not None
    assert (plan.stored.type, plan.stored.id, plan.stored.for_write) == ("Patient", "123", False)
    assert sent(call("GET", f"{EVERY}?start=2020-01-01&_count=10", ALL)) == f"GET {EVERY}?start=2020-01-01&_count=10"
    assert sent(call("HEAD", "/Patient/123/%24everything", ALL)) == f"GET {EVERY}"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("target", ["/Patient/999/$everything", "/Patient/999/%24everything", "/Patient/999/$everything?_type=Patient"])
def test_everything_of_another_patient_looks_absent(method: str, target: str) -> None:
    refusal = denied(call(method, target, ALL))
    assert (refusal.status, refusal.causes[0].code) == (404, "not-found")


def test_types_that_the_scopes_name_narrow_everything() -> None:
    scope = "patient/Patient.rs patient/Observation.s patient/Condition.c"
    assert sent(call("GET", EVERY, scope)) == f"GET {EVERY}?_type=Observation%2CPatient".replace("%2C", ",")
    assert sent(call("GET", f"{EVERY}?_type=Observation", scope)) == f"GET {EVERY}?_type=Observation"
    closed = "patient/Patient.rs patient/Subscription.rs patient/Condition.rs?nonsense=1"  # nothing of either can be read
    assert sent(call("GET", EVERY, closed)) == f"GET {EVERY}?_type=Patient"
    assert sent(call("GET", EVERY, "patient/*.r")) == f"GET {EVERY}"
    content = permitted(call("POST", EVERY, scope)).upstream
    assert content is not None
    assert json.loads(content.content or b"") == parameters({"name": "_type", "valueCode": "Observation,Patient"})


def test_a_type_asked_for_by_name_must_be_readable() -> None:
    refusal = denied(call("GET", f"{EVERY}?_type=Patient,Condition&_type=Observation", "patient/Patient.rs patient/Observation.rs"))
    assert (refusal.status, refusal.causes[0].code) == (403, "insufficient-scope")
    assert "Condition" in refusal.causes[0].text
    assert [m.scope for m in refusal.missing] == ["patient/Condition.r"]


@pytest.mark.parametrize(
    ("query", "reason", "place"),
    [
        ("foo=1", "unknown-parameter", "foo"),
        ("_content=x", "unknown-parameter", "_content"),
        ("_text=x", "unknown-parameter", "_text"),
        ("_filter=x", "unknown-parameter", "_filter"),
        ("_mdm=true", "unknown-parameter", "_mdm"),
        ("_id=999", "unknown-parameter", "_id"),
        ("_include=*", "unknown-parameter", "_include"),
        ("_elements=id", "unknown-parameter", "_elements"),
        ("_summary=true", "unknown-parameter", "_summary"),
        ("patient=999", "unknown-parameter", "patient"),
        ("_type:not=Patient", "unknown-parameter", "_type:not"),
        ("_count.x=1", "unknown-parameter", "_count.x"),
        ("_type=Nonsense", "malformed-parameter", "_type"),
        ("_type=", "malformed-parameter", "_type"),
        ("_type=Patient,", "malformed-parameter", "_type"),
        ("_count=-1", "malformed-parameter", "_count"),
        ("_count=ten", "malformed-parameter", "_count"),
        ("_count=1&_count=2", "duplicate-parameter", "_count"),
        ("start=yesterday", "malformed-parameter", "start"),
        ("start=2020-13-01", "malformed-parameter", "start"),
        ("_since=2020&_since=2021", "duplicate-parameter", "_since"),
    ],
)
def test_what_everything_does_not_take_is_named(query: str, reason: str, place: str) -> None:
    error = fault("GET", f"{EVERY}?{query}", ALL)
    assert (error.status, error.reason, error.expression) == (400, reason, f"http.{place}")


def test_everything_of_all_is_for_those_who_may_search_all_patients() -> None:
    assert code(call("GET", "/Patient/$everything", ALL)) == "operation-not-narrowed"
    assert (
        code(call("GET", "/Patient/$everything", "user/Patient.rs?gender=female", fhir_user="Practitioner/1")) == "operation-not-narrowed"
    )
    plan = permitted(call("GET", "/Patient/$everything", "user/Patient.rs user/Observation.rs", fhir_user="Practitioner/1"))
    assert plan.answer == CheckSearchset(None, None, exact=False)
    assert plan.stored is None


def test_a_filtered_patient_is_looked_at_before() -> None:
    plan = permitted(call("GET", "/Patient/999/$everything", "user/Patient.r?gender=female", fhir_user="Practitioner/1"))
    assert isinstance(plan.stored, StoredCheck)
    assert "gender=female" in plan.checks[0]


# $validate


def test_validating_ones_own() -> None:
    plan = permitted(call("POST", "/Observation/$validate?mode=create", ALL, OBSERVATION))
    assert plan.answer == CheckOutcome()
    assert isinstance(plan.body, BodyCheck)
    assert (plan.body.type, plan.body.judged) == ("Observation", True)
    wrapped = parameters({"name": "resource", "resource": OBSERVATION}, {"name": "mode", "valueCode": "update"})
    plan = permitted(call("POST", "/Observation/o1/$validate", ALL, wrapped))
    assert isinstance(plan.body, BodyCheck)
    assert plan.body.type == "Parameters"
    assert plan.stored is not None
    assert sent(call("GET", "/Observation/o1/$validate?mode=delete", ALL)) == "GET /Observation/o1/$validate?mode=delete"


def test_what_is_stored_is_validated_for_who_may_read_it() -> None:
    def asked(scope: str) -> Decision:
        return call("GET", "/Observation/o1/$validate", scope, fhir_user="Practitioner/7")

    refused = denied(asked("user/Observation.u"))
    assert refused.causes[0].code == "insufficient-scope"
    assert [str(missing.scope) for missing in refused.missing] == ["user/Observation.r"]
    filtered = permitted(asked("user/Observation.u user/Observation.r?code=8867-4")).stored
    assert filtered is not None
    assert "code=8867-4" in describe(filtered.boundary)
    assert permitted(asked("user/Observation.ru")).stored is None  # all of the type


@pytest.mark.parametrize("wrap", [lambda r: r, lambda r: parameters({"name": "resource", "resource": r})])
@pytest.mark.parametrize(
    "resource",
    [
        {**OBSERVATION, "subject": {"reference": "Patient/999"}},
        {**OBSERVATION, "performer": [{"reference": "Patient/999"}]},
        {k: v for k, v in OBSERVATION.items() if k != "subject"},
    ],
)
def test_another_patients_resource_is_not_validated(wrap: Any, resource: dict[str, Any]) -> None:
    assert code(call("POST", "/Observation/$validate", ALL, wrap(resource))) == "outside-boundary"


@pytest.mark.parametrize(
    ("target", "body", "reason"),
    [
        ("/Observation/$validate", None, "missing-parameter"),
        ("/Observation/$validate", parameters({"name": "mode", "valueCode": "delete"}), "missing-parameter"),
        ("/Observation/$validate", {**OBSERVATION, "resourceType": "Condition"}, "type-mismatch"),
        ("/Observation/$validate", parameters({"name": "resource", "valueString": "x"}), "type-mismatch"),
        ("/Observation/$validate?resource=x", OBSERVATION, "duplicate-parameter"),
        ("/Observation/$validate?resource=x", None, "type-mismatch"),
        ("/Observation/$validate", parameters(*[{"name": "resource", "resource": OBSERVATION}] * 2), "duplicate-parameter"),
        ("/Observation/o1/$validate", {**OBSERVATION, "id": "o2"}, "id-mismatch"),
        ("/Observation/$validate?_cascade=delete", OBSERVATION, "unknown-parameter"),
    ],
)
def test_what_validate_cannot_take(target: str, body: Any, reason: str) -> None:
    assert fault("POST", target, ALL, body).reason == reason


# $docref and $lastn


@pytest.mark.parametrize("value", ["123", "Patient/123", "https://fhir.example.org/fhir/Patient/123", "Patient/123/_history/1"])
def test_docref_of_ones_own(value: str) -> None:
    line = "GET /DocumentReference/$docref?patient=123&start=2020"
    assert sent(call("GET", f"/DocumentReference/$docref?patient={value}&start=2020", ALL)) == line
    plan = permitted(call("POST", "/DocumentReference/$docref", ALL, parameters({"name": "patient", "valueString": value})))
    assert plan.upstream is not None
    assert json.loads(plan.upstream.content or b"") == parameters({"name": "patient", "valueId": "123"})
    assert isinstance(plan.answer, CheckSearchset)
    assert (plan.answer.type, plan.answer.exact, plan.answer.boundary is not None) == ("DocumentReference", False, True)


@pytest.mark.parametrize("value", ["999", "Patient/999", "https://fhir.example.org/fhir/Patient/999"])
def test_docref_of_another_patient(value: str) -> None:
    assert code(call("GET", f"/DocumentReference/$docref?patient={value}", ALL)) == "foreign-patient"
    given = parameters({"name": "patient", "valueReference": {"reference": f"Patient/{value}".replace("Patient/Patient", "Patient")}})
    if "https" not in value:
        assert code(call("POST", "/DocumentReference/$docref", ALL, given)) == "foreign-patient"
    empty = call("GET", f"/DocumentReference/$docref?patient={value}", ALL, under=policy(foreign_patient_search="empty"))
    assert permitted(empty).answer == EmptySearchset("DocumentReference")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "missing-parameter"),
        ("patient=", "malformed-parameter"),
        ("patient=Group/123", "malformed-parameter"),
        ("patient=123,999", "malformed-parameter"),
        ("patient=https://other.example/fhir/Patient/123", "malformed-parameter"),
        ("patient=123&patient=999", "duplicate-parameter"),
        ("patient=999&patient=123", "duplicate-parameter"),
        ("patient:Patient=123", "unknown-parameter"),
        ("patient.name=x&patient=123", "unknown-parameter"),
        ("patient=123&subject=Patient/999", "unknown-parameter"),
        ("patient=123&_include=*", "unknown-parameter"),
    ],
)
def test_what_docref_cannot_take(query: str, reason: str) -> None:
    assert fault("GET", f"/DocumentReference/$docref?{query}", ALL).reason == reason


def test_a_patient_by_identifier_is_nobody() -> None:
    given = parameters({"name": "patient", "valueReference": {"reference": "Patient/123", "identifier": {"value": "999"}}})
    assert fault("POST", "/DocumentReference/$docref", ALL, given).reason == "malformed-parameter"


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("", "patient=Patient/123"),
        ("max=3&code=8867-4", "max=3&code=8867-4&patient=Patient/123"),
        ("subject=Patient/123&category=laboratory", "subject=Patient/123&category=laboratory&patient=Patient/123"),
        ("patient=123,999", "patient=123&patient=Patient/123"),
    ],
)
def test_lastn_is_narrowed_like_a_search(query: str, line: str) -> None:
    assert sent(call("GET", f"/Observation/$lastn?{query}", ALL)) == f"GET /Observation/$lastn?{line}"


def test_lastn_by_post() -> None:
    given = parameters({"name": "max", "valuePositiveInt": 2}, {"name": "code", "valueString": "8867-4"})
    plan = permitted(call("POST", "/Observation/$lastn", "patient/Observation.rs?category=laboratory", given))
    assert plan.upstream is not None
    names = [(item["name"], *[v for k, v in item.items() if k != "name"]) for item in json.loads(plan.upstream.content or b"")["parameter"]]
    assert set(names) == {("max", 2), ("code", "8867-4"), ("patient", "Patient/123"), ("category", "laboratory")}


@pytest.mark.parametrize("query", ["patient=999", "subject=Patient/999", "patient=Patient/999&max=1"])
def test_lastn_of_another_patient(query: str) -> None:
    assert code(call("GET", f"/Observation/$lastn?{query}", ALL)) == "foreign-patient"
    name, _, value = query.partition("&")[0].partition("=")
    assert code(call("POST", "/Observation/$lastn", ALL, parameters({"name": name, "valueString": value}))) == "foreign-patient"


@pytest.mark.parametrize("query", ["nonsense=1", "_has:Condition:subject:code=x&foo=1", "max=x", "max=1&max=2", "code:nonsense=1"])
def test_what_lastn_cannot_take(query: str) -> None:
    assert fault("GET", f"/Observation/$lastn?{query}", ALL).status == 400


@pytest.mark.parametrize("query", ["subject:Patient.name=x", "_has:Provenance:target:agent=x", "_list=1", "_filter=x"])
def test_lastn_does_not_select_by_what_is_closed(query: str) -> None:
    assert denied(call("GET", f"/Observation/$lastn?{query}", ALL)).status == 403


@pytest.mark.parametrize("query", ["_summary=count", "_count=0"])
def test_what_lastn_counts_cannot_be_checked(query: str) -> None:
    decision = denied(call("GET", f"/Observation/$lastn?{query}", ALL))
    assert (decision.causes[0].code, decision.causes[0].expression) == ("inexact-count", f"http.{query.partition('=')[0]}")


# $meta


def test_meta_is_read_from_the_resource() -> None:
    plan = permitted(call("GET", "/Observation/o1/$meta", ALL))
    assert isinstance(plan.answer, CheckMeta)
    assert sent(call("GET", "/Observation/o1/$meta", ALL)) == "GET /Observation/o1"
    assert sent(call("POST", "/Observation/o1/$meta", ALL)) == "GET /Observation/o1"
    assert code(call("GET", "/Patient/999/$meta", ALL)) == "not-found"


@pytest.mark.parametrize("target", ["/$meta", "/Observation/$meta"])
def test_meta_of_many_is_for_tokens_without_bounds(target: str) -> None:
    assert permitted(call("GET", target, OPEN)).answer == Stream()
    assert code(call("GET", target, ALL)) == "operation-not-narrowed"
    assert code(call("GET", target, "user/Observation.rs", fhir_user="Practitioner/1")) == "operation-not-narrowed"


# Terminology


def test_terminology_by_get_and_by_post() -> None:
    plan = permitted(call("GET", "/ValueSet/$expand?url=http://x&filter=a&count=5", ALL))
    assert plan.answer == CheckTerms(frozenset({"ValueSet"}))
    assert (
        sent(call("GET", "/ValueSet/$expand?url=http://x&filter=a&count=5", ALL)) == "GET /ValueSet/$expand?url=http://x&filter=a&count=5"
    )
    value_set = {"resourceType": "ValueSet", "status": "active"}
    for body in (value_set, parameters({"name": "valueSet", "resource": value_set}, {"name": "url", "valueUri": "x"})):
        plan = permitted(call("POST", "/ValueSet/$expand?count=5", ALL, body))
        assert isinstance(plan.body, BodyCheck)
        assert plan.body.type == body["resourceType"]
        assert sent(call("POST", "/ValueSet/$expand?count=5", ALL, body)) == "POST /ValueSet/$expand?count=5"
    coding = parameters({"name": "coding", "valueCoding": {"system": "x", "code": "y"}}, {"name": "property", "valueCode": "a"})
    permitted(call("POST", "/CodeSystem/$lookup", ALL, coding))
    part = parameters({"name": "dependency", "part": [{"name": "element", "valueUri": "x"}]}, {"name": "code", "valueCode": "y"})
    permitted(call("POST", "/ConceptMap/$translate", "user/ConceptMap.r", part, fhir_user="Practitioner/1"))


@pytest.mark.parametrize(
    "body",
    [
        parameters({"name": "valueSet", "resource": {"resourceType": "Patient", "id": "999"}}),
        parameters({"name": "tx-resource", "resource": {"resourceType": "Observation"}}),
        parameters({"name": "url", "resource": {"resourceType": "ValueSet"}}),
        parameters({"name": "url", "part": []}),
        parameters({"name": "patient", "valueString": "999"}),
        {"resourceType": "Patient", "id": "999"},
        {"resourceType": "Bundle", "type": "batch"},
    ],
)
def test_what_expand_cannot_take(body: Any) -> None:
    assert fault("POST", "/ValueSet/$expand", ALL, body).status == 400


def test_a_resource_hidden_in_a_structure_is_refused() -> None:
    for hidden in (
        {"valueCoding": {"code": "x", "extension": [{"resourceType": "Patient"}]}},
        {"part": [{"name": "x", "resource": {"resourceType": "Patient"}}]},
        {"resource": {"resourceType": "Patient"}},
    ):
        assert fault("POST", "/CodeSystem/$lookup", ALL, parameters({"name": "coding", **hidden})).reason == "malformed-parameter"


def test_terminology_of_a_type_needs_the_type_whole() -> None:
    filtered = "patient/ValueSet.rs?status=active"
    assert code(call("GET", "/ValueSet/$expand?url=x", filtered)) == "operation-not-narrowed"
    assert permitted(call("GET", "/ValueSet/v1/$expand", filtered)).stored is not None


# Parameters resources


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Parameters", "parameter": {}},
        {"resourceType": "Parameters", "parameter": ["x"]},
        {"resourceType": "Parameters", "implicitRules": "x"},
        {"resourceType": "Parameters", "contained": []},
        parameters({"valueCode": "Patient"}),
        parameters({"name": "_type"}),
        parameters({"name": "_type", "valueCode": "Patient", "resource": {"resourceType": "Patient"}}),
        parameters({"name": "_type", "valueCode": "Patient", "valueString": "Condition"}),
        parameters({"name": "_type", "valueCode": "Patient", "_valueCode": {}}),
        parameters({"name": "_type", "value": "Patient"}),
        parameters({"name": "_type", "valueCode": None}),
        parameters({"name": "_type", "valueCode": ["Patient"]}),
        parameters({"name": "_type", "valueCoding": {"code": "Patient"}}),
        parameters({"name": 1, "valueCode": "Patient"}),
        parameters({"name": "access_token", "valueString": "x"}),
        parameters({"name": "_count", "valueBoolean": True}),
        parameters({"name": "_count", "valueInteger": 1}, {"name": "_count", "valueInteger": 2}),
        {"resourceType": "Patient", "id": "123"},
        {"parameter": []},
        [],
        b"{",
        b'{"resourceType":"Parameters","resourceType":"Parameters"}',
    ],
)
def test_a_body_that_cannot_be_read_without_doubt(body: Any) -> None:
    assert fault("POST", EVERY, ALL, body).status == 400


def test_query_and_body_are_one_list() -> None:
    error = fault("POST", f"{EVERY}?_count=1", ALL, parameters({"name": "_count", "valueInteger": 2}))
    assert (error.reason, error.expression) == ("duplicate-parameter", "Parameters.parameter[0]")
    plan = permitted(call("POST", f"{EVERY}?start=2020&_format=json", ALL, parameters({"name": "_count", "valueInteger": 2})))
    assert plan.upstream is not None
    assert json.loads(plan.upstream.content or b"") == parameters({"name": "_count", "valueInteger": 2})
    assert plan.upstream.query == (("start", "2020"),)


@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "application/fhir+xml", "text/plain"])
def test_other_bodies_are_not_read(media: str) -> None:
    assert isinstance(fault("POST", EVERY, ALL, b"_type=Patient", headers={"Content-Type": media}), UnsupportedMediaType)


# Without bounds


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/Patient/999/$everything?_filter=x&_id=5", None),
        ("GET", "/Patient/$everything", None),
        ("GET", "/Observation/$lastn?patient=999", None),
        ("GET", "/DocumentReference/$docref?patient=999", None),
        ("POST", "/Observation/$validate", {**OBSERVATION, "subject": {"reference": "Patient/999"}}),
        ("POST", "/Patient/999/$everything", parameters({"name": "_type", "valueCode": "Patient"})),
    ],
)
def test_without_bounds_the_listed_pass(method: str, target: str, body: Any) -> None:
    decision = call(method, target, OPEN, body)
    plan = permitted(decision)
    assert plan.answer == Stream()
    assert (plan.stored, sent(decision)) == (None, f"{method} {target}")
    assert (plan.body.type if isinstance(plan.body, BodyCheck) else None) == (body["resourceType"] if body else None)


def test_without_bounds_the_permission_is_needed_all_the_same() -> None:
    assert code(call("POST", "/Observation/$validate", "system/*.rs", OBSERVATION)) == "insufficient-scope"
    assert code(call("GET", "/Patient/$everything", "system/Observation.rs")) == "insufficient-scope"


def test_whoever_may_not_read_all_has_the_outcome_of_validate_checked() -> None:
    assert permitted(call("POST", "/Observation/$validate", "system/*.cu", OBSERVATION)).answer == CheckOutcome()


@pytest.mark.parametrize("target", [EVERY, "/Observation/$lastn", "/ValueSet/$expand?url=x"])
def test_asynchronous_answers_are_refused_when_bounded(target: str) -> None:
    assert code(call("GET", target, ALL, headers={"Prefer": "respond-async"})) == "respond-async"


@pytest.mark.parametrize("accept", ["application/fhir+xml", "text/html"])
def test_only_json_can_be_checked(accept: str) -> None:
    assert fault("GET", EVERY, ALL, headers={"Accept": accept}).status == 406
