"""Batches and transactions: every entry an interaction of its own; references between a transaction's entries (semantics 7)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from smart_gateway.errors import NotAcceptable
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize, authorize_types
from smart_gateway.policy.batch import judge_bodies
from smart_gateway.policy.explanation import explain_decision
from smart_gateway.policy.model import Policy
from smart_gateway.policy.plan import CheckBatch, Decision, Deny, Permit
from smart_gateway.policy.writes.writing import refuse_body
from smart_gateway.request.completing import complete
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.parsing import RequestParser
from tests.support.deciding import DEFAULT, denied, parse, permitted, policy, principal, vocabulary
from tests.support.entries import entry

JSON = {"Content-Type": "application/fhir+json"}
ALL = "patient/*.cruds"
MINE, THEIRS = {"reference": "Patient/123"}, {"reference": "Patient/999"}
ONE, TWO = "urn:uuid:0c9b0f6c-9a06-4f0e-8a39-d6f6a5b2f8d1", "urn:oid:1.2.3.4"


def observation(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", **members}


def of(kind: str, **members: Any) -> dict[str, Any]:
    return {"resourceType": kind, **members}


def batch(type: str, *entries: Any, headers: dict[str, str] = JSON) -> FhirRequest:
    body = json.dumps({"resourceType": "Bundle", "type": type, "entry": list(entries)}).encode()
    return complete(parse("POST", "/", headers=headers), body, RequestParser(vocabulary(), "", Limits()), Limits())


def decide(type: str, *entries: Any, scope: str = ALL, under: Policy = DEFAULT, **claims: Any) -> Decision:
    """The decision, bodies judged."""
    request, access = batch(type, *entries), Access(principal(scope, **claims), under)
    assert request.batch is not None
    return judge_bodies(authorize(request, access), request.batch, access, Limits())


def codes(decision: Decision) -> list[str | None]:
    """The code of each entry's refusal, None where it is permitted."""
    entries = decision.entries if isinstance(decision, Deny) else decision.plan.answer.entries  # type: ignore[union-attr]
    shown = (held.decision for held in entries)
    return [None if isinstance(d, Permit) else d.causes[0].code if isinstance(d, Deny) else d.reason for d in shown]


def test_entries_of_a_batch_are_decided_one_by_one() -> None:
    given = (
        entry("GET", "Observation/o1"),
        entry("GET", "Patient/999"),
        entry("GET", "Practitioner/../x"),
        entry("DELETE", "Condition/c1"),
    )
    plan = permitted(decide("batch", *given, scope="patient/*.rs"))
    assert isinstance(plan.answer, CheckBatch)
    assert plan.upstream is None
    assert codes(Permit(plan)) == [None, "not-found", "dot-segment", "insufficient-scope"]


def test_a_transaction_is_all_or_nothing() -> None:
    given = (entry("GET", "Observation/o1"), entry("POST", "Observation", observation(subject=MINE)), entry("DELETE", "Condition/c1"))
    refused = denied(decide("transaction", *given, scope="patient/*.rs"))
    assert refused.status == 403
    assert [(cause.code, cause.expression) for cause in refused.causes] == [
        ("insufficient-scope", "Bundle.entry[1]"),
        ("insufficient-scope", "Bundle.entry[2]"),
    ]
    assert [missing.scope for missing in refused.missing] == ["patient/Observation.c", "patient/Condition.d"]
    assert codes(refused) == [None, "insufficient-scope", "insufficient-scope"]
    assert codes(decide("transaction", *given, scope="patient/*.cruds")) == [None, None, None]


def test_a_scope_that_would_not_help_the_transaction_is_no_hint() -> None:
    given = (entry("GET", "Observation/o1"), entry("GET", "Patient/999"))
    assert denied(decide("transaction", *given, scope="patient/Patient.r")).missing == ()


def test_a_broken_transaction_is_a_broken_request() -> None:
    refused = denied(decide("transaction", entry("GET", "Observation/o1"), entry("GET", "../x")))
    assert (refused.status, refused.causes[0].code, refused.causes[0].expression) == (400, "dot-segment", "Bundle.entry[1].request.url")


