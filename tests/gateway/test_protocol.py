"""What ASGI cannot see, over real sockets: fragments, foreign targets, heads that are slow, large or doubtful."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from smart_gateway.gateway.edge.protocol import strict_protocol
from smart_gateway.request.limits import Limits
from tests.support.asgi import Front, ScriptedUpstream, observation

GOOD = b"Host: fhir.example.org\r\nAuthorization: Bearer t\r\n"
READ = b"GET /fhir/Observation/o1 HTTP/1.1\r\n"


@asynccontextmanager
async def serving(**choices: Any) -> AsyncIterator[tuple[Front, int]]:
    front = Front(ScriptedUpstream(observation()), "patient/Observation.cruds", **choices)
    protocol = strict_protocol(lambda: front.snapshot)
    options: dict[str, Any] = {"ws": "none", "lifespan": "off", "log_config": None, "access_log": False, "loop": "none"}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(front.gateway, http=protocol, **options))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        await asyncio.get_running_loop().create_server(
            lambda: protocol(config=server.config, server_state=server.server_state, app_state={}), sock=listener
        )
        yield front, listener.getsockname()[1]


async def say(port: int, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the first answer; (0, {}, b"") where the connection ends without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for one in parts:
            writer.write(one)
            await writer.drain()
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, {}, b""
    finally:
        writer.close()


async def test_a_good_request_is_served() -> None:
    async with serving() as (front, port):
        assert (await say(port, READ + GOOD + b"\r\n"))[0] == 200
        assert (await say(port, b"GET http://FHIR.example.org/fhir/Observation/o1 HTTP/1.1\r\n" + GOOD + b"\r\n"))[0] == 200
        assert (await say(port, b"GET /fhir/Observation/o1 HTTP/1.0\r\nAuthorization: Bearer t\r\n\r\n"))[0] == 200
        assert [event.outcome for event in front.log.events] == ["permit"] * 3


REFUSED = {
    "a fragment": (b"GET /fhir/Observation/o1#x HTTP/1.1\r\n" + GOOD, 400, "fragment"),
    "an empty fragment": (b"GET /fhir/Observation/o1# HTTP/1.1\r\n" + GOOD, 400, "fragment"),
    "a fragment in the query": (b"GET /fhir/Observation?a=1#&patient=9 HTTP/1.1\r\n" + GOOD, 400, "fragment"),
    "another host's target": (b"GET http://evil/fhir/Observation/o1 HTTP/1.1\r\n" + GOOD, 400, "absolute-target"),
    "another scheme": (b"GET ftp://fhir.example.org/fhir/Observation/o1 HTTP/1.1\r\n" + GOOD, 400, "absolute-target"),
    "userinfo": (b"GET http://fhir.example.org@evil/fhir/Observation/o1 HTTP/1.1\r\n" + GOOD, 400, "absolute-target"),
    "the asterisk": (b"OPTIONS * HTTP/1.1\r\n" + GOOD, 400, "absolute-target"),
    "an authority": (b"CONNECT fhir.example.org:443 HTTP/1.1\r\n" + GOOD, 400, "absolute-target"),
    "two hosts": (READ + GOOD + b"Host: evil\r\n", 400, "duplicate-header"),
    "no host": (READ + b"Authorization: Bearer t\r\n", 400, "missing-header"),
    "two lengths": (READ + GOOD + b"Content-Length: 1\r\nContent-Length: 2\r\n", 400, "malformed-request"),
    "the length twice": (READ + GOOD + b"Content-Length: 1\r\nContent-Length: 1\r\n", 400, "malformed-request"),
    "length and chunked": (READ + GOOD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400, "malformed-request"),
    "another transfer encoding": (READ + GOOD + b"Transfer-Encoding: gzip\r\n", 400, "ambiguous-framing"),
    "chunked twice": (READ + GOOD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400, "malformed-request"),
    "a folded line": (READ + GOOD + b"X-A: b\r\n c\r\n", 400, "malformed-request"),
    "a space before the colon": (READ + GOOD + b"X-A : b\r\n", 400, "malformed-request"),
    "a control character": (READ + GOOD + b"X-A: \x01\r\n", 400, "malformed-request"),
    "a bare LF": (b"GET /fhir/Observation/o1 HTTP/1.1\n" + GOOD, 400, "malformed-request"),
    "an unknown method": (b"FOO /fhir/Observation/o1 HTTP/1.1\r\n" + GOOD, 405, "method-not-allowed"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01", 400, "malformed-request"),
    "bytes above ASCII": (b"GET /fhir/Observation/\xff HTTP/1.1\r\n" + GOOD, 400, "malformed-request"),
}


@pytest.mark.parametrize(("head", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_refused_before_asgi(head: bytes, status: int, code: str) -> None:
    async with serving() as (front, port):
        answered, headers, body = await say(port, head + b"\r\n")
        assert (answered, headers["content-type"].split(";")[0], headers["connection"]) == (status, "application/fhir+json", "close")
        assert f'"code":"{code}"'.encode() in body
        assert headers["x-request-id"].encode() in body
        assert headers["x-content-type-options"] == "nosniff"
        (event,) = front.log.events
        assert (event.status, event.code, event.outcome, event.request_id) == (status, code, "deny", headers["x-request-id"])


async def test_a_version_that_is_none_is_refused() -> None:
    async with serving() as (_, port):
        assert (await say(port, b"GET /fhir/Observation/o1\r\n\r\n"))[0] == 400


async def test_a_slow_head_is_408_and_a_silent_connection_just_ends() -> None:
    async with serving(limits=Limits(header_time=0.05)) as (front, port):
        assert (await say(port, READ + GOOD))[0] == 408
        assert front.log.events[0].code == "too-slow"
        assert (await say(port))[0] == 0
        assert len(front.log.events) == 1


async def test_a_large_head_is_431_however_it_comes() -> None:
    async with serving(limits=Limits(headers=2000, url=1000)) as (_, port):
        assert (await say(port, READ + GOOD + b"X-A: " + b"a" * 1000, b"a" * 1000, b"a" * 1500))[0] == 431
        assert (await say(port, b"GET /fhir/" + b"a" * 3500))[0] == 431


async def everything(port: int, *parts: bytes) -> bytes:
    """All that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for one in parts:
        writer.write(one)
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def test_behind_another_request_a_refusal_only_ends_the_connection() -> None:
    async with serving() as (front, port):
        bad = b"GET /fhir/Observation/o1#x HTTP/1.1\r\n" + GOOD + b"\r\n"
        said = await everything(port, (READ + GOOD + b"\r\n") * 2 + bad + READ + GOOD + b"\r\n")
        assert (said.count(b"HTTP/1.1 200 OK"), said.count(b"HTTP/1.1 ")) == (2, 2)
        assert [event.status for event in front.log.events] == [200, 200]


