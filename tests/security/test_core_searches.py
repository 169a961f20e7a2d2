"""Attacks on the decision about searches: what would tell about resources outside, and what must still be let through."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.errors import RequestError
from smart_gateway.fhir.releases import Release
from smart_gateway.policy.plan import CheckSearchset, Permit
from tests.support.deciding import decide, denied, permitted, policy, sent

CLINICIAN: dict[str, Any] = {"fhir_user": "Practitioner/p", "patient": None}


def exact(target: str, scope: str) -> bool:
    rule = permitted(decide("GET", target, scope)).answer
    assert isinstance(rule, CheckSearchset)
    return rule.exact


@pytest.mark.parametrize(
    ("target", "scope"),
    [
        # FHIR allows _has at the end of a chain, and HAPI answers it: it tells who has an Observation with this code.
        ("/Encounter?subject:Patient._has:Observation:patient:code=hiv", "user/Encounter.rs user/Patient.rs"),
        ("/Patient?_has:Encounter:subject:subject:Patient._has:Observation:patient:code=hiv", "user/Encounter.rs user/Patient.rs"),
        ("/Encounter?subject:Patient._has:Encounter:patient:_has:Provenance:target:agent=x", "user/Encounter.rs user/Patient.rs"),
    ],
)
def test_a_reverse_chain_behind_a_chain_is_judged(target: str, scope: str) -> None:
    assert denied(decide("GET", target, scope, **CLINICIAN)).causes[0].code == "chain-not-allowed"


def test_a_reverse_chain_behind_a_chain_is_open_where_its_types_are() -> None:
    target = "/Encounter?subject:Patient._has:Observation:patient:code=hiv"
    assert sent(decide("GET", target, "user/Encounter.rs user/Patient.rs user/Observation.rs", **CLINICIAN)) == f"GET {target}"


@pytest.mark.parametrize(
    "target",
    [
        "/Encounter?subject:Patient._list=vip",
        "/Encounter?subject:Patient._filter=x",
        "/Encounter?subject:Patient._contained=true",
        "/Encounter?subject:Patient.nonsense=x",
        "/Encounter?subject:Patient.name:nonsense=x",
        "/Encounter?subject:Patient._id:in=List/vip",
        "/Patient?_has:Encounter:patient:_list=vip",
        "/Patient?_has:Encounter:patient:nonsense=x",
        "/Patient?_has:Encounter:patient:subject:in=List/vip",
    ],
)
def test_the_end_of_a_chain_is_a_known_parameter(target: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide("GET", target, "user/Encounter.rs user/Patient.rs", **CLINICIAN)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "target",
    [
        "/Encounter?subject:Patient.name:exact=x",
        "/Encounter?subject:Patient.general-practitioner:Practitioner=1",
        "/Encounter?subject:Patient._id=1",
    ],
)
def test_the_end_of_a_chain_takes_its_modifiers(target: str) -> None:
    assert sent(decide("GET", target, "user/Encounter.rs user/Patient.rs", **CLINICIAN)) == f"GET {target}"


@pytest.mark.parametrize(
    "target",
    [
        "/Patient?_id:in=List/vip",
        "/Patient?_id:not-in=List/vip",
        "/Observation?subject:in=Group/vip",
        "/Observation?patient:not-in=List/vip",
        "/Encounter?location:below=Location/ward",
        "/Encounter?service-provider:above=Organization/o",
    ],
)
def test_membership_in_lists_and_hierarchies_is_not_told(target: str) -> None:
    """Like ``_list`` and ``_in``: whether one's own record is on somebody's list is told by a match."""
    refusal = denied(decide("GET", target, "patient/*.rs"))
    assert (refusal.status, refusal.causes[0].code) == (403, "parameter-not-allowed")


@pytest.mark.parametrize("type", ["Provenance", "AuditEvent"])
def test_types_that_depend_on_others_are_not_counted(type: str) -> None:
    """HAPI finds a Provenance by one target of several; the others may be somebody else's."""
    assert not exact(f"/{type}", f"patient/{type}.rs")
    assert denied(decide("GET", f"/{type}?_summary=count", f"patient/{type}.rs")).causes[0].code == "inexact-count"


@pytest.mark.parametrize(
    ("filter", "said"),
    [
        ("subject=https://fhir.example.org/fhir/Patient/123", "subject=Patient/123"),
        ("subject=http://127.0.0.1:8090/fhir/Patient/123", "subject=Patient/123"),
        ("encounter=9", "encounter=Encounter/9"),  # HAPI takes a bare id for any of the parameter's types
        ("subject:Patient=123", "subject:Patient=123"),
        ("subject=http://elsewhere.example/fhir/Group/1", "subject=http%3A//elsewhere.example/fhir/Group/1"),
    ],
)
def test_reference_filters_are_said_in_the_upstreams_words(filter: str, said: str) -> None:
    found = sent(decide("GET", "/Observation", f"system/Observation.rs?{filter}"))
    assert found.replace("%3A", ":") == f"GET /Observation?{said}".replace("%3A", ":")


@pytest.mark.parametrize("target", ["/Device", "/Patient/123/Device"])
def test_an_addition_to_the_compartment_is_unknown_to_the_upstreams_path(target: str) -> None:
    under = policy(compartment_search="compartment")
    assert sent(decide("GET", target, "patient/Device.rs", under=under)) == "GET /Device?patient=Patient/123"


