"""Semantics 1, line by line, as an attacker would try it: every one of these is refused, and says why."""

from __future__ import annotations

import pytest

from smart_gateway.errors import RequestError
from smart_gateway.request.body import read_form, read_resource
from smart_gateway.request.limits import Limits
from tests.support.asking import ask, fault

FORM = [(b"content-type", b"application/x-www-form-urlencoded")]


class _Check:
    type = "Observation"
    id = None


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/fhirx/Patient/1",
        "/other/fhir/Patient/1",
        "/FHIR/Patient/1",
        "/fhir%2FPatient/1",
        "/fhir%2fPatient",
        "/actuator/health",
        "/fhir/admin/reset",
        "/fhir/swagger-ui/",
        "/fhir/api-docs",
        "/metadata",
        "/.well-known/smart-configuration",
        "/livez",
    ],
)
def test_only_paths_below_the_public_base_are_served(target: str) -> None:
    assert fault("GET", target).status in {400, 404}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "target",
    ["/fhir/Patient/1#", "/fhir/Patient/1#x", "/fhir/Patient#/1", "/fhir/Patient?a=1#b", "/fhir#", "/fhir/Patient/1#/../../Observation/2"],
)
def test_a_raw_fragment_is_refused(method: str, target: str) -> None:
    assert fault(method, target).status == 400


@pytest.mark.parametrize(
    "target",
    ["/fhir/Patient/%", "/fhir/Patient/%2", "/fhir/Patient/%gg", "/fhir/Patient?a=%", "/fhir/Patient?%=1", "/fhir/Patient?a=%u0027"],
)
def test_malformed_percent_encoding_is_refused(target: str) -> None:
    assert fault("GET", target).reason == "malformed-encoding"


@pytest.mark.parametrize(
    "target",
    [
        "/fhir/Patient/1%2F..%2F..%2FObservation",
        "/fhir/Patient/%2e%2e/Observation/2",
        "/fhir/Patient/1/%2e%2e/2",
        "/fhir/Patient/.%2e/Observation",
        "/fhir/Patient%2f1",
        "/fhir/Patient/1%5c..%5c2",
        "/fhir/Patient/%252e%252e/Observation",
        "/fhir/Patient/1%252F$everything",
        "/fhir/Patient/1/%24everything%2F",
        "/fhir/%50atient/1",
        "/fhir/Patient/1%20",
        "/fhir/Patient/1%09",
        "/fhir/Patient/%EF%BC%8F",
        "/fhir/Patient/1%3f_format=xml",
        "/fhir/Patient/%u002e%u002e",
        "/fhir/Patient/%c0%ae%c0%ae/Observation",
    ],
)
def test_nothing_is_hidden_in_an_encoded_path(target: str) -> None:
    assert fault("GET", target).status == 400


@pytest.mark.parametrize(
    "target",
    [
        "/fhir//Patient/1",
        "//fhir/Patient/1",
        "/fhir/Patient//1",
        "/fhir/Patient/",
        "/fhir/Patient/1/",
        "/fhir//",
        "/fhir/Patient/1//_history",
    ],
)
def test_empty_segments_are_refused(target: str) -> None:
    assert fault("GET", target).reason == "empty-segment"


@pytest.mark.parametrize(
    "target",
    [
        "/fhir/Patient/1/../2",
        "/fhir/../fhir/Patient/1",
        "/fhir/./Patient/1",
        "/fhir/Patient/..",
        "/fhir/Patient/.",
        "/..",
        "/fhir/Patient/...",
        "/fhir/Patient/1/_history/..",
    ],
)
def test_dot_segments_are_refused(target: str) -> None:
    assert fault("GET", target).status == 400


@pytest.mark.parametrize(
    "target", ["/fhir/Patient;jsessionid=1/1", "/fhir/Patient/1;x=y", "/fhir;x/Patient/1", "/fhir/Patient/;/1", "/fhir/..;/Patient"]
)
def test_path_parameters_are_refused(target: str) -> None:
    assert fault("GET", target).reason == "path-parameter"