@pytest.mark.parametrize("scope", ["", "openid launch/patient", "patient/Nonsense.rs", "patient/*.rs"])
def test_who_may_nothing_has_no_body_read(scope: str) -> None:
    access = Access(principal(scope, patient=None), DEFAULT)
    refused = authorize_types(parse("POST", "/", headers=JSON), access)
    assert refused is not None
    assert (refused.status, refused.causes[0].code) == (403, "insufficient-scope")


@pytest.mark.parametrize("scope", ["patient/Observation.c", "patient/*.d", "patient/Observation.s?status=final"])
def test_who_may_something_goes_on(scope: str) -> None:
    assert authorize_types(parse("POST", "/", headers=JSON), Access(principal(scope), DEFAULT)) is None


def test_the_answer_is_json() -> None:
    with pytest.raises(NotAcceptable):
        authorize(batch("batch", headers={**JSON, "Accept": "application/fhir+xml"}), Access(principal("system/*.cruds"), DEFAULT))
    assert codes(decide("batch", entry("GET", "Patient/123?_format=xml"), scope="system/*.cruds")) == ["not-acceptable"]


def test_server_types_and_operations_stay_closed_without_a_bound() -> None:
    given = (
        entry("POST", "Subscription", of("Subscription")),
        entry("GET", "$graphql?query=x"),
        entry("POST", "Patient/$expunge", of("Parameters")),
        entry("GET", "Patient/1"),
    )
    assert [code is None for code in codes(decide("batch", *given, scope="system/*.cruds"))] == [False, False, False, True]


def patched(operations: Any, type: str = "application/json-patch+json") -> dict[str, Any]:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return entry("PATCH", "Observation/o1", of("Binary", contentType=type, data=data))


def test_the_patches_of_entries_are_foreseen() -> None:
    amend, test = ({"op": verb, "path": "/status", "value": "final"} for verb in ("replace", "test"))
    search = {"op": "replace", "path": "/subject/reference", "value": "Patient?identifier=x"}
    given = (
        patched([amend]),
        patched([test]),
        patched([search]),
        patched([{"op": "nonsense"}]),
        patched([], "text/plain"),
        patched({"resourceType": "Parameters"}, "application/fhir+json"),
    )
    broken = ["malformed-patch", "unsupported-media-type", "unsupported-media-type"]
    assert codes(decide("batch", *given, scope="patient/Observation.u")) == [None, "insufficient-scope", None, *broken]
    assert codes(decide("batch", *given, scope="system/Observation.cruds"))[:4] == [None, None, "conditional-reference", broken[0]]
    assert codes(decide("batch", *given, scope="system/*.cruds"))[:4] == [None, None, None, broken[0]]
    assert denied(decide("transaction", patched([test]), scope="patient/Observation.u")).causes[0].expression == "Bundle.entry[0]"


def test_explain_shows_every_entry() -> None:
    request = batch("batch", entry("GET", "Observation/o1"), entry("GET", "../x"), entry("DELETE", "Observation/o1"))
    access = Access(principal("patient/*.rs"), DEFAULT)
    shown = explain_decision(request, authorize(request, access), access)
    assert shown["decision"] == "permit"
    assert [(e["decision"], e["status"], e["interaction"]) for e in shown["entries"]] == [
        ("permit", None, "read"),
        ("deny", 400, None),
        ("deny", 403, "delete"),
    ]
    assert all(e.keys() == shown["entries"][0].keys() for e in shown["entries"])


# References between entries: what a transaction writes decides, never what a client says that it writes.

