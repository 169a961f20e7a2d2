"""Clients, users and hints (semantics 3, 9 and 10)."""

from __future__ import annotations

import pytest

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize, is_public
from smart_gateway.policy.model import ClientRule, PublicInteraction, UserBound, UserRule
from smart_gateway.policy.plan import CheckSearchset, Permit, Stream
from smart_gateway.principal import Principal
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, parse, permitted, policy, principal, scopes, sent


def test_a_client_that_is_not_named_is_refused() -> None:
    under = policy(clients={"known": ClientRule()})
    refusal = denied(decide("GET", "/Observation/1", "patient/*.rs", under=under, client_id="other"))
    assert (refusal.status, refusal.causes[0].code, refusal.missing) == (403, "client-not-allowed", ())
    assert denied(decide("GET", "/Observation/1", "patient/*.rs", under=under, client_id=None)).causes[0].code == "client-not-allowed"
    assert isinstance(decide("GET", "/Observation/1", "patient/*.rs", under=under, client_id="known"), Permit)


def test_the_star_meets_clients_that_are_not_named() -> None:
    under = policy(clients={"*": ClientRule()})
    assert isinstance(decide("GET", "/Observation/1", "patient/*.rs", under=under, client_id=None), Permit)


def test_an_empty_clients_section_refuses_all() -> None:
    assert denied(decide("GET", "/Observation/1", "system/*.rs", under=policy(clients={}))).status == 403


def test_system_scopes_count_only_for_the_role_once_clients_are_listed() -> None:
    under = policy(clients={"backend": ClientRule(system_role=True), "app": ClientRule()})
    assert permitted(decide("GET", "/Observation/1", "system/*.rs", under=under, client_id="backend")).answer == Stream()
    assert denied(decide("GET", "/Observation/1", "system/*.rs", under=under, client_id="app")).status == 403


def test_pinned_scopes_replace_the_tokens() -> None:
    under = policy(clients={"old": ClientRule(pin=scopes("patient/Observation.rs"))})
    assert isinstance(decide("GET", "/Observation/1", "", under=under, client_id="old"), Permit)
    refusal = denied(decide("GET", "/Condition/1", "patient/*.rs", under=under, client_id="old"))
    assert refusal.missing == ()
    nothing = policy(clients={"old": ClientRule(pin=())})
    assert denied(decide("GET", "/Observation/1", "patient/*.rs", under=nothing, client_id="old")).status == 403


def test_a_limit_only_narrows() -> None:
    under = policy(clients={"ro": ClientRule(limit=scopes("patient/*.rs"))})
    claims = {"client_id": "ro", "fhir_user": "Practitioner/p"}
    assert sent(decide("GET", "/Observation", "user/*.cruds", under=under, **claims)) == "GET /Observation?patient=Patient/123"
    assert denied(decide("POST", "/Observation", "user/*.cruds", under=under, **claims)).status == 403
    none = policy(clients={"ro": ClientRule(limit=())})
    assert denied(decide("GET", "/Observation", "user/*.cruds", under=none, **claims)).status == 403


def test_a_limit_ends_everything() -> None:
    under = policy(clients={"c": ClientRule(limit=scopes("system/Observation.rs"), system_role=True)})
    access = Access(principal("system/*.cruds", client_id="c"), under)
    assert not access.unlimited(Permission.SEARCH)
    wide = policy(clients={"c": ClientRule(limit=scopes("system/*.rs"), system_role=True)})
    access = Access(principal("system/*.cruds", client_id="c"), wide)
    assert access.unlimited(Permission.SEARCH)
    assert not access.unlimited(Permission.CREATE)


@pytest.mark.parametrize(
    ("rule", "kind", "expected"),
    [
        (UserRule(UserBound.EVERYTHING), "Practitioner/p", "GET /Observation"),
        (UserRule(UserBound.COMPARTMENT), "Practitioner/p", "GET /Observation?performer=Practitioner/p"),
        (UserRule(UserBound.PATIENT), "Practitioner/p", "GET /Observation?patient=Patient/123"),
        (UserRule(scopes=scopes("user/Observation.rs?status=final")), "Practitioner/p", "GET /Observation?status=final"),
    ],
)
def test_user_rules(rule: UserRule, kind: str, expected: str) -> None:
    under = policy(users={"Practitioner": rule})
    assert sent(decide("GET", "/Observation", "user/Observation.rs", under=under, fhir_user=kind)) == expected


@pytest.mark.parametrize("rule", [UserRule(UserBound.NOTHING), UserRule(scopes=())])
def test_user_rules_that_give_nothing(rule: UserRule) -> None:
    under = policy(users={"Practitioner": rule})
    assert denied(decide("GET", "/Observation", "user/*.rs", under=under, fhir_user="Practitioner/p")).status == 403


