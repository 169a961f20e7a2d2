"""Exports through a gateway in front of a scripted bulk server: from kick-off to files, and everything in between that may go wrong."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from smart_gateway.answers.jobs import LIFETIME
from smart_gateway.answers.sealing import Sealer
from smart_gateway.gateway.middleware import AnswerBrokenOff, Gateway
from smart_gateway.request.limits import Limits
from tests.support.asgi import (
    FHIR,
    NOW,
    PUBLIC,
    UPSTREAM,
    Asked,
    Conversation,
    FakeVerifier,
    Front,
    Reply,
    ScriptedUpstream,
    code_of,
    outcome,
    searchset,
)
from tests.support.deciding import principal

ASYNC = {"prefer": "respond-async", "accept": FHIR}
NDJSON = "application/fhir+ndjson"
STATUS = "/$export-poll-status"
WHO = {"subject": "s1", "client_id": "backend"}
BOTH = "system/Patient.rs system/Observation.rs"


def lines(*resources: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(resource, separators=(",", ":")).encode() + b"\n" for resource in resources)


def patients(count: int = 2) -> bytes:
    return lines(*({"resourceType": "Patient", "id": str(number)} for number in range(count)))


def bulk_server() -> ScriptedUpstream:
    """Answers as Bulk Data Access 2.0 has it; the job is done at once."""
    upstream = ScriptedUpstream()
    location = f"{UPSTREAM}{STATUS}?_jobId=j1"
    for line in ("GET /$export", "POST /$export", "GET /Patient/$export", "POST /Patient/$export", "GET /Group/g/$export"):
        upstream.replies[line] = Reply(202, headers={"Content-Location": location}, type=None)
    upstream.replies[f"GET {STATUS}"] = Reply(200, manifest(), type="application/json")
    upstream.replies[f"DELETE {STATUS}"] = Reply(202, outcome("job j1 of secret-of-the-upstream"))
    upstream.replies["GET /Binary/p"] = Reply(200, patients(), type=NDJSON)
    upstream.replies["HEAD /Binary/p"] = Reply(200, type=NDJSON)
    return upstream


def manifest(**members: Any) -> dict[str, Any]:
    return {
        "transactionTime": "2025-06-15T10:00:00Z",
        "request": f"{UPSTREAM}/$export",
        "requiresAccessToken": True,
        "output": [{"type": "Patient", "url": f"{UPSTREAM}/Binary/p"}],
        "error": [],
        **members,
    }


def front(upstream: ScriptedUpstream, scope: str = BOTH, **choices: Any) -> Front:
    return Front(upstream, scope, claims=WHO, **choices)


def become(gateway: Front, scope: str, **claims: Any) -> None:
    """From now on the token is another one."""
    gateway.reload(verifier=FakeVerifier({"t": principal(scope, **{**WHO, **claims})}))


async def status_url(gateway: Front, target: str = "/$export") -> str:
    answer = await gateway.get(target, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    return answer.headers["content-location"]


async def file_url(gateway: Front) -> str:
    found = await gateway.get(await status_url(gateway))
    assert found.status_code == 200, found.text
    return str(found.json()["output"][0]["url"])


async def test_the_whole_way() -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    started = await gateway.get("/$export", headers=ASYNC)
    assert (started.status_code, started.content, started.headers["content-length"]) == (202, b"", "0")
    url = started.headers["content-location"]
    assert url.startswith(f"{PUBLIC}/$export-poll-status?_job=")
    assert "j1" not in url
    asked = upstream.asked[-1]
    assert (asked.line, asked.query) == ("GET /$export", [("_type", "Observation,Patient")])
    assert (asked.header("prefer"), asked.header("accept"), asked.header("cache-control")) == ("respond-async", FHIR, "no-cache")

    upstream.replies[f"GET {STATUS}"] = Reply(202, outcome("x"), {"X-Progress": "40% of Patient", "Retry-After": "120"})
    waiting = await gateway.get(url)
    assert (waiting.status_code, waiting.content) == (202, b"")
    assert (waiting.headers["x-progress"], waiting.headers["retry-after"]) == ("40% of Patient", "120")
    assert upstream.asked[-1].query == [("_jobId", "j1")]

    expires = "Sun, 16 Jun 2025 10:00:00 GMT"
    upstream.replies[f"GET {STATUS}"] = Reply(200, manifest(), {"Expires": expires}, type="application/json")
    done = await gateway.get(url, headers={"accept": "application/json"})
    assert (done.status_code, done.headers["content-type"], done.headers["expires"]) == (200, "application/json", expires)
    assert "no-store" in done.headers["cache-control"]
    (file,) = done.json()["output"]
    assert "Binary" not in file["url"]

    content = await gateway.get(file["url"], headers={"accept": NDJSON})
    assert (content.status_code, content.headers["content-type"], content.content) == (200, NDJSON, patients())
    assert (upstream.asked[-1].line, upstream.asked[-1].header("accept")) == ("GET /Binary/p", NDJSON)
    head = await gateway.request("HEAD", file["url"])
    assert (head.status_code, head.headers["content-type"], head.content) == (200, NDJSON, b"")
    assert upstream.asked[-1].line == "HEAD /Binary/p"

    ended = await gateway.request("DELETE", url)
    assert (ended.status_code, ended.content) == (202, b"")
    assert (upstream.asked[-1].line, upstream.asked[-1].query) == (f"DELETE {STATUS}", [("_jobId", "j1")])
    upstream.replies[f"GET {STATUS}"] = Reply(404, outcome("job j1 was cancelled"))
    gone = await gateway.get(url)
    assert (gone.status_code, code_of(gone)) == (404, "not-found")
    assert {(event.interaction, event.outcome) for event in gateway.log.events} == {("operation", "permit"), ("operation", "deny")}


async def test_the_upstream_is_asked_for_a_job_whether_the_client_says_so_or_not() -> None:
    upstream = bulk_server()
    assert (await front(upstream).get("/$export")).status_code == 202
    assert upstream.asked[-1].header("prefer") == "respond-async"


async def test_a_kickoff_by_post() -> None:
    upstream = bulk_server()
    body = {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": {"reference": f"{PUBLIC}/Patient/1"}}]}
    answer = await front(upstream).request("POST", "/Patient/$export", json=body, headers={**ASYNC, "content-type": FHIR})
    assert answer.status_code == 202, answer.text
    asked = upstream.asked[-1]
    assert (asked.line, asked.query, asked.header("content-type")) == ("POST /Patient/$export", [], f"{FHIR}; charset=utf-8")
    assert json.loads(asked.body)["parameter"] == [
        {"name": "patient", "valueReference": {"reference": "Patient/1"}},
        {"name": "_type", "valueString": "Observation,Patient"},
    ]


@pytest.mark.parametrize("headers", [{**ASYNC, "content-type": FHIR}, {**ASYNC, "content-type": "application/x-www-form-urlencoded"}])
async def test_a_body_that_is_no_parameters(headers: dict[str, str]) -> None:
    upstream = bulk_server()
    answer = await front(upstream).request("POST", "/$export", content=b'{"resourceType":"Patient"}', headers=headers)
    assert answer.status_code in {400, 415}
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("target", "scope", "headers", "status", "code"),
    [
        ("/$export", "user/*.rs patient/*.rs", ASYNC, 403, "insufficient-scope"),
        ("/$export?_type=Condition", BOTH, ASYNC, 403, "insufficient-scope"),
        ("/Group/g/$export", BOTH, ASYNC, 403, "insufficient-scope"),
        ("/$export?_foo=1", BOTH, ASYNC, 400, "unknown-parameter"),
        ("/$export", BOTH, {"prefer": "respond-async", "accept": "application/fhir+xml"}, 406, "not-acceptable"),
        (f"{STATUS}?_jobId=j1", "system/*.cruds", {}, 403, "foreign-export"),
        (f"{STATUS}?_job=abc", BOTH, {}, 403, "foreign-export"),
        ("/$export-file?_file=abc", BOTH, {}, 403, "foreign-export"),
        ("/$export-file", BOTH, {}, 403, "foreign-export"),
    ],
)
async def test_refused_before_anything_is_asked(target: str, scope: str, headers: dict[str, str], status: int, code: str) -> None:
    upstream = bulk_server()
    answer = await front(upstream, scope).get(target, headers=headers)
    if "xml" in headers.get("accept", ""):
        assert answer.status_code == status
    else:
        assert (answer.status_code, code_of(answer)) == (status, code)
    assert upstream.asked == []


async def test_a_token_that_names_nobody_starts_nothing() -> None:
    upstream = bulk_server()
    answer = await Front(upstream, "system/*.rs").get("/$export", headers=ASYNC)
    assert (answer.status_code, code_of(answer)) == (403, "export-unbound")
    assert upstream.asked == []


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "https://elsewhere.example/fhir/status/1",
        "http://user@127.0.0.1:8090/fhir/status/1",
        f"{UPSTREAM}/../status",
        f"{UPSTREAM}/Patient/1",
        f"{UPSTREAM}?_id=1",
    ],
)
async def test_a_status_url_elsewhere(location: str | None) -> None:
    upstream = bulk_server()
    upstream.replies["GET /$export"] = Reply(202, headers={} if location is None else {"Content-Location": location}, type=None)
    answer = await front(upstream).get("/$export", headers=ASYNC)
    assert (answer.status_code, code_of(answer)) == (502, "upstream-error")
    assert "content-location" not in answer.headers


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(200, searchset({"resourceType": "Patient", "id": "secret"})), 502),
        (Reply(204), 502),
        (Reply(302, headers={"Location": "https://elsewhere.example"}), 502),
        (Reply(400, outcome("secret")), 400),
        (Reply(401, outcome("secret")), 400),
        (Reply(404, outcome("secret")), 404),
        (Reply(429, outcome("secret"), {"Retry-After": "7"}), 429),
        (Reply(500, outcome("secret")), 502),
        (Reply(503, outcome("secret")), 503),
    ],
)
@pytest.mark.parametrize("step", ["start", "status", "file", "cancel"])
async def test_what_an_upstream_answers_instead(reply: Reply, status: int, step: str) -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = await (file_url(gateway) if step == "file" else status_url(gateway))
    line = {"start": "GET /$export", "status": f"GET {STATUS}", "file": "GET /Binary/p", "cancel": f"DELETE {STATUS}"}[step]
    upstream.replies[line] = reply
    if step == "start":
        answer = await gateway.get("/$export", headers=ASYNC)
    else:
        answer = await gateway.request("DELETE" if step == "cancel" else "GET", url)
    ended = step == "cancel" and reply.status in {200, 204}
    assert answer.status_code == (202 if ended else status), answer.text
    assert "secret" not in answer.text
    assert answer.headers.get("retry-after") == ("7" if status == 429 else answer.headers.get("retry-after"))


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({"X-Progress": "x" * 101}, {}),
        ({"X-Progress": "na\u00efve", "Retry-After": "soon"}, {}),
        ({"Retry-After": "99999"}, {}),
        ({"Retry-After": "Sun, 16 Jun 2025 10:00:00 GMT"}, {"retry-after": "Sun, 16 Jun 2025 10:00:00 GMT"}),
        ({"Set-Cookie": "a=b", "X-Secret": "x", "Location": f"{UPSTREAM}/x"}, {}),
    ],
)
async def test_headers_of_a_job_under_way(headers: dict[str, str], shown: dict[str, str]) -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = await status_url(gateway)
    raw = tuple((name.lower().encode(), value.encode("latin-1")) for name, value in headers.items())
    upstream.replies[f"GET {STATUS}"] = Reply(202, type=None, raw_headers=raw)
    answer = await gateway.get(url)
    assert answer.status_code == 202
    wanted = ("x-progress", "retry-after", "set-cookie", "x-secret", "location")
    assert {name: answer.headers[name] for name in wanted if name in answer.headers} == shown


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, manifest(), type="text/html"),
        Reply(200, manifest(), {"Content-Encoding": "gzip"}, type="application/json"),
        Reply(200, b"not json", type="application/json"),
        Reply(200, manifest(output=[{"type": "Patient", "url": "https://bucket.s3.example/p.ndjson"}]), type="application/json"),
        Reply(200, manifest(), type="application/json", cut_short=True),
    ],
)
async def test_a_manifest_that_cannot_be_given_out(reply: Reply) -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = await status_url(gateway)
    upstream.replies[f"GET {STATUS}"] = reply
    answer = await gateway.get(url)
    assert (answer.status_code, code_of(answer)) == (502, "upstream-error")
    assert "bucket" not in answer.text


async def test_files_of_other_types_are_counted_in_the_log() -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = await status_url(gateway)
    files = [{"type": type, "url": f"{UPSTREAM}/Binary/p"} for type in ("Patient", "Condition", "Binary")]
    upstream.replies[f"GET {STATUS}"] = Reply(200, manifest(output=files), type="application/json")
    found = await gateway.get(url)
    assert [file["type"] for file in found.json()["output"]] == ["Patient"]
    assert gateway.log.events[-1].removed == 2


@pytest.mark.parametrize(
    ("scope", "claims"),
    [(BOTH, {"subject": "s2"}), (BOTH, {"client_id": "other"}), (BOTH, {"subject": None}), ("system/*.cruds", {"client_id": "other"})],
)
async def test_nobody_elses_export(scope: str, claims: dict[str, Any]) -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    urls = [("GET", await status_url(gateway)), ("DELETE", await status_url(gateway)), ("GET", await file_url(gateway))]
    become(gateway, scope, **claims)
    asked = len(upstream.asked)
    for method, url in urls:
        answer = await gateway.request(method, url)
        assert (answer.status_code, code_of(answer)) == (403, "foreign-export")
    assert len(upstream.asked) == asked


@pytest.mark.parametrize("scope", ["system/Patient.rs", "system/Patient.rs system/Observation.r", "system/*.rs?_id=1", "user/*.rs", ""])
async def test_a_token_whose_scopes_shrank(scope: str) -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    urls = [("GET", await status_url(gateway)), ("DELETE", await status_url(gateway)), ("GET", await file_url(gateway))]
    become(gateway, scope)
    asked = len(upstream.asked)
    for method, url in urls:
        answer = await gateway.request(method, url)
        assert (answer.status_code, code_of(answer)) == (403, "insufficient-scope")
    assert len(upstream.asked) == asked
    become(gateway, "system/*.rs")  # a new token, and one that covers more
    assert (await gateway.get(urls[0][1])).status_code == 200


async def test_an_address_ends_and_stands_for_one_thing() -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    status, file = await status_url(gateway), await file_url(gateway)
    swapped = (
        file.replace("$export-file?_file=", "$export-poll-status?_job="),
        status.replace("$export-poll-status?_job=", "$export-file?_file="),
    )
    for url in (*swapped, status[:-1] + ("A" if status[-1] != "A" else "B"), status + "A", file + "="):
        answer = await gateway.get(url)
        assert (answer.status_code, code_of(answer)) == (403, "foreign-export")
    for url in (f"{status}&_jobId=j2", f"{file}&x=1", f"{status}&_job=x"):
        assert (await gateway.get(url)).status_code == 400
    assert (await gateway.request("POST", status)).status_code == 405
    assert (await gateway.request("DELETE", file)).status_code == 405
    gateway.reload(clock=lambda: NOW + LIFETIME)
    for url in (status, file):
        answer = await gateway.get(url)
        assert (answer.status_code, code_of(answer)) == (404, "export-expired")


@pytest.mark.parametrize("target", ["/Patient?_page=", "?_page="])
async def test_an_export_is_no_page(target: str) -> None:
    gateway = front(bulk_server())
    sealed = (await status_url(gateway)).partition("=")[2]
    answer = await gateway.get(target + sealed)
    assert (answer.status_code, code_of(answer)) == (403, "foreign-page")


@pytest.mark.parametrize(("method", "target"), [("GET", "$export"), ("GET", None), ("DELETE", None)])
async def test_an_export_is_no_entry_of_a_batch(method: str, target: str | None) -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = (await status_url(gateway)).removeprefix(f"{PUBLIC}/")
    asked = len(upstream.asked)
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": method, "url": target or url}}]}
    answer = await gateway.request("POST", "", json=bundle, headers={"content-type": FHIR})
    (made,) = answer.json()["entry"]
    assert made["response"]["status"].startswith("400")
    assert made["response"]["outcome"]["issue"][0]["details"]["coding"][0]["code"] == "export-in-batch"
    assert len(upstream.asked) == asked


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, patients(), type=FHIR),
        Reply(200, patients(), type="application/octet-stream"),
        Reply(200, patients(), type=None),
        Reply(200, patients(), type=f"{NDJSON}; charset=utf-16"),
        Reply(200, patients(), {"Content-Encoding": "gzip"}, type=NDJSON),
        Reply(200, patients(), type=NDJSON, raw_headers=((b"content-type", b"text/html"),)),
        Reply(200, lines({"resourceType": "Condition", "id": "secret"}), type=NDJSON),
        Reply(200, b'{"resourceType":"Patient","resourceType":"Condition","id":"secret"}\n', type=NDJSON),
        Reply(200, b'\xef\xbb\xbf{"resourceType":"Patient"}\n', type=NDJSON),
        Reply(200, b'[{"resourceType":"Patient"}]\n', type=NDJSON),
        Reply(200, b'{"resourceType":"Patient","id":"\xff"}\n', type=NDJSON),
        Reply(200, chunks=(b'{"resourceType":"Pat',), cut_short=True, type=NDJSON),
        Reply(200, raises=RuntimeError("secret"), type=NDJSON),
    ],
)
async def test_a_file_that_is_none_is_refused_whole(reply: Reply) -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = await file_url(gateway)
    upstream.replies["GET /Binary/p"] = reply
    answer = await gateway.get(url)
    assert (answer.status_code, code_of(answer)) == (502, "upstream-error")
    assert "secret" not in answer.text


async def test_an_empty_file() -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = await file_url(gateway)
    for body in (b"", b"\n", b"\r\n\r\n"):
        upstream.replies["GET /Binary/p"] = Reply(200, body, type=NDJSON)
        answer = await gateway.get(url)
        assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, NDJSON, b"")


@pytest.mark.parametrize("size", [1, 7, 64])
async def test_lines_end_anywhere_in_chunks(size: int) -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = await file_url(gateway)
    resource = {"resourceType": "Patient", "id": "1", "link": [{"other": {"reference": f"{UPSTREAM}/Patient/2"}}]}
    body = lines(resource).replace(b"\n", b"\r\n") + b"\n" + lines(resource).rstrip()
    upstream.replies["GET /Binary/p"] = Reply(200, chunks=tuple(body[at : at + size] for at in range(0, len(body), size)), type=NDJSON)
    answer = await gateway.get(url)
    expected = lines(resource).replace(UPSTREAM.encode(), PUBLIC.encode())
    assert (answer.status_code, answer.content) == (200, expected + expected)


async def test_a_line_of_another_type_breaks_the_file_off() -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = await file_url(gateway)
    chunks = (patients(3), lines({"resourceType": "Condition", "id": "secret"}), patients(3))
    upstream.replies["GET /Binary/p"] = Reply(200, chunks=chunks, type=NDJSON)
    target = url.removeprefix("https://fhir.example.org")
    talk = Conversation(gateway.gateway, "GET", target, {"authorization": "Bearer t", "host": "fhir.example.org"})
    with pytest.raises(AnswerBrokenOff):
        await talk.run()
    assert (talk.status, talk.body) == (200, patients(3))
    assert all(message.get("more_body") for message in talk.sent[1:])
    event = gateway.log.events[-1]
    assert (event.outcome, event.code, event.removed) == ("error", "upstream-error", 1)


async def test_a_line_may_be_as_long_as_a_body() -> None:
    upstream = bulk_server()
    gateway = front(upstream, limits=Limits(body=1000))
    url = await file_url(gateway)
    for length, status in ((900, 200), (1000, 502)):
        upstream.replies["GET /Binary/p"] = Reply(200, lines({"resourceType": "Patient", "id": "x" * length}), type=NDJSON)
        assert (await gateway.get(url)).status_code == status


def _generated(size: int, chunk: bytes) -> Any:
    """An upstream's file of ``size`` bytes that is nowhere held whole."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", NDJSON.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(size // len(chunk)):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


