"""patient/, user/ and system/ contexts, v1 and v2, side by side: what a token of each kind sees of the same server (semantics 3)."""

from __future__ import annotations

import pytest

from tests.integration.app import App, MakeApp, ids, refused, required_scopes
from tests.integration.records import EVERYBODY, LABS, PATIENTS

ALL_PATIENTS = {f"Patient/pat-{patient}" for patient in PATIENTS}


def observers(app: App) -> set[str]:
    """Whose laboratory Observations a search finds."""
    found = ids(app.get("/Observation?code=2339-0&_count=100"))
    return {name.rpartition("-")[2] for name in found}


@pytest.mark.parametrize(
    ("user", "scope", "seen"),
    [
        ("amy", "patient/*.rs", "a"),
        ("ben", "patient/*.rs", "b"),
        ("amy", "patient/*.read", "a"),
        ("amy", "patient/*.*", "a"),
        ("amy", "user/*.rs", "a"),  # a Patient's own compartment
        ("amy", "user/*.read", "a"),
        ("rita", "user/*.rs", "a"),  # a RelatedPerson: the compartment of the token's patient
        ("rita", "patient/*.rs", "a"),
        ("dr-wilson", "patient/*.rs", "a"),  # a Practitioner who opened Anna's chart
        ("dr-wilson", "user/*.rs", EVERYBODY),
        ("dr-house", "user/*.rs", EVERYBODY),
        ("dr-house", "user/*.read", EVERYBODY),
        ("dr-house", "user/Observation.rs", EVERYBODY),
    ],
)
def test_a_user_sees(as_user: MakeApp, user: str, scope: str, seen: str) -> None:
    assert observers(as_user(user, scope, sees=seen)) == set(seen)


@pytest.mark.parametrize(
    ("user", "scope"),
    [
        ("dr-house", "patient/*.rs"),  # no patient in context
        ("nobody", "patient/*.rs"),
        ("nobody", "user/*.rs"),  # no fhirUser
        ("dr-house", "user/Patient.rs"),
        ("dr-house", "user/Organization.read"),
        ("amy", "patient/Patient.rs"),
        ("amy", "patient/Observation.r"),
        ("amy", "patient/Observation.write"),
    ],
)
def test_a_user_does_not_see(as_user: MakeApp, user: str, scope: str) -> None:
    refused(as_user(user, scope).get("/Observation?code=2339-0"), 403, "insufficient-scope")


def test_contexts_of_one_token_add_up_and_unbound_nothing(as_user: MakeApp) -> None:
    """``user/Patient.rs`` opens every Patient, and leaves ``patient/Observation.rs`` at Anna's."""
    app = as_user("dr-wilson", "patient/Observation.rs", "user/Patient.rs", sees=EVERYBODY)
    assert set(ids(app.get("/Patient"))) == ALL_PATIENTS
    assert observers(app) == {"a"}
    assert app.get("/Patient/pat-b").status_code == 200
    refused(app.get("/Observation/lab-0-chart-b"), 404)
    refused(app.get("/Condition"), 403, "insufficient-scope")


def test_a_filter_bounds_user_scopes(as_user: MakeApp) -> None:
    app = as_user("dr-house", "user/Observation.rs?status=final", sees=EVERYBODY)
    assert len(ids(app.get("/Observation?code=2339-0&_count=100"))) == 4 * len(PATIENTS)
    assert app.get("/Observation/lab-0-chart-b").status_code == 200
    refused(app.get("/Observation/lab-1-chart-b"), 404)


@pytest.mark.parametrize(
    ("scope", "patients", "labs"),
    [("system/*.rs", 200, 200), ("system/*.read", 200, 200), ("system/Patient.rs", 200, 403), ("system/Observation.rs", 403, 200)],
)
def test_a_service_sees_the_types_of_its_scopes(as_service: MakeApp, scope: str, patients: int, labs: int) -> None:
    app = as_service(scope)
    assert app.get("/Patient").status_code == patients
    assert app.get("/Patient/pat-b").status_code == patients
    assert app.get("/Observation").status_code == labs
    assert app.get("/Observation/lab-0-chart-c").status_code == labs


def test_a_filter_bounds_system_scopes(as_service: MakeApp) -> None:
    app = as_service("system/Observation.rs?category=laboratory")
    assert len(ids(app.get("/Observation?_count=100"))) == LABS * len(PATIENTS)
    refused(app.get("/Observation/vital-0-chart-a"), 404)


@pytest.mark.parametrize(
    ("scopes", "method", "target", "missing"),
    [
        (("patient/Patient.rs",), "GET", "/Observation", "patient/Observation.s"),
        (("patient/Patient.rs",), "GET", "/Observation/lab-0-chart-a", "patient/Observation.r"),
        (("patient/Patient.read",), "GET", "/Observation", "patient/Observation.read"),
        (("patient/*.rs",), "DELETE", "/Observation/lab-0-chart-a", "patient/Observation.d"),
        (("patient/*.read",), "DELETE", "/Observation/lab-0-chart-a", "patient/Observation.write"),
        (("user/Patient.rs",), "GET", "/Condition", "user/Condition.s"),
    ],
)
def test_a_refusal_names_the_smallest_scope_in_the_tokens_spelling(
    as_user: MakeApp, scopes: tuple[str, ...], method: str, target: str, missing: str
) -> None:
    answer = as_user("amy", *scopes)(method, target)
    outcome = refused(answer, 403, "insufficient-scope")
    assert required_scopes(outcome) == [missing]
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert 'error="insufficient_scope"' in challenge
    assert f'scope="{missing}"' in challenge


def test_no_scope_is_named_that_would_not_help(as_user: MakeApp) -> None:
    """Nobody has no fhirUser and no patient: no scope would open anything to them."""
    answer = as_user("nobody", "user/*.rs").get("/Observation")
    assert required_scopes(refused(answer, 403)) == []
    assert "scope=" not in answer.headers.get("www-authenticate", "").replace("insufficient_scope", "")
