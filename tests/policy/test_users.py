"""Rules for users: whom they are for, what they leave together, placeholders, lists of patients (semantics 3 and 9)."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.boundary.model import Compartment, Region
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import AnyOf, ConditionalRule, Policy, UserBound, UserRule, When
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, permitted, policy, principal, scopes, sent

NORTH = When(claims=(("org", frozenset({"north"})),))
STUDENT = When(claims=(("roles", frozenset({"student"})),))
PRACTITIONERS = When(kinds=frozenset({"Practitioner"}))
EVERYTHING = UserRule(UserBound.EVERYTHING)
OWN = "user/*.cruds"


def users(*items: tuple[When, UserRule] | list[tuple[When, UserRule]]) -> Policy:
    """A policy with these rules; those in a list count together."""
    return policy(users=tuple(AnyOf(tuple(map(_rule, item))) if isinstance(item, list) else _rule(item) for item in items))


def _rule(item: tuple[When, UserRule]) -> ConditionalRule:
    return ConditionalRule(*item)


def lists(*texts: str) -> UserRule:
    return UserRule(scopes=scopes(*texts))


def asked(under: Policy, target: str = "/Observation", scope: str = OWN, user: str = "Practitioner/p", **claims: Any) -> str:
    """What is sent upstream, or the code of the refusal."""
    decision = decide("GET", target, scope, under=under, fhir_user=user, claims=claims)
    return "refused" if hasattr(decision, "causes") else sent(decision)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"org": "north"}, "GET /Observation"),
        ({"org": ["south", "north"]}, "GET /Observation"),
        ({"org": "south"}, "refused"),
        ({"org": "North"}, "refused"),
        ({"org": "north south"}, "refused"),
        ({"org": []}, "refused"),
        ({"org": ""}, "refused"),
        ({"org": {"north": True}}, "refused"),
        ({"org": [["north"]]}, "refused"),
        ({}, "refused"),
    ],
)
def test_a_rule_is_for_those_whose_claims_say_so(claims: dict[str, Any], expected: str) -> None:
    assert asked(users((NORTH, EVERYTHING)), **claims) == expected


def test_a_rule_is_for_its_kinds_and_its_claims_at_once() -> None:
    under = users((When(frozenset({"Practitioner", "none"}), NORTH.claims), EVERYTHING))
    assert asked(under, org="north") == "GET /Observation"
    assert asked(under, org="south") == "refused"
    assert asked(under, user="Person/p", org="north") == "refused"


def test_rules_in_a_list_are_intersected() -> None:
    under = users((PRACTITIONERS, lists("user/Observation.rs?status=final")), (When(), lists("user/*.rs?_tag=a")))
    assert asked(under) == "GET /Observation?status=final&_tag=a"
    assert asked(under, "/Condition") == "refused"
    assert asked(under, user="Person/p") == "GET /Observation?_tag=a"


def test_rules_in_any_of_count_together() -> None:
    under = users([(PRACTITIONERS, lists("user/Observation.rs?status=final")), (NORTH, lists("user/Condition.rs"))])
    assert asked(under) == "GET /Observation?status=final"
    assert asked(under, "/Condition") == "refused"
    assert asked(under, "/Condition", org="north") == "GET /Condition"
    assert asked(under, user="Person/p") == "refused"


def test_a_claim_that_cannot_be_read_leaves_nothing() -> None:
    """A rule that would limit must not be passed by because nobody can tell whom it is for."""
    under = users((PRACTITIONERS, EVERYTHING), (STUDENT, UserRule(UserBound.NOTHING)))
    assert asked(under) == "GET /Observation"
    assert asked(under, roles=["student"]) == "refused"
    assert asked(under, roles=["student", {"x": 1}]) == "refused"
    assert asked(under, roles={"student": 1}) == "refused"
    assert asked(under, roles="x" * 600) == "refused"


def test_without_a_rule_for_the_user_nothing_is_left() -> None:
    assert asked(users()) == "refused"
    assert asked(users((When(kinds=frozenset({"Patient"})), EVERYTHING))) == "refused"


def test_rules_for_users_do_not_touch_other_contexts() -> None:
    assert sent(decide("GET", "/Observation", "patient/*.rs", under=users())) == "GET /Observation?patient=Patient/123"
    assert sent(decide("GET", "/Observation", "system/*.rs", under=users())) == "GET /Observation"


ORGANIZATION = lists("user/Patient.rs?organization=Organization/${claim.org}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("north", "GET /Patient?organization=Organization/north"),
        ("Organization/north", "GET /Patient?organization=Organization/north"),
        ("https://fhir.example.org/fhir/Organization/north", "GET /Patient?organization=Organization/north"),
        (["north", "south"], "GET /Patient?organization=Organization/north,Organization/south"),
        (7, "GET /Patient?organization=Organization/7"),
        ("north,Organization/south", "refused"),
        ("north|x", "refused"),
        ("Practitioner/north", "refused"),
        ("https://elsewhere.example/Organization/north", "refused"),
        ("north/_history/1", "refused"),
        ("north&active=true", "refused"),
        ("..", "refused"),
        ("", "refused"),
        ([], "refused"),
        (["north", ""], "refused"),
        (["north", None], "refused"),
        (None, "refused"),
        ({"id": "north"}, "refused"),
        ("north\\,south", "refused"),
    ],
)
def test_a_placeholder_in_a_reference_is_an_id_or_nothing(value: object, expected: str) -> None:
    assert asked(users((When(), ORGANIZATION)), "/Patient", org=value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "GET /Patient?identifier=http://mrn|a"),
        ("a,b", "GET /Patient?identifier=http://mrn|a\\,b"),
        ("a|b", "GET /Patient?identifier=http://mrn|a\\|b"),
        ("a\\", "GET /Patient?identifier=http://mrn|a\\\\"),
        ("$", "GET /Patient?identifier=http://mrn|\\$"),
        (["a", "b"], "GET /Patient?identifier=http://mrn|a,http://mrn|b"),
        ("a\u0000", "refused"),
        ("a\nb", "refused"),
        ("${patient}", "GET /Patient?identifier=http://mrn|\\${patient}"),
        ([str(n) for n in range(101)], "refused"),
    ],
)
def test_a_placeholder_in_a_token_stands_for_itself(value: object, expected: str) -> None:
    under = users((When(), lists("user/Patient.rs?identifier=http://mrn|${claim.mrn}")))
    decision = decide("GET", "/Patient", OWN, under=under, fhir_user="Practitioner/p", claims={"mrn": value})
    if expected == "refused":
        denied(decision)
        return
    upstream = permitted(decision).upstream
    assert upstream is not None
    assert f"GET /Patient?{'&'.join(f'{name}={text}' for name, text in upstream.query)}" == expected


def test_only_encounters_where_they_take_part() -> None:
    under = users((PRACTITIONERS, lists("user/Encounter.rs?participant=${fhir_user}")))
    assert asked(under, "/Encounter") == "GET /Encounter?participant=Practitioner/p"
    assert asked(users((When(), lists("user/Encounter.rs?participant=Practitioner/${fhir_user.id}"))), "/Encounter", user="Person/p")


def test_a_scope_whose_placeholder_is_missing_takes_nothing_from_the_others() -> None:
    under = users((When(), lists("user/Patient.rs?organization=Organization/${claim.org}", "user/Patient.rs?active=false")))
    assert asked(under, "/Patient") == "GET /Patient?active=false"


def test_a_token_cannot_bring_placeholders() -> None:
    refusal = decide(
        "GET", "/Patient", "user/Patient.rs?organization=Organization/${claim.org}", fhir_user="Practitioner/p", claims={"org": "n"}
    )
    assert denied(refusal).status == 403


def test_a_compartment_is_named_by_a_claim() -> None:
    under = users((When(), UserRule(compartment="Practitioner/${claim.pid}")))
    assert asked(under, pid="q") == "GET /Observation?performer=Practitioner/q"
    assert asked(under, pid=["q", "r"]) == "GET /Observation?performer=Practitioner/q,Practitioner/r"
    for value in (None, "", [], "q,r", "Patient/q", {"id": "q"}):
        assert asked(under, pid=value) == "refused"
    assert asked(users((When(), UserRule(compartment="Practitioner/q")))) == "GET /Observation?performer=Practitioner/q"


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "Patient/b"], "GET /Observation?patient=Patient/a,Patient/b"),
        ("a", "GET /Observation?patient=Patient/a"),
        (("a", "a"), "GET /Observation?patient=Patient/a"),
        ([], "refused"),
        (None, "refused"),
        ("", "refused"),
        (["a", ""], "refused"),
        (["a", "Practitioner/b"], "refused"),
        (["a", "https://elsewhere.example/fhir/Patient/b"], "refused"),
        (["a", 1], "refused"),
        ({"a": 1}, "refused"),
        ([f"p{n}" for n in range(1001)], "refused"),
    ],
)
def test_a_list_of_patients_bounds_user_scopes(value: object, expected: str, *, rule: bool) -> None:
    under = users((When(), UserRule(patients="team"))) if rule else policy(patients="team")
    assert asked(under, team=value) == expected


def test_a_list_of_patients_leaves_shared_types_to_read_and_no_others() -> None:
    access = Access(principal(OWN, fhir_user="Practitioner/p", claims={"team": ["a", "b"]}), policy(patients="team"))
    assert access.boundary("Organization", Permission.READ).regions == (Region(),)
    assert access.boundary("Organization", Permission.UPDATE).is_nothing
    assert access.boundary("Group", Permission.READ).regions == (Region((Compartment("Patient", ("a", "b")),)),)
    assert access.boundary("PlanDefinition", Permission.READ).is_nothing
    assert access.boundary("Binary", Permission.READ).regions == (Region((Compartment("Patient", ("a", "b")),)),)
    assert not access.unlimited(Permission.READ)


def test_a_list_of_patients_and_a_rule_are_both_kept() -> None:
    under = policy(patients="team", users={"Patient": UserRule(UserBound.COMPARTMENT)})
    assert asked(under, user="Patient/a", team=["a", "b"]) == "GET /Observation?patient=Patient/a"
    assert asked(under, user="Patient/c", team=["a", "b"]) == "refused"


def test_unlimited_only_where_every_rule_leaves_everything() -> None:
    def unlimited(under: Policy) -> bool:
        return Access(principal(OWN, fhir_user="Practitioner/p"), under).unlimited(Permission.READ)

    assert unlimited(users((When(), EVERYTHING), (PRACTITIONERS, EVERYTHING)))
    assert unlimited(users([(When(), lists("user/Patient.rs")), (When(), EVERYTHING)]))
    assert not unlimited(users((When(), EVERYTHING), (PRACTITIONERS, lists("user/*.cruds"))))
    assert not unlimited(users())
    assert not unlimited(policy(patients="team"))


def test_the_patient_of_the_stored_related_person() -> None:
    under = policy(users={"RelatedPerson": UserRule(UserBound.RELATED_PATIENT)})
    related = {"under": under, "fhir_user": "RelatedPerson/r", "patient": "other"}
    assert sent(decide("GET", "/Observation", OWN, related_patient="a", **related)) == "GET /Observation?patient=Patient/a"
    assert denied(decide("GET", "/Observation", OWN, **related)).status == 403


def test_grounds_name_the_rules_and_where_they_are_written() -> None:
    places = {("users", 0): "policy.yaml:3:5", ("patients",): "policy.yaml:9:1"}
    rules = (ConditionalRule(When(), UserRule(scopes=scopes("user/Observation.rs?status=final"), path=("users", 0))),)
    under = policy(users=rules, patients="team", places=places)
    decision = decide("GET", "/Observation/1", OWN, under=under, fhir_user="Practitioner/p", claims={"team": ["a"]})
    found = [(g.source, g.rule, g.result, g.place) for g in decision.grounds if g.source == "user"]
    assert found == [("user", "users[0]", "limits", "policy.yaml:3:5"), ("user", "patients", "limits", "policy.yaml:9:1")]
    assert "status=final" in decision.grounds[0].text