async def test_a_file_of_200_mb_is_never_held() -> None:
    """What is held at any moment is a chunk and a line: the peak does not grow with the file."""
    gateway = front(bulk_server())
    target = (await file_url(gateway)).removeprefix("https://fhir.example.org")
    line = lines({"resourceType": "Patient", "id": "1", "name": [{"text": "x" * 20_000}]})
    chunk = line * 13  # a quarter of a MiB, as the proxy reads it
    size, peaks = 200 * 1024 * 1024, []
    for part in (size // 20, size):
        passed = 0

        async def send(message: Any) -> None:
            nonlocal passed
            passed += len(message.get("body", b""))

        async def receive() -> Any:
            await asyncio.Event().wait()

        talk = Conversation(None, "GET", target, {"authorization": "Bearer t", "host": "fhir.example.org"})  # type: ignore[arg-type]
        app = Gateway(_generated(part, chunk), lambda: gateway.snapshot)
        gc.collect()
        tracemalloc.start()
        await app(talk.scope, receive, send)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert passed == part // len(chunk) * len(chunk)
    assert peaks[1] < 4 * 1024 * 1024
    assert peaks[1] < peaks[0] * 1.5


async def test_deletions_and_errors_stream_too() -> None:
    upstream = bulk_server()
    gateway = front(upstream)
    url = await status_url(gateway)
    deletions, errors = {"type": "Bundle", "url": f"{UPSTREAM}/Binary/d"}, {"type": "OperationOutcome", "url": f"{UPSTREAM}/Binary/e"}
    upstream.replies[f"GET {STATUS}"] = Reply(200, manifest(deleted=[deletions], error=[errors]), type="application/json")
    entries = [{"request": {"method": "DELETE", "url": f"{type}/1"}} for type in ("Patient", "Condition")]
    upstream.replies["GET /Binary/d"] = Reply(200, lines({"resourceType": "Bundle", "type": "transaction", "entry": entries}), type=NDJSON)
    upstream.replies["GET /Binary/e"] = Reply(200, lines(outcome("secret")), type=NDJSON)
    found = (await gateway.get(url)).json()
    deleted = await gateway.get(found["deleted"][0]["url"])
    assert [entry["request"]["url"] for entry in deleted.json()["entry"]] == ["Patient/1"]
    assert gateway.log.events[-1].removed == 1
    error = await gateway.get(found["error"][0]["url"])
    assert error.json()["issue"][0]["code"] == "processing"
    assert "secret" not in error.text


async def test_anonymous_and_bad_tokens_open_nothing() -> None:
    gateway = front(bulk_server())
    for url in (await status_url(gateway), await file_url(gateway)):
        assert (await gateway.get(url, token=None)).status_code == 401
        assert (await gateway.get(url, token="other")).status_code == 401


async def test_any_replica_with_the_key_opens_an_address() -> None:
    upstream = bulk_server()
    url = await status_url(front(upstream))
    assert (await front(upstream).get(url)).status_code == 200
    answer = await front(upstream, sealer=Sealer([b"o" * 32], 900.0)).get(url)
    assert (answer.status_code, code_of(answer)) == (403, "foreign-export")


def _jobs(asked: Asked) -> Reply:
    return Reply(202, headers={"Content-Location": f"{UPSTREAM}{STATUS}?_jobId={asked.header('x-request-id')}"}, type=None)


async def test_each_job_has_its_own_address() -> None:
    upstream = bulk_server()
    upstream.replies["GET /$export"] = _jobs
    gateway = front(upstream)
    first, second = await status_url(gateway), await status_url(gateway)
    await gateway.get(first)
    one = upstream.asked[-1].query
    await gateway.get(second)
    assert one != upstream.asked[-1].query
