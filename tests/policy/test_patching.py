"""Patches: what is planned, and what of a patch is permitted once the stored resource is known (semantics 6)."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest

from smart_gateway.errors import BodyTooLarge, RequestError, Unprocessable, UnsupportedMediaType
from smart_gateway.fhir.media import JSON_PATCH
from smart_gateway.fhir.strict_json import parse_json
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import AnswerToWrite, BodyCheck, Deny, PatchCheck, StoredCheck, Stream
from smart_gateway.policy.writes.patching import foresee_patch, judge_patch
from smart_gateway.policy.writes.writing import refuse_body
from smart_gateway.request.limits import Limits
from smart_gateway.request.patch import read_patch
from tests.support.asgi import observation
from tests.support.deciding import DEFAULT, decide, denied, parse, permitted, principal

SENT = {"Content-Type": JSON_PATCH}
PARAMETERS = {"Content-Type": "application/fhir+json"}
EVERYTHING = "system/*.cruds"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def categorised(code: str) -> list[dict[str, Any]]:
    return [{"coding": [{"system": CATEGORY, "code": code}]}]


STORED = observation(category=categorised("laboratory"), note=[{"text": "secret"}])


def op(verb: str, path: str, **members: Any) -> dict[str, Any]:
    return {"op": verb, "path": path, **members}


AMEND = op("replace", "/status", value="amended")
TEST = op("test", "/status", value="final")
SEARCH = op("replace", "/subject/reference", value="Patient?identifier=x")
ALL_OBSERVATIONS = "system/Observation.cruds"
COPY = op("copy", "/note/-", **{"from": "/note/0"})
MOVE = op("move", "/note/0", **{"from": "/note/0"})


def judge(scope: str, *operations: dict[str, Any], stored: Any = STORED, type: str = "Observation", **limits: int) -> Deny | None:
    target = f"/{type}/{STORED['id'] if stored is None else stored['id']}"
    check = permitted(decide("PATCH", target, scope, headers=SENT)).body
    assert isinstance(check, PatchCheck)
    document = None if stored is None else parse_json(json.dumps(stored).encode())
    patch = read_patch(json.dumps(operations).encode(), JSON_PATCH, Limits())
    before = json.dumps(document)
    try:
        return judge_patch(
            patch, document, check, parse("PATCH", target, headers=SENT), Access(principal(scope), DEFAULT), Limits(**limits)
        )
    finally:
        assert json.dumps(document) == before


def code(refused: Deny | None) -> str:
    assert refused is not None
    return refused.causes[0].code


def hints(refused: Deny | None) -> list[str]:
    assert refused is not None
    return [missing.scope for missing in refused.missing]


def test_a_patch_needs_update() -> None:
    refused = denied(decide("PATCH", "/Observation/o1", "patient/Observation.crds", headers=SENT))
    assert (refused.status, hints(refused)) == (403, ["patient/Observation.u"])


def test_a_bounded_patch_is_planned_with_what_is_stored() -> None:
    plan = permitted(decide("PATCH", "/Observation/o1", "patient/Observation.ru", headers={**SENT, "If-Match": 'W/"3"'}))
    assert plan.upstream is not None
    assert (plan.upstream.method, plan.upstream.target, plan.upstream.headers) == ("PATCH", "/Observation/o1", ())
    assert isinstance(plan.stored, StoredCheck)
    assert (plan.stored.if_match, plan.stored.create_allowed, plan.stored.for_write) == ('W/"3"', False, True)
    assert isinstance(plan.body, PatchCheck)
    assert isinstance(plan.answer, AnswerToWrite)
    assert len(plan.checks) == 3


def test_without_bounds_a_patch_is_only_read() -> None:
    plan = permitted(decide("PATCH", "/Observation/o1", EVERYTHING, headers={**SENT, "If-Match": 'W/"3"'}))
    assert plan.upstream is not None
    assert plan.upstream.headers == (("If-Match", 'W/"3"'),)
    assert (plan.stored, type(plan.body), plan.answer, plan.checks) == (None, PatchCheck, Stream(), ())


def test_update_without_bounds_does_not_unbind_what_may_be_read() -> None:
    """Else a test would read for those who may only write."""
    plan = permitted(decide("PATCH", "/Observation/o1", "system/Observation.u", headers=SENT))
    assert isinstance(plan.stored, StoredCheck)
    assert isinstance(plan.answer, AnswerToWrite)
    fhirpath = permitted(decide("PATCH", "/Observation/o1", "system/Observation.u patient/Observation.r", headers=PARAMETERS))
    assert isinstance(fhirpath.body, PatchCheck)  # which takes no such body


@pytest.mark.parametrize("type", ["application/xml-patch+xml", "application/fhir+xml"])
def test_without_bounds_xml_is_passed_unread(type: str) -> None:
    assert permitted(decide("PATCH", "/Observation/o1", EVERYTHING, headers={"Content-Type": type})).body is None


def test_without_bounds_a_fhirpath_patch_is_read_for_its_type() -> None:
    body = permitted(decide("PATCH", "/Observation/o1", EVERYTHING, headers=PARAMETERS)).body
    assert isinstance(body, BodyCheck)
    assert (body.type, body.id, body.boundary.is_everything) == ("Parameters", None, True)


@pytest.mark.parametrize("scope", [EVERYTHING, "patient/Observation.cruds"])
@pytest.mark.parametrize(
    "type", ["application/merge-patch+json", "text/plain", "application/json-patch+json; charset=utf-16", "application/json-patch", None]
)
def test_other_patches_are_not_taken_from_anybody(scope: str, type: str | None) -> None:
    headers = {} if type is None else {"Content-Type": type}
    assert isinstance(permitted(decide("PATCH", "/Observation/o1", scope, headers=headers)).body, PatchCheck)
    with pytest.raises(UnsupportedMediaType) as caught:
        read_patch(b"[]", parse("PATCH", "/Observation/o1", headers=headers).content_type, Limits())
    assert caught.value.expression == "http.Content-Type"


@pytest.mark.parametrize("type", ["application/fhir+json", "application/json", "application/fhir+xml", "application/xml-patch+xml"])
def test_only_json_patches_are_judged(type: str) -> None:
    assert isinstance(permitted(decide("PATCH", "/Observation/o1", "patient/*.cruds", headers={"Content-Type": type})).body, PatchCheck)
    with pytest.raises(UnsupportedMediaType):
        read_patch(b"{}", type, Limits())


def test_a_type_that_changes_the_server_is_patched_by_nobody_with_a_star() -> None:
    for scope in (EVERYTHING, "user/*.cruds", "patient/*.cruds"):
        assert denied(decide("PATCH", "/Subscription/s1", scope, headers=SENT, fhir_user="Practitioner/p")).status == 403


def test_a_foreign_patient_is_absent() -> None:
    assert denied(decide("PATCH", "/Patient/456", "patient/Patient.ru", headers=SENT)).status == 404


@pytest.mark.parametrize("query", ["_cascade=delete", "identifier=x", "_method=PUT"])
def test_no_parameter_steers_a_patch(query: str) -> None:
    for scope in (EVERYTHING, "patient/Observation.u"):
        with pytest.raises(RequestError) as caught:
            decide("PATCH", f"/Observation/o1?{query}", scope, headers=SENT)
        assert caught.value.reason == "unknown-parameter"


def test_if_none_match_is_no_condition_of_a_judged_patch() -> None:
    with pytest.raises(RequestError) as caught:
        decide("PATCH", "/Observation/o1", "patient/Observation.u", headers={**SENT, "If-None-Match": "*"})
    assert (caught.value.status, caught.value.expression) == (400, "http.If-None-Match")


@pytest.mark.parametrize("data", [b"", b"{", b'[{"op":"add","op":"remove","path":"/a","value":1}]', b"[" * 70 + b"]" * 70, b'["\xff"]'])
def test_what_is_no_json_is_no_patch(data: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        read_patch(data, JSON_PATCH, Limits())
    assert caught.value.status == 400
    with pytest.raises(BodyTooLarge):
        read_patch(b"[]", JSON_PATCH, Limits(body=1))


# The judgement of one patch of a stored resource.


@pytest.mark.parametrize(
    "operations",
    [
        (AMEND,),
        (TEST, AMEND),
        (COPY, MOVE),
        (op("replace", "/subject", value={"reference": "Patient/123", "display": "me"}),),
        (op("add", "/performer", value=[{"reference": "Patient/123"}]),),
        (op("replace", "/meta", value={"tag": [{"code": "x"}]}),),
        (op("remove", "/meta/versionId"),),
        (op("replace", "/id", value="o1"),),
        (op("replace", "/subject/reference", value="Patient/999"), op("replace", "/subject/reference", value="Patient/123")),
        (op("add", "", value=observation()),),
        (),
    ],
)
def test_what_stays_inside_is_permitted(operations: tuple[dict[str, Any], ...]) -> None:
    assert judge("patient/Observation.ru", *operations) is None


@pytest.mark.parametrize(
    "operation",
    [
        op("replace", "/subject/reference", value="Patient/999"),
        op("replace", "/subject", value={"reference": "Patient/999"}),
        op("remove", "/subject"),
        op("remove", "/subject/reference"),
        op("add", "/subject", value=None),
        op("replace", "/subject", value={"reference": "#me"}),
        op("replace", "/subject", value={"reference": "Patient?identifier=x"}),
        op("replace", "/subject", value={"identifier": {"value": "123"}}),
        op("add", "/performer", value=[{"reference": "Patient/999"}]),
        op("move", "/focus", **{"from": "/subject"}),
        op("add", "", value=observation(patient="999")),
    ],
)
def test_nothing_moves_outside(operation: dict[str, Any]) -> None:
    refused = judge("patient/Observation.ru", operation)
    assert refused is not None
    assert (refused.status, code(refused)) == (403, "outside-boundary")
    assert "999" not in repr(refused)


def test_a_filter_holds_of_the_result() -> None:
    scope = f"patient/Observation.ru?category={CATEGORY}|laboratory"
    assert judge(scope, AMEND) is None
    assert code(judge(scope, op("replace", "/category", value=categorised("vital-signs")))) == "outside-boundary"
    assert code(judge(scope, op("remove", "/category"))) == "outside-boundary"


@pytest.mark.parametrize(
    ("operation", "reason", "expression"),
    [
        (op("replace", "/resourceType", value="Condition"), "type-mismatch", "Observation.resourceType"),
        (op("remove", "/resourceType"), "type-mismatch", "Observation.resourceType"),
        (op("add", "", value={"resourceType": "Patient", "id": "o1"}), "type-mismatch", "Observation.resourceType"),
        (op("replace", "/id", value="o2"), "id-mismatch", "Observation.id"),
        (op("replace", "/id", value=None), "id-mismatch", "Observation.id"),
        (op("remove", "/id"), "id-mismatch", "Observation.id"),
        (op("copy", "/id", **{"from": "/status"}), "id-mismatch", "Observation.id"),
        (op("replace", "/meta/versionId", value="4"), "version-mismatch", "Observation.meta.versionId"),
        (op("add", "/meta", value={"versionId": "1"}), "version-mismatch", "Observation.meta.versionId"),
        (op("replace", "/meta/versionId", value=3), "version-mismatch", "Observation.meta.versionId"),
    ],
)
def test_type_id_and_version_stay(operation: dict[str, Any], reason: str, expression: str) -> None:
    with pytest.raises(RequestError) as caught:
        judge("patient/Observation.ru", operation)
    assert (caught.value.status, caught.value.reason, caught.value.expression) == (400, reason, expression)


@pytest.mark.parametrize(
    "operation",
    [
        op("replace", "/resourceType", value="Condition"),
        op("remove", "/id"),
        op("add", "/id", value="o2"),
        op("add", "/id/x", value="o1"),
        op("copy", "/id", **{"from": "/status"}),
        op("move", "/status", **{"from": "/id"}),
        op("add", "", value={"resourceType": "Observation"}),
        op("replace", "", value=[]),
        op("copy", "", **{"from": "/contained/0"}),
    ],
)
def test_type_and_id_stay_also_where_nothing_is_fetched(operation: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        judge(EVERYTHING, AMEND, operation, stored=None)
    assert caught.value.reason in {"type-mismatch", "id-mismatch"}


def test_where_nothing_is_fetched_all_else_passes() -> None:
    whole = op("add", "", value={"resourceType": "Observation", "id": "o1"})
    kept = (op("replace", "/id", value="o1"), op("test", "/id", value="o2"), op("copy", "/x", **{"from": "/id"}))
    assert judge(EVERYTHING, AMEND, TEST, COPY, MOVE, whole, *kept, op("replace", "/subject", value=None), stored=None) is None


@pytest.mark.parametrize("operation", [TEST, COPY, MOVE, op("test", "/no", value=1)])
def test_what_reads_the_stored_resource_needs_read(operation: dict[str, Any]) -> None:
    refused = judge("patient/Observation.u", AMEND, operation)
    assert refused is not None
    assert (refused.status, code(refused), refused.causes[0].expression) == (403, "insufficient-scope", "patch[1].op")
    assert hints(refused) == ["patient/Observation.r"]
    assert "secret" not in repr(refused)
    assert judge("patient/Observation.u", AMEND) is None
    system = judge("system/Observation.u", operation)
    assert (code(system), hints(system)) == ("insufficient-scope", ["system/Observation.r"])


def test_read_of_others_of_the_type_does_not_count() -> None:
    scope = f"patient/Observation.u patient/Observation.r?category={CATEGORY}|vital-signs"
    assert code(judge(scope, TEST)) == "insufficient-scope"
    vital = observation(category=categorised("vital-signs"))
    assert judge(scope, TEST, stored=vital) is None
    assert code(judge("patient/Observation.us", TEST)) == "insufficient-scope"  # search is not read


def test_a_patch_does_not_bring_a_resource_into_what_may_be_read() -> None:
    change = op("replace", "/category", value=categorised("vital-signs"))
    for letter in "rs":
        scope = f"patient/Observation.u patient/Observation.{letter}?category={CATEGORY}|vital-signs"
        refused = judge(scope, change)
        assert (code(refused), hints(refused)) == ("insufficient-scope", ["patient/Observation.r"])
        assert judge(scope, AMEND) is None
        assert judge(scope, op("replace", "/category", value=categorised("exam"))) is None
    assert judge("patient/Observation.u", change) is None
    assert judge("patient/Observation.ru", change) is None


@pytest.mark.parametrize("operation", [op("remove", "/bodySite"), op("replace", "/method", value={}), op("add", "/note/5", value={})])
def test_without_read_a_patch_that_fails_does_not_say_where(operation: dict[str, Any]) -> None:
    with pytest.raises(Unprocessable) as blind:
        judge("patient/Observation.u", AMEND, operation)
    assert (blind.value.status, blind.value.reason, blind.value.expression) == (422, "patch-failed", "patch")
    with pytest.raises(Unprocessable) as seeing:
        judge("patient/Observation.ru", AMEND, operation)
    assert (seeing.value.status, seeing.value.expression) == (422, "patch[1].path")


def test_the_result_has_the_limits_of_a_body() -> None:
    with pytest.raises(Unprocessable) as caught:
        judge("patient/Observation.ru", op("add", "/note/-", value={"text": "x" * 500}), body=600)
    assert caught.value.reason == "patch-limit"
    with pytest.raises(Unprocessable) as deep:
        judge("patient/Observation.ru", op("add", "/extension", value=[[[[[[]]]]]]), depth=6)
    assert deep.value.reason == "json-depth"
    with pytest.raises(Unprocessable):
        judge("patient/Observation.ru", op("add", "", value="Observation"))


def test_a_bundle_is_legible_only_to_who_may_read_all() -> None:
    """It holds resources of other types, and a test would tell of them."""
    bundle = {"resourceType": "Bundle", "id": "b1", "meta": {"versionId": "1"}, "type": "collection", "entry": [{"resource": STORED}]}
    probe = op("test", "/entry/0/resource/status", value="final")
    carrier = permitted(decide("PATCH", "/Bundle/b1", "system/Bundle.ru", headers=SENT))
    assert isinstance(carrier.stored, StoredCheck)
    assert code(judge("system/Bundle.ru", probe, stored=bundle, type="Bundle")) == "insufficient-scope"
    assert judge(EVERYTHING, probe, stored=None) is None
    inside = observation(contained=[{"resourceType": "Parameters", "id": "p"}])
    assert code(judge("patient/Observation.ru", TEST, stored=inside)) == "insufficient-scope"


def test_a_binary_is_never_patched_by_a_patient() -> None:
    binary = {"resourceType": "Binary", "id": "x1", "contentType": "text/plain", "securityContext": {"reference": "Patient/123"}}
    refused = decide("PATCH", "/Binary/x1", "patient/*.cruds", headers=SENT)
    if isinstance(refused, Deny):
        assert refused.status in (403, 404)
    else:
        assert code(judge("patient/*.cruds", op("add", "/data", value="AA=="), stored=binary, type="Binary")) == "outside-boundary"


@pytest.mark.parametrize(
    ("operation", "element"),
    [
        (SEARCH, "subject"),
        (op("add", "/subject", value={"reference": "Patient?identifier=x"}), "subject"),
        (op("add", "", value={"resourceType": "Observation", "id": "o1", "focus": [{"reference": "Patient?a=b"}]}), "focus"),
        (op("add", "/performer/-", value={"reference": "http://fhir.example/Patient?a=b"}), "performer"),
        (op("replace", "/note/0/authorReference/reference", value="Pat/ient?a=b"), "note"),
        (op("copy", "/subject/reference", **{"from": "/note/0/text"}), "subject"),
        (op("move", "/focus/0/reference", **{"from": "/note/0/text"}), "focus"),
    ],
)
def test_where_nothing_is_fetched_nothing_refers_by_a_search_that_may_not_be_made(operation: dict[str, Any], element: str) -> None:
    refused = judge(ALL_OBSERVATIONS, AMEND, operation, stored=None)
    assert code(refused) == "conditional-reference"
    assert refused is not None
    assert [cause.expression for cause in refused.causes] == [f"Observation.{element}"]
    assert judge(EVERYTHING, AMEND, operation, stored=None) is None


@pytest.mark.parametrize(
    "operation",
    [
        op("add", "/subject", value={"reference": "Patient/1", "display": "Who?"}),
        op("test", "/subject/reference", value="Patient?a=b"),
        op("add", "/note", value=[{"text": "Patient?"}]),
        op("copy", "/note/-", **{"from": "/note/0"}),
        op("replace", "/hasMember/0/reference", value="Observation?identifier=x"),
    ],
)
def test_what_is_no_such_search_passes(operation: dict[str, Any]) -> None:
    assert judge(ALL_OBSERVATIONS, AMEND, operation, stored=None) is None


@pytest.mark.parametrize("type", ["application/xml-patch+xml", "application/fhir+xml"])
def test_xml_could_refer_by_a_search(type: str) -> None:
    assert isinstance(permitted(decide("PATCH", "/Observation/o1", ALL_OBSERVATIONS, headers={"Content-Type": type})).body, PatchCheck)


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ({"valueReference": {"reference": "Patient?identifier=x"}}, False),
        ({"valueString": "Patient?identifier=x"}, False),
        ({"valueUri": " https://fhir.example/Patient?identifier=x"}, False),
        ({"valueString": "/Pat/ient?identifier=x"}, False),
        ({"part": [{"name": "reference", "valueString": "Patient?identifier=x"}]}, False),
        ({"valueString": "Observation?identifier=x"}, True),
        ({"valueReference": {"reference": "Patient/1"}}, True),
        ({"valueString": "Is this the Patient?"}, True),
        ({"valueUrl": "https://example.org/picture?size=2"}, True),
        ({"valueInteger": 3}, True),
    ],
)
def test_no_fhirpath_patch_refers_by_a_search_that_may_not_be_made(value: dict[str, Any], passes: bool) -> None:
    parts = [{"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.subject.where(a = 'Patient?')"}]
    patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [*parts, {"name": "value", **value}]}]}
    check = permitted(decide("PATCH", "/Observation/o1", ALL_OBSERVATIONS, headers=PARAMETERS)).body
    assert isinstance(check, BodyCheck)
    refused = refuse_body(patch, check, Access(principal(ALL_OBSERVATIONS), DEFAULT))
    assert (refused is None) is passes
    assert refused is None or code(refused) == "conditional-reference"
    assert refuse_body(patch, check, Access(principal(EVERYTHING), DEFAULT)) is None


def test_what_a_bundle_is_patched_to_carry_is_judged() -> None:
    assert permitted(decide("PATCH", "/Bundle/b1", "system/*.rus", headers=SENT)).stored is None
    scope = "system/*.rs system/Bundle.u"
    carried = op("add", "/entry", value=[{"resource": observation()}])
    stored = {"resourceType": "Bundle", "id": "b1", "type": "collection"}
    assert code(judge(scope, carried, stored=stored, type="Bundle")) == "outside-boundary"
    assert judge(scope + " system/Observation.u", carried, stored=stored, type="Bundle") is None


def test_explain_foresees_what_is_certain() -> None:
    for scope, operation, certain in (
        ("patient/Observation.u", TEST, True),
        ("patient/Observation.u", AMEND, False),
        ("patient/Observation.ru", TEST, False),
        (EVERYTHING, SEARCH, False),
        (ALL_OBSERVATIONS, SEARCH, True),
        (ALL_OBSERVATIONS, AMEND, False),
    ):
        plan = permitted(decide("PATCH", "/Observation/o1", scope, headers=SENT))
        assert isinstance(plan.body, PatchCheck)
        patch = read_patch(json.dumps([operation]).encode(), JSON_PATCH, Limits())
        asked, who = parse("PATCH", "/Observation/o1", headers=SENT), Access(principal(scope), DEFAULT)
        assert (foresee_patch(patch, plan.body, asked, who, fetched=plan.stored is not None) is not None) is certain


@pytest.mark.parametrize(
    ("operations", "certain"),
    [
        ([op("replace", "/id", value="o2")], True),
        ([op("replace", "/id", value="o1")], False),
        ([op("remove", "/resourceType")], True),
        ([op("move", "/note", **{"from": "/id"})], True),
        ([op("replace", "", value={"resourceType": "Observation", "id": "o2"})], True),
        ([op("replace", "/id", value="o2"), op("replace", "/id", value="o1")], False),
        ([op("copy", "/id", **{"from": "/id"})], False),
    ],
)
def test_explain_foresees_another_name(operations: list[dict[str, Any]], certain: bool) -> None:
    plan = permitted(decide("PATCH", "/Observation/o1", "patient/Observation.ru", headers=SENT))
    assert isinstance(plan.body, PatchCheck)
    patch = read_patch(json.dumps(operations).encode(), JSON_PATCH, Limits())
    asked, who = parse("PATCH", "/Observation/o1", headers=SENT), Access(principal("patient/Observation.ru"), DEFAULT)
    with pytest.raises(RequestError, match="cannot change") if certain else nullcontext():
        foresee_patch(patch, plan.body, asked, who, fetched=True)
