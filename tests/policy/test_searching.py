"""Type and compartment searches (semantics 4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smart_gateway.errors import NotAcceptable, RequestError, UnknownPath
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.model import Capabilities
from smart_gateway.policy.plan import CheckSearchset, EmptySearchset, Permit, Stream
from tests.support.deciding import DEFAULT, decide, denied, parse, permitted, policy, principal, sent

LAB = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"


def rule(decision: object) -> CheckSearchset:
    assert isinstance(decision, Permit), decision
    assert isinstance(decision.plan.answer, CheckSearchset)
    return decision.plan.answer


@pytest.mark.parametrize(
    ("target", "scope", "expected"),
    [
        ("/Observation?code=8867-4", "patient/Observation.rs", "/Observation?code=8867-4&patient=Patient/123"),
        ("/Observation", "patient/*.read", "/Observation?patient=Patient/123"),
        ("/Observation", "patient/Observation.s?category=laboratory", "/Observation?patient=Patient/123&category=laboratory"),
        (
            "/Observation",
            "patient/Observation.rs?category=laboratory patient/Observation.rs?category=vital-signs",
            "/Observation?patient=Patient/123&category=laboratory,vital-signs",
        ),
        (
            "/Observation",
            "patient/Observation.rs?category=laboratory patient/Observation.rs?code=8867-4",
            "/Observation?patient=Patient/123",
        ),
        ("/Observation", "patient/Observation.rs patient/Observation.rs?code=8867-4", "/Observation?patient=Patient/123"),
        ("/Observation", f"patient/Observation.rs?category={LAB}", f"/Observation?patient=Patient/123&category={LAB.replace('|', '%7C')}"),
        ("/Patient", "patient/Patient.rs", "/Patient?_id=123"),
        ("/Patient?_id=123", "patient/Patient.rs", "/Patient?_id=123"),
        ("/Patient?_id=123,456", "patient/Patient.rs", "/Patient?_id=123"),
        ("/Coverage", "patient/Coverage.rs", "/Coverage?patient=Patient/123"),
        ("/Appointment", "patient/Appointment.rs", "/Appointment?patient=Patient/123"),
        ("/Schedule", "patient/Schedule.rs", "/Schedule?actor=Patient/123"),
        ("/Device", "patient/Device.rs", "/Device?patient=Patient/123"),
        ("/Organization?name=x", "patient/Organization.rs", "/Organization?name=x"),
        ("/Observation?patient=123", "patient/Observation.rs", "/Observation?patient=123&patient=Patient/123"),
        ("/Observation?patient=Patient/123", "patient/Observation.rs", "/Observation?patient=Patient/123"),
        ("/Observation?subject=Patient/123,Patient/456", "patient/Observation.rs", "/Observation?subject=Patient/123&patient=Patient/123"),
        ("/Observation?subject:Patient=123", "patient/Observation.rs", "/Observation?subject:Patient=123&patient=Patient/123"),
        (
            "/Observation?patient=https://fhir.example.org/fhir/Patient/123",
            "patient/Observation.rs",
            "/Observation?patient=Patient/123",
        ),
        ("/Observation?subject=Group/9", "patient/Observation.rs", "/Observation?subject=Group/9&patient=Patient/123"),
        ("/Observation?_count=5&_sort=-date", "patient/Observation.rs", "/Observation?_count=5&_sort=-date&patient=Patient/123"),
        ("/Patient/123/Observation?code=x", "patient/Observation.rs", "/Observation?code=x&patient=Patient/123"),
        (
            "/Encounter/9/Observation",
            "patient/Observation.rs",
            "/Observation?encounter=Encounter/9&patient=Patient/123",
        ),
        ("/Observation?_elements=code", "patient/Observation.rs", "/Observation?_elements=code,performer,subject&patient=Patient/123"),
        ("/Observation?_include=Observation:subject", "patient/Observation.rs", "/Observation?patient=Patient/123"),
        (
            "/Observation?_include=Observation:subject",
            "patient/Observation.rs patient/Patient.r",
            "/Observation?_include=Observation:subject&patient=Patient/123",
        ),
        ("/Patient?_revinclude=Observation:subject", "patient/Patient.rs", "/Patient?_id=123"),
        ("/Observation?_total=accurate", "patient/Observation.rs", "/Observation?_total=accurate&patient=Patient/123"),
    ],
)
def test_narrowing(target: str, scope: str, expected: str) -> None:
    assert sent(decide("GET", target, scope)) == f"GET {expected}"


def test_a_post_is_forwarded_as_post_with_one_form() -> None:
    plan = permitted(decide("POST", "/Observation/_search?status=final", "patient/Observation.rs", form="code=8867-4"))
    assert plan.upstream is not None
    assert (plan.upstream.method, plan.upstream.path, plan.upstream.query) == ("POST", ("Observation", "_search"), ())
    assert plan.upstream.form == (("status", "final"), ("code", "8867-4"), ("patient", "Patient/123"))


@pytest.mark.parametrize(
    ("target", "type"),
    [
        ("/Observation?patient=456", "Observation"),
        ("/Observation?patient=Patient/456", "Observation"),
        ("/Observation?subject=Patient/456", "Observation"),
        ("/Observation?subject:Patient=456", "Observation"),
        ("/Observation?patient=https://fhir.example.org/fhir/Patient/456", "Observation"),
        ("/Observation?patient=http://127.0.0.1:8090/fhir/Patient/456", "Observation"),
        ("/Observation?patient=Patient/456/_history/1", "Observation"),
        ("/Observation?patient=Patient/456,Patient/789", "Observation"),
        ("/Observation?patient=Patient/123&patient=Patient/456", "Observation"),
        ("/Observation?performer=Patient/456", "Observation"),
        ("/Patient?_id=456", "Patient"),
        ("/Patient/456/Observation", "Observation"),
    ],
)
def test_another_patient_is_refused_or_empty(target: str, type: str) -> None:
    refusal = denied(decide("GET", target, f"patient/{type}.rs"))
    assert (refusal.status, refusal.causes[0].code) == (403, "foreign-patient")
    plan = permitted(decide("GET", target, f"patient/{type}.rs", under=policy(foreign_patient_search="empty")))
    assert plan.answer == EmptySearchset(type)
    assert plan.upstream is None


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("nonsense=1", "unknown-parameter"),
        ("_nonsense=1", "unknown-parameter"),
        ("_offset=5", "unknown-parameter"),
        ("code:nickname=x", "unknown-modifier"),
        ("subject:Organization=x", "unknown-modifier"),
        ("patient:mdm=Patient/123", "unknown-modifier"),
        ("_count=ten", "malformed-parameter"),
        ("_count=5&_count=1000", "malformed-parameter"),
        ("_count=-1", "malformed-parameter"),
        ("_count=%D9%A5", "malformed-parameter"),
        ("_sort=secret", "malformed-parameter"),
        ("_sort=patient.name", "malformed-parameter"),
        ("_summary=much", "malformed-parameter"),
        ("_total=all", "malformed-parameter"),
        ("_elements=a,,b", "malformed-parameter"),
        ("_include=Nope:subject", "malformed-parameter"),
        ("_include=Observation:code", "malformed-parameter"),
        ("_include:bogus=Observation:subject", "malformed-parameter"),
        ("_has:Nope:x:y=1", "malformed-parameter"),
        ("code.name=1", "malformed-parameter"),
    ],
)
def test_unknown_and_broken_parameters_are_named(query: str, reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide("GET", f"/Observation?{query}", "patient/Observation.rs")
    assert (caught.value.status, caught.value.reason) == (400, reason)
    assert caught.value.expression == "http." + query.split("=", maxsplit=1)[0]


@pytest.mark.parametrize(
    "query",
    [
        "_filter=code eq x",
        "_query=x",
        "_list=1",
        "_contained=true",
        "_contained=both",
        "_type=Patient",
        "_summary=text",
        "subject:Patient.name=x",
        "subject.name=x",
        "encounter.patient.name=x",
        "encounter:Encounter.patient:Patient.name=x",
        "_has:Provenance:target:agent=x",
        "_id:not=x",
        "_id:not=x&_summary=count",
    ],
)
def test_what_reaches_outside_is_refused(query: str) -> None:
    refusal = denied(decide("GET", f"/Observation?{query.replace(' ', '%20')}", "patient/*.rs"))
    assert refusal.status == 403
    assert refusal.causes[0].expression is not None


def test_chains_are_open_where_the_other_type_is() -> None:
    scope = "user/Observation.rs user/Patient.rs"
    target = "/Observation?subject:Patient.name=x"
    assert sent(decide("GET", target, scope, fhir_user="Practitioner/p")) == f"GET {target}"
    refusal = denied(decide("GET", target, "user/Observation.rs", fhir_user="Practitioner/p", patient=None))
    assert [missing.scope for missing in refusal.missing] == ["user/Patient.s"]


def test_a_count_needs_an_exact_narrowing() -> None:
    exact = rule(decide("GET", "/Observation?_summary=count", "patient/Observation.rs"))
    assert (exact.exact, exact.count_only) == (True, True)
    two = "patient/Observation.rs?category=laboratory patient/Observation.rs?code=8867-4"
    assert denied(decide("GET", "/Observation?_summary=count", two)).causes[0].code == "inexact-count"
    assert not rule(decide("GET", "/Observation", two)).exact


@pytest.mark.parametrize(
    ("include", "scope", "exact"),
    [
        ("_revinclude=Provenance:target", "patient/Observation.rs user/Provenance.rs", True),
        ("_revinclude=Provenance:target", "patient/Observation.rs patient/Provenance.rs", False),
        ("_revinclude=Provenance:target", "patient/Observation.rs user/Provenance.rs?agent=Device/1", False),
        ("_include=Observation:encounter", "patient/Observation.rs patient/Encounter.rs", True),
        ("_include:iterate=Encounter:diagnosis", "patient/Observation.rs patient/*.rs", False),
    ],
)
def test_what_no_match_names_and_may_be_removed_makes_totals_untrue(include: str, scope: str, exact: bool) -> None:
    assert rule(decide("GET", f"/Observation?{include}", scope, fhir_user="Practitioner/p")).exact is exact


@pytest.mark.parametrize("pending", ["form_pending", "body_pending"])
def test_nothing_is_decided_before_the_body_was_read_that_says_what_is_asked(pending: str) -> None:
    request = replace(parse("GET", "/Observation"), **{pending: True})
    with pytest.raises(AssertionError, match="was not read"):
        authorize(request, Access(principal("system/*.cruds"), DEFAULT))


def test_an_upstream_without_the_parameter_is_checked_only() -> None:
    under = policy(capabilities=Capabilities({"Observation": frozenset({"code"})}))
    decision = decide("GET", "/Observation?code=1", "patient/Observation.rs", under=under)
    assert sent(decision) == "GET /Observation?code=1"
    assert not rule(decision).exact
    with_subject = policy(capabilities=Capabilities({"Observation": frozenset({"subject", "performer"})}))
    assert sent(decide("GET", "/Observation", "patient/Observation.rs", under=with_subject)) == "GET /Observation?subject=Patient/123"


def test_a_parameter_that_only_the_upstream_knows_is_passed() -> None:
    under = policy(capabilities=Capabilities({"Observation": frozenset({"patient", "my-own"})}))
    assert sent(decide("GET", "/Observation?my-own=1", "patient/Observation.rs", under=under)) == (
        "GET /Observation?my-own=1&patient=Patient/123"
    )
    for query in ("my-own:exact=1", "my-own.name=1", "_my-own=1"):
        with pytest.raises(RequestError):
            decide("GET", f"/Observation?{query}", "patient/Observation.rs", under=under)


def test_compartment_mode_asks_by_path() -> None:
    under = policy(compartment_search="compartment")
    assert sent(decide("GET", "/Observation?code=1", "patient/Observation.rs", under=under)) == "GET /Patient/123/Observation?code=1"
    assert sent(decide("GET", "/Patient", "patient/Patient.rs", under=under)) == "GET /Patient?_id=123"
    assert sent(decide("GET", "/Encounter/9/Observation", "patient/Observation.rs", under=under)) == (
        "GET /Encounter/9/Observation?patient=Patient/123"
    )


def test_everything_passes_as_it_came() -> None:
    decision = decide("GET", "/Observation?nonsense=1&_filter=x&patient=456", "system/*.rs")
    assert permitted(decision).answer == Stream()
    assert sent(decision) == "GET /Observation?nonsense=1&_filter=x&patient=456"


def test_one_open_type_is_still_checked() -> None:
    """EVERYTHING of Observation is not everything: what comes along is judged by its own type."""
    found = rule(decide("GET", "/Observation", "system/Observation.rs"))
    assert found.boundary.is_everything
    with pytest.raises(RequestError):
        decide("GET", "/Observation?nonsense=1", "system/Observation.rs")


def test_a_type_that_is_in_no_such_compartment_is_an_unknown_path() -> None:
    with pytest.raises(UnknownPath):
        decide("GET", "/Patient/123/Organization", "patient/*.rs")


def test_media_and_async_under_a_bound() -> None:
    with pytest.raises(NotAcceptable):
        decide("GET", "/Observation", "patient/Observation.rs", headers={"Accept": "application/fhir+xml"})
    assert denied(decide("GET", "/Observation", "patient/Observation.rs", headers={"Prefer": "respond-async"})).status == 403


@pytest.mark.parametrize("target", ["/Patient/123/*", "/?_type=Observation", "/_history"])
def test_searches_over_types_need_a_permission_on_one(target: str) -> None:
    assert denied(decide("GET", target, "patient/*.cud openid")).status == 403


def test_the_upstreams_own_paging_is_closed_to_bounded_tokens() -> None:
    assert denied(decide("GET", "/?_getpages=abc", "patient/*.rs")).causes[0].code == "foreign-page"
    assert sent(decide("GET", "/?_getpages=abc", "system/*.rs")) == "GET /?_getpages=abc"


def test_users_who_are_patients_have_their_own_compartment() -> None:
    assert sent(decide("GET", "/Observation", "user/Observation.rs", fhir_user="Patient/77", patient=None)) == (
        "GET /Observation?patient=Patient/77"
    )
    related = decide("GET", "/Observation", "user/Observation.rs", fhir_user="RelatedPerson/5")
    assert sent(related) == "GET /Observation?patient=Patient/123"


def test_principal_defaults() -> None:
    assert principal("").patient == "123"


@pytest.mark.parametrize("target", ["/Observation?" + "focus." * 20 + "code=x", "/Patient?" + "_has:Observation:subject:" * 20 + "code=x"])
def test_chains_have_a_length(target: str) -> None:
    """Each link may lead to every type; a form may hold millions of them."""
    with pytest.raises(RequestError) as caught:
        decide("GET", target, "patient/*.rs")
    assert (caught.value.status, caught.value.reason) == (400, "malformed-parameter")