@pytest.mark.parametrize("target", ["/fhir\\Patient\\1", "/fhir/Patient\\..\\Observation", "\\fhir\\Patient", "/fhir/Patient/1\\"])
def test_backslashes_are_refused(target: str) -> None:
    assert fault("GET", target).status == 400


@pytest.mark.parametrize("character", [chr(c) for c in (*range(0x21), 0x7F)])
def test_control_characters_and_spaces_are_refused(character: str) -> None:
    assert fault("GET", f"/fhir/Patient/1{character}").status == 400
    assert fault("GET", f"/fhir/{character}Patient/1").status == 400
    assert fault("GET", f"/fhir/Patient?a=1{character}").status == 400


@pytest.mark.parametrize("character", [f"%{c:02x}" for c in (*range(0x20), 0x7F)])
def test_encoded_control_characters_are_refused(character: str) -> None:
    assert fault("GET", f"/fhir/Patient?name=a{character}").reason == "control-character"
    assert fault("GET", f"/fhir/Patient?name{character}=a").reason == "control-character"


@pytest.mark.parametrize("target", ["/fhir/Patient?a=1?b=2", "/fhir/Patient??a=1", "/fhir/Patient/1?_format=json?_elements=id"])
def test_a_second_question_mark_is_refused(target: str) -> None:
    assert fault("GET", target).reason == "second-question-mark"


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/fhir/Patient/1",
        "http://fhir.example.org/fhir/Patient/1",
        "https:/fhir/Patient/1",
        "fhir/Patient/1",
        "evil.example:443",
        "*",
        "@evil.example/fhir/Patient",
    ],
)
def test_absolute_form_targets_are_refused(target: str) -> None:
    assert fault("GET", target).reason == "absolute-target"


@pytest.mark.parametrize(
    "target", ["/fhir/patient/1", "/fhir/PATIENT/1", "/fhir/observation", "/fhir/Metadata", "/fhir/Patient/1/observation"]
)
def test_wrong_case_is_refused(target: str) -> None:
    assert fault("GET", target).reason == "wrong-case"


@pytest.mark.parametrize(
    "target", ["/fhir/Nosuch/1", "/fhir/Resource/1", "/fhir/DomainResource", "/fhir/Patients", "/fhir/Patient/1/Nosuch"]
)
def test_unknown_types_are_not_found(target: str) -> None:
    assert (fault("GET", target).status, fault("GET", target).code) == (404, "unknown-type")


@pytest.mark.parametrize(
    "id", ["a" * 65, "a_b", "a b", "a'b", "a,b", "a|b", "Patient:1", "*", "~", "-_-", "(1)", "1&2", "1=2", "１２３", "ⅷ", "1\u200d"]
)
def test_ids_are_what_fhir_says(id: str) -> None:
    assert fault("GET", f"/fhir/Patient/{id}").status == 400
    assert fault("GET", f"/fhir/Patient/1/_history/{id}").status == 400
    assert fault("GET", f"/fhir/Patient/{id}/Observation").status == 400


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PROPFIND", "MOVE", "SEARCH", "get", "POST ", "G\x00T", ""])
def test_methods_that_are_none_of_fhir(method: str) -> None:
    error = fault(method, "/fhir/Patient/1")
    assert error.status == 405
    assert error.allow == ("GET", "HEAD", "PUT", "PATCH", "DELETE")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [b"x-http-method-override", b"x-http-method", b"x-method-override", b"_method"])
def test_a_method_override_overrides_nothing(name: bytes) -> None:
    assert ask("GET", "/fhir/Patient/1", [(name, b"DELETE")]).method == "GET"


