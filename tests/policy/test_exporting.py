"""Bulk Data exports as decisions: who may start one, of which types, by which parameters (semantics 8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from smart_gateway.errors import MethodNotAllowed, NotAcceptable, PageRefused, RequestError
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.exports.jobs import CheckExportFile, ExportFile, ExportJob, FileKind, OpenExport, StartExport
from smart_gateway.policy.exports.planning import exportable, plan_opened_file, plan_opened_job
from smart_gateway.policy.model import Capabilities, ClientRule, Policy
from smart_gateway.policy.plan import Decision, Deny, Plan
from tests.support.deciding import DEFAULT, decide, denied, parse, permitted, policy, principal, scopes, sent

ASYNC = {"prefer": "respond-async", "accept": "application/fhir+json"}


def kickoff(target: str, scope: str, *, under: Policy = DEFAULT, **more: Any) -> Decision:
    return decide("GET", target, scope, under=under, headers=ASYNC, **more)


def post(target: str, scope: str, *parameters: dict[str, Any]) -> Decision:
    request = parse("POST", target, headers={**ASYNC, "content-type": "application/fhir+json"})
    body = {"resourceType": "Parameters", "parameter": list(parameters)}
    return authorize(replace(request, resource=body, body_pending=False), Access(principal(scope), DEFAULT))


def started(decision: Decision) -> StartExport:
    rule = permitted(decision).answer
    assert isinstance(rule, StartExport)
    return rule


def filter_of(text: str) -> str:
    return f"/$export?_type=Observation,Patient&_typeFilter={quote(text, safe='')}"


BOTH = "system/Observation.rs system/Patient.rs"


@pytest.mark.parametrize(
    ("target", "scope", "asked"),
    [
        ("/$export", "system/*.rs", "GET /$export"),
        ("/$export", "system/*.cruds", "GET /$export"),
        ("/$export", "system/*.read", "GET /$export"),
        ("/$export?_type=Patient", "system/Patient.rs", "GET /$export?_type=Patient"),
        ("/$export?_type=Patient&_type=Observation", BOTH, "GET /$export?_type=Observation,Patient"),
        ("/$export?_type=Patient", "system/Patient.r system/Patient.s", "GET /$export?_type=Patient"),
        ("/$export", BOTH, "GET /$export?_type=Observation,Patient"),
        ("/$export", "system/Binary.rs system/Patient.rs", "GET /$export?_type=Patient"),
        ("/$export?_type=Binary", "system/*.rs", "GET /$export?_type=Binary"),
        ("/$export?_format=json&_pretty=true", "system/Patient.rs", "GET /$export?_type=Patient"),
        ("/Patient/$export", "system/*.rs", "GET /Patient/$export"),
        ("/Patient/$export", f"{BOTH} system/Organization.rs system/Group.rs", "GET /Patient/$export?_type=Observation,Patient"),
        ("/Patient/$export?_type=Organization", "system/Patient.rs system/Organization.rs", "GET /Patient/$export?_type=Organization"),
        ("/Group/g1/$export?_type=Patient", "system/Patient.rs system/Group.rs", "GET /Group/g1/$export?_type=Patient"),
        ("/Group/g1/$export", "system/Patient.rs system/Group.rs system/Location.rs", "GET /Group/g1/$export?_type=Group,Patient"),
        (
            "/$export?_type=Patient&_since=2024-01-01T00:00:00%2B01:00&_until=2025&_elements=id,Patient.name&_outputFormat=ndjson",
            "system/Patient.rs",
            "GET /$export?_since=2024-01-01T00:00:00%2B01:00&_until=2025&_elements=id,Patient.name"
            "&_outputFormat=application/fhir%2Bndjson&_type=Patient",
        ),
        ("/$export?_type=Patient&_outputFormat=application/fhir+ndjson", "system/Patient.rs", None),
        (filter_of("Observation?status=final"), BOTH, None),
    ],
)
def test_what_is_asked(target: str, scope: str, asked: str | None) -> None:
    decision = kickoff(target, scope)
    assert asked is None or sent(decision) == asked
    upstream = permitted(decision).upstream
    assert upstream is not None
    assert dict(upstream.headers) == {"Prefer": "respond-async", "Cache-Control": "no-cache"}


@pytest.mark.parametrize(
    ("target", "scope", "missing"),
    [
        ("/$export", "patient/*.rs", []),
        ("/$export", "user/*.cruds", []),
        ("/$export", "openid", []),
        ("/$export", "system/*.rs?_id=1", []),
        ("/$export", "system/*.r", []),
        ("/$export", "system/*.s", []),
        ("/$export", "system/Bundle.rs system/Parameters.rs", []),
        ("/$export", "system/Binary.rs", []),
        ("/$export?_type=Patient", "user/*.rs", []),
        ("/$export?_type=Patient", "system/Patient.rs?gender=male", ["system/Patient.rs"]),
        ("/$export?_type=Patient", "system/Patient.r user/Patient.s", ["system/Patient.rs"]),
        ("/$export?_type=Patient", "system/Observation.rs patient/*.rs user/*.rs", ["system/Patient.rs"]),
        ("/$export?_type=Patient", "system/Observation.read", ["system/Patient.read"]),
        ("/$export?_type=Patient,Observation,Condition", BOTH, ["system/Condition.rs"]),
        ("/$export?_type=Bundle", "system/Bundle.rs", []),
        ("/$export?_type=Binary", "system/Binary.rs", []),
        ("/Patient/$export?_type=Observation", "system/Observation.rs", ["system/Patient.rs"]),
        ("/Patient/$export", "user/*.rs patient/*.rs", []),
        ("/Group/g1/$export?_type=Patient", "system/Patient.rs", ["system/Group.rs"]),
        ("/Group/g1/$export?_type=Group", "system/Group.rs", ["system/Patient.rs"]),
    ],
)
def test_what_no_scope_opens(target: str, scope: str, missing: list[str]) -> None:
    refusal = denied(kickoff(target, scope, fhir_user="Practitioner/p1"))
    assert (refusal.status, {cause.code for cause in refusal.causes}) == (403, {"insufficient-scope"})
    assert [m.scope for m in refusal.missing] == missing


def test_every_missing_type_is_named() -> None:
    refusal = denied(kickoff("/$export?_type=Patient,Condition,Bundle", "system/Observation.rs"))
    assert [cause.text for cause in refusal.causes] == [
        "An export of Bundle, which may hold what is of any type, needs system/*.rs without filters, and no rule that bounds it.",
        "An export of Condition needs system/Condition.rs without filters, and no rule that bounds it.",
        "An export of Patient needs system/Patient.rs without filters, and no rule that bounds it.",
    ]


@pytest.mark.parametrize(
    "target", ["/Observation/$export", "/Patient/1/$export", "/Group/$export", "/Practitioner/$export", "/Encounter/1/$export"]
)
def test_other_levels_are_not_opened(target: str) -> None:
    assert denied(kickoff(target, "system/*.cruds")).causes[0].code == "operation-not-opened"


@pytest.mark.parametrize(
    ("rule", "scope", "types"),
    [
        (ClientRule(), "system/*.rs", set()),  # no role: system
        (ClientRule(system_role=True, limit=scopes("system/Patient.rs", "system/Observation.r")), "system/*.rs", {"Patient"}),
        (ClientRule(system_role=True, limit=scopes("patient/*.rs")), "system/*.rs", set()),
        (ClientRule(system_role=True, limit=scopes("system/Patient.rs?gender=male")), "system/*.rs", set()),
        (ClientRule(system_role=True, pin=scopes("system/Goal.rs")), "system/*.rs", {"Goal"}),
        (ClientRule(system_role=True, pin=scopes("system/Goal.rs")), "", {"Goal"}),
    ],
)
def test_the_rule_of_the_client(rule: ClientRule, scope: str, types: set[str]) -> None:
    assert exportable(Access(principal(scope, client_id="c"), policy(clients={"c": rule}))) == types


def test_a_client_that_cannot_have_the_scope_is_given_no_hint() -> None:
    registered = ClientRule(system_role=True, registered_scopes=scopes("system/Patient.rs", "system/Goal.rs?patient=1"))
    limited = ClientRule(system_role=True, limit=scopes("system/Observation.rs"))
    for rule, types, expected in (
        (registered, "Patient", ["system/Patient.rs"]),
        (registered, "Patient,Goal", []),  # what would open one of two helps nobody
        (limited, "Patient", []),
    ):
        refusal = denied(kickoff(f"/$export?_type={types}", "system/Observation.rs", client_id="c", under=policy(clients={"c": rule})))
        assert [m.scope for m in refusal.missing] == expected


def test_without_types_the_upstreams_own_are_asked_for() -> None:
    under = policy(capabilities=Capabilities({"Patient": frozenset(), "Goal": frozenset()}))
    assert sent(kickoff("/$export", f"{BOTH} system/Goal.rs", under=under)) == "GET /$export?_type=Goal,Patient"
    assert denied(kickoff("/$export", "system/Observation.rs", under=under)).causes[0].code == "insufficient-scope"


@pytest.mark.parametrize(
    ("target", "code", "place"),
    [
        ("/$export?_type=Nope", "unknown-type", "_type"),
        ("/$export?_type=", "unknown-type", "_type"),
        ("/$export?_type=patient", "unknown-type", "_type"),
        ("/$export?_type=Patient,", "unknown-type", "_type"),
        ("/$export?_type=*", "unknown-type", "_type"),
        ("/$export?_outputFormat=application/fhir%2Bparquet", "malformed-parameter", "_outputFormat"),
        ("/$export?_outputFormat=", "malformed-parameter", "_outputFormat"),
        ("/$export?_outputFormat=ndjson&_outputFormat=ndjson", "malformed-parameter", "_outputFormat"),
        ("/$export?_since=yesterday", "malformed-parameter", "_since"),
        ("/$export?_since=2024-01-01T00:00:00", "malformed-parameter", "_since"),
        ("/$export?_since=2024&_since=2025", "malformed-parameter", "_since"),
        ("/$export?_until=gt2024", "malformed-parameter", "_until"),
        ("/$export?_elements=a..b", "malformed-parameter", "_elements"),
        ("/$export?includeAssociatedData=LatestProvenanceResources", "parameter-not-supported", "includeAssociatedData"),
        ("/$export?organizeOutputBy=Patient", "parameter-not-supported", "organizeOutputBy"),
        ("/$export?allowPartialManifests=true", "parameter-not-supported", "allowPartialManifests"),
        ("/$export?_mdm=true", "unknown-parameter", "_mdm"),
        ("/$export?_type:not=Patient", "unknown-parameter", "_type:not"),
        ("/$export?exportId=x", "unknown-parameter", "exportId"),
        ("/$export?name=x", "unknown-parameter", "name"),
        ("/$export?_job=x", "unknown-parameter", "_job"),
        ("/Patient/$export?patient=Patient/1", "malformed-parameter", "patient"),
    ],
)
@pytest.mark.parametrize("scope", ["system/*.rs", BOTH])
def test_parameters_that_are_broken_or_unknown(target: str, code: str, place: str, scope: str) -> None:
    with pytest.raises(RequestError) as refused:
        kickoff(target, scope)
    assert (refused.value.status, refused.value.reason, refused.value.expression) == (400, code, f"http.{place}")


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Observation?status=final", ["Observation?status=final"]),
        ("Observation?status=final,Patient?gender=male", ["Observation?status=final", "Patient?gender=male"]),
        ("Observation?status=final,amended&code=a|b", ["Observation?status=final,amended&code=a%7Cb"]),
        ("Observation?code=a%7Cb%20c", ["Observation?code=a%7Cb%20c"]),
        ("Observation?code:text=Zähne und mehr", ["Observation?code:text=Z%C3%A4hne%20und%20mehr"]),
        ("Observation?patient:Patient.name=x", ["Observation?patient:Patient.name=x"]),
        ("Patient?_has:Observation:patient:code=1", ["Patient?_has:Observation:patient:code=1"]),
        ("Observation?_lastUpdated=gt2024-01-01&_tag=x", ["Observation?_lastUpdated=gt2024-01-01&_tag=x"]),
    ],
)
def test_type_filters(text: str, asked: list[str]) -> None:
    upstream = permitted(kickoff(filter_of(text), BOTH)).upstream
    assert upstream is not None
    found = [value for key, value in upstream.query if key == "_typeFilter"]
    assert found == asked


@pytest.mark.parametrize(
    "text",
    [
        "Observation",
        "Observation?",
        "?status=final",
        "",
        "Nope?status=final",
        "Condition?code=1",  # not exported
        "Observation?status=final,Condition?code=1",
        "Observation?nope=1",
        "Observation?status:nope=1",
        "Observation?_include=Observation:patient",
        "Observation?_sort=date",
        "Observation?_count=1",
        "Observation?_filter=status eq final",
        "Observation?_query=x",
        "Observation?access_token=x",
        "Observation?status=%ZZ",
        "Observation?status=%00",
        "../Observation?status=final",
        "Observation/1?status=final",
    ],
)
def test_type_filters_that_are_refused(text: str) -> None:
    with pytest.raises(RequestError) as refused:
        kickoff(filter_of(text), BOTH)
    assert (refused.value.status, refused.value.expression) == (400, "http._typeFilter")


@pytest.mark.parametrize(
    "text", ["Observation?encounter.status=finished", "Patient?_has:Condition:patient:code=1", "Observation?patient.organization.name=x"]
)
def test_chains_into_types_that_are_not_open_are_refused(text: str) -> None:
    (cause,) = denied(kickoff(filter_of(text), BOTH)).causes
    assert (cause.code, cause.expression) == ("chain-not-allowed", "http._typeFilter")


def test_a_post_is_sent_as_one() -> None:
    decision = post(
        "/Patient/$export",
        BOTH,
        {"name": "_type", "valueString": "Patient"},
        {"name": "_type", "valueCode": "Observation"},
        {"name": "_since", "valueInstant": "2024-01-01T00:00:00Z"},
        {"name": "patient", "valueReference": {"reference": "Patient/1"}},
        {"name": "patient", "valueReference": {"reference": "https://fhir.example.org/fhir/Patient/2", "display": "Anna"}},
    )
    upstream = permitted(decision).upstream
    assert upstream is not None
    assert (upstream.method, upstream.path, upstream.query) == ("POST", ("Patient", "$export"), ())
    assert msgspec.json.decode(upstream.content or b"") == {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "_since", "valueInstant": "2024-01-01T00:00:00Z"},
            {"name": "patient", "valueReference": {"reference": "Patient/1"}},
            {"name": "patient", "valueReference": {"reference": "Patient/2"}},
            {"name": "_type", "valueString": "Observation,Patient"},
        ],
    }
    assert started(decision).types == {"Observation", "Patient"}


@pytest.mark.parametrize(
    ("target", "parameter"),
    [
        ("/$export", {"name": "patient", "valueReference": {"reference": "Patient/1"}}),  # at system level
        ("/Patient/$export", {"name": "patient", "valueReference": {"reference": "Group/1"}}),
        ("/Patient/$export", {"name": "patient", "valueReference": {"reference": "Patient/1/_history/2"}}),
        ("/Patient/$export", {"name": "patient", "valueReference": {"reference": "Patient?name=x"}}),
        ("/Patient/$export", {"name": "patient", "valueReference": {"reference": "https://other.example/fhir/Patient/1"}}),
        ("/Patient/$export", {"name": "patient", "valueReference": {"identifier": {"value": "1"}}}),
        ("/Patient/$export", {"name": "patient", "valueString": "Patient/1"}),
        ("/Patient/$export", {"name": "_type", "valueReference": {"reference": "Patient"}}),
        ("/Patient/$export", {"name": "_type", "part": [{"name": "x", "valueString": "Patient"}]}),
        ("/Patient/$export", {"name": "_type", "resource": {"resourceType": "Patient"}}),
        ("/Patient/$export", {"name": "_type", "valueString": "Nope"}),
        ("/Patient/$export", {"name": "surprise", "valueString": "x"}),
    ],
)
def test_posted_parameters_that_are_refused(target: str, parameter: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        post(target, "system/*.rs", parameter)
    assert refused.value.status == 400


def test_query_and_body_count_together() -> None:
    with pytest.raises(RequestError):
        post("/$export?_since=2024", "system/*.rs", {"name": "_since", "valueInstant": "2025-01-01T00:00:00Z"})


def test_headers_of_a_kickoff() -> None:
    assert decide("GET", "/$export", "system/*.rs") == kickoff("/$export", "system/*.rs")  # asynchronous, said or not
    with pytest.raises(NotAcceptable):
        decide("GET", "/$export", "system/*.rs", headers={"prefer": "respond-async", "accept": "application/fhir+xml"})
    with pytest.raises(MethodNotAllowed):
        decide("HEAD", "/$export", "system/*.rs", headers=ASYNC)
    upstream = permitted(decide("GET", "/$export", "system/*.rs", headers={"prefer": "handling=lenient, respond-async"})).upstream
    assert upstream is not None
    assert dict(upstream.headers)["Prefer"] == "respond-async, handling=lenient"


@pytest.mark.parametrize("operation", ["$export-poll-status", "$export-file"])
def test_only_sealed_addresses_are_opened(operation: str) -> None:
    name = "_job" if operation == "$export-poll-status" else "_file"
    other = "_file" if name == "_job" else "_job"
    for query in ("", "?_jobId=1", f"?{other}=x", f"?{name}:exact=x", "?_format=json"):
        with pytest.raises(PageRefused) as refused:
            decide("GET", f"/{operation}{query}", "system/*.rs")
        assert refused.value.reason == "foreign-export"
    for query in (f"?{name}=x&{name}=y", f"?{name}=x&_jobId=1", f"?_type=Patient&{name}=x"):
        with pytest.raises(RequestError) as broken:
            decide("GET", f"/{operation}{query}", "system/*.rs")
        assert broken.value.status == 400
    rule = permitted(decide("GET", f"/{operation}?{name}=x&_format=json", "system/*.rs")).answer
    assert isinstance(rule, OpenExport)
    assert (rule.place, rule.token) == (operation, "x")
    assert denied(decide("GET", f"/{operation}?{name}=x", "patient/*.rs user/*.rs")).status == 403
    for path in ("/Patient", "/Patient/1", "/Group/g"):  # it is no operation of a type, nor of an instance
        assert denied(decide("GET", f"{path}/{operation}?{name}=x", "system/*.rs")).causes[0].code == "operation-not-opened"


@pytest.mark.parametrize(
    ("method", "operation", "allowed"),
    [
        ("POST", "$export-poll-status", ("GET", "HEAD", "DELETE")),
        ("PUT", "$export-poll-status", ("GET", "HEAD", "DELETE")),
        ("DELETE", "$export-file", ("GET", "HEAD")),
        ("POST", "$export-file", ("GET", "HEAD")),
        ("DELETE", "$export", ("GET", "HEAD", "POST")),
    ],
)
def test_methods(method: str, operation: str, allowed: tuple[str, ...]) -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        parse(method, f"/{operation}")
    assert refused.value.allow == allowed


JOB = ExportJob(("$export-poll-status",), (("_jobId", "1"),), frozenset({"Observation", "Patient"}), None)


def opened(job: ExportJob, scope: str, method: str = "GET") -> Plan | Deny:
    return plan_opened_job(job, method, Access(principal(scope), DEFAULT))


def test_a_job_is_opened_while_the_token_covers_it() -> None:
    plan = opened(JOB, BOTH)
    assert isinstance(plan, Plan)
    assert plan.upstream is not None
    assert (plan.upstream.method, plan.upstream.target) == ("GET", "/$export-poll-status?_jobId=1")
    ended = opened(JOB, "system/*.rs", "DELETE")
    assert isinstance(ended, Plan)
    assert ended.upstream is not None
    assert ended.upstream.method == "DELETE"


@pytest.mark.parametrize(
    ("level", "scope"),
    [
        (None, "system/Patient.rs"),
        (None, "system/Patient.rs system/Observation.r"),
        (None, "user/*.rs"),
        ("Group", BOTH),
        ("Patient", "system/Observation.rs system/Patient.rs?gender=male"),
    ],
)
def test_a_token_that_covers_less_opens_nothing(level: str | None, scope: str) -> None:
    job = replace(JOB, level=level)
    access = Access(principal(scope), DEFAULT)
    assert isinstance(opened(job, scope), Deny)
    assert isinstance(opened(job, scope, "DELETE"), Deny)
    assert isinstance(plan_opened_file(ExportFile(job, FileKind.OUTPUT, "Patient"), "GET", access), Deny)


def test_a_file_is_asked_for_as_ndjson() -> None:
    file = ExportFile(replace(JOB, path=("Binary", "b"), query=()), FileKind.OUTPUT, "Patient")
    for scope, types in ((BOTH, frozenset({"Patient", "Observation"})), ("system/*.rs", None)):
        plan = plan_opened_file(file, "GET", Access(principal(scope), DEFAULT))
        assert isinstance(plan, Plan)
        assert isinstance(plan.answer, CheckExportFile)
        assert plan.answer.opened == types
        assert plan.upstream is not None
        assert dict(plan.upstream.headers) == {"Accept": "application/fhir+ndjson"}
