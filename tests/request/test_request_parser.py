"""From request line and headers to the interaction."""

from __future__ import annotations

import pytest

from smart_gateway.errors import MethodNotAllowed, RequestError, TargetTooLong
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import Reference
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.request.parsing import RequestParser
from tests.support.asking import PARSER, ask, fault

INTERACTIONS = {
    ("GET", "/fhir/metadata"): Interaction.CAPABILITIES,
    ("HEAD", "/fhir/metadata"): Interaction.CAPABILITIES,
    ("GET", "/fhir/.well-known/smart-configuration"): Interaction.SMART_CONFIGURATION,
    ("GET", "/fhir/.well-known/oauth-protected-resource"): Interaction.PROTECTED_RESOURCE,
    ("GET", "/.well-known/oauth-protected-resource/fhir"): Interaction.PROTECTED_RESOURCE,
    ("GET", "/fhir"): Interaction.SEARCH_SYSTEM,
    ("GET", "/fhir?_type=Patient"): Interaction.SEARCH_SYSTEM,
    ("GET", "/fhir/?_type=Patient"): Interaction.SEARCH_SYSTEM,
    ("POST", "/fhir"): Interaction.BATCH,
    ("POST", "/fhir/"): Interaction.BATCH,
    ("POST", "/fhir/_search"): Interaction.SEARCH_SYSTEM,
    ("GET", "/fhir/_history"): Interaction.HISTORY_SYSTEM,
    ("GET", "/fhir/Patient"): Interaction.SEARCH_TYPE,
    ("HEAD", "/fhir/Patient"): Interaction.SEARCH_TYPE,
    ("POST", "/fhir/Patient"): Interaction.CREATE,
    ("PUT", "/fhir/Patient?identifier=1"): Interaction.UPDATE,
    ("PATCH", "/fhir/Patient?identifier=1"): Interaction.PATCH,
    ("DELETE", "/fhir/Patient?identifier=1"): Interaction.DELETE,
    ("POST", "/fhir/Patient/_search"): Interaction.SEARCH_TYPE,
    ("GET", "/fhir/Patient/_history"): Interaction.HISTORY_TYPE,
    ("GET", "/fhir/Patient/1"): Interaction.READ,
    ("HEAD", "/fhir/Patient/1"): Interaction.READ,
    ("PUT", "/fhir/Patient/1"): Interaction.UPDATE,
    ("PATCH", "/fhir/Patient/1"): Interaction.PATCH,
    ("DELETE", "/fhir/Patient/1"): Interaction.DELETE,
    ("GET", "/fhir/Patient/1/_history"): Interaction.HISTORY_INSTANCE,
    ("GET", "/fhir/Patient/1/_history/2"): Interaction.VREAD,
    ("HEAD", "/fhir/Patient/1/_history/2"): Interaction.VREAD,
    ("GET", "/fhir/Patient/1/Observation"): Interaction.SEARCH_COMPARTMENT,
    ("POST", "/fhir/Patient/1/Observation/_search"): Interaction.SEARCH_COMPARTMENT,
    ("GET", "/fhir/Patient/1/$everything"): Interaction.OPERATION,
    ("POST", "/fhir/Patient/$match"): Interaction.OPERATION,
    ("GET", "/fhir/$export"): Interaction.OPERATION,
    ("GET", "/fhir/Patient?_page=abc"): Interaction.PAGE,
    ("HEAD", "/fhir/Patient?_page=abc"): Interaction.PAGE,
    ("GET", "/fhir?_page=abc"): Interaction.PAGE,
    ("GET", "/fhir/Patient/1?_page=abc"): Interaction.READ,
    ("GET", "/fhir/Patient/1/Observation?_page=abc"): Interaction.SEARCH_COMPARTMENT,
}

ALLOW = {
    "/fhir": "GET HEAD POST",
    "/fhir/metadata": "GET HEAD",
    "/fhir/.well-known/smart-configuration": "GET HEAD",
    "/fhir/_history": "GET HEAD",
    "/fhir/_search": "POST",
    "/fhir/Patient": "GET HEAD POST PUT PATCH DELETE",
    "/fhir/Patient/_search": "POST",
    "/fhir/Patient/_history": "GET HEAD",
    "/fhir/Patient/1": "GET HEAD PUT PATCH DELETE",
    "/fhir/Patient/1/_history": "GET HEAD",
    "/fhir/Patient/1/_history/2": "GET HEAD",
    "/fhir/Patient/1/Observation": "GET HEAD",
    "/fhir/Patient/1/Observation/_search": "POST",
    "/fhir/Patient/1/$everything": "GET HEAD POST",
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "Get", "", "GET "]


@pytest.mark.parametrize(("method", "target"), INTERACTIONS)
def test_method_and_place_say_what_is_asked(method: str, target: str) -> None:
    request = ask(method, target)
    assert request.interaction is INTERACTIONS[method, target]
    assert request.method == method
    assert request.is_head is (method == "HEAD")


@pytest.mark.parametrize(("target", "allowed"), ALLOW.items())
@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_refused_with_those_allowed(target: str, allowed: str, method: str) -> None:
    if method in allowed.split():
        assert ask(method, target).method == method
        return
    error = fault(method, target)
    assert isinstance(error, MethodNotAllowed)
    assert set(error.allow) == set(allowed.split())


def test_a_read_in_full() -> None:
    assert ask("GET", "/fhir/Patient/1/_history/2") == FhirRequest(
        Interaction.VREAD, "GET", "Patient", "1", "2", preferences=ask("GET", "/fhir/Patient").preferences
    )


