"""Formats and encodings end to end: what is judged is FHIR JSON; the content of a Binary; compressed bodies and answers."""

from __future__ import annotations

import gzip
import json
import zlib
from base64 import b64encode
from typing import Any

import httpx
import pytest

from smart_gateway.fhir.media import JSON_PATCH
from smart_gateway.request.limits import Limits
from tests.support.asgi import FHIR, PUBLIC, UPSTREAM, Front, Reply, ScriptedUpstream, code_of, observation, outcome, searchset

OWN = "patient/*.cruds"
ALL = "system/*.cruds"
XML, TURTLE = "application/fhir+xml", "application/fhir+turtle"
FORM = "application/x-www-form-urlencoded"
PDF = b"%PDF-1.7 \x00\xff"


def binary(content: bytes | None = PDF, type: Any = "application/pdf", owner: str = "123", **members: Any) -> dict[str, Any]:
    data = {} if content is None else {"data": b64encode(content).decode()}
    named = {} if type is None else {"contentType": type}
    context = {"securityContext": {"reference": f"Patient/{owner}"}}
    return {"resourceType": "Binary", "id": "b1", "meta": {"versionId": "3"}, **named, **context, **data, **members}


# What may be asked for.


@pytest.mark.parametrize("target", ["/Observation/o1", "/Observation?code=x"])
@pytest.mark.parametrize(
    ("format", "accept", "status"),
    [
        (None, None, 200),
        (None, "*/*", 200),
        (None, FHIR, 200),
        (None, "application/json", 200),
        (None, "text/json;q=0.1", 200),
        (None, f"{FHIR}; fhirVersion=4.0", 200),
        (None, f"{FHIR}; charset=UTF-8", 200),
        (None, f"{XML}, {FHIR};q=0.5", 200),
        (None, f"{XML}, */*;q=0.1", 200),
        (None, XML, 406),
        (None, TURTLE, 406),
        (None, "text/csv", 406),
        (None, "application/fhir+ndjson", 406),
        (None, "image/png", 406),
        (None, f"{FHIR}; fhirVersion=5.0", 406),
        (None, f"{FHIR}; charset=utf-16", 406),
        (None, f"{FHIR};q=0", 406),
        (None, f"{FHIR};q=0, */*", 406),
        ("json", XML, 200),
        ("application/fhir+json", "image/png", 200),
        ("application/fhir json", XML, 200),
        ("xml", FHIR, 406),
        ("ttl", FHIR, 406),
        ("text/csv", FHIR, 406),
        ("nonsense", FHIR, 406),
        ("", FHIR, 406),
    ],
)
async def test_only_json_is_judged(target: str, format: str | None, accept: str | None, status: int) -> None:
    upstream = ScriptedUpstream(observation())
    upstream.replies["GET /Observation"] = Reply(200, searchset(observation()))
    wish = "" if format is None else f"{'&' if '?' in target else '?'}_format={format.replace('+', '%2B').replace(' ', '+')}"
    response = await Front(upstream, OWN).get(target + wish, headers={"Accept": accept} if accept is not None else {})
    assert response.status_code == status, response.text
    if status == 406:
        assert "application/fhir+json" in response.text
        assert upstream.asked == []
    else:
        assert [asked.header("accept") for asked in upstream.asked] == [FHIR]
        assert response.headers["content-type"].startswith(FHIR)


