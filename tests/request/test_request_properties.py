"""Whatever comes: a request or a refusal, and nothing that two readers could take differently."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from smart_gateway.errors import RequestError
from smart_gateway.fhir.query import encode_query
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.request.body import read_form, read_resource
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from tests.support.asking import PARSER, ask

TYPES = load_vocabulary(Release.R4).types
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]) | st.text(max_size=5)
SEGMENTS = st.sampled_from(
    ["Patient", "Observation", "patient", "1", "a-b.c", "_history", "_search", "$everything", "%24x", "*", "metadata", ".well-known"]
) | st.sampled_from(
    ["smart-configuration", "", ".", "..", "...", "%2e", "%2F", "%252F", "\\", ";", "#", "a_b", "Foo", "\x00", "é", "~", "$", "http:"]
)
PATHS = st.lists(SEGMENTS, max_size=6).map(lambda segments: ("/fhir/" + "/".join(segments)).encode()) | st.binary(max_size=40)
PIECES = st.sampled_from(
    [
        "code=1",
        "_page=t",
        "_format=json",
        "_format=",
        "access_token=x",
        "a%3D=%26",
        "_has:A:b:c=d",
        "a.b:c=1",
        "%",
        "%zz",
        "%00",
        "=",
        "?",
        "#",
        "+",
        "é",
        "&",
        "\\,",
    ]
)
QUERIES = st.lists(PIECES, max_size=5).map(lambda pieces: "&".join(pieces).encode()) | st.binary(max_size=40)
NAMES = st.sampled_from(
    [b"accept", b"Accept", b"prefer", b"content-type", b"if-match", b"if-none-match", b"if-none-exist", b"host", b"content-length", b"x"]
)
VALUES = st.sampled_from([b"*/*", b"application/fhir+json", b'W/"1"', b"return=minimal", b"", b"\x00", b"\xff", b"a\r\nb"]) | st.binary(
    max_size=30
)
HEADERS = st.lists(st.tuples(NAMES | st.binary(max_size=8), VALUES), max_size=6)


def parse(method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]]) -> FhirRequest | None:
    """None for a refusal; any other exception fails the test."""
    try:
        return PARSER.parse(method, path, query, headers)
    except RequestError as error:
        refusal = error
    assert 400 <= refusal.status < 500
    assert refusal.text.isprintable()
    return None


@given(METHODS, PATHS, QUERIES, HEADERS)
@example("GET", b"/fhir/Patient/1", b"", [])
def test_any_bytes_are_a_request_or_a_refusal(method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    request = parse(method, path, query, headers)
    if request is None:
        return
    assert request.type is None or request.type in TYPES
    for id in (request.id, request.version, request.compartment.id if request.compartment else None):
        assert id is None or (re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", id) and id.strip("."))
    assert request.operation is None or re.fullmatch(r"\$[A-Za-z0-9.\-]+", request.operation)
    assert all(p.name.lower() != "access_token" and p.key.isascii() and p.key.isprintable() for p in request.parameters)
    held = request.preferences
    for value in (held.accept, held.if_match, held.if_none_match, held.if_none_exist, held.if_modified_since, request.content_type):
        assert value is None or (value.isascii() and not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value))


@given(QUERIES)
def test_parameters_sent_again_are_the_same_parameters(query: bytes) -> None:
    """Parse once, send what was parsed (semantics 0.1): the next reader sees what we saw."""
    request = parse("GET", b"/fhir/Observation", query, [])
    if request is None or request.page is not None:
        return
    again = encode_query((p.key, p.value) for p in request.parameters)
    assert PARSER.parse("GET", b"/fhir/Observation", again.encode("ascii"), []).parameters == request.parameters


@given(QUERIES, st.binary(max_size=40) | QUERIES, st.sampled_from([None, b"application/x-www-form-urlencoded", b"text/plain"]))
def test_any_form_is_read_or_refused(query: bytes, body: bytes, content_type: bytes | None) -> None:
    request = parse("POST", b"/fhir/Observation/_search", query, [] if content_type is None else [(b"content-type", content_type)])
    if request is None:
        return
    try:
        whole = read_form(request, body)
    except RequestError:
        return
    assert whole.parameters[: len(request.parameters)] == request.parameters
    assert sum(p.name == "_format" for p in whole.parameters) <= 1
    assert not whole.form_pending


class _Check:
    type = "Observation"
    id = "1"


@given(
    st.binary(max_size=60)
    | st.sampled_from([b"{", b"[", b'{"resourceType":"Observation","id":"1"', b'"id":"1"}', b",", b"}", b"\xff"]).map(bytes)
)
@example(b'{"resourceType":"Observation","id":"1"}')
def test_any_body_is_a_resource_or_a_refusal(body: bytes) -> None:
    try:
        resource = read_resource(body, _Check(), "application/fhir+json", Limits())
    except RequestError:
        return
    assert (resource["resourceType"], resource["id"]) == ("Observation", "1")


@given(st.text(max_size=30))
def test_a_path_of_any_text_never_leaves_the_base(text: str) -> None:
    try:
        request = ask("GET", "/fhir/Patient/" + text)
    except RequestError:
        return
    assert "Patient" in {request.type, request.compartment.type if request.compartment else None}
