"""Permissions of a UMA server: what they open, whatever else there is, and which of them would open what is asked."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.answers.links import page_context
from smart_gateway.boundary.model import Boundary, Compartment, Filter, Region
from smart_gateway.fhir.references import Reference
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.policy.uma import UmaResource, permitted_regions
from smart_gateway.policy.wanting import wanted_permissions
from smart_gateway.principal import Ceiling, PermittedRegion, Principal
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import DEFAULT, denied, parse, permitted, policy, scopes, sent

READ, SEARCH, UPDATE = Permission.READ, Permission.SEARCH, Permission.UPDATE
CHART = UmaResource(
    "chart-{patient}",
    (("read", ("patient/*.rs",)), ("labs", ("patient/Observation.rs?category=laboratory",)), ("write", ("patient/*.cud",))),
)
DOCUMENT = UmaResource("doc_{id}", (("read", ("patient/DocumentReference.r?_id={id}",)),), "123")
SPECIAL = UmaResource("chart-vip", (("read", ("patient/Observation.r",)),), "vip-1")
TERMS = UmaResource("terms", (("read", ("system/ValueSet.rs", "system/CodeSystem.rs")),))
RESOURCES = (CHART, DOCUMENT, SPECIAL, TERMS)
IN_123 = Boundary.of([Region((Compartment("Patient", ("123",)),))])


def party(*permissions: tuple[str, str], resources: tuple[UmaResource, ...] = RESOURCES, **facts: Any) -> Principal:
    """Who holds these permissions: pairs of resource and scope."""
    regions = tuple(region for id, scope in permissions for region in permitted_regions(id, [scope], resources))
    return Principal("https://as.example.org", client_id=facts.pop("client_id", "app"), permitted=regions, **facts)


def boundary(who: Principal, type: str, permission: Permission, under: Policy = DEFAULT) -> Boundary:
    return Access(who, under).boundary(type, permission)


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("chart-123", ("123", None)),
        ("chart-a.b-c", ("a.b-c", None)),
        ("chart-", None),
        ("chart-..", None),
        ("chart-.", None),
        ("Chart-123", None),
        ("xchart-123", None),
        ("chart-123/x", None),
        ("chart-123\n", None),
        ("chart-1_2", None),
        ("chart-ä", None),
        ("chart-" + "a" * 65, None),
        ("chart-{patient}", None),
    ],
)
def test_the_form_of_an_id_says_whose_record_it_is(id: str, expected: object) -> None:
    assert CHART.named(id) == expected


def test_what_stands_around_the_placeholder_is_taken_as_it_is() -> None:
    assert UmaResource("a.b{patient}", ()).named("axb1") is None
    assert UmaResource("a.b{patient}", ()).named("a.b1") == ("1", None)
    assert UmaResource("(x|y)*", ()).named("x") is None


def test_a_resource_that_is_named_goes_before_a_form_wherever_it_stands() -> None:
    assert [region.patient for region in permitted_regions("chart-vip", ["read"], RESOURCES)] == ["vip-1"]
    twice = (UmaResource("c-{patient}", (("read", ("patient/Patient.r",)),)), UmaResource("c-{id}", (("read", ("system/*.cruds",)),)))
    assert [region.scope.text for region in permitted_regions("c-1", ["read"], twice)] == ["patient/Patient.r"]


def test_the_id_of_the_resource_goes_into_its_scopes() -> None:
    (region,) = permitted_regions("doc_d-1", ["read"], RESOURCES)
    assert (region.scope.params, region.patient) == ((("_id", "d-1"),), "123")


def test_a_permission_opens_what_its_scope_would_for_its_patient() -> None:
    who = party(("chart-123", "read"))
    assert boundary(who, "Observation", SEARCH) == IN_123
    assert boundary(who, "Observation", UPDATE).is_nothing
    assert boundary(who, "Practitioner", READ) == Boundary.of([Region()])  # a shared type, as by patient/*.rs


def test_permissions_about_two_patients_are_two_regions() -> None:
    who = party(("chart-123", "read"), ("chart-456", "labs"))
    lab = Filter("category", None, ("laboratory",))
    assert set(boundary(who, "Observation", READ).regions) == {
        Region((Compartment("Patient", ("123",)),)),
        Region((Compartment("Patient", ("456",)),), (lab,)),
    }
    assert boundary(who, "Condition", READ) == IN_123


def test_a_permission_on_one_resource_opens_that_one() -> None:
    assert boundary(party(("doc_d-1", "read")), "DocumentReference", READ) == Boundary.of(
        [Region((Compartment("Patient", ("123",)),), (Filter("_id", None, ("d-1",)),))]
    )


@pytest.mark.parametrize(
    "permission",
    [("unknown", "read"), ("chart-123", "admin"), ("chart-123", ""), ("chart-123", "patient/*.rs"), ("Chart of Amy", "read"), ("", "read")],
)
def test_unknown_resources_and_scopes_open_nothing(permission: tuple[str, str]) -> None:
    access = Access(party(permission), DEFAULT)
    assert all(access.boundary(type, one).is_nothing for type in DEFAULT.vocabulary.types for one in Permission)
    assert not access.unlimited(READ)


def test_the_ground_names_the_permission() -> None:
    grounds = Access(party(("chart-123", "read"), ("chart-456", "write")), DEFAULT).grounds("Observation", READ)
    assert [(ground.source, ground.rule, ground.result) for ground in grounds] == [
        ("permission", "chart-{patient}#read", "grants"),
        ("permission", "chart-{patient}#write", "ignored"),
    ]
    assert "patient/*.rs" in grounds[0].text
    assert "Patient/123" in grounds[0].text


LIMITED = [
    (ClientRule(limit=scopes("patient/Observation.rs")), "Observation", True),
    (ClientRule(limit=scopes("patient/Observation.rs")), "Condition", False),
    (ClientRule(limit=()), "Observation", False),
    (ClientRule(limit=scopes("user/*.rs")), "Condition", True),  # a limit speaks of types: that of a user bounds by them alone
    (ClientRule(intersect_registered=True, registered_scopes=scopes("patient/Condition.r")), "Condition", True),
    (ClientRule(intersect_registered=True, registered_scopes=scopes("user/*.rs")), "Condition", False),
    (ClientRule(intersect_registered=True), "Condition", False),
    (ClientRule(pin=scopes("patient/Observation.rs")), "Condition", False),
]


@pytest.mark.parametrize(("rule", "type", "open"), LIMITED)
def test_the_client_limits_permissions_as_it_does_scopes(rule: ClientRule, type: str, open: bool) -> None:
    found = boundary(party(("chart-123", "read")), type, READ, policy(clients={"app": rule}))
    assert found == (IN_123 if open else Boundary())


def test_a_pinned_client_has_its_scopes_and_no_permissions() -> None:
    under = policy(clients={"app": ClientRule(pin=scopes("patient/Observation.rs"))})
    assert boundary(party(("chart-123", "read")), "Observation", READ, under).is_nothing


def test_a_client_that_the_policy_does_not_know_comes_with_no_permission_either() -> None:
    decision = authorize(parse("GET", "/Observation"), Access(party(("chart-123", "read")), policy(clients={"other": ClientRule()})))
    assert denied(decision).causes[0].code == "client-not-allowed"


def test_a_ceiling_bounds_permissions() -> None:
    who = party(("chart-123", "read"), ceilings=(Ceiling("the hook", scopes("patient/Observation.r")),))
    assert boundary(who, "Observation", READ) == IN_123
    assert boundary(who, "Observation", SEARCH).is_nothing
    assert boundary(who, "Condition", READ).is_nothing


def test_a_limit_that_leaves_nothing_is_said_in_the_ground() -> None:
    access = Access(party(("chart-123", "read")), policy(clients={"app": ClientRule(limit=scopes("patient/Condition.r"))}))
    (ground,) = [one for one in access.grounds("Observation", READ) if one.source == "permission"]
    assert ground.result == "limits"


def test_system_scopes_behind_a_permission_need_the_role_where_clients_are_listed() -> None:
    who = party(("terms", "read"))
    assert boundary(who, "ValueSet", READ).is_everything
    assert boundary(who, "ValueSet", READ, policy(clients={"app": ClientRule()})).is_nothing
    assert boundary(who, "ValueSet", READ, policy(clients={"app": ClientRule(system_role=True)})).is_everything


def test_user_scopes_behind_a_permission_are_bounded_by_who_the_user_is() -> None:
    every = UmaResource("all", (("read", ("user/*.rs",)),))
    assert boundary(party(("all", "read"), resources=(every,)), "Observation", READ).is_nothing
    as_amy = party(("all", "read"), resources=(every,), fhir_user=Reference("Patient", "123"))
    assert boundary(as_amy, "Observation", READ) == IN_123


def test_no_permission_unbounds_an_interaction_over_all_types() -> None:
    every = UmaResource("all", (("all", ("system/*.cruds",)),))
    access = Access(party(("all", "all"), resources=(every,)), DEFAULT)
    assert access.boundary("Observation", READ).is_everything
    assert not access.unlimited(READ)
    assert denied(authorize(parse("GET", "/$export", headers={"Prefer": "respond-async"}), access)).status == 403


def test_a_search_is_narrowed_to_the_patients_of_the_permissions() -> None:
    access = Access(party(("chart-123", "read"), ("chart-456", "read")), DEFAULT)
    assert sent(authorize(parse("GET", "/Observation?code=x"), access)) == "GET /Observation?code=x&patient=Patient/123,Patient/456"


def test_a_record_is_asked_for_whole_where_the_permission_is_for_all_types() -> None:
    access = Access(party(("chart-123", "read")), DEFAULT)
    assert permitted(authorize(parse("GET", "/Patient/123/$everything"), access)).upstream is not None
    labs = Access(party(("chart-123", "labs")), DEFAULT)
    assert denied(authorize(parse("GET", "/Patient/123/$everything"), labs)).status == 403


def test_a_refusal_names_no_scope_since_none_would_help() -> None:
    refused = denied(authorize(parse("GET", "/Condition/1"), Access(party(("chart-123", "labs")), DEFAULT)))
    assert (refused.status, refused.missing) == (403, ())


def test_a_page_is_bound_to_the_permissions() -> None:
    pages = [
        page_context(party(*held), "Observation", "https://fhir.example.org")
        for held in ([("chart-123", "read")], [("chart-456", "read")], [("chart-123", "labs")], [])
    ]
    assert len(set(pages)) == len(pages)


WANTED: list[tuple[str, str, list[tuple[str, tuple[str, ...]]]]] = [
    ("GET", "/Observation?patient=123", [("chart-123", ("read", "labs"))]),
    ("GET", "/Observation?patient=Patient/123", [("chart-123", ("read", "labs"))]),
    ("GET", "/Observation?subject=Patient/123", [("chart-123", ("read", "labs"))]),
    ("GET", "/Observation?subject:Patient=123", [("chart-123", ("read", "labs"))]),
    ("GET", "/Observation?subject=https://fhir.example.org/fhir/Patient/123", [("chart-123", ("read", "labs"))]),
    ("GET", "/Condition?patient=123", [("chart-123", ("read",))]),
    ("GET", "/Condition?patient=123,456", [("chart-123", ("read",)), ("chart-456", ("read",))]),
    ("GET", "/Patient/123/Condition", [("chart-123", ("read",))]),
    ("GET", "/Patient/123/*?_type=Condition,Observation", [("chart-123", ("read", "labs"))]),
    ("GET", "/Patient/123", [("chart-123", ("read",))]),
    ("GET", "/Patient/123/_history/2", [("chart-123", ("read",))]),
    ("GET", "/Patient/123/$everything", [("chart-123", ("read",))]),
    ("GET", "/Patient?_id=123", [("chart-123", ("read",))]),
    ("PUT", "/Patient/123", [("chart-123", ("write",))]),
    ("DELETE", "/Patient/123", [("chart-123", ("write",))]),
    ("GET", "/DocumentReference/d-1", [("doc_d-1", ("read",))]),
    ("GET", "/ValueSet", [("terms", ("read",))]),
    ("GET", "/Observation?patient=vip", []),  # the id of that form is a resource of its own, about somebody else
    ("GET", "/Observation?patient=vip-1", [("chart-vip-1", ("read", "labs"))]),
    # Nobody is named, or cannot be told from the line: whose it is would be told by the ticket.
    ("GET", "/Observation", []),
    ("GET", "/Observation/o-1", []),
    ("GET", "/Observation?subject=123", []),
    ("GET", "/Observation?subject=Group/123", []),
    ("GET", "/Observation?patient=https://elsewhere.example/fhir/Patient/123", []),
    ("GET", "/Observation?patient=..", []),
    ("GET", "/Observation?patient=1_2", []),
    ("GET", "/Observation?patient:identifier=123", []),
    ("GET", "/Observation?patient:missing=true", []),
    ("GET", "/Observation?patient.name=123", []),
    ("GET", "/Patient?general-practitioner=Patient/123", []),
    ("GET", "/Patient", []),
    ("GET", "/?_type=Observation", []),
    ("GET", "/?_type=Nonsense", []),
    ("GET", "/_history", []),
    ("POST", "/Observation", []),
    ("PUT", "/ValueSet/v", []),
    ("GET", "/Observation?patient=" + ",".join(map(str, range(11))), []),
]


@pytest.mark.parametrize(("method", "target", "expected"), WANTED, ids=[f"{m} {t[:60]}" for m, t, _ in WANTED])
def test_a_ticket_is_for_what_is_asked_and_nothing_else(method: str, target: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    wanted = wanted_permissions(parse(method, target), RESOURCES, DEFAULT)
    assert [(one.resource, one.scopes) for one in wanted] == expected


def test_resources_of_patients_that_are_listed_are_told_to_nobody_who_does_not_name_them() -> None:
    amy = UmaResource("5f9d", (("read", ("patient/*.rs",)),), "123")
    assert wanted_permissions(parse("GET", "/Observation"), (amy,), DEFAULT) == ()
    assert wanted_permissions(parse("GET", "/Observation?patient=456"), (amy,), DEFAULT) == ()
    assert [one.resource for one in wanted_permissions(parse("GET", "/Observation?patient=123"), (amy,), DEFAULT)] == ["5f9d"]


def test_what_opens_the_record_of_one_of_two_is_not_asked_for() -> None:
    amy = UmaResource("5f9d", (("read", ("patient/*.rs",)),), "123")
    assert wanted_permissions(parse("GET", "/Observation?patient=123,456"), (amy,), DEFAULT) == ()


def test_what_is_everybodys_is_asked_for_where_no_record_is_meant() -> None:
    every = UmaResource("every", (("read", ("system/Observation.rs",)),))
    resources = (every, CHART)
    assert [one.resource for one in wanted_permissions(parse("GET", "/Observation"), resources, DEFAULT)] == ["every"]
    assert [one.resource for one in wanted_permissions(parse("GET", "/Observation?patient=1"), resources, DEFAULT)] == ["chart-1"]


def test_a_region_is_named_by_the_rule_that_describes_it() -> None:
    (scope,) = scopes("patient/*.rs")
    assert PermittedRegion("chart-1", "read", scope, "1", "chart-{patient}").name == "chart-{patient}#read"


@pytest.mark.parametrize(
    ("permissions", "patient"),
    [([("chart-123", "read"), ("chart-123", "write")], "123"), ([("chart-123", "read"), ("chart-456", "read")], None), ([], None)],
)
def test_the_record_that_was_permitted_is_known_where_it_is_one(permissions: list[tuple[str, str]], patient: str | None) -> None:
    assert party(*permissions).record == patient
    assert Principal("https://idp.example.org", patient="9").record == "9"