@pytest.mark.parametrize(
    ("format", "accept", "asked"),
    [
        (None, None, FHIR),
        (None, XML, XML),
        (None, "text/xml", XML),
        (None, "text/turtle", TURTLE),
        (None, "text/csv", "text/csv"),
        (None, "application/ndjson", "application/fhir+ndjson"),
        (None, f"{XML};q=0.1, text/csv", XML),
        ("xml", FHIR, XML),
        ("text/csv", FHIR, "text/csv"),
        ("json", XML, FHIR),
    ],
)
async def test_without_bounds_the_upstreams_formats_pass(format: str | None, accept: str | None, asked: str) -> None:
    upstream = ScriptedUpstream()
    body = f'<a href="{UPSTREAM}/x"/>'.encode()
    upstream.replies["GET /Observation/o1"] = Reply(200, body, type=asked)
    target = "/Observation/o1" + (f"?_format={format}" if format else "")
    response = await Front(upstream, ALL).get(target, headers={"Accept": accept} if accept else {})
    assert (response.status_code, response.headers["content-type"]) == (200, asked)
    assert [one.header("accept") for one in upstream.asked] == [asked]
    if asked in (FHIR, XML, TURTLE):
        assert response.text == f'<a href="{PUBLIC}/x"/>'


async def test_what_nobody_serves_is_406_for_everybody() -> None:
    upstream = ScriptedUpstream(observation())
    for headers, wish in (({"Accept": "image/png"}, ""), ({}, "?_format=nonsense")):
        assert (await Front(upstream, ALL).get(f"/Observation/o1{wish}", headers=headers)).status_code == 406
    assert upstream.asked == []


async def test_doubled_wishes_are_refused() -> None:
    front = Front(ScriptedUpstream(observation()), OWN)
    assert (await front.get("/Observation/o1?_format=json&_format=json")).status_code == 400
    for accept in ("application/fhir+json;q=2", "json", "a/b c/d"):
        assert (await front.get("/Observation/o1", headers={"Accept": accept})).status_code == 400


@pytest.mark.parametrize(
    "type",
    [XML, "application/xml", "text/xml", TURTLE, "text/json", f"{FHIR}; charset=utf-16", f"{FHIR}; fhirVersion=5.0", "text/plain", FORM],
)
@pytest.mark.parametrize("scope", [OWN, ALL])
async def test_other_bodies_are_415_for_everybody(type: str, scope: str) -> None:
    """Also where nothing is bounded: the resourceType is read, and only JSON is read without doubt."""
    upstream = ScriptedUpstream()
    response = await Front(upstream, scope).request("POST", "/Observation", content=b"<Observation/>", headers={"Content-Type": type})
    assert (response.status_code, response.json()["issue"][0]["expression"]) == (415, ["http.Content-Type"])
    assert upstream.asked == []


@pytest.mark.parametrize("type", [FHIR, "application/json", f"{FHIR}; charset=utf-8", f"{FHIR};charset=UTF8;fhirVersion=4.0"])
async def test_json_bodies_are_taken(type: str) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["POST /Observation"] = Reply(201, b"")
    body = json.dumps(observation()).encode()
    response = await Front(upstream, OWN).request("POST", "/Observation", content=body, headers={"Content-Type": type})
    assert response.status_code == 201


# The content of a Binary.

RAW = {"Accept": "application/pdf"}


async def test_the_content_of_a_binary_is_served_once_its_fhir_form_was_judged() -> None:
    upstream = ScriptedUpstream(binary())
    response = await Front(upstream, OWN).get("/Binary/b1", headers=RAW)
    assert (response.status_code, response.content) == (200, PDF)
    assert response.headers["content-type"] == "application/pdf"
    assert response.headers["content-security-policy"] == "sandbox"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "private, no-store"
    assert (response.headers["etag"], response.headers["content-length"]) == ('W/"3"', str(len(PDF)))
    assert [(asked.header("accept"), asked.query) for asked in upstream.asked] == [(FHIR, [])]


@pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {"Accept": FHIR}, {"Accept": "text/html,*/*;q=0.8"}])
async def test_who_takes_json_gets_the_fhir_form(headers: dict[str, str]) -> None:
    response = await Front(ScriptedUpstream(binary()), OWN).get("/Binary/b1", headers=headers)
    assert response.json() == binary()
    assert response.headers["content-type"].startswith(FHIR)


