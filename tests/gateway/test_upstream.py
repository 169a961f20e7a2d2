"""The reverse proxy against a server that speaks from a script, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from smart_gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from smart_gateway.gateway.edge.departure import ClientGone
from smart_gateway.gateway.upstream import Patience, Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PATIENCE = Patience(connect=2.0, read=2.0, idle=5.0)


@dataclass
class Server:
    """Answers every head with ``reply``; keeps heads, bodies' first bytes and how many connections came."""

    reply: bytes = OK
    close: bool = False
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    respond: Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                self.asked.set()
                if self.respond is not None:
                    await self.respond(reader, writer, head)
                else:
                    writer.write(self.reply)
                    await writer.drain()
                if self.close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.closed.set()
            writer.close()

    @property
    def lines(self) -> list[str]:
        """The header lines of the last head."""
        return self.heads[-1].decode("latin-1").split("\r\n")


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[tuple[Server, Upstream]]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    upstream = Upstream(f"http://127.0.0.1:{server.port}/base", "/fhir", PATIENCE)
    try:
        yield server, upstream
    finally:
        await upstream.aclose()
        listener.close()


class Exchange:
    """One request through the proxy."""

    def __init__(self, upstream: Upstream, method: str = "GET", path: str = "/fhir/Patient/1", query: str = "", **headers: str) -> None:
        self.upstream = upstream
        self.sent: list[dict[str, Any]] = []
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.news: asyncio.Queue[None] = asyncio.Queue()
        self.scope = {
            "type": "http",
            "method": method,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }

    def say(self, body: bytes = b"", *, more: bool = False) -> Exchange:
        self.incoming.put_nowait({"type": "http.request", "body": body, "more_body": more})
        return self

    async def run(self) -> Exchange:
        if self.incoming.empty():
            self.say()

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)
            self.news.put_nowait(None)

        await self.upstream(self.scope, self.incoming.get, send)
        return self

    async def arrived(self, count: int) -> None:
        """Waits until that many messages were sent, counted from the last time."""
        for _ in range(count):
            await self.news.get()

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


