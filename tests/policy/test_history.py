"""Instance, type and system history (semantics 5)."""

from __future__ import annotations

import pytest

from smart_gateway.boundary.model import everything
from smart_gateway.errors import NotAcceptable, RequestError
from smart_gateway.policy.plan import CheckHistory, Stream
from tests.support.deciding import decide, denied, permitted, policy, sent

INSTANCE, TYPE, SYSTEM = "/Observation/o1/_history", "/Observation/_history", "/_history"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "scope", "type", "id"),
    [
        (INSTANCE, "patient/Observation.r", "Observation", "o1"),
        (TYPE, "patient/Observation.s", "Observation", None),
        (SYSTEM, "patient/Observation.s", None, None),
    ],
)
def test_each_version_is_checked(method: str, target: str, scope: str, type: str | None, id: str | None) -> None:
    decision = decide(method, target, scope)
    rule = permitted(decision).answer
    assert isinstance(rule, CheckHistory)
    assert (rule.type, rule.id, rule.boundary is None) == (type, id, type is None)
    assert rule.boundary is None or rule.boundary.regions[0].compartments[0].ids == ("123",)
    assert sent(decision) == f"GET {target}"


@pytest.mark.parametrize(
    ("target", "scope"),
    [
        (INSTANCE, "patient/Observation.s"),
        (INSTANCE, "patient/Patient.rs"),
        (TYPE, "patient/Observation.r"),
        (TYPE, "patient/Patient.rs"),
        (SYSTEM, "patient/*.r"),
        (SYSTEM, "openid"),
        ("/Subscription/_history", "patient/*.rs"),
    ],
)
def test_without_the_permission_it_is_403(target: str, scope: str) -> None:
    refusal = denied(decide("GET", target, scope))
    assert (refusal.status, refusal.causes[0].code) == (403, "insufficient-scope")


def test_it_does_not_stream_where_its_pages_could_not_be_followed() -> None:
    assert isinstance(permitted(decide("GET", INSTANCE, "system/*.r")).answer, CheckHistory)


@pytest.mark.parametrize("target", [INSTANCE, TYPE, SYSTEM])
@pytest.mark.parametrize(
    ("scope", "claims"), [("system/*.rs", {}), ("user/*.read", {"fhir_user": "Practitioner/p"}), ("patient/*.r system/*.cruds", {})]
)
def test_it_streams_where_nothing_is_bounded(target: str, scope: str, claims: dict[str, str]) -> None:
    decision = decide("GET", f"{target}?_since=2024-01-01T00:00:00Z&_list=List/1&_format=xml", scope, **claims)
    assert permitted(decision).answer == Stream()
    assert sent(decision) == f"GET {target}?_since=2024-01-01T00:00:00Z&_list=List/1"


def test_one_type_open_is_not_all() -> None:
    assert permitted(decide("GET", TYPE, "system/Observation.rs")).answer == CheckHistory("Observation", None, everything())
    assert permitted(decide("GET", SYSTEM, "system/Observation.rs")).answer == CheckHistory(None, None, None)
    with pytest.raises(RequestError):
        decide("GET", f"{TYPE}?_cascade=x", "system/Observation.rs")


@pytest.mark.parametrize("status", [404, 403])
def test_another_patient_is_absent_without_asking(status: int) -> None:
    refusal = denied(decide("GET", "/Patient/456/_history", "patient/Patient.r", under=policy(absent_and_forbidden=status)))
    assert (refusal.status, refusal.missing) == (status, ())


@pytest.mark.parametrize("target", [INSTANCE, TYPE, SYSTEM])
@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ("_since=2024-01-01T00:00:00Z", "_since=2024-01-01T00:00:00Z"),
        ("_since=2024-01-01T00:00:00.123%2B02:00", "_since=2024-01-01T00:00:00.123%2B02:00"),
        ("_at=2024", "_at=2024"),
        ("_at=ge2024-01-01&_count=5", "_at=ge2024-01-01&_count=5"),
        ("_sort=-_lastUpdated", "_sort=-_lastUpdated"),
        ("_format=json&_pretty=true&_elements=status&_summary=false", "_summary=false"),
        ("_summary=true", "_summary=true"),
    ],
)
def test_parameters_that_are_sent_along(target: str, given: str, passed: str) -> None:
    assert sent(decide("GET", f"{target}?{given}", "patient/Observation.rs")) == f"GET {target}?{passed}"


@pytest.mark.parametrize("target", [INSTANCE, TYPE, SYSTEM])
@pytest.mark.parametrize(
    "query",
    [
        "_since=yesterday",
        "_since=2024-01-01T00:00:00Z&_since=2024-01-02T00:00:00Z",
        "_since:missing=true",
        "_at=xx2024",
        "_count=0",
        "_count=-1",
        "_count=%D9%A3",
        "_sort=subject",
        "_summary=count",
        "_summary=text",
        "_foo=1",
        "_offset=2",
        "_getpages=x",
        "code=1",
        "patient=Patient/456",
        "_include=Observation:subject",
        "_page=x",
    ],
)
def test_other_parameters_are_400(target: str, query: str) -> None:
    with pytest.raises(RequestError) as caught:
        decide("GET", f"{target}?{query}", "patient/Observation.rs")
    assert caught.value.status == 400
    assert caught.value.expression == f"http.{query.split('=', maxsplit=1)[0]}"


def test_a_list_is_refused() -> None:
    refusal = denied(decide("GET", f"{SYSTEM}?_list=42", "patient/Observation.rs"))
    assert (refusal.status, refusal.causes[0].code, refusal.causes[0].expression) == (403, "parameter-not-allowed", "http._list")


@pytest.mark.parametrize("target", [INSTANCE, TYPE, SYSTEM])
def test_only_json_can_be_judged(target: str) -> None:
    with pytest.raises(NotAcceptable):
        decide("GET", target, "patient/Observation.rs", headers={"Accept": "application/fhir+xml"})


def test_what_is_checked_is_said() -> None:
    said = permitted(decide("GET", TYPE, "patient/Observation.s")).checks
    assert said == ("every version in the answer is in Patient/123", "deletions leave only where the whole type is open")