async def test_head_conditions_and_versions_of_content() -> None:
    upstream = ScriptedUpstream(binary())
    upstream.replies["GET /Binary/b1/_history/3"] = Reply(200, binary(), {"ETag": 'W/"3"'})
    front = Front(upstream, OWN)
    head = await front.request("HEAD", "/Binary/b1", headers=RAW)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(PDF)))
    assert head.headers["content-type"] == "application/pdf"
    same = await front.get("/Binary/b1", headers={**RAW, "If-None-Match": 'W/"3"'})
    assert (same.status_code, same.content) == (304, b"")
    other = await front.get("/Binary/b1", headers={**RAW, "If-None-Match": 'W/"2"'})
    assert (other.status_code, other.content) == (200, PDF)
    assert (await front.get("/Binary/b1/_history/3", headers=RAW)).content == PDF


@pytest.mark.parametrize(
    "stored",
    [
        binary(owner="999"),
        binary(securityContext={"reference": "Observation/theirs"}),
        binary(securityContext={"identifier": {"value": "123"}}),
        {name: value for name, value in binary().items() if name != "securityContext"},
    ],
    ids=["another's", "of another's resource", "no literal reference", "none"],
)
async def test_the_content_of_others_looks_absent(stored: dict[str, Any]) -> None:
    front = Front(ScriptedUpstream(stored, observation("theirs", "999")), OWN)
    hidden = await front.get("/Binary/b1", headers=RAW)
    missing = await front.get("/Binary/b2", headers=RAW)
    assert (hidden.status_code, missing.status_code) == (404, 404)
    assert hidden.json()["issue"][0]["details"] == missing.json()["issue"][0]["details"]
    assert b"PDF" not in hidden.content


@pytest.mark.parametrize(
    ("type", "served"),
    [
        ("text/html", "text/html"),
        ('text/plain; charset="utf-8"', 'text/plain; charset="utf-8"'),
        (" image/png ", "image/png"),
        ("text/html\r\nSet-Cookie: a=b", "application/octet-stream"),
        ("text/html\nX: y", "application/octet-stream"),
        ("text/html, text/plain", "application/octet-stream"),
        ("text", "application/octet-stream"),
        ("t\u00e9xt/html", "application/octet-stream"),
        ("a/" + "b" * 300, "application/octet-stream"),
        ("", "application/octet-stream"),
        (None, "application/octet-stream"),
        (7, "application/octet-stream"),
    ],
)
async def test_a_content_type_that_is_none_is_not_repeated(type: Any, served: str) -> None:
    response = await Front(ScriptedUpstream(binary(type=type)), OWN).get("/Binary/b1", headers=RAW)
    assert (response.status_code, response.headers["content-type"], response.content) == (200, served, PDF)
    assert "set-cookie" not in response.headers
    assert response.headers["content-security-policy"] == "sandbox"


async def test_content_that_cannot_be_read_is_not_guessed_at() -> None:
    for data in ("%%%", "AAA", "AA=A", "A\u00e9==", 7):
        response = await Front(ScriptedUpstream(binary(None, data=data)), OWN).get("/Binary/b1", headers=RAW)
        if data == 7:
            assert (response.status_code, response.content) == (200, b"")
        else:
            assert response.status_code == 502, data
    spaced = binary(None, data="JVBE\r\n Rg==")
    assert (await Front(ScriptedUpstream(spaced), OWN).get("/Binary/b1", headers=RAW)).content == b"%PDF"
    empty = await Front(ScriptedUpstream(binary(None)), OWN).get("/Binary/b1", headers=RAW)
    assert (empty.status_code, empty.content, empty.headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, PDF, type="application/pdf"),
        Reply(200, json.dumps(binary()).encode(), type="application/pdf"),
        Reply(200, {**binary(), "id": "b2"}),
        Reply(200, b'{"resourceType":"Binary","id":"b1","data":"","data":"AAAA"}'),
        Reply(500, outcome("secret")),
    ],
    ids=["raw after all", "another type", "another", "doubled", "failed"],
)
async def test_an_upstream_that_gives_something_else_is_502(reply: Reply) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Binary/b1"] = reply
    response = await Front(upstream, OWN).get("/Binary/b1", headers=RAW)
    assert response.status_code == 502
    assert b"PDF" not in response.content
    assert b"secret" not in response.content


