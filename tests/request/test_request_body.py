"""Bodies: forms of searches, resources of writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from smart_gateway.errors import BodyTooLarge, RequestError, UnsupportedMediaType
from smart_gateway.request.body import read_form, read_resource
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from tests.support.asking import ask

FORM = b"application/x-www-form-urlencoded"
JSON = "application/fhir+json"


@dataclass(frozen=True)
class Check:
    type: str = "Observation"
    id: str | None = "1"


def search(query: str = "", content_type: bytes | None = FORM) -> FhirRequest:
    headers = [] if content_type is None else [(b"content-type", content_type)]
    return ask("POST", f"/fhir/Observation/_search{query}", headers)


def form_refused(body: bytes, query: str = "", content_type: bytes | None = FORM, limits: Limits | None = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_form(search(query, content_type), body, limits or Limits())
    return caught.value


def refused(body: bytes, check: Check = Check(), content_type: str | None = JSON, limits: Limits | None = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_resource(body, check, content_type, limits or Limits())
    return caught.value


def resource(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize("content_type", [FORM, FORM + b"; charset=UTF-8", FORM.upper()])
def test_query_and_form_are_one(content_type: bytes) -> None:
    request = read_form(search("?_count=5", content_type), b"code=http%3A%2F%2Floinc.org%7C1-2&patient=Patient/1+")
    assert [(p.key, p.value) for p in request.parameters] == [("_count", "5"), ("code", "http://loinc.org|1-2"), ("patient", "Patient/1 ")]
    assert not request.form_pending


def test_a_search_by_post_without_a_body() -> None:
    assert not read_form(search("?code=1", None), b"").form_pending
    assert isinstance(form_refused(b"code=1", content_type=None), UnsupportedMediaType)


@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b"multipart/form-data; boundary=x", FORM + b"; charset=utf-16", b"text/plain", b"application/fhir+json"],
)
def test_a_form_is_a_form(content_type: bytes) -> None:
    error = form_refused(b"", content_type=content_type)
    assert (error.status, error.code) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"access_token=x", "token-in-parameters"),
        (b"access%5Ftoken=x", "token-in-parameters"),
        (b"a=%", "malformed-encoding"),
        (b"a=%ff", "malformed-encoding"),
        (b"a=%00", "control-character"),
        (b"a=\xff", "malformed-form"),
        (b"a=1\r\n", "malformed-form"),
        (b"a=1 2", "malformed-form"),
        (b"=1", "malformed-query"),
        (b"_format=json&_format=xml", "duplicate-parameter"),
        (b"code:=1", "malformed-parameter"),
    ],
)
def test_a_form_holds_what_a_query_may(body: bytes, reason: str) -> None:
    assert form_refused(body).reason == reason


def test_a_form_may_hold_a_question_mark() -> None:
    assert read_form(search(), b"url=http://x/y?z").parameters[0].value == "http://x/y?z"


def test_format_in_a_form() -> None:
    assert read_form(search(), b"_format=xml").preferences.media == "xml"
    assert read_form(search("?_format=xml"), b"code=1").preferences.media == "xml"
    assert read_form(search(), b"_format=application/fhir%2Bjson;fhirVersion=3.0").preferences.media == "other"
    assert form_refused(b"_format=xml", "?_format=xml").reason == "duplicate-parameter"


def test_the_limits_hold_for_query_and_form_together() -> None:
    assert form_refused(b"c=1&d=1", "?a=1&b=1", limits=Limits(parameters=3)).reason == "too-many-parameters"
    assert len(read_form(search("?a=1&b=1"), b"c=1", Limits(parameters=3)).parameters) == 3
    assert isinstance(form_refused(b"abcdef", limits=Limits(body=5)), BodyTooLarge)


@pytest.mark.parametrize("content_type", [JSON, "application/json", "application/json+fhir"])
def test_a_resource_as_the_path_names_it(content_type: str) -> None:
    body = resource(resourceType="Observation", id="1", valueQuantity={"value": 1.5})
    assert read_resource(body, Check(), content_type, Limits()) == json.loads(body)


def test_a_create_may_bring_an_id_or_none() -> None:
    check = Check(id=None)
    assert read_resource(resource(resourceType="Observation"), check, JSON, Limits()) == {"resourceType": "Observation"}
    assert read_resource(resource(resourceType="Observation", id="x"), check, JSON, Limits())["id"] == "x"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/fhir+xml",
        "text/json",
        "text/plain",
        "application/json-patch+json",
        JSON + ";charset=latin-1",
        JSON + ";fhirversion=3.0",
        "",
    ],
)
def test_only_fhir_json_can_be_read(content_type: str | None) -> None:
    error = refused(resource(resourceType="Observation", id="1"), content_type=content_type)
    assert (error.status, error.expression) == (415, "http.Content-Type")


@pytest.mark.parametrize(
    ("body", "check", "reason"),
    [
        (b"", Check(), "malformed-json"),
        (b"[]", Check(), "malformed-json"),
        (b'"Observation"', Check(), "malformed-json"),
        (b"null", Check(), "malformed-json"),
        (b'{"resourceType":"Observation"', Check(), "malformed-json"),
        (b'\xef\xbb\xbf{"resourceType":"Observation","id":"1"}', Check(), "malformed-json"),
        ('{"resourceType":"Observation","id":"1"}'.encode("utf-16"), Check(), "malformed-json"),
        (b'{"resourceType":"Observation","id":"1","id":"1"}', Check(), "duplicate-key"),
        (b'{"resourceType":"Observation","id":"1","subject":{"reference":"a","refer\\u0065nce":"b"}}', Check(), "duplicate-key"),
        (b'{"resourceType":"Observation","id":"1","a":' + b"[" * 64 + b"]" * 64 + b"}", Check(), "json-depth"),
        (b"{}", Check(), "type-mismatch"),
        (resource(resourceType="Patient", id="1"), Check(), "type-mismatch"),
        (resource(resourceType="observation", id="1"), Check(), "type-mismatch"),
        (resource(resourceType=["Observation"], id="1"), Check(), "type-mismatch"),
        (resource(resourceType="Observation"), Check(), "id-missing"),
        (resource(resourceType="Observation", id=None), Check(), "id-missing"),
        (resource(resourceType="Observation", id="2"), Check(), "id-mismatch"),
        (resource(resourceType="Observation", id=1), Check(), "id-mismatch"),
        (resource(resourceType="Observation", id=["1"]), Check(), "id-mismatch"),
        (resource(resourceType="Observation", id=1), Check(id=None), "id-mismatch"),
        (resource(resourceType="Observation", id={}), Check(id=None), "id-mismatch"),
    ],
)
def test_a_body_that_disagrees_with_the_path_is_refused(body: bytes, check: Check, reason: str) -> None:
    error = refused(body, check)
    assert (error.status, error.reason) == (400, reason)


def test_the_limits_of_a_resource() -> None:
    body = resource(resourceType="Observation", id="1", a=[[1]])
    assert refused(body, limits=Limits(depth=2)).reason == "json-depth"
    assert read_resource(body, Check(), JSON, Limits(depth=3))["a"] == [[1]]
    assert refused(body, limits=Limits(body=len(body) - 1)).status == 413