@pytest.mark.parametrize("user", ["Patient/123", "RelatedPerson/r"])
def test_shared_types_are_opened_by_patient_scopes_only(user: str) -> None:
    assert denied(decide("GET", "/Organization/o", "user/*.rs", fhir_user=user)).status == 403
    assert denied(decide("GET", "/Binary/b", "user/*.rs", fhir_user=user)).status == 403


def test_a_users_section_is_closed() -> None:
    under = policy(users={"Patient": UserRule(UserBound.COMPARTMENT)})
    assert denied(decide("GET", "/Observation", "user/*.rs", under=under, fhir_user="Practitioner/p")).status == 403


@pytest.mark.parametrize(
    ("method", "target", "scope", "claims", "hint"),
    [
        ("GET", "/Observation/1", "patient/Patient.rs", {}, ["patient/Observation.r"]),
        ("GET", "/Observation/1", "patient/Patient.read", {}, ["patient/Observation.read"]),
        ("GET", "/Observation", "patient/Patient.rs", {}, ["patient/Observation.s"]),
        ("POST", "/Observation", "patient/*.rs", {}, ["patient/Observation.c"]),
        ("DELETE", "/Observation/1", "patient/*.read", {}, ["patient/Observation.write"]),
        ("GET", "/Observation/1", "user/Patient.rs", {"fhir_user": "Practitioner/p"}, ["user/Observation.r"]),
        ("GET", "/Observation/1", "system/Patient.rs", {}, ["system/Observation.r"]),
        ("GET", "/Observation/1", "openid", {}, ["patient/Observation.r"]),
        ("GET", "/Observation/1", "", {"patient": None}, ["system/Observation.r"]),
        # no scope would help
        ("GET", "/Observation/1", "patient/Patient.rs", {"patient": None}, []),
        ("GET", "/Patient/456", "patient/Observation.rs", {}, []),
        ("GET", "/Patient/456/Observation", "patient/Patient.rs", {}, []),
        ("GET", "/Account/1", "user/Patient.rs", {"fhir_user": "Person/p"}, []),
        ("POST", "/Organization", "patient/*.rs", {}, []),
        ("POST", "/Subscription", "system/*.rs", {}, []),
        ("GET", "/Slot/1", "patient/Observation.rs", {}, []),
    ],
)
def test_hints(method: str, target: str, scope: str, claims: dict[str, str | None], hint: list[str]) -> None:
    refusal = denied(
        decide(method, target, scope, headers={"Content-Type": "application/fhir+json"} if method == "POST" else None, **claims)
    )
    assert [missing.scope for missing in refusal.missing] == hint
    assert refusal.hint is bool(hint)


@pytest.mark.parametrize(
    ("registered", "hint"),
    [
        (("patient/*.rs",), ["patient/Observation.r"]),
        (("patient/Observation.rs?category=laboratory",), ["patient/Observation.r?category=laboratory"]),
        (("patient/Condition.rs",), []),
        (("user/*.rs",), []),
        ((), []),
    ],
)
def test_hints_only_name_what_the_client_is_registered_for(registered: tuple[str, ...], hint: list[str]) -> None:
    under = policy(clients={"app": ClientRule(registered_scopes=scopes(*registered))})
    refusal = denied(decide("GET", "/Observation/1", "patient/Patient.rs", under=under, client_id="app"))
    assert [missing.scope for missing in refusal.missing] == hint


def test_a_limit_takes_hints_away() -> None:
    under = policy(clients={"app": ClientRule(limit=scopes("patient/Patient.rs"))})
    assert denied(decide("GET", "/Observation/1", "patient/Patient.rs", under=under, client_id="app")).missing == ()


def test_public_interactions_are_bounded() -> None:
    under = policy(public=(PublicInteraction(Interaction.SEARCH_TYPE, "ValueSet"),))
    nobody = Access(Principal("", anonymous=True), under)
    request = parse("GET", "/ValueSet?name=x")
    assert is_public(request, under)
    decision = authorize(request, nobody)
    assert isinstance(decision, Permit)
    assert isinstance(decision.plan.answer, CheckSearchset)
    assert not decision.plan.answer.boundary.is_everything
    assert not is_public(parse("GET", "/ValueSet/1"), under)
    assert not is_public(parse("GET", "/CodeSystem"), under)
    assert denied(authorize(parse("GET", "/Observation"), nobody)).status == 403
    assert is_public(parse("GET", "/metadata"), under)


def test_grounds_name_every_scope() -> None:
    decision = decide("GET", "/Observation/1", "patient/Observation.rs patient/Condition.rs user/*.rs patient/Observation.x")
    assert [(g.source, g.rule, g.result) for g in decision.grounds] == [
        ("scope", "patient/Observation.rs", "grants"),
        ("scope", "patient/Condition.rs", "ignored"),
        ("scope", "user/*.rs", "ignored"),
        ("scope", "patient/Observation.x", "ignored"),
    ]