@pytest.mark.parametrize("query", ["patient=", "patient=,", "subject="])
def test_an_empty_value_asks_for_nobody(query: str) -> None:
    assert sent(decide("GET", f"/Observation?{query}", "patient/Observation.rs")) == "GET /Observation?patient=Patient/123"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/Observation/1"), ("GET", "/Observation"), ("POST", "/Observation"), ("DELETE", "/Observation/1"), ("PUT", "/Observation/1")],
)
def test_respond_async_is_refused_under_a_bound(method: str, target: str) -> None:
    headers = {"Prefer": "respond-async", "Content-Type": "application/fhir+json"}
    refusal = denied(decide(method, target, "patient/Observation.cruds", headers=headers))
    assert (refusal.status, refusal.causes[0].code) == (403, "respond-async")
    assert isinstance(decide(method, target, "system/*.cruds", headers=headers), Permit)  # a wish, which need not be granted


@pytest.mark.parametrize("release", list(Release))
def test_many_filtered_scopes_are_judged_in_good_time(release: Release) -> None:
    """A token of 16 KiB holds hundreds of scopes; comparing each with each for each took minutes."""
    scope = " ".join(f"patient/*.rs?_id=a{number}" for number in range(780))
    assert denied(decide("GET", "/Observation/b", scope, under=policy(release))).status == 404


@pytest.mark.parametrize(
    ("target", "hinted"),
    [
        ("/Condition", ["patient/Condition.s"]),
        ("/Condition?patient=123", ["patient/Condition.s"]),
        ("/Condition?nonsense=1", ["patient/Condition.s"]),  # it "may" still fail for other reasons
        ("/Condition?patient=456", []),
        ("/Condition?patient=123&_list=1", []),
        ("/Patient/456/Condition", []),
        ("/Patient/456", []),
    ],
)
def test_no_scope_is_named_that_would_not_help(target: str, hinted: list[str]) -> None:
    """Semantics 10: the hint is given only when no other rule denies."""
    assert [missing.scope for missing in denied(decide("GET", target, "patient/Observation.rs")).missing] == hinted


@pytest.mark.parametrize("query", ["performer=prac-1", "performer=prac-1,Practitioner/2", "performer:Practitioner=456"])
def test_a_bare_id_of_one_of_many_types_is_no_other_patient(query: str) -> None:
    assert sent(decide("GET", f"/Observation?{query}", "patient/Observation.rs")) == f"GET /Observation?{query}&patient=Patient/123"


@pytest.mark.parametrize(
    "target", ["/Observation?subject=456", "/Observation?patient=456", "/Coverage?beneficiary=456", "/Patient?_id=456"]
)
def test_a_bare_id_of_a_patient_is(target: str) -> None:
    assert denied(decide("GET", target, "patient/*.rs")).causes[0].code == "foreign-patient"


@pytest.mark.parametrize("type", ["Condition", "Encounter", "Procedure", "CarePlan", "Goal", "Flag", "Basic", "ImagingStudy"])
@pytest.mark.parametrize("value", ["Patient/456", "456", "https://fhir.example.org/fhir/Patient/456", "Patient/456/_history/2"])
def test_the_subject_names_whose_record_it_is_also_where_the_compartment_goes_by_patient(type: str, value: str) -> None:
    """The definition lists ``patient`` alone for these types; asking for another ``subject`` is asking for another patient."""
    refusal = denied(decide("GET", f"/{type}?subject={value}", "patient/*.rs"))
    assert (refusal.status, refusal.causes[0].code, refusal.causes[0].expression) == (403, "foreign-patient", "http.subject")
    assert sent(decide("GET", f"/{type}?subject={value},Patient/123", "patient/*.rs")).startswith(f"GET /{type}?subject=Patient/123&")


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("patient/*.rs?category=a user/*.rs?code=b", "patient=Patient/123,Patient/77"),
        ("patient/*.rs?category=a user/*.rs?category=b", "patient=Patient/123,Patient/77&category=a,b"),
        ("patient/*.rs?category=a&status=final patient/*.rs?category=b&code=1", "patient=Patient/123&category=a,b"),
        ("patient/*.rs?category:not=a&status=final patient/*.rs?category:not=b&code=1", "patient=Patient/123"),
    ],
)
def test_regions_that_differ_are_narrowed_to_what_covers_them(scope: str, said: str) -> None:
    decision = decide("GET", "/Observation", scope, fhir_user="Patient/77")
    rule = permitted(decision).answer
    assert sent(decision) == f"GET /Observation?{said}"
    assert isinstance(rule, CheckSearchset)
    assert not rule.exact


def test_a_read_of_one_open_type_takes_no_unknown_parameters() -> None:
    """EVERYTHING of Observation is not everything: an unknown parameter may make some server answer with more than that."""
    for query in ("_include=Observation:subject", "_cascade=delete", "nonsense=1"):
        with pytest.raises(RequestError) as caught:
            decide("GET", f"/Observation/1?{query}", "system/Observation.r")
        assert caught.value.reason == "unknown-parameter"
        assert isinstance(decide("GET", f"/Observation/1?{query}", "system/*.r"), Permit)
    assert sent(decide("GET", "/Observation/1?_elements=code&_format=json", "system/Observation.r")) == "GET /Observation/1?_elements=code"