async def test_content_is_bounded_and_takes_only_known_parameters() -> None:
    front = Front(ScriptedUpstream(binary(b"x" * 2000)), OWN, answer_size=1000)
    assert (await front.get("/Binary/b1", headers=RAW)).status_code == 502
    front = Front(upstream := ScriptedUpstream(binary()), OWN)
    assert (await front.get("/Binary/b1?_summary=true", headers=RAW)).status_code in {200, 400}
    assert (await front.get("/Binary/b1?x=1", headers=RAW)).status_code == 400
    assert all(asked.query == [] for asked in upstream.asked)
    assert (await front.get("/Binary/b1?_format=application/pdf", headers=RAW)).status_code == 406
    assert (await front.get("/Observation/o1", headers=RAW)).status_code == 406


async def test_tables_are_content_where_a_binary_is_asked_for() -> None:
    stored = binary(f"{UPSTREAM}/Observation/o1,1".encode(), "text/csv")
    response = await Front(ScriptedUpstream(stored), OWN).get("/Binary/b1", headers={"Accept": "text/csv"})
    assert (response.status_code, response.text) == (200, f"{UPSTREAM}/Observation/o1,1")  # not a byte is changed


# Compressed bodies.

TEXT = json.dumps(observation()).encode()
KINDS: dict[str, tuple[str, str, str, bytes, str]] = {
    "create": ("POST", "/Observation", FHIR, TEXT, OWN),
    "update": ("PUT", "/Observation/o1", FHIR, TEXT, OWN),
    "patch": ("PATCH", "/Observation/o1", JSON_PATCH, b'[{"op":"replace","path":"/status","value":"amended"}]', OWN),
    "form": ("POST", "/Observation/_search", FORM, b"code=x", OWN),
    "content that streams": ("POST", "/Binary", "application/pdf", PDF, ALL),
    "a patch that streams": ("PATCH", "/Observation/o1", "application/xml-patch+xml", b"<diff/>", ALL),
}


def upstream_for_bodies() -> ScriptedUpstream:
    upstream = ScriptedUpstream(observation())
    for line in ("POST /Observation", "PUT /Observation/o1", "PATCH /Observation/o1", "POST /Binary"):
        upstream.replies[line] = Reply(200, b"")
    for line in ("POST /Observation/_search", "GET /Observation"):
        upstream.replies[line] = Reply(200, searchset())
    return upstream


async def _send(
    kind: str, content: bytes, upstream: ScriptedUpstream, limits: Limits | None = None, encoding: str = "gzip"
) -> httpx.Response:
    method, target, type, _, scope = KINDS[kind]
    front = Front(upstream, scope, limits=limits or Limits())
    return await front.request(method, target, content=content, headers={"Content-Type": type, "Content-Encoding": encoding})


def _written(upstream: ScriptedUpstream) -> list[bytes]:
    return [asked.body for asked in upstream.asked if asked.body]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ["gzip", "GZip", "x-gzip", "deflate"])
