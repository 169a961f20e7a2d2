"""read and vread (semantics 5)."""

from __future__ import annotations

import pytest

from smart_gateway.boundary.matching import INSIDE, OUTSIDE, Depends
from smart_gateway.errors import NotAcceptable, RequestError
from smart_gateway.fhir.releases import Release
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import SERVER_TYPES
from smart_gateway.policy.plan import CheckResource, Stream
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, permitted, policy, principal, sent, vocabulary


def test_read_within_the_compartment_is_fetched_and_checked() -> None:
    plan = permitted(decide("GET", "/Observation/o1", "patient/Observation.r"))
    assert isinstance(plan.answer, CheckResource)
    assert (plan.answer.type, plan.answer.id, plan.answer.version) == ("Observation", "o1", None)
    assert plan.answer.boundary.regions[0].compartments[0].ids == ("123",)
    assert plan.checks == ("Observation/o1 is in Patient/123, else it looks absent",)


def test_vread_names_its_version() -> None:
    decision = decide("GET", "/Observation/o1/_history/2", "patient/Observation.r")
    answer = permitted(decision).answer
    assert isinstance(answer, CheckResource)
    assert answer.version == "2"
    assert sent(decision) == "GET /Observation/o1/_history/2"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_head_is_sent_as_get(method: str) -> None:
    assert sent(decide(method, "/Observation/o1", "patient/Observation.r")) == "GET /Observation/o1"


@pytest.mark.parametrize(
    ("scope", "claims"),
    [
        ("user/Observation.r", {"fhir_user": "Practitioner/p"}),
        ("user/*.read", {"fhir_user": "Practitioner/p"}),
        ("system/Observation.r", {}),
        ("system/*.cruds", {}),
    ],
)
def test_read_without_a_bound_streams(scope: str, claims: dict[str, str]) -> None:
    assert permitted(decide("GET", "/Observation/o1?_summary=true", scope, **claims)).answer == Stream()


@pytest.mark.parametrize(
    ("scope", "claims"),
    [
        ("", {}),
        ("openid launch/patient", {}),
        ("patient/Observation.s", {}),
        ("patient/Observation.cud", {}),
        ("patient/Observation.write", {}),
        ("patient/Patient.rs", {}),
        ("patient/Observation.rs", {"patient": None}),
        ("user/Observation.rs", {}),
        ("user/Observation.rs", {"fhir_user": "Person/p"}),
        ("user/Observation.rs", {"fhir_user": "PractitionerRole/p"}),
        ("user/Observation.rs", {"fhir_user": "RelatedPerson/p", "patient": None}),
        ("patient/observation.rs", {}),
        ("patient/Observation.sr", {}),
        ("patient/Observation.rs?nonsense=1", {}),
        ("patient/Observation.rs?code:in=http://example.org/vs", {}),
    ],
)
def test_read_without_the_permission_is_403(scope: str, claims: dict[str, str | None]) -> None:
    refusal = denied(decide("GET", "/Observation/o1", scope, **claims))
    assert (refusal.status, refusal.causes[0].code) == (403, "insufficient-scope")


@pytest.mark.parametrize("id", ["456", "12", "1234", "123.", "-123"])
def test_another_patient_is_absent_without_asking(id: str) -> None:
    refusal = denied(decide("GET", f"/Patient/{id}", "patient/Patient.r"))
    assert (refusal.status, refusal.causes[0].code, refusal.missing) == (404, "not-found", ())


def test_the_policy_may_say_403_for_absent() -> None:
    refusal = denied(decide("GET", "/Patient/456", "patient/Patient.r", under=policy(absent_and_forbidden=403)))
    assert (refusal.status, refusal.causes[0].code) == (403, "outside-boundary")


