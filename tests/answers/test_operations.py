"""What is left of the answers to operations: built anew of what was judged (semantics 7 and 8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.answers.confine import Absent, Confined, confine_searchset
from smart_gateway.answers.operations import confine_meta, confine_outcome, confine_terms
from smart_gateway.errors import UpstreamError
from smart_gateway.policy.access import Access
from smart_gateway.policy.operations.checks import CheckMeta, CheckTerms
from smart_gateway.policy.plan import CheckSearchset
from smart_gateway.scopes.permissions import Permission
from tests.answers.conftest import UPSTREAM, access, compact, links_for, observation, searchset

TERMS = CheckTerms(frozenset({"ValueSet"}))
BEA = {"resourceType": "Patient", "id": "999", "name": [{"family": "Bea"}]}
ISSUE = {"severity": "error", "code": "invalid", "diagnostics": "secret of Bea", "details": {"text": "secret of Bea"}}


def body(confined: object) -> Any:
    assert isinstance(confined, Confined), confined
    return json.loads(confined.body)


# A record


def record(found: Access, *resources: dict[str, Any], mode: str | None = "match", **more: Any) -> Any:
    came = compact(searchset(*resources, mode=mode, **more))
    return body(confine_searchset(came, CheckSearchset(None, None, exact=False), found, {}, links_for(found)))


@pytest.mark.parametrize("mode", ["match", "include", None, "outcome"])
@pytest.mark.parametrize(
    ("scopes", "kept"),
    [
        (["patient/*.rs"], ["123", "o1", "p1"]),
        (["patient/*.r"], ["123", "o1", "p1"]),
        (["patient/Patient.r", "patient/Observation.s"], ["123", "o1"]),
        (["patient/Patient.r", "patient/Observation.rs?category=vital-signs"], ["123"]),
        (["patient/Patient.r", "patient/Practitioner.r"], ["123", "p1"]),
        (["patient/Patient.r", "patient/Observation.cud"], ["123"]),
    ],
)
def test_of_a_record_leaves_what_may_be_read(scopes: list[str], kept: list[str], mode: str | None) -> None:
    resources = [
        {"resourceType": "Patient", "id": "123"},
        BEA,
        observation(),
        observation("o2", "999"),
        observation("o3", "999", focus=[{"reference": "Patient/123"}]),
        {"resourceType": "Practitioner", "id": "p1"},
        {"resourceType": "Basic", "id": "b1"},
        {"resourceType": "Nonsense", "id": "n1"},
        {"resourceType": "Observation", "subject": {"reference": "Patient/123"}},
    ]
    left = record(access(*scopes), *resources, mode=mode, total=9)
    assert [entry["resource"]["id"] for entry in left["entry"]] == kept
    assert "total" not in left
    assert "Bea" not in json.dumps(left)
    if mode in {"match", "include"}:
        assert {entry["search"]["mode"] for entry in left["entry"]} == {mode}


def test_what_a_record_brings_along_stays_where_what_stays_refers_to_it() -> None:
    mine = observation(performer=[{"reference": "Practitioner/p1"}])
    other = observation("o2", "999", performer=[{"reference": "Practitioner/p2"}])
    came = searchset(mine, other, *({"resourceType": "Practitioner", "id": id} for id in ("p1", "p2")))
    for entry in came["entry"][2:]:
        entry["search"] = {"mode": "include"}
    found = access("patient/*.rs")
    left = body(confine_searchset(compact(came), CheckSearchset(None, None, exact=False), found, {}, links_for(found)))
    assert [entry["resource"]["id"] for entry in left["entry"]] == ["o1", "p1"]


def test_remarks_in_a_record_are_made_anew() -> None:
    left = record(access("patient/*.rs"), {"resourceType": "OperationOutcome", "id": "x", "issue": [ISSUE]})
    assert left["entry"][0]["resource"]["issue"][0]["code"] == "invalid"
    assert "secret" not in json.dumps(left)


def test_only_links_of_the_upstream_go_on() -> None:
    links = [
        {"relation": "next", "url": f"{UPSTREAM}?_getpages=x"},
        {"relation": "previous", "url": "https://other.example/fhir?_getpages=x"},
    ]
    left = record(access("patient/*.rs"), link=links)
    assert [link["relation"] for link in left["link"]] == ["self", "next"]
    assert "_getpages" not in json.dumps(left)


# $meta


def meta(found: Access, resource: Any) -> Any:
    rule = CheckMeta("Observation", "o1", found.boundary("Observation", Permission.READ))
    return confine_meta(resource if isinstance(resource, bytes) else compact(resource), rule, found, {})


def test_meta_alone_leaves() -> None:
    found = {"versionId": "3", "tag": [{"code": "t"}]}
    answer = body(meta(access("patient/*.r"), observation(meta=found, note=[{"text": "secret"}])))
    assert answer == {"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": found}]}
    assert body(meta(access("patient/*.r"), observation())) == {"resourceType": "Parameters"}


def test_meta_of_what_is_outside_looks_absent() -> None:
    assert isinstance(meta(access("patient/*.r"), observation(patient="999", meta={"versionId": "1"})), Absent)


@pytest.mark.parametrize("came", [observation("o2"), BEA, b"{", b'{"resourceType":"Observation","id":"o1","meta":{},"meta":{}}'])
def test_meta_of_another_resource_is_a_fault(came: Any) -> None:
    with pytest.raises(UpstreamError):
        meta(access("patient/*.r"), came)


# $validate


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        (["Observation.status"], ["Observation.status"]),
        (["Observation.component[12].code", "Observation"], ["Observation.component[12].code", "Observation"]),
        (["Observation.value.ofType(Quantity)"], ["Observation.value.ofType(Quantity)"]),
        (["Bundle.entry[0].resource/*Patient/999*/.name"], ["Bundle.entry[0].resource.name"]),
        (["Bundle.entry[0].resource/*Patient/999"], None),
        (["Observation.subject.where(reference = 'Patient/999')"], None),
        ([1, None, "", "Patient/999"], None),
        ("Observation.status", None),
        (None, None),
    ],
)
def test_of_an_outcome_the_kind_and_the_place_leave(expression: Any, kept: list[str] | None) -> None:
    issue = {**ISSUE, "expression": expression, "location": ["Line[1] Patient/999"], "extension": [{"url": "x", "valueString": "secret"}]}
    left = body(confine_outcome(compact({"resourceType": "OperationOutcome", "id": "x", "text": {"div": "secret"}, "issue": [issue]})))
    assert left.keys() == {"resourceType", "issue"}
    (one,) = left["issue"]
    assert (one["severity"], one["code"], one.get("expression")) == ("error", "invalid", kept)
    assert one.keys() <= {"severity", "code", "details", "expression"}
    assert "secret" not in json.dumps(left)
    assert "999" not in json.dumps(left)


@pytest.mark.parametrize(
    "came",
    [
        BEA,
        {"resourceType": "OperationOutcome"},
        {"resourceType": "OperationOutcome", "issue": [{"severity": "secret", "code": "invalid"}]},
        {"resourceType": "Parameters", "parameter": []},
        [],
    ],
)
def test_an_outcome_that_is_none_is_a_fault(came: Any) -> None:
    with pytest.raises(UpstreamError):
        confine_outcome(compact(came))


# Terminology


def terms(came: Any, *scopes: str) -> Any:
    return body(confine_terms(came if isinstance(came, bytes) else compact(came), TERMS, access(*(scopes or ("patient/*.rs",)))))


@pytest.mark.parametrize(
    "came",
    [
        {"resourceType": "ValueSet", "expansion": {"contains": [{"code": "male"}]}},
        {"resourceType": "ValueSet", "id": "v1", "expansion": {"contains": []}, "contained": [{"resourceType": "CodeSystem", "id": "c"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "result", "valueBoolean": True}, {"name": "a", "part": [{"name": "b"}]}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": {"resourceType": "CodeSystem", "id": "c1"}}]},
        {"resourceType": "Parameters"},
    ],
)
def test_terms_leave_as_they_came(came: Any) -> None:
    assert terms(came) == came


def test_decimals_of_terms_stay_as_they_were_written() -> None:
    came = b'{"resourceType":"Parameters","id":"x","parameter":[{"name":"property","valueDecimal":1.50}]}'
    left = confine_terms(came, TERMS, access("patient/*.rs"))
    assert left.body == b'{"resourceType":"Parameters","parameter":[{"name":"property","valueDecimal":1.50}]}'


@pytest.mark.parametrize(
    "came",
    [
        BEA,
        observation(),
        {"resourceType": "CodeSystem", "id": "c1"},
        {"resourceType": "Bundle", "type": "searchset"},
        {"resourceType": "OperationOutcome", "issue": [ISSUE]},
        {"resourceType": "ValueSet", "contained": [BEA]},
        {"resourceType": "ValueSet", "contained": "x"},
        {"resourceType": "ValueSet", "contained": [{"resourceType": "OperationOutcome", "issue": [ISSUE]}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": {"resourceType": ["Patient"]}}]},
        {"resourceType": "ValueSet", "contained": {"x": BEA}},
        {"resourceType": "ValueSet", "contained": [{"resourceType": "Bundle", "entry": [{"resource": BEA}]}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": BEA}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "part": [{"name": "y", "resource": BEA}]}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": {"resourceType": "Patient"}}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "valueString": BEA}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "part": {"resource": BEA}}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": "x"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": {"resourceType": "Bundle", "entry": [{"resource": BEA}]}}]},
        {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": {"resourceType": "OperationOutcome"}}]},
        {"resourceType": "Parameters", "parameter": "x"},
        {"resourceType": "Parameters", "parameter": ["x"]},
        b'{"resourceType":"ValueSet","resourceType":"Patient"}',
        b"{",
    ],
)
def test_what_is_no_terminology_is_a_fault(came: Any) -> None:
    with pytest.raises(UpstreamError):
        terms(came)


def test_a_stored_value_set_must_be_readable() -> None:
    stored = {"resourceType": "ValueSet", "id": "v1", "status": "draft"}
    assert terms(stored, "patient/ValueSet.r?status=draft") == stored
    with pytest.raises(UpstreamError):
        terms(stored, "patient/ValueSet.r?status=active")


def test_remarks_in_parameters_are_made_anew() -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{**ISSUE, "expression": ["code"]}]}
    given = [{"name": "result", "valueBoolean": False}, {"name": "issues", "resource": outcome}]
    left = terms({"resourceType": "Parameters", "parameter": given})
    (issue,) = left["parameter"][1]["resource"]["issue"]
    assert (issue["severity"], issue["code"]) == ("error", "invalid")
    assert "secret" not in json.dumps(left)