async def test_every_kind_of_body_may_come_compressed(kind: str, encoding: str) -> None:
    body = KINDS[kind][3]
    packed = zlib.compress(body) if encoding == "deflate" else gzip.compress(body)
    upstream = upstream_for_bodies()
    response = await _send(kind, packed, upstream, encoding=encoding)
    assert response.status_code == 200, response.text
    asked = upstream.asked[-1]
    assert asked.header("content-encoding") is None
    if kind == "form":
        assert b"code=x" in asked.body
    else:
        assert asked.body == body
        assert asked.header("content-length") in (None, str(len(body)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda body: gzip.compress(b"\x00" * 1_000_000), 413),
        (lambda body: gzip.compress(gzip.compress(body))[:-1], 400),
        (lambda body: gzip.compress(body)[:-1], 400),
        (lambda body: gzip.compress(body)[:5], 400),
        (lambda body: gzip.compress(body) + b"x", 400),
        (lambda body: gzip.compress(body) + gzip.compress(b"more"), 400),
        (lambda body: gzip.compress(body)[:-4] + b"\xff\xff\xff\x7f", 400),
        (lambda body: gzip.compress(body)[:-8] + bytes(8), 400),
        (lambda body: body, 400),
        (zlib.compress, 400),
        (lambda body: b"", 400),
    ],
    ids="bomb twice truncated head trailing second length checksum plain zlib empty".split(),
)
async def test_what_is_not_one_whole_gzip_member_is_refused(kind: str, spoil: Any, status: int) -> None:
    upstream = upstream_for_bodies()
    response = await _send(kind, spoil(KINDS[kind][3]), upstream)
    assert response.status_code == status, response.text
    assert _written(upstream) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "compress", "gzip, identity", "aes128gcm", "gzip;q=1", ""])
async def test_other_encodings_are_415(kind: str, encoding: str) -> None:
    upstream = upstream_for_bodies()
    response = await _send(kind, gzip.compress(KINDS[kind][3]), upstream, encoding=encoding)
    assert (response.status_code, code_of(response)) == (415, "unknown-encoding")
    assert _written(upstream) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_doubled_encoding_is_refused(kind: str) -> None:
    method, target, type, body, scope = KINDS[kind]
    upstream = upstream_for_bodies()
    headers = [("content-type", type), ("content-encoding", "gzip"), ("content-encoding", "gzip"), ("authorization", "Bearer t")]
    response = await Front(upstream, scope).request(method, target, token=None, content=gzip.compress(body), headers=headers)
    assert (response.status_code, code_of(response)) == (400, "duplicate-header")
    assert upstream.asked == []


