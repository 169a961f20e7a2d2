"""The entries of a Bundle posted to the base, as requests (semantics 7)."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from smart_gateway.errors import RequestError, UnsupportedMediaType
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.request.batch import patch_document
from smart_gateway.request.completing import complete
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import Batch, BatchEntry, FhirRequest
from smart_gateway.request.parsing import RequestParser
from tests.support.asking import ask

PUBLIC = "https://fhir.example.org/fhir"
PARSER = RequestParser(load_vocabulary(Release.R4), "/fhir", Limits(), PUBLIC)
JSON = [(b"content-type", b"application/fhir+json")]
OBSERVATION = {"resourceType": "Observation", "status": "final"}
UUID = "urn:uuid:0c9b0f6c-9a06-4f0e-8a39-d6f6a5b2f8d1"


def entry(method: Any, url: Any, resource: Any = None, **members: Any) -> dict[str, Any]:
    """One entry; members with a capital are those of the entry, others of its request."""
    asked = {name: value for name, value in members.items() if name.startswith("if") or name == "extension"}
    outer = {name: value for name, value in members.items() if name not in asked}
    made = {"request": {"method": method, "url": url, **asked}, **outer}
    return made if resource is None else {**made, "resource": resource}


def read(*entries: Any, type: Any = "batch", limits: Limits = Limits(), headers: Any = JSON, **members: Any) -> Batch:  # noqa: B008
    body = json.dumps({"resourceType": "Bundle", "type": type, "entry": list(entries), **members}).encode()
    batch = complete(ask("POST", "/fhir", headers), body, PARSER, limits).batch
    assert batch is not None
    return batch


def only(*entries: Any, **more: Any) -> BatchEntry:
    (found,) = read(*entries, **more).entries
    return found


def asked(found: BatchEntry) -> FhirRequest:
    assert isinstance(found.request, FhirRequest), found.request
    return found.request


def fault(found: BatchEntry) -> RequestError:
    assert isinstance(found.request, RequestError), found.request
    return found.request


@pytest.mark.parametrize(
    ("given", "interaction", "type", "id"),
    [
        (entry("GET", "Observation/o1"), Interaction.READ, "Observation", "o1"),
        (entry("HEAD", "Observation/o1"), Interaction.READ, "Observation", "o1"),
        (entry("GET", f"{PUBLIC}/Observation/o1"), Interaction.READ, "Observation", "o1"),
        (entry("GET", "Observation/o1/_history/2"), Interaction.VREAD, "Observation", "o1"),
        (entry("GET", "Observation?code=x"), Interaction.SEARCH_TYPE, "Observation", None),
        (entry("GET", "Observation?code=http://loinc.org|8867-4"), Interaction.SEARCH_TYPE, "Observation", None),
        (entry("POST", "Observation/_search?code=x"), Interaction.SEARCH_TYPE, "Observation", None),
        (entry("GET", "Patient/123/Observation"), Interaction.SEARCH_COMPARTMENT, "Observation", None),
        (entry("GET", "?_type=Observation"), Interaction.SEARCH_SYSTEM, None, None),
        (entry("GET", f"{PUBLIC}?_page=x"), Interaction.PAGE, None, None),
        (entry("GET", "Observation?_page=x"), Interaction.PAGE, "Observation", None),
        (entry("GET", "Observation/o1/_history"), Interaction.HISTORY_INSTANCE, "Observation", "o1"),
        (entry("POST", "Observation", OBSERVATION), Interaction.CREATE, "Observation", None),
        (entry("PUT", "Observation/o1", OBSERVATION), Interaction.UPDATE, "Observation", "o1"),
        (entry("PUT", "Observation?identifier=x", OBSERVATION), Interaction.UPDATE, "Observation", None),
        (entry("DELETE", "Observation/o1"), Interaction.DELETE, "Observation", "o1"),
        (entry("GET", "metadata"), Interaction.CAPABILITIES, None, None),
    ],
)
def test_an_entry_is_a_request(given: dict[str, Any], interaction: Interaction, type: str | None, id: str | None) -> None:
    request = asked(only(given))
    assert (request.interaction, request.type, request.id, request.form_pending) == (interaction, type, id, False)


def test_conditions_stand_in_the_place_of_headers() -> None:
    conditions = {"ifMatch": 'W/"3"', "ifNoneMatch": 'W/"4"', "ifNoneExist": "identifier=x", "ifModifiedSince": "2024-01-02T03:04:05+01:00"}
    preferences = asked(only(entry("POST", "Observation", OBSERVATION, **conditions))).preferences
    assert (preferences.if_match, preferences.if_none_match, preferences.if_none_exist) == ('W/"3"', 'W/"4"', "identifier=x")
    assert preferences.if_modified_since == "Tue, 02 Jan 2024 02:04:05 GMT"


def test_wishes_of_the_batch_are_those_of_its_entries() -> None:
    headers = [*JSON, (b"prefer", b"return=minimal, handling=strict, respond-async")]
    preferences = asked(only(entry("GET", "Observation/o1"), headers=headers)).preferences
    assert (preferences.prefer_return, preferences.prefer_handling, preferences.respond_async) == ("minimal", "strict", False)
    assert preferences.media == "json"


def test_a_resource_keeps_its_bytes() -> None:
    body = b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"POST","url":"Observation"},"resource":'
    body += b'{"resourceType":"Observation","valueQuantity":{"value":72.50}}}]}'
    batch = complete(ask("POST", "/fhir", JSON), body, PARSER, Limits()).batch
    assert batch is not None
    assert b"72.50" in batch.entries[0].raw
    assert batch.entries[0].resource == {"resourceType": "Observation", "valueQuantity": {"value": 72.5}}


def test_a_patch_comes_in_a_binary() -> None:
    document = b'[{"op":"test","path":"/status","value":"final"}]'
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": base64.b64encode(document).decode()}
    found = only(entry("PATCH", "Observation/o1", binary))
    assert asked(found).content_type == "application/json-patch+json"
    assert found.resource is not None
    assert patch_document(found.resource)[1] == document
    parameters = {"resourceType": "Parameters", "parameter": []}
    assert asked(only(entry("PATCH", "Observation/o1", parameters))).content_type == "application/fhir+json"


@pytest.mark.parametrize(
    ("given", "reason", "expression"),
    [
        (entry("GET", "../Patient/1"), "dot-segment", "request.url"),
        (entry("GET", "Patient/123/../456"), "dot-segment", "request.url"),
        (entry("GET", "./Patient/1"), "dot-segment", "request.url"),
        (entry("GET", "//Patient/1"), "foreign-url", "request.url"),
        (entry("GET", "/Patient/1"), "foreign-url", "request.url"),
        (entry("GET", "//evil.example/Patient/1"), "foreign-url", "request.url"),
        (entry("GET", "https://evil.example/fhir/Patient/1"), "foreign-url", "request.url"),
        (entry("GET", "https://fhir.example.org/fhir.evil.example/Patient/1"), "foreign-url", "request.url"),
        (entry("GET", "https://fhir.example.org/other/Patient/1"), "foreign-url", "request.url"),
        (entry("GET", "http://127.0.0.1:8090/fhir/Patient/1"), "foreign-url", "request.url"),
        (entry("GET", "https:Patient/1"), "path-character", "request.url"),
        (entry("GET", f"{PUBLIC}x?_type=Patient"), "foreign-url", "request.url"),
        (entry("GET", f"{PUBLIC}//Patient/1"), "empty-segment", "request.url"),
        (entry("GET", f"{PUBLIC}/../admin"), "dot-segment", "request.url"),
        (entry("GET", "Patient/%2e%2e/x"), "encoded-separator", "request.url"),
        (entry("GET", "Patient%2F1"), "encoded-separator", "request.url"),
        (entry("GET", "Patient/1#x"), "fragment", "request.url"),
        (entry("GET", "Patient?name=x#y"), "fragment", "request.url"),
        (entry("GET", "Patient/1?x=1?y=2"), "second-question-mark", "request.url"),
        (entry("GET", "Patient\\1"), "backslash", "request.url"),
        (entry("GET", "Patient/1;x"), "path-parameter", "request.url"),
        (entry("GET", "Patient/1 "), "path-character", "request.url"),
        (entry("GET", "Patient/1\r\nX: y"), "control-character", "request.url"),
        (entry("GET", "Patient/é"), "path-character", "request.url"),
        (entry("GET", "patient/1"), "wrong-case", "request.url"),
        (entry("GET", "Nonsense/1"), "unknown-type", "request.url"),
        (entry("GET", "Patient?access_token=x"), "token-in-parameters", "request.url"),
        (entry("GET", ".well-known/smart-configuration"), "nested-batch", "request.url"),
        (entry("GET", ""), "malformed-bundle", "request.url"),
        (entry("GET", None), "malformed-bundle", "request.url"),
        (entry("GET", ["Patient/1"]), "malformed-bundle", "request.url"),
        (entry("get", "Patient/1"), "unknown-method", "request.method"),
        (entry("TRACE", "Patient/1"), "unknown-method", "request.method"),
        (entry(None, "Patient/1"), "unknown-method", "request.method"),
        (entry("POST", "Patient/1", OBSERVATION), "method-not-allowed", "request.url"),
        (entry("GET", "Patient/1", OBSERVATION), "unexpected-resource", "resource"),
        (entry("DELETE", "Observation/1", OBSERVATION), "unexpected-resource", "resource"),
        (entry("POST", "Observation/_search", {"resourceType": "Parameters"}), "unexpected-resource", "resource"),
        (entry("POST", "Observation"), "resource-missing", "resource"),
        (entry("PUT", "Observation/1"), "resource-missing", "resource"),
        (entry("PATCH", "Observation/1"), "resource-missing", "resource"),
        (entry("POST", "Observation", [OBSERVATION]), "resource-missing", "resource"),
        (entry("POST", "Bundle", {"resourceType": "Bundle", "type": "collection"}), "nested-batch", "resource"),
        (entry("POST", "?", {"resourceType": "Bundle", "type": "batch"}), "nested-batch", "request.url"),
        (entry("GET", "Observation/1", response={"status": "200"}), "unknown-member", "response"),
        (entry("GET", "Observation/1", modifierExtension=[]), "unknown-member", "modifierExtension"),
        (entry("GET", "Observation/1", extension=[{"url": "x"}]), "unknown-member", "request.extension"),
        (entry("GET", "Observation/1", ifMatch="3"), "malformed-header", "request.ifMatch"),
        (entry("GET", "Observation/1", ifMatch=3), "malformed-bundle", "request.ifMatch"),
        (entry("POST", "Observation", OBSERVATION, ifNoneExist="a=b\r\nX: y"), "malformed-header", "request.ifNoneExist"),
        (entry("POST", "Observation", OBSERVATION, ifNoneExist=""), "malformed-header", "request.ifNoneExist"),
        (entry("GET", "Observation/1", ifModifiedSince="yesterday"), "malformed-bundle", "request.ifModifiedSince"),
        (entry("GET", "Observation/1", ifModifiedSince="2024-01-01"), "malformed-bundle", "request.ifModifiedSince"),
        (entry("PATCH", "Observation/1", {"resourceType": "Binary", "data": "e30="}), "malformed-patch", "request.url"),
    ],
)
def test_what_cannot_be_parsed_is_the_fault_of_its_entry(given: dict[str, Any], reason: str, expression: str) -> None:
    good, bad = read(entry("GET", "Observation/o1"), given).entries
    assert asked(good).id == "o1"
    found = fault(bad)
    assert (found.reason, found.expression) == (reason, f"Bundle.entry[1].{expression}")


@pytest.mark.parametrize(
    ("bundle", "reason", "expression"),
    [
        ({"type": "collection"}, "no-batch", "Bundle.type"),
        ({"type": "searchset"}, "no-batch", "Bundle.type"),
        ({"type": None}, "no-batch", "Bundle.type"),
        ({"type": ["batch"]}, "no-batch", "Bundle.type"),
        ({"resourceType": "Patient"}, "no-batch", "Bundle.type"),
        ({"entry": {}}, "malformed-bundle", "Bundle.entry"),
        ({"entry": ["x"]}, "malformed-bundle", "Bundle.entry"),
        ({"entry": [{}]}, "malformed-bundle", "Bundle.entry[0].request"),
        ({"entry": [entry("GET", "Patient/1", fullUrl=UUID)] * 2}, "duplicate-full-url", "Bundle.entry[0]"),
        ({"entry": [entry("GET", "Patient/1", fullUrl=url) for url in (UUID, UUID.upper())]}, "duplicate-full-url", "Bundle.entry[0]"),
        ({"entry": [entry("GET", "Patient/1", fullUrl="Patient/1")]}, "malformed-full-url", "Bundle.entry[0].fullUrl"),
        ({"entry": [entry("GET", "Patient/1", fullUrl=7)]}, "malformed-full-url", "Bundle.entry[0].fullUrl"),
        ({"entry": [entry("GET", "Patient/1", fullUrl="urn:isbn:1")]}, "malformed-full-url", "Bundle.entry[0].fullUrl"),
        ({"entry": [entry("GET", "Patient/1")] * 4}, "too-many-entries", "Bundle.entry"),
    ],
)
def test_what_is_no_such_bundle_is_refused_whole(bundle: dict[str, Any], reason: str, expression: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(limits=Limits(entries=3), **{"type": "batch", **bundle})
    assert (caught.value.status, caught.value.reason, caught.value.expression) == (400, reason, expression)


@pytest.mark.parametrize(
    "pair",
    [
        (entry("PUT", "Observation/1", OBSERVATION), entry("PUT", "Observation/1", OBSERVATION)),
        (entry("PUT", "Observation/1", OBSERVATION), entry("DELETE", "Observation/1")),
        (entry("PATCH", "Observation/1", {"resourceType": "Parameters"}), entry("DELETE", f"{PUBLIC}/Observation/1")),
    ],
)
def test_a_transaction_writes_nothing_twice(pair: tuple[dict[str, Any], ...]) -> None:
    assert len(read(*pair).entries) == 2
    with pytest.raises(RequestError) as caught:
        read(entry("GET", "Observation/1"), *pair, type="transaction")
    assert (caught.value.reason, caught.value.expression) == ("overlapping-entries", "Bundle.entry[1]")


def test_no_entries_are_none() -> None:
    assert read() == Batch((), transaction=False)
    assert replace(read(type="transaction"), transaction=False) == Batch((), transaction=False)


@pytest.mark.parametrize("type", [b"application/fhir+xml", b"text/plain", b"application/fhir+json; charset=utf-16"])
def test_a_batch_is_json(type: bytes) -> None:
    with pytest.raises(UnsupportedMediaType):
        read(headers=[(b"content-type", type)])


@pytest.mark.parametrize("text", [b"", b"[]", b'{"type":"batch","type":"batch","resourceType":"Bundle"}', b"{" * 100, b"\xff"])
def test_broken_json_is_refused(text: bytes) -> None:
    with pytest.raises(RequestError):
        complete(ask("POST", "/fhir", JSON), text, PARSER, Limits())


def test_a_doubled_key_in_any_entry_is_refused() -> None:
    body = b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient/1","u\\u0072l":"Patient/2"}}]}'
    with pytest.raises(RequestError) as caught:
        complete(ask("POST", "/fhir", JSON), body, PARSER, Limits())
    assert caught.value.reason == "duplicate-key"