@pytest.mark.parametrize("query", ["_cascade=x", "code=1", "_count=1", "_foo=1", "_summary=count", "_summary=text", "_summary=junk"])
def test_other_parameters_of_a_bounded_read_are_400(query: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide("GET", f"/Observation/o1?{query}", "patient/Observation.r")
    assert caught.value.status == 400
    assert caught.value.expression == f"http.{query.split('=', maxsplit=1)[0]}"


def test_elements_of_a_bounded_read_are_not_sent() -> None:
    assert sent(decide("GET", "/Observation/o1?_elements=code&_summary=data&_pretty=true", "patient/Observation.r")) == (
        "GET /Observation/o1?_summary=data"
    )


def test_summary_true_of_the_patient_hides_nothing_that_is_checked() -> None:
    assert sent(decide("GET", "/Patient/123?_summary=true", "patient/Patient.r")) == "GET /Patient/123?_summary=true"


@pytest.mark.parametrize("accept", ["application/fhir+xml", "text/turtle"])
def test_only_json_can_be_judged(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        decide("GET", "/Observation/o1", "patient/Observation.r", headers={"Accept": accept})
    assert permitted(decide("GET", "/Observation/o1", "system/Observation.r", headers={"Accept": accept})).answer == Stream()


def test_shared_types_are_readable_only_by_a_scope_that_covers_them() -> None:
    assert isinstance(permitted(decide("GET", "/Organization/o", "patient/Organization.r")).answer, CheckResource)
    assert isinstance(permitted(decide("GET", "/Organization/o", "patient/*.rs")).answer, CheckResource)
    assert denied(decide("GET", "/Organization/o", "patient/Observation.rs")).status == 403
    assert denied(decide("GET", "/Organization/o", "patient/*.rs", under=policy(shared_types=frozenset()))).status == 403


@pytest.mark.parametrize("type", ["StructureDefinition", "ConceptMap", "SearchParameter", "Subscription", "CapabilityStatement"])
def test_server_types_need_their_name_in_patient_context(type: str) -> None:
    under = policy(shared_types=frozenset({type}))
    assert denied(decide("GET", f"/{type}/x", "patient/*.rs", under=under)).status == 403
    assert isinstance(permitted(decide("GET", f"/{type}/x", f"patient/{type}.rs", under=under)).answer, CheckResource)
    assert denied(decide("GET", f"/{type}/x", f"patient/{type}.rs")).status == 403
    assert permitted(decide("GET", f"/{type}/x", "system/*.rs")).answer == Stream()


def test_one_context_does_not_unbind_another_type() -> None:
    scope = "user/Organization.read patient/Observation.rs"
    plan = permitted(decide("GET", "/Observation/o1", scope, fhir_user="Practitioner/p"))
    assert isinstance(plan.answer, CheckResource)
    assert not plan.answer.boundary.is_everything


def test_a_bundle_is_judged_unless_everything_is_open() -> None:
    assert isinstance(permitted(decide("GET", "/Bundle/b", "system/Bundle.r")).answer, CheckResource)
    assert permitted(decide("GET", "/Bundle/b", "system/*.r")).answer == Stream()


def test_the_policy_says_which_binary_patient_scopes_read() -> None:
    regions = {}
    for choice in ("security_context", "allow"):
        plan = permitted(decide("GET", "/Binary/b", "patient/Binary.rs", under=policy(binary=choice)))
        assert isinstance(plan.answer, CheckResource)
        regions[choice] = plan.answer.boundary.regions
    assert regions["security_context"][0].compartments[0].ids == ("123",)
    assert regions["allow"][0].compartments == ()
    assert denied(decide("GET", "/Binary/b", "patient/*.rs", under=policy(binary="deny"))).status == 403
    assert permitted(decide("GET", "/Binary/b", "system/*.rs", under=policy(binary="deny"))).answer == Stream()


@pytest.mark.parametrize("choice", ["security_context", "allow", "deny"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_no_choice_lets_patient_scopes_write_a_binary(choice: str, method: str) -> None:
    target = "/Binary" if method == "POST" else "/Binary/b"
    headers = {"Content-Type": "application/fhir+json"}
    assert denied(decide(method, target, "patient/*.cruds", under=policy(binary=choice), headers=headers)).status == 403


@pytest.mark.parametrize("release", [Release.R4, Release.R4B, Release.R5])
def test_special_types_in_every_release(release: Release) -> None:
    """Server types open by name and policy alone; Person, Group and List are members as defined; Bundle is in no record."""
    bound = Access(principal("patient/*.cruds"), policy(release))
    for type in SERVER_TYPES & vocabulary(release).types:
        assert all(bound.boundary(type, permission).is_nothing for permission in Permission)
    for type in ("Person", "Group", "List", "RelatedPerson", "Consent", "Composition", "MeasureReport", "Provenance", "AuditEvent"):
        (region,) = bound.boundary(type, Permission.READ).regions
        assert region.compartments[0].ids == ("123",)
    for type in ("Bundle", "Parameters"):
        assert bound.boundary(type, Permission.READ).is_nothing


def test_a_binary_open_by_policy_is_still_bound_by_what_its_context_names() -> None:
    under = policy(binary="allow")
    boundary = Access(principal("patient/Binary.r"), under).boundary("Binary", Permission.READ)
    assert under.matcher.admits(boundary, {"resourceType": "Binary", "id": "b"}, "Binary") is INSIDE
    foreign = {"resourceType": "Binary", "id": "b", "securityContext": {"reference": "Patient/999"}}
    assert isinstance(under.matcher.admits(boundary, foreign, "Binary"), Depends)
    broken = {"resourceType": "Binary", "id": "b", "securityContext": {"display": "somebody"}}
    assert under.matcher.admits(boundary, broken, "Binary") is OUTSIDE