@pytest.mark.parametrize(
    "query",
    [
        "access_token=x",
        "a=1&access_token=x",
        "access%5ftoken=x",
        "ACCESS_TOKEN=x",
        "access_token:exact=x",
        "access_token",
        "%61ccess_token=x",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_in_the_query_is_refused(method: str, query: str) -> None:
    assert fault(method, f"/fhir/Patient?{query}").reason == "token-in-parameters"


@pytest.mark.parametrize("body", [b"access_token=x", b"code=1&access_token=x", b"%61ccess_token=x", b"Access_Token=x"])
def test_a_token_in_the_form_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        read_form(ask("POST", "/fhir/Patient/_search", FORM), body)
    assert caught.value.reason == "token-in-parameters"


@pytest.mark.parametrize("name", [b"authorization", b"host", b"content-type", b"content-length", b"if-none-exist", b"if-match", b"dpop"])
@pytest.mark.parametrize("other", [bytes.lower, bytes.upper, bytes.title])
def test_doubled_headers_are_refused(name: bytes, other: type) -> None:
    error = fault("POST", "/fhir/Patient", [(name, b"1"), (b"accept", b"*/*"), (bytes(other(name)), b"1")])
    assert (error.status, error.reason) == (400, "duplicate-header")


@pytest.mark.parametrize(
    "query", ["_format=json&_format=json", "_format=json&a=1&%5fformat=xml", "_format=json&_format:x=xml", "_format:exact=xml"]
)
def test_a_doubled_format_is_refused(query: str) -> None:
    assert fault("GET", f"/fhir/Patient?{query}").reason == "duplicate-parameter"


def test_a_format_in_query_and_form_is_doubled() -> None:
    with pytest.raises(RequestError) as caught:
        read_form(ask("POST", "/fhir/Patient/_search?_format=json", FORM), b"_format=xml")
    assert caught.value.reason == "duplicate-parameter"


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Observation","resourceType":"Patient"}',
        b'{"resourceType":"Patient","resourceType":"Observation"}',
        b'{"resourceType":"Observation","subject":{"reference":"Patient/a"},"subject":{"reference":"Patient/b"}}',
        b'{"resourceType":"Observation","subject":{"reference":"Patient/a","\\u0072eference":"Patient/b"}}',
        b'{"resourceType":"Observation","contained":[{"id":"a","id":"b"}]}',
    ],
)
def test_doubled_json_keys_are_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        read_resource(body, _Check(), "application/fhir+json", Limits())
    assert (caught.value.status, caught.value.reason) == (400, "duplicate-key")


def test_every_limit_has_its_own_refusal() -> None:
    assert fault("GET", "/fhir/Patient/" + "a" * 9000).code == "target-too-long"
    assert fault("GET", "/fhir/Patient?" + "a&" * 1001).reason == "too-many-parameters"
    assert fault("GET", "/fhir/Patient", [(b"x", b"a" * 70_000)]).code == "headers-too-large"
    deep = b'{"resourceType":"Observation","a":' + b"[" * 100_000
    for body, limits, reason in ((deep, Limits(), "json-depth"), (b"{}" + b" " * 100, Limits(body=99), "body-too-large")):
        with pytest.raises(RequestError) as caught:
            read_resource(body, _Check(), "application/fhir+json", limits)
        assert caught.value.reason == reason


@pytest.mark.parametrize("value", [b"a\r\nX-Injected: 1", b"a\nb", b"a\x00", b"a\r"])
def test_header_values_hold_no_line_ends(value: bytes) -> None:
    for name in (b"accept", b"if-none-exist", b"prefer", b"x-request-id"):
        assert fault("GET", "/fhir/Patient", [(name, value)]).reason == "malformed-header"


def test_refusals_repeat_nothing_that_the_client_wrote() -> None:
    canary = "canary-9f3"
    for error in (
        fault("GET", f"/fhir/Patient?a=%zz{canary}"),
        fault("GET", f"/fhir/Patient/{canary}_x"),
        fault("GET", f"/fhir/{canary}"),
        fault("GET", f"/fhir/Patient?access_token={canary}"),
        fault("GET", "/fhir/Patient", [(b"accept", canary.encode())]),
        fault("GET", "/fhir/Patient", [(b"if-match", canary.encode())]),
        fault("POST", "/fhir/Patient", [(b"content-type", canary.encode())]),
    ):
        assert canary not in error.text
        assert canary not in (error.expression or "")