OWN = entry("PUT", "Patient/123", of("Patient", id="123"), ONE)
LINKED = {
    "to the own Patient by urn": ([OWN], observation(subject={"reference": ONE}), None),
    "to the own Patient by its id": ([OWN], observation(subject=MINE), None),
    "to nothing": ([OWN], observation(subject={"reference": TWO}), "outside-boundary"),
    "to another case of the urn": ([OWN], observation(subject={"reference": ONE.upper()}), "outside-boundary"),
    "to a new Encounter": (
        [entry("POST", "Encounter", of("Encounter", subject=MINE), TWO)],
        observation(subject=MINE, encounter={"reference": TWO}),
        None,
    ),
    "to a new Encounter alone": (
        [entry("POST", "Encounter", of("Encounter", subject=MINE), TWO)],
        observation(encounter={"reference": TWO}),
        "outside-boundary",
    ),
    "performed by a new Device": (
        [entry("POST", "Device", of("Device", patient=MINE), TWO)],
        observation(subject=MINE, performer=[{"reference": TWO}]),
        None,
    ),
}


@pytest.mark.parametrize("name", LINKED)
def test_references_between_entries_are_resolved(name: str) -> None:
    others, body, code = LINKED[name]
    assert codes(decide("transaction", *others, entry("POST", "Observation", body)))[-1] == code


@pytest.mark.parametrize("scope", ["patient/*.cruds user/Patient.cruds"])
@pytest.mark.parametrize(
    ("other", "subject"),
    [
        (entry("POST", "Patient", of("Patient"), ONE), ONE),
        (entry("POST", "Patient", of("Patient", id="123")), "Patient/123"),
        (entry("POST", "Patient", of("Patient", id="123"), ONE), ONE),
        (entry("POST", "Patient", of("Patient"), "https://elsewhere.example/fhir/Patient/123"), "Patient/123"),
        (entry("PUT", "Patient/999", of("Patient", id="999"), ONE), ONE),
        (entry("PUT", "Patient/999", of("Patient", id="999"), "https://elsewhere.example/fhir/Patient/123"), "Patient/123"),
        (
            entry("PUT", "Patient/999", of("Patient", id="999"), "https://elsewhere.example/fhir/Patient/123"),
            "https://fhir.example.org/fhir/Patient/123",
        ),
    ],
)
def test_a_chart_that_the_transaction_makes_or_renames_is_not_ones_own(scope: str, other: dict[str, Any], subject: str) -> None:
    """The ids of new patients are the server's to choose, and a server takes fullUrl and the id in a body for names of them."""
    given = (other, entry("POST", "Observation", observation(subject={"reference": subject})))
    found = codes(decide("transaction", *given, scope=scope, fhir_user="Practitioner/p"))
    assert found == [None, "outside-boundary"]


def test_a_batch_resolves_nothing() -> None:
    assert codes(decide("batch", OWN, entry("POST", "Observation", observation(subject={"reference": ONE})))) == [None, "outside-boundary"]


@pytest.mark.parametrize(
    ("given", "full_url"),
    [
        (("PUT", "Patient/123", of("Patient", id="123")), "https://fhir.example.org/fhir/Patient/999"),
        (("PUT", "Patient/123", of("Patient", id="123")), "http://127.0.0.1:8090/fhir/Patient/999"),
        (("POST", "Observation", observation(subject=MINE)), "https://fhir.example.org/fhir/Patient/999"),
        (("POST", "Observation", observation(subject=MINE)), "https://elsewhere.example/fhir/Patient/999"),
    ],
)
def test_a_full_url_does_not_lie(given: tuple[str, str, Any], full_url: str) -> None:
    for scope in (ALL, "system/*.cruds"):
        assert codes(decide("batch", entry(*given, full_url), scope=scope)) == ["full-url-mismatch"]


LAB = entry("POST", "Observation", observation(subject=MINE), ONE)
PUT_LAB = entry("PUT", "Observation/o1", observation(id="o1", subject=MINE))
FREE = entry("POST", "Organization", of("Organization"), TWO)