def test_a_compartment_search_in_full() -> None:
    request = ask("GET", "/fhir/Patient/123/Observation?code=1")
    assert (request.type, request.id, request.compartment) == ("Observation", None, Reference("Patient", "123"))
    assert request.parameters == (QueryParameter("code", "code", "1"),)
    assert ask("GET", "/fhir/Patient/123/*").type is None


def test_a_conditional_write_names_no_id() -> None:
    request = ask("PUT", "/fhir/Patient?identifier=a|b")
    assert (request.interaction, request.id, request.parameters) == (
        Interaction.UPDATE,
        None,
        (QueryParameter("identifier", "identifier", "a|b"),),
    )


def test_the_parameters_of_a_read_are_kept() -> None:
    assert [p.key for p in ask("GET", "/fhir/Patient/1?_summary=true&x=y").parameters] == ["_summary", "x"]


@pytest.mark.parametrize(
    "target", ["/fhir/_search", "/fhir/Patient/_search", "/fhir/Patient/1/Observation/_search", "/fhir/Patient/1/_search"]
)
def test_a_search_by_post_waits_for_its_form(target: str) -> None:
    request = ask("POST", target + "?_count=5")
    assert request.form_pending
    assert [p.key for p in request.parameters] == ["_count"]


def test_a_page_is_its_token_alone() -> None:
    request = ask("GET", "/fhir/Observation?_page=abc-_.9&_format=json")
    assert (request.interaction, request.type, request.page, request.parameters) == (Interaction.PAGE, "Observation", "abc-_.9", ())


@pytest.mark.parametrize("query", ["_page=a&_count=1", "_page=a&_page=b", "code=1&_page=a", "_page:x=a"])
def test_a_page_takes_no_other_parameters(query: str) -> None:
    assert fault("GET", f"/fhir/Observation?{query}").reason == "malformed-page"


@pytest.mark.parametrize(
    ("target", "expected"), [("/fhir/Binary/1", "raw"), ("/fhir/Binary/1/_history/2", "raw"), ("/fhir/Patient/1", "other")]
)
def test_raw_content_is_what_binary_is_asked_for_alone(target: str, expected: str) -> None:
    preferences = ask("GET", target, [(b"accept", b"image/png")]).preferences
    assert preferences.media == expected
    assert preferences.accept == ("image/png" if expected == "raw" else None)


def test_the_target_is_bounded() -> None:
    parser = RequestParser(load_vocabulary(Release.R4), "/fhir", Limits(url=64))
    assert ask("GET", b"/fhir/Patient?" + b"a" * 50, parser=parser).interaction is Interaction.SEARCH_TYPE
    error = fault("GET", b"/fhir/Patient?" + b"a" * 51, parser=parser)
    assert isinstance(error, TargetTooLong)
    assert error.status == 414
    assert fault("GET", b"/fhir/Patient/" + b"a" * 8192).status == 414


def test_the_parameters_are_counted() -> None:
    parser = RequestParser(load_vocabulary(Release.R4), "/fhir", Limits(parameters=3))
    assert len(ask("GET", "/fhir/Patient?a=1&b=2&c=3", parser=parser).parameters) == 3
    assert fault("GET", "/fhir/Patient?a=1&b=2&c=3&d=4", parser=parser).reason == "too-many-parameters"


def test_the_release_decides_the_types() -> None:
    r5 = RequestParser(load_vocabulary(Release.R5), "/fhir", Limits())
    assert ask("GET", "/fhir/ActorDefinition", parser=r5).type == "ActorDefinition"
    assert fault("GET", "/fhir/ActorDefinition").status == 404
    assert fault("GET", "/fhir/Media", parser=r5).status == 404
    assert ask("GET", "/fhir/Media").type == "Media"


@pytest.mark.parametrize("type", ["Resource", "DomainResource", "Element", "Reference", "HumanName"])
def test_what_is_no_concrete_resource_type_is_unknown(type: str) -> None:
    assert fault("GET", f"/fhir/{type}/1").code == "unknown-type"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"application/fhir+json", "application/fhir+json"),
        (b"Application/FHIR+JSON; charset=UTF-8", "application/fhir+json"),
        (b'application/fhir+json;charset="utf-8"', "application/fhir+json"),
        (b"application/fhir+json; fhirVersion=4.0", "application/fhir+json"),
        (b"application/fhir+json; fhirVersion=4.3", "application/fhir+json;fhirversion=4.3"),
        (b"application/json;charset=ISO-8859-1", "application/json;charset=iso-8859-1"),
        (b"application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
    ],
)
def test_the_content_type_keeps_only_what_matters(header: bytes, expected: str) -> None:
    assert ask("POST", "/fhir/Patient", [(b"content-type", header)]).content_type == expected


@pytest.mark.parametrize(
    "header", [b"", b"json", b"application/", b"a/b c/d", b"application/json,text/xml", b"application/json; charset", b"a/b;=", b"\xff/x"]
)
def test_a_malformed_content_type_is_refused(header: bytes) -> None:
    error = fault("POST", "/fhir/Patient", [(b"content-type", header)])
    assert (error.status, error.reason, error.expression) == (400, "malformed-header", "http.Content-Type")


def test_the_path_is_judged_before_the_method_and_the_method_before_the_query() -> None:
    assert fault("TRACE", "/fhir/Nosuch?%").status == 404
    assert fault("TRACE", "/fhir/Patient?%").status == 405
    with pytest.raises(RequestError):
        PARSER.parse("GET", b"/fhir/Patient", b"%", [])
