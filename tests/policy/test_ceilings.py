"""What bounds a token besides its own scopes: registrations, ceilings of issuers, certifications. None of them widens."""

from __future__ import annotations

import pytest

from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import Arrival, refuse_arrival
from smart_gateway.policy.model import Certification, ClientRule
from smart_gateway.policy.plan import Permit, Stream
from smart_gateway.principal import Ceiling
from smart_gateway.scopes.permissions import Permission
from tests.support.deciding import decide, denied, permitted, policy, principal, scopes, sent

NOW = 1_000_000.0
USER = {"client_id": "c", "fhir_user": "Practitioner/p"}


def registered(*texts: str, system: bool = True) -> ClientRule:
    return ClientRule(registered_scopes=scopes(*texts), intersect_registered=True, system_role=system)


@pytest.mark.parametrize(
    ("held", "token", "target", "expected"),
    [
        (["system/Observation.rs"], "system/*.cruds", "/Observation", "GET /Observation"),
        (["system/*.rs"], "system/Observation.rs", "/Observation", "GET /Observation"),
        (["system/Observation.rs?category=laboratory"], "system/*.rs", "/Observation", "GET /Observation?category=laboratory"),
        (["user/*.rs", "patient/Condition.rs"], "patient/*.rs user/Observation.rs", "/Observation", "GET /Observation"),
        (["patient/*.rs"], "patient/*.rs", "/Observation", "GET /Observation?patient=Patient/123"),
        (["system/Observation.rs"], "system/*.cruds", "/Condition", None),
        (["system/Observation.s"], "system/*.cruds", "/Observation/1", None),
        (["system/*.rs"], "user/*.rs", "/Observation", None),
        (["user/*.rs"], "system/*.rs", "/Observation", None),
        (["user/*.rs"], "patient/*.rs", "/Observation", None),
        ([], "system/*.rs", "/Observation", None),
    ],
)
def test_scopes_count_within_those_registered_in_the_same_context(held: list[str], token: str, target: str, expected: str | None) -> None:
    decision = decide("GET", target, token, under=policy(clients={"c": registered(*held)}), **USER)
    if expected is None:
        assert denied(decision).status == 403
    else:
        assert sent(decision) == expected


def test_without_the_setting_a_registration_only_hints() -> None:
    under = policy(clients={"c": ClientRule(registered_scopes=scopes("patient/Condition.rs"))})
    assert isinstance(decide("GET", "/Observation", "patient/*.rs", under=under, client_id="c"), Permit)


def test_contexts_are_kept_apart_also_where_everything_is_asked() -> None:
    access = Access(
        principal("system/Observation.rs user/*.rs", **USER), policy(clients={"c": registered("system/*.rs", "user/Patient.rs")})
    )
    assert not access.unlimited(Permission.SEARCH)
    assert access.boundary("Observation", Permission.SEARCH).is_everything
    assert access.boundary("Condition", Permission.SEARCH).is_nothing
    wide = Access(principal("user/*.rs", **USER), policy(clients={"c": registered("user/*.rs", system=False)}))
    assert wide.unlimited(Permission.SEARCH)


def test_a_scope_that_is_not_registered_is_no_hint() -> None:
    under = policy(clients={"c": registered("patient/Observation.rs", system=False)})
    assert [m.scope for m in denied(decide("GET", "/Observation", "patient/Condition.rs", under=under, client_id="c")).missing] == [
        "patient/Observation.s"
    ]
    assert denied(decide("GET", "/Condition", "patient/Observation.rs", under=under, client_id="c")).missing == ()


def test_ceilings_are_intersected_and_one_without_scopes_leaves_nothing() -> None:
    one, other, none = Ceiling("one", scopes("system/*.rs")), Ceiling("other", scopes("user/Observation.cruds")), Ceiling("none", ())
    asked = {"under": policy(), "ceilings": (one, other)}
    assert permitted(decide("GET", "/Observation/1", "system/*.cruds", **asked)).answer == Stream()
    assert denied(decide("GET", "/Condition/1", "system/*.cruds", **asked)).status == 403
    assert denied(decide("POST", "/Observation", "system/*.cruds", **asked)).status == 403
    for held in ((one, none), (none,)):
        refusal = denied(decide("GET", "/Observation/1", "system/*.cruds", ceilings=held))
        assert (refusal.status, refusal.missing) == (403, ())
    assert "none" in " ".join(ground.text for ground in refusal.grounds)


def test_a_client_of_other_issuers_is_nobody() -> None:
    rule = ClientRule(system_role=True, issuers=frozenset({"https://a.example"}))
    named, open_to_others = policy(clients={"c": rule}), policy(clients={"c": rule, "*": ClientRule(system_role=True)})
    for under in (named, open_to_others):
        refusal = denied(decide("GET", "/Observation/1", "system/*.rs", under=under, client_id="c"))
        assert refusal.causes[0].code == "client-not-allowed"
    ours = ClientRule(system_role=True, issuers=frozenset({"https://idp.example.org"}))
    assert isinstance(decide("GET", "/Observation/1", "system/*.rs", under=policy(clients={"c": ours}), client_id="c"), Permit)


CERTIFIED = Certification(scopes("system/Observation.rs"), NOW - 10, NOW + 10)


def test_a_certification_is_the_ceiling_of_its_client_alone() -> None:
    under = policy(certifications={"c": CERTIFIED})
    assert isinstance(decide("GET", "/Observation/1", "system/*.cruds", under=under, client_id="c"), Permit)
    assert denied(decide("GET", "/Condition/1", "system/*.cruds", under=under, client_id="c")).status == 403
    assert denied(decide("GET", "/Observation/1", "user/*.cruds", under=under, **USER)).status == 403
    assert isinstance(decide("GET", "/Condition/1", "system/*.cruds", under=under, client_id="other"), Permit)


@pytest.mark.parametrize(
    ("client", "now", "only", "passes"),
    [
        ("c", NOW, True, True),
        ("c", NOW - 11, True, False),
        ("c", NOW + 10, True, False),
        ("c", NOW + 10, False, False),
        ("other", NOW, True, False),
        (None, NOW, True, False),
        ("other", NOW, False, True),
    ],
)
def test_a_certification_has_its_time(client: str | None, now: float, only: bool, passes: bool) -> None:
    access = Access(principal("system/*.rs", client_id=client), policy(certifications={"c": CERTIFIED}, certified_only=only))
    refused = refuse_arrival(access, Arrival(now))
    assert (refused is None) is passes
    assert refused is None or (refused.status, refused.causes[0].code) == (403, "client-not-certified")