@pytest.mark.parametrize(
    ("others", "targets", "code"),
    [
        ([LAB], [ONE], None),
        ([PUT_LAB], ["Observation/o1"], None),
        ([LAB, PUT_LAB], [ONE, "Observation/o1", "Patient/123"], None),
        ([LAB], [ONE, "Observation/o2"], None),  # is fetched before anything is sent
        ([LAB], ["Observation/o1"], None),
        ([LAB], [ONE, "Patient/999"], "outside-boundary"),
        ([LAB], [TWO], "outside-boundary"),
        ([LAB, FREE], [ONE, TWO], "outside-boundary"),
    ],
)
def test_provenance_of_what_the_transaction_writes(others: list[Any], targets: list[str], code: str | None) -> None:
    provenance = of("Provenance", target=[{"reference": target} for target in targets])
    given = (*others, entry("POST", "Provenance", provenance))
    decision = decide("transaction", *given, scope=f"{ALL} user/Organization.c", fhir_user="Practitioner/p")
    assert codes(decision)[-1] == code


@pytest.mark.parametrize(
    ("what", "code"),
    [("Patient/123", None), (ONE, None), ("Observation/o1", None), (TWO, "outside-boundary"), ("Patient/999", "outside-boundary")],
)
def test_provenance_from_what_the_transaction_writes(what: str, code: str | None) -> None:
    provenance = of("Provenance", target=[MINE], entity=[{"role": "source", "what": {"reference": what}}])
    decision = decide(
        "transaction",
        LAB,
        PUT_LAB,
        FREE,
        entry("POST", "Provenance", provenance),
        scope=f"{ALL} user/Organization.c",
        fhir_user="Practitioner/p",
    )
    assert codes(decision)[-1] == code


SEARCHING = observation(subject=MINE, focus=[{"reference": "Patient?identifier=x"}])


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        (ALL, "conditional-reference"),
        ("user/Observation.cruds", "conditional-reference"),
        ("user/Observation.c user/Patient.rs", None),
        ("user/Observation.c user/Patient.r", "conditional-reference"),
        ("user/Observation.c user/Patient.s?active=true", "conditional-reference"),
        ("system/*.cruds", None),
    ],
)
@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_a_reference_that_is_a_search_takes_the_permission_to_search(scope: str, code: str | None, type: str) -> None:
    decision = decide(type, entry("POST", "Observation", SEARCHING), scope=scope, fhir_user="Practitioner/p")
    assert codes(decision) == [code]
    if isinstance(decision, Deny):
        assert "focus" in decision.causes[0].text
        assert "identifier" not in decision.causes[0].text


@pytest.mark.parametrize(
    "text", ["Patient?", "/Patient?x=y", "https://fhir.example.org/fhir/Patient?x=y", "Nonsense?x", "?x=y", "Patient/1?x"]
)
def test_every_form_of_it(text: str) -> None:
    body = observation(subject=MINE, extension=[{"url": "x", "valueReference": {"reference": text}}])
    assert codes(decide("batch", entry("POST", "Observation", body), scope="user/Observation.c", fhir_user="Practitioner/p")) == [
        "conditional-reference"
    ]


# A Bundle as data: created, never carried out, and what it carries must be writable.


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ("patient/*.cruds", "insufficient-scope"),
        ("user/Bundle.c", "outside-boundary"),
        ("user/Bundle.c patient/*.cruds", "outside-boundary"),
        ("user/Bundle.c user/Observation.c", None),
        ("user/Bundle.c user/Observation.u", "outside-boundary"),
        ("system/*.cruds", None),
    ],
)
@pytest.mark.parametrize("type", ["history", "searchset", "collection", "batch", "transaction"])
def test_a_bundle_as_data_carries_nothing_that_could_not_be_written_by_itself(scope: str, code: str | None, type: str) -> None:
    body = of("Bundle", type=type, entry=[{"resource": observation(subject=THEIRS), "request": {"method": "PUT", "url": "Observation/1"}}])
    access = Access(principal(scope, fhir_user="Practitioner/p"), policy())
    decision = authorize(parse("POST", "/Bundle", headers=JSON), access)
    if isinstance(decision, Permit):
        assert decision.plan.upstream is not None
        assert decision.plan.upstream.path == ("Bundle",)
        assert decision.plan.body is not None
        refused = refuse_body(body, decision.plan.body, access)  # type: ignore[arg-type]
    else:
        refused = decision
    assert (refused.causes[0].code if refused is not None else None) == code
