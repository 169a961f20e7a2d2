"""Every refusal names what it is about: the parameter, header, element or entry, in the expression that its OperationOutcome carries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.errors import RequestError
from smart_gateway.fhir.releases import Release
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.batch import judge_bodies
from smart_gateway.policy.explanation import explain_decision, explain_error
from smart_gateway.policy.plan import BodyCheck, Permit
from smart_gateway.policy.writes.writing import refuse_body
from smart_gateway.request.completing import complete, is_complete
from smart_gateway.request.limits import Limits
from smart_gateway.request.parsing import RequestParser
from tests.support.deciding import policy, principal, vocabulary

ALL = "patient/*.cruds"
# Under `patient/*.cruds`, by what is asked for each of these is refused.
PARAMETERS = """
_filter=x _query=x _list=1 _contained=true _in=1 _graph=x foo=1 _foo=1 code:foo=1 subject:above=1 _id:below=1 code:in=Patient/1
subject.name=x subject:Patient.name=x encounter.patient.name=x _has:Observation:patient:code=1 _has=foo _summary=x _total=x
_count=x _sort=x _sort=subject.name _elements=1 _include=x _include=Observation:foo _include:x=Observation:subject _revinclude=x:y
_containedType=x patient=999 subject=Patient/999 subject:Patient=999 _format=xml _score=true _maxresults=1 access_token=x
date:x=2024 performer:Foo=1 _cursor=x _offset=1
""".split()


def explained(method: str, target: str, scope: str = ALL, body: Any = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The decision as ``explain`` shows it."""
    parser = RequestParser(vocabulary(Release.R4), "", Limits())
    path, _, query = target.partition("?")
    given = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    if body is not None:
        given.append((b"content-type", b"application/fhir+json"))
    request, access = None, Access(principal(scope), policy())
    try:
        request = parser.parse(method, path.encode(), query.encode(), given)
        if not is_complete(request):
            request = complete(request, json.dumps(body).encode(), parser, Limits())
        decision = authorize(request, access)
        if request.batch is not None:
            decision = judge_bodies(decision, request.batch, access, Limits())
        elif isinstance(decision, Permit) and isinstance(decision.plan.body, BodyCheck) and body is not None:
            decision = refuse_body(body, decision.plan.body, access) or decision
        return explain_decision(request, decision, access)
    except RequestError as error:
        return explain_error(request, error, access)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_a_refused_search_names_the_parameter(parameter: str) -> None:
    shown = explained("GET", f"/Observation?status=final&{parameter}")
    assert (shown["decision"], shown["expressions"]) == ("deny", [f"http.{parameter.partition('=')[0]}"])


@pytest.mark.parametrize("parameter", ["_filter=x", "foo=1", "subject.name=x", "patient=999", "_format=xml", "_count=x"])
@pytest.mark.parametrize(
    "target", ["/Patient/123/Observation?", "/?_type=Observation&", "/Patient/123/*?_type=Observation&", "/Observation/$lastn?"]
)
def test_so_does_one_of_another_form(target: str, parameter: str) -> None:
    shown = explained("GET", target + parameter)
    assert (shown["decision"], shown["expressions"]) == ("deny", [f"http.{parameter.partition('=')[0]}"])