@pytest.mark.parametrize("kind", KINDS)
async def test_the_ratio_and_the_size_bound_what_a_body_becomes(kind: str) -> None:
    packed = gzip.compress(b"x" * 5000)
    for limits in (Limits(ratio=5000 // len(packed) - 1), Limits(body=4999)):
        upstream = upstream_for_bodies()
        response = await _send(kind, packed, upstream, limits)
        assert (response.status_code, code_of(response)) == (413, "body-too-large")
        assert _written(upstream) == []


# Compressed answers.


def front_that_compresses(reply: Reply, scope: str = OWN, *, compression: bool = True) -> Front:
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation/o1"] = upstream.replies["GET /Binary/b1"] = reply
    return Front(upstream, scope, compression=compression)


LONG = observation(note=[{"text": "word " * 1000}])


async def raw(front: Front, target: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """The answer, and the bytes of its body as they came."""
    transport = httpx.ASGITransport(app=front.gateway)
    async with httpx.AsyncClient(transport=transport) as client:
        request = client.build_request("GET", PUBLIC + target, headers={"authorization": "Bearer t", "accept-encoding": "gzip", **headers})
        response = await client.send(request, stream=True)
        body = b"".join([chunk async for chunk in response.aiter_raw()])
        await response.aclose()
        return response, body


@pytest.mark.parametrize("scope", [OWN, ALL])
async def test_answers_are_compressed_where_settings_and_client_say_so(scope: str) -> None:
    response, body = await raw(front_that_compresses(Reply(200, LONG, {"ETag": 'W/"3"'}), scope), "/Observation/o1")
    assert response.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(body)) == LONG
    assert len(body) < 1000
    assert response.headers["content-length"] == str(len(body))
    assert response.headers["vary"] == "Accept-Encoding"
    assert response.headers["etag"] == 'W/"3"'
    strong, _ = await raw(front_that_compresses(Reply(200, LONG, {"ETag": '"3"'}), scope), "/Observation/o1")
    assert strong.headers["etag"] == 'W/"3"'


@pytest.mark.parametrize(
    ("wish", "compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5, *;q=0", True),
        ("x-gzip", True),
        ("gzip;q=1.000", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip; q=0, br", False),
        ("notgzip", False),
        ("identity", False),
        ("br", False),
        ("", False),
    ],
)
async def test_the_client_is_heard(wish: str, compressed: bool) -> None:
    response, body = await raw(front_that_compresses(Reply(200, LONG)), "/Observation/o1", **{"accept-encoding": wish})
    assert ("content-encoding" in response.headers) is compressed
    assert response.headers["vary"] == "Accept-Encoding"
    assert json.loads(gzip.decompress(body) if compressed else body) == LONG


async def test_compression_is_off_by_default() -> None:
    response, body = await raw(front_that_compresses(Reply(200, LONG), compression=False), "/Observation/o1")
    assert "content-encoding" not in response.headers
    assert "vary" not in response.headers
    assert json.loads(body) == LONG


@pytest.mark.parametrize(
    ("reply", "headers", "status"),
    [
        (Reply(200, observation()), {}, 200),
        (Reply(200, LONG, {"ETag": 'W/"3"'}), {"If-None-Match": 'W/"3"'}, 304),
        (Reply(404, outcome("x")), {}, 404),
    ],
    ids=["small", "unchanged", "refused"],
)
async def test_small_and_empty_answers_stay_as_they_are(reply: Reply, headers: dict[str, str], status: int) -> None:
    response, body = await raw(front_that_compresses(reply), "/Observation/o1", **headers)
    assert (response.status_code, "content-encoding" in response.headers) == (status, False)
    assert "content-length" not in response.headers if status == 304 else response.headers["content-length"] == str(len(body))


async def test_head_tells_the_length_of_the_plain_answer() -> None:
    front = front_that_compresses(Reply(200, LONG))
    head = await front.request("HEAD", "/Observation/o1", headers={"Accept-Encoding": "gzip"})
    assert (head.content, "content-encoding" in head.headers) == (b"", False)
    plain = await front.get("/Observation/o1", headers={"Accept-Encoding": "identity"})
    assert head.headers["content-length"] == plain.headers["content-length"]


@pytest.mark.parametrize("type", ["image/png", "application/pdf", "application/zip", "video/mp4", "application/octet-stream"])
async def test_what_is_compressed_in_itself_is_not_compressed_again(type: str) -> None:
    response, body = await raw(front_that_compresses(Reply(200, binary(b"x" * 5000, type))), "/Binary/b1", accept=type)
    assert (response.headers["content-type"], body) == (type, b"x" * 5000)
    assert "content-encoding" not in response.headers


async def test_a_stream_is_compressed_chunk_by_chunk() -> None:
    chunks = tuple(json.dumps({"n": number, "text": "x" * 500}).encode() for number in range(50))
    front = front_that_compresses(Reply(200, chunks=chunks), ALL)
    response, body = await raw(front, "/Observation/o1")
    assert response.headers["content-encoding"] == "gzip"
    assert "content-length" not in response.headers
    assert gzip.decompress(body) == b"".join(chunks)


async def test_the_upstream_is_asked_for_plain_answers_all_the_same() -> None:
    upstream = ScriptedUpstream(LONG)
    await raw(Front(upstream, OWN, compression=True), "/Observation/o1")
    assert [asked.header("accept-encoding") for asked in upstream.asked] == ["identity"]


@pytest.mark.parametrize(("accept", "body"), [(FHIR, True), ("*/*", True), (XML, False), ("image/png", False)])
async def test_a_write_that_is_done_is_not_refused_for_its_answer(accept: str, body: bool) -> None:
    upstream = ScriptedUpstream(observation())
    upstream.replies["PUT /Observation/o1"] = Reply(200, observation(), {"ETag": 'W/"4"'})
    headers = {"Content-Type": FHIR, "Accept": accept}
    response = await Front(upstream, OWN).request("PUT", "/Observation/o1", content=TEXT, headers=headers)
    assert (response.status_code, bool(response.content)) == (200, body)