async def test_an_answer_comes_back_whole_and_the_connection_is_kept() -> None:
    async with serving(Server()) as (server, upstream):
        for _ in range(3):
            exchange = await Exchange(upstream).run()
            assert exchange.sent[0] == {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
            assert exchange.body == b"hello"
            assert exchange.sent[-1]["more_body"] is False
        assert server.connections == 1


async def test_path_and_query_are_sent_exactly_as_built() -> None:
    async with serving(Server()) as (server, upstream):
        await Exchange(upstream, path="/fhir/Patient/$everything", query="a=%7C%2C%3A%27%2e%25&b=x%20y%2B&c=/:,$*-._~&d=%c3%a9").run()
        assert server.lines[0] == "GET /base/Patient/$everything?a=%7C%2C%3A%27%2e%25&b=x%20y%2B&c=/:,$*-._~&d=%c3%a9 HTTP/1.1"


async def test_host_is_the_upstreams_and_little_is_added() -> None:
    async with serving(Server()) as (server, upstream):
        await Exchange(upstream, host="fhir.example.org", accept="application/fhir+json", x_request_id="7").run()
        sent = sorted(line.lower() for line in server.lines[1:] if line)
        assert sent == [
            "accept-encoding: identity",
            "accept: application/fhir+json",
            f"host: 127.0.0.1:{server.port}",
            "user-agent: smart-gateway",
            "x-request-id: 7",
        ]


async def test_cookies_are_never_kept_and_redirects_never_followed() -> None:
    reply = b"HTTP/1.1 302 Found\r\nSet-Cookie: a=b\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"
    async with serving(Server(reply)) as (server, upstream):
        for _ in range(2):
            assert (await Exchange(upstream).run()).sent[0]["status"] == 302
        assert not any("cookie" in line.lower() for line in server.lines)


async def test_compressed_answers_stay_as_they_are() -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"
    async with serving(Server(reply)) as (_, upstream):
        exchange = await Exchange(upstream).run()
        assert exchange.body == b"hello"
        assert (b"content-encoding", b"gzip") in exchange.sent[0]["headers"]


async def test_proxies_of_the_environment_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(Server()) as (_, upstream):
        assert (await Exchange(upstream).run()).body == b"hello"


DOUBTFUL = {
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunked and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "length twice": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    "a signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "another transfer encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "compressed transfer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "identity transfer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 5\r\n\r\nhello",
    "a control character": b"HTTP/1.1 200 OK\r\nX-A: b\x01c\r\nContent-Length: 5\r\n\r\nhello",
    "a NUL": b"HTTP/1.1 200 OK\r\nX-A: b\x00c\r\nContent-Length: 5\r\n\r\nhello",
    "no head": b"hello there\r\n\r\n",
    "another protocol": b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a chunk without CR": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("reply", DOUBTFUL.values(), ids=DOUBTFUL.keys())
async def test_what_can_be_read_in_two_ways_is_refused_and_its_connection_not_used_again(reply: bytes) -> None:
    async with serving(Server(reply)) as (server, upstream):
        with pytest.raises(UpstreamError):
            await Exchange(upstream).run()
        server.reply = OK
        assert (await Exchange(upstream).run()).body == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
    ids=["length", "chunked"],
)
async def test_an_answer_that_is_cut_short_is_an_error(reply: bytes) -> None:
    async with serving(Server(reply, close=True)) as (_, upstream):
        exchange = Exchange(upstream)
        with pytest.raises(UpstreamError):
            await exchange.run()
        assert all(message.get("more_body", True) for message in exchange.sent)


async def test_bytes_after_an_answer_are_never_the_next_one() -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    async with serving(Server(OK + evil)) as (server, upstream):
        assert (await Exchange(upstream).run()).body == b"hello"
        server.reply = OK
        assert (await Exchange(upstream).run()).body == b"hello"


async def test_interim_answers_are_skipped() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with serving(Server(early + OK)) as (_, upstream):
        assert (await Exchange(upstream).run()).sent[0]["status"] == 200


async def test_chunked_bodies_stream_and_hop_by_hop_headers_stay_here() -> None:
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n"
    async with serving(Server(reply)) as (server, upstream):
        for _ in range(2):
            exchange = await Exchange(upstream).run()
            assert exchange.body == b"hello!"
            assert exchange.sent[0]["headers"] == []
        assert server.connections == 1


async def test_the_head_of_an_answer_does_not_wait_for_its_body() -> None:
    released = asyncio.Event()

    async def slowly(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        await writer.drain()
        await released.wait()
        writer.write(b"def")

    async with serving(Server(respond=slowly)) as (_, upstream):
        exchange = Exchange(upstream)
        task = asyncio.create_task(exchange.run())
        await exchange.arrived(2)
        assert exchange.body == b"abc"
        released.set()
        await task
        assert exchange.body == b"abcdef"


@pytest.mark.parametrize("head_first", [False, True], ids=["before the head", "within the body"])
async def test_cancelling_ends_the_connection_to_the_upstream(head_first: bool) -> None:
    waiting = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _head: bytes) -> None:
        if head_first:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        waiting.set()
        assert await reader.read(1) == b""
        raise ConnectionError

    async with serving(Server(respond=never)) as (server, upstream):
        exchange = Exchange(upstream)
        task = asyncio.create_task(exchange.run())
        await waiting.wait()
        await exchange.arrived(2 if head_first else 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.closed.wait(), 1.5)


async def test_nobody_there_is_503_and_too_late_is_504() -> None:
    gone = Upstream("http://127.0.0.1:1/base", "/fhir", PATIENCE)
    with pytest.raises(UpstreamUnavailable):
        await Exchange(gone).run()
    await gone.aclose()

    async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _head: bytes) -> None:
        await reader.read(1)
        raise ConnectionError

    async with serving(Server(respond=never)) as (server, _):
        impatient = Upstream(f"http://127.0.0.1:{server.port}", "/fhir", Patience(read=0.2))
        with pytest.raises(UpstreamTimeout):
            await Exchange(impatient).run()
        await impatient.aclose()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
    if b"chunked" in head.lower():
        body = b""
        while (size := int((await reader.readuntil(b"\r\n")).strip(), 16)) > 0:
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        body = await reader.readexactly(length)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def test_bodies_go_up_whole_and_in_parts() -> None:
    async with serving(Server(respond=_echo)) as (_, upstream):
        assert (await Exchange(upstream, "POST", content_length="5").say(b"whole").run()).body == b"whole"
        parts = Exchange(upstream, "PUT", content_length="6").say(b"abc", more=True).say(b"def")
        assert (await parts.run()).body == b"abcdef"
        unknown = Exchange(upstream, "PUT").say(b"abc", more=True).say(b"", more=True).say(b"def", more=True).say()
        assert (await unknown.run()).body == b"abcdef"


async def test_a_body_that_is_shorter_than_was_said_is_not_sent_as_whole() -> None:
    async with serving(Server(respond=_echo)) as (_, upstream):
        exchange = Exchange(upstream, "PUT", content_length="9").say(b"abc", more=True).say(b"def")
        with pytest.raises(ClientGone):
            await exchange.run()
        assert exchange.sent == []


async def test_a_client_that_leaves_within_its_body_takes_the_write_with_it() -> None:
    async with serving(Server(respond=_echo)) as (server, upstream):
        exchange = Exchange(upstream, "PUT").say(b"abc", more=True)
        exchange.incoming.put_nowait({"type": "http.disconnect"})
        with pytest.raises(ClientGone):
            await exchange.run()
        await asyncio.wait_for(server.closed.wait(), 1.5)
        gone = Exchange(upstream)
        gone.incoming.put_nowait({"type": "http.disconnect"})
        with pytest.raises(ClientGone):
            await gone.run()


async def test_a_write_that_is_cancelled_never_becomes_whole() -> None:
    async with serving(Server(respond=_echo)) as (server, upstream):
        exchange = Exchange(upstream, "PUT").say(b"abc", more=True)
        task = asyncio.create_task(exchange.run())
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        exchange.say(b"def")  # what comes now must not complete the write
        await asyncio.wait_for(server.closed.wait(), 1.5)
        assert exchange.sent == []


async def test_lifespan_closes_and_websockets_are_not_taken() -> None:
    upstream = Upstream("http://127.0.0.1:1", "")
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await upstream({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(RuntimeError):
        await upstream({"type": "websocket"}, receive, send)