async def test_many_requests_at_once_are_answered_in_order() -> None:
    """More bytes than a head may have, but no head of them is long."""
    async with serving(limits=Limits(headers=2000, url=1000)) as (_, port):
        said = await everything(port, (READ + GOOD + b"\r\n") * 99 + READ + GOOD + b"Connection: close\r\n\r\n")
        assert said.count(b"HTTP/1.1 200 OK") == 100


SEARCH = b"POST /fhir/Observation/_search HTTP/1.1\r\nHost: fhir.example.org\r\nContent-Type: application/x-www-form-urlencoded\r\n"
CHUNKED = SEARCH + b"Transfer-Encoding: chunked\r\n"
TOKEN = b"Authorization: Bearer t\r\n"


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("trailer", [TOKEN, b"Trailer: Authorization\r\n" + TOKEN])
async def test_a_trailer_is_no_header(trailer: bytes, apart: bool) -> None:
    async with serving() as (_, port):
        parts = (CHUNKED + b"\r\n", b"0\r\n" + trailer + b"\r\n")
        assert (await say(port, *(parts if apart else (b"".join(parts),))))[0] == 401


async def test_trailers_change_nothing_for_a_good_request() -> None:
    async with serving() as (_, port):
        trailer = b"Host: evil\r\nAuthorization: Bearer x\r\nIf-None-Match: *\r\n\r\n"
        assert (await say(port, READ + GOOD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + trailer))[0] == 200


@pytest.mark.parametrize("body", [b"xyz\r\n\r\n", b"5;\x00\r\nhello\r\n", b"0\n\n", b"-1\r\n\r\n", b"FFFFFFFFFFFFFFFFF\r\n"])
async def test_a_broken_body_is_400(body: bytes) -> None:
    async with serving() as (_, port):
        status, headers, answer = await say(port, CHUNKED + TOKEN + b"\r\n" + body)
        assert (status, headers["connection"]) == (400, "close")
        assert b'"code":"malformed-request"' in answer


@pytest.mark.parametrize("start", [b"0\r\nX-A: ", b"5;x="])
async def test_trailers_and_chunk_extensions_have_a_limit(start: bytes) -> None:
    async with serving(limits=Limits(headers=2000, url=1000)) as (front, port):
        await say(port, CHUNKED + TOKEN + b"\r\n", start, *[b"a" * 200_000] * 5)
        assert "headers-too-large" in [event.code for event in front.log.events]


async def test_the_unread_body_of_an_answered_request_has_its_time() -> None:
    async with serving(limits=Limits(body_time=0.1)) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(SEARCH + b"Content-Length: 1000\r\n\r\nx")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 401 ")
        writer.close()


async def test_a_connection_is_of_use_after_an_answer_that_came_before_the_body() -> None:
    async with serving(limits=Limits(body_time=0.1)) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(SEARCH + b"Content-Length: 2\r\n\r\nx")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(b"y" + READ + GOOD + b"Connection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_nothing_is_written_into_a_connection_that_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as (_, port):
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write((READ + GOOD + b"\r\n") * 5)
            await writer.drain()
            writer.transport.abort()
        assert (await say(port, READ + GOOD + b"\r\n"))[0] == 200
    assert "failed" not in caplog.text


async def test_connections_are_kept_and_every_head_has_its_own_time() -> None:
    async with serving(limits=Limits(header_time=0.2)) as (front, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(READ + GOOD + b"\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(length)
        writer.close()
        assert [event.status for event in front.log.events] == [200, 200, 200]