@pytest.mark.parametrize("parameter", ["foo=1", "patient=999", "_filter=x", "_summary=true", "subject.name=x", "code:foo=1", "date="])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_criteria_name_the_parameter(method: str, parameter: str) -> None:
    shown = explained(method, f"/Observation?status=final&{parameter}")
    assert (shown["decision"], shown["expressions"]) == ("deny", [f"http.{parameter.partition('=')[0]}"])


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("/Observation/o1?_foo=1", "http._foo"),
        ("/Observation/o1?_summary=count", "http._summary"),
        ("/Observation/o1?_format=ttl", "http._format"),
        ("/Observation/o1/_history?_foo=1", "http._foo"),
        ("/Observation/_history?_list=1", "http._list"),
        ("/_history?_count=0", "http._count"),
        ("/Patient/123/$everything?_foo=1", "http._foo"),
        ("/Patient/123/$everything?start=x", "http.start"),
        ("/DocumentReference/$docref?patient=999", "http.patient"),
        ("/DocumentReference/$docref", "http.patient"),
        ("/?_type=Foo", "http._type"),
        ("/?code=x", "http._type"),
        ("/Patient/123/*?_type=Organization", "http._type"),
    ],
)
def test_other_reads_name_the_parameter(target: str, named: str) -> None:
    shown = explained("GET", target)
    assert (shown["decision"], shown["expressions"]) == ("deny", [named])


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("/Observation?code=%zz", "http.code"),
        ("/Observation?code=a%00", "http.code"),
        ("/Observation?code=%ff", "http.code"),
        ("/Observation?code:=1", "http.code:"),
        ("/Observation?_page=x&code=1", "http._page"),
        ("/Observation?_format=a/b", "http._format"),
        ("/?_getpages=1", "http._getpages"),
        ("/metadata?mode=terminology", "http.mode"),
        ("/metadata?_format=xml", "http._format"),
    ],
)
def test_what_is_malformed_is_named_too(target: str, named: str) -> None:
    shown = explained("GET", target)
    assert (shown["decision"], shown["expressions"]) == ("deny", [named])


@pytest.mark.parametrize(
    ("target", "headers", "named"),
    [("/Patient/1", {"Accept": "image/png"}, "http.Accept"), ("/Patient/1?_format=csvx", {}, "http._format")],
)
def test_a_media_type_that_is_none_is_named_without_any_bound(target: str, headers: dict[str, str], named: str) -> None:
    assert explained("GET", target, "system/*.cruds", headers=headers)["expressions"] == [named]


@pytest.mark.parametrize(
    ("method", "headers", "named"),
    [
        ("GET", {"Accept": "application/fhir+xml"}, "http.Accept"),
        ("GET", {"X-Thing": "a\x01b"}, "http.X-Thing"),
        ("GET", {"Prefer": "respond-async"}, "http.Prefer"),
        ("DELETE", {"If-Match": "garbage"}, "http.If-Match"),
        ("DELETE", {"If-None-Match": 'W/"1"'}, "http.If-None-Match"),
    ],
)
def test_a_header_is_named(method: str, headers: dict[str, str], named: str) -> None:
    assert explained(method, "/Observation/o1", headers=headers)["expressions"] == [named]


@pytest.mark.parametrize(
    ("scope", "body", "named"),
    [
        (ALL, {"resourceType": "Observation", "subject": {"reference": "Patient/999"}}, ["Observation", "Observation.subject"]),
        (ALL, {"resourceType": "Condition"}, ["Condition"]),
        (ALL, {"resourceType": "Device"}, ["Device.patient"]),
        (ALL, {"resourceType": "Patient"}, ["Patient.id"]),
        (
            "patient/Observation.c?category=laboratory",
            {"resourceType": "Observation", "subject": {"reference": "Patient/123"}},
            ["Observation.category"],
        ),
        (
            ALL,
            {"resourceType": "Observation", "subject": {"reference": "Patient/123"}, "focus": [{"reference": "Patient?identifier=x"}]},
            ["Observation.focus"],
        ),
        (
            ALL,
            {"resourceType": "Provenance", "target": [{"reference": "Patient/123"}, {"reference": "Observation/o9"}]},
            ["Provenance.target"],
        ),
        (
            ALL,
            {"resourceType": "Provenance", "target": [{"reference": "Patient/123"}], "entity": [{"what": {"reference": "Patient/999"}}]},
            ["Provenance.entity"],
        ),
    ],
)
def test_a_body_is_refused_by_its_element(scope: str, body: dict[str, Any], named: list[str]) -> None:
    assert explained("POST", f"/{body['resourceType']}", scope, body)["expressions"] == named


@pytest.mark.parametrize(
    ("method", "url"), [("GET", "Observation?_filter=x"), ("DELETE", "Organization/1"), ("GET", "Foo"), ("GET", "?x=1")]
)
def test_an_entry_is_named(method: str, url: str) -> None:
    entries = [{"request": {"method": "GET", "url": "Observation"}}, {"request": {"method": method, "url": url}}]
    shown = explained("POST", "/", body={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert shown["decision"] == "deny"
    assert [place.partition(".request")[0] for place in shown["expressions"]] == ["Bundle.entry[1]"]
