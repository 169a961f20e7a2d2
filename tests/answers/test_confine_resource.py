from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.answers.confine import Absent, Confined, confine_resource
from smart_gateway.answers.judging import Known, Pending
from smart_gateway.boundary.model import everything
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.fields import parse_field
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import CheckResource
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.scopes.permissions import Permission
from tests.answers.conftest import PUBLIC, UPSTREAM, access, compact, observation
from tests.support.deciding import policy, principal


def check(found: Access, type: str = "Observation", id: str = "o1", version: str | None = None) -> CheckResource:
    return CheckResource(type, id, found.boundary(type, Permission.READ), version)


def test_inside_leaves_byte_for_byte(lab: Access) -> None:
    raw = json.dumps(observation(), indent=2).replace('"final"', '"final", "valueQuantity": {"value": 72.50}').encode()
    assert confine_resource(raw, check(lab), lab, {}) == Confined(raw)


@pytest.mark.parametrize(
    "resource", [observation(patient="9"), observation(category="vital-signs"), {"resourceType": "Observation", "id": "o1"}]
)
def test_outside_looks_absent(lab: Access, resource: dict[str, Any]) -> None:
    assert confine_resource(compact(resource), check(lab), lab, {}) == Absent()


def test_upstream_urls_become_public(lab: Access) -> None:
    resource = observation(subject={"reference": f"{UPSTREAM}/Patient/123"}, note=[{"text": f"{UPSTREAM}-other/x"}])
    confined = confine_resource(compact(resource), check(lab), lab, {})
    assert isinstance(confined, Confined)
    assert json.loads(confined.body)["subject"]["reference"] == f"{PUBLIC}/Patient/123"
    assert json.loads(confined.body)["note"] == [{"text": f"{UPSTREAM}-other/x"}]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"<Observation/>",
        b"\xef\xbb\xbf" + compact(observation()),
        compact(observation())[:-1],
        compact(observation()) + b"{}",
        compact(observation(id="o2")),
        compact({**observation(), "id": 1}),
        compact({**observation(), "resourceType": "Patient"}),
        compact({"resourceType": "OperationOutcome", "id": "o1", "issue": []}),
        compact({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": observation()}]}),
        compact(observation(note=[{"text": "x"}])).replace(b'"x"', b'"\xff"'),
        compact(observation(note="N")).replace(b'"N"', b"[" * 200_000 + b"]" * 200_000),
        compact(observation(note="N")).replace(b'"N"', b"NaN"),
        # doubled keys where the decision looks
        compact(observation(patient="9"))[:-1] + b',"subject":{"reference":"Patient/123"}}',
        compact(observation(patient="9"))[:-1] + b',"\\u0073ubject":{"reference":"Patient/123"}}',
        compact(observation(patient="9"))[:-1] + b', "subject" : {"reference":"Patient/123"}}',
        compact(observation(patient="9")).replace(b'"Patient/9"', b'"Patient/9","reference":"Patient/123"'),
        compact(observation(patient="9")).replace(b'"Patient/9"', b'"Patient/9","\\u0072eference":"Patient/123"'),
        b'{"resourceType":"Patient",' + compact(observation())[1:],
        b'{"id":"o2",' + compact(observation())[1:],
    ],
)
def test_what_is_not_the_resource_asked_for_is_an_upstream_error(lab: Access, raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        confine_resource(raw, check(lab), lab, {})


def test_huge_numbers_are_harmless(lab: Access) -> None:
    raw = compact(observation(valueInteger=0)).replace(b'"valueInteger":0', b'"valueInteger":' + b"9" * 100_000)
    assert confine_resource(raw, check(lab), lab, {}) == Confined(raw)


@pytest.mark.parametrize(
    ("meta", "fits"),
    [({"versionId": "2"}, True), ({"versionId": "3"}, False), ({}, True), ({"versionId": 2}, False), ("2", False), (None, True)],
)
def test_vread_wants_its_version(lab: Access, meta: Any, fits: bool) -> None:
    raw = compact(observation() if meta is None else observation(meta=meta))
    if fits:
        assert confine_resource(raw, check(lab, version="2"), lab, {}) == Confined(raw)
    else:
        with pytest.raises(UpstreamError):
            confine_resource(raw, check(lab, version="2"), lab, {})


class TestDependence:
    provenance = compact(
        {"resourceType": "Provenance", "id": "p1", "target": [{"reference": "Observation/o1/_history/2"}, {"reference": "Patient/123"}]}
    )
    found = access("patient/Provenance.r", "patient/Observation.r")

    def judge(self, known: Known) -> object:
        return confine_resource(self.provenance, check(self.found, "Provenance", "p1"), self.found, known)

    def test_asks_for_its_targets(self) -> None:
        assert self.judge({}) == Pending((Reference("Observation", "o1"),))

    def test_inside_when_they_are_readable(self) -> None:
        assert self.judge({Reference("Observation", "o1", "2"): b"{}"}) == Confined(self.provenance)

    def test_absent_when_one_is_not(self) -> None:
        assert self.judge({Reference("Observation", "o1"): None}) == Absent()


class TestCarriers:
    """Resources inside Bundle and Parameters stand for themselves; contained ones live with their owner."""

    found = access("patient/Observation.rs", "user/Bundle.rs", "user/Parameters.rs", patient="123")

    def judge(self, resource: dict[str, Any]) -> object:
        rule = CheckResource(resource["resourceType"], resource["id"], everything())
        return confine_resource(compact(resource), rule, self.found, {})

    @pytest.mark.parametrize(
        ("inner", "inside"),
        [
            (observation(), True),
            (observation(patient="9"), False),
            ({"resourceType": "Patient", "id": "9"}, False),
            ({"resourceType": "Nonsense", "id": "9"}, False),
            ({"resourceType": 7, "id": "9"}, False),
            (observation(contained=[{"resourceType": "Patient", "id": "p"}]), True),
            (
                observation(contained=[{"resourceType": "Parameters", "id": "p", "parameter": [{"resource": observation(patient="9")}]}]),
                False,
            ),
        ],
    )
    def test_nested_resources_are_judged(self, inner: dict[str, Any], inside: bool) -> None:
        bundle = {"resourceType": "Bundle", "id": "b", "type": "document", "entry": [{"resource": inner}]}
        parameters = {"resourceType": "Parameters", "id": "b", "parameter": [{"name": "a", "part": [{"name": "b", "resource": inner}]}]}
        nested = {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [{"resource": {**parameters, "id": "c"}}]}
        outcome = {"resourceType": "Bundle", "id": "b", "type": "batch-response", "entry": [{"response": {"outcome": inner}}]}
        for carrier in (bundle, parameters, outcome):
            assert isinstance(self.judge(carrier), Confined) is inside
        assert isinstance(self.judge(nested), Absent)  # Parameters is not readable by this user/ scope without a fhirUser

    def test_a_carrier_as_contained_is_walked(self) -> None:
        rule = check(self.found)
        held = {"resourceType": "Bundle", "id": "b", "entry": [{"resource": observation(patient="9")}]}
        assert confine_resource(compact(observation(contained=[held])), rule, self.found, {}) == Absent()
        assert isinstance(
            confine_resource(compact(observation(contained=[{"resourceType": "Patient", "id": "p"}])), rule, self.found, {}), Confined
        )

    def test_nested_dependence_is_asked_for(self) -> None:
        found = access("patient/Provenance.r", "patient/Observation.r")
        provenance = {"resourceType": "Provenance", "id": "p", "target": [{"reference": "Observation/o7"}]}
        raw = compact({"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [{"resource": provenance}]})
        rule = CheckResource("Bundle", "b", everything())
        assert confine_resource(raw, rule, found, {}) == Pending((Reference("Observation", "o7"),))
        assert confine_resource(raw, rule, found, {Reference("Observation", "o7"): b"{}"}) == Confined(raw)


LABEL = {"system": "http://acme.example/labels", "code": "VIP"}


@pytest.mark.parametrize(
    ("today", "is_shown"),
    [({"meta": {}}, True), ({"meta": {"security": [LABEL]}}, False), (None, False)],
)
def test_a_version_is_hidden_by_the_label_of_today(today: dict[str, Any] | None, *, is_shown: bool) -> None:
    hiding = FieldRule("Observation", Permission.READ | Permission.SEARCH, hide=(parse_field("status"),), labelled=("VIP",))
    found = Access(principal("user/*.rs", fhir_user="Practitioner/p"), policy(fields=(hiding,)))
    raw, o1 = compact(observation()), Reference("Observation", "o1")
    assert confine_resource(raw, check(found), found, {}) == Confined(raw)  # the version of today says itself
    rule = check(found, version="1")
    assert confine_resource(raw, rule, found, {}) == Pending((o1,))
    judged = confine_resource(raw, rule, found, {o1: None if today is None else json.dumps(today).encode()})
    assert isinstance(judged, Confined)
    assert (b"status" in judged.body) is is_shown
    assert (b"SUBSETTED" in judged.body) is not is_shown
