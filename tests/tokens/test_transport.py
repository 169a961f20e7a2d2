"""What of an issuer's answers is believed, and what is asked at all."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
import respx

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.tokens.transport import FetchError, HttpTransport, is_fetchable, post_form
from tests.support.issuer import ScriptedIssuer, make_key, serve

URL = "https://idp.example.org/keys"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    opened = HttpTransport(seconds=5.0, max_bytes=1000)
    yield opened
    await opened.aclose()


async def fail(transport: HttpTransport, text: str) -> FetchError:
    with pytest.raises(FetchError, match=text) as failed:
        await transport.get_json(URL)
    assert isinstance(failed.value, DependencyUnavailable)
    assert "idp.example" not in failed.value.text
    return failed.value


@pytest.mark.parametrize("media", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/jwk-set+json"])
@respx.mock
async def test_json_is_read(transport: HttpTransport, media: str) -> None:
    route = respx.get(URL).respond(content=b'{"keys": []}', headers={"content-type": media})
    assert await transport.get_json(URL) == {"keys": []}
    sent = route.calls.last.request.headers
    assert (sent["accept"], sent["accept-encoding"]) == ("application/json", "identity")
    assert "authorization" not in sent


@pytest.mark.parametrize("status", [201, 204, 400, 401, 404, 429, 500, 503])
@respx.mock
async def test_only_200_is_an_answer(transport: HttpTransport, status: int) -> None:
    respx.get(URL).respond(status, json={})
    assert (await fail(transport, str(status))).answered == status


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@respx.mock
async def test_a_redirect_is_not_followed(transport: HttpTransport, status: int) -> None:
    respx.get(URL).respond(status, headers={"location": "https://evil.example/keys"})
    evil = respx.get("https://evil.example/keys").respond(json={"keys": []})
    await fail(transport, str(status))
    assert not evil.called


@pytest.mark.parametrize("media", ["text/html", "text/plain", "application/javascript", "application/jsonp", "application/xml", "", "json"])
@respx.mock
async def test_only_json_by_its_type(transport: HttpTransport, media: str) -> None:
    respx.get(URL).respond(content=b"{}", headers={"content-type": media})
    await fail(transport, "not JSON")


@pytest.mark.parametrize("body", [b"<html>", b"", b"{", b'{"a":1,"a":2}', b"\xef\xbb\xbf{}", b"\xff", b"NaN", b"[" * 900])
@respx.mock
async def test_broken_json(transport: HttpTransport, body: bytes) -> None:
    respx.get(URL).respond(content=body, headers=JSON)
    await fail(transport, "not the JSON")


@respx.mock
async def test_a_huge_answer_is_cut_off(transport: HttpTransport) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 100

    respx.get(URL).mock(side_effect=lambda _: httpx.Response(200, headers=JSON, content=endless()))
    await fail(transport, "too long")
    assert sent == 11


@respx.mock
async def test_an_answer_at_the_limit(transport: HttpTransport) -> None:
    respx.get(URL).respond(content=b" " * 998 + b"{}", headers=JSON)
    assert await transport.get_json(URL) == {}


@respx.mock
async def test_an_encoded_answer_is_not_unpacked(transport: HttpTransport) -> None:
    respx.get(URL).respond(content=gzip.compress(b" " * 10_000_000), headers={**JSON, "content-encoding": "gzip"})
    await fail(transport, "encoded")


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError,
        httpx.ReadError,
        httpx.RemoteProtocolError,
        httpx.UnsupportedProtocol,
        httpx.InvalidURL,
        httpx.StreamError,
        OSError,
    ],
)
@respx.mock
async def test_no_answer(transport: HttpTransport, error: type[Exception]) -> None:
    respx.get(URL).mock(side_effect=error("https://idp.example.org/keys broke"))
    assert (await fail(transport, "no answer")).answered is None


@pytest.mark.parametrize("error", [httpx.ConnectTimeout, httpx.ReadTimeout, httpx.PoolTimeout])
@respx.mock
async def test_a_timeout(transport: HttpTransport, error: type[httpx.TimeoutException]) -> None:
    respx.get(URL).mock(side_effect=error("slow"))
    await fail(transport, "time limit")


@respx.mock
async def test_an_answer_that_drips_is_cut_off_by_the_total_time() -> None:
    async def dripping() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    respx.get(URL).mock(side_effect=lambda _: httpx.Response(200, headers=JSON, content=dripping()))
    transport = HttpTransport(seconds=0.01)
    await fail(transport, "time limit")
    await transport.aclose()


async def test_a_closed_transport_fails_closed() -> None:
    transport = HttpTransport()
    await transport.aclose()
    await fail(transport, "no answer")


async def test_the_environment_sets_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with serve(ScriptedIssuer(keys=[make_key("ES256")])) as issuer:
        transport = HttpTransport()
        assert await transport.get_json(issuer.jwks_uri) == issuer.jwks()
        with pytest.raises(FetchError) as failed:
            await transport.get_json(issuer.issuer + "/absent")
        assert failed.value.answered == 404
        await transport.aclose()


ENDPOINT = "https://idp.example.org/introspect"


@respx.mock
async def test_a_form_is_posted_as_one(transport: HttpTransport) -> None:
    route = respx.post(ENDPOINT).respond(json={"active": False})
    received = await post_form(transport, ENDPOINT, {"token": "a+b/c=&d e", "hint": "é"}, {"authorization": "Basic x"})
    assert (received.status, received.media, received.json()) == (200, "application/json", {"active": False})
    sent = route.calls.last.request
    assert sent.content == b"token=a%2Bb%2Fc%3D%26d+e&hint=%C3%A9"
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (sent.headers["accept"], sent.headers["accept-encoding"]) == ("application/json", "identity")
    assert sent.headers["authorization"] == "Basic x"
    assert "a+b" not in repr(received)


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 429, 500, 503])
@respx.mock
async def test_an_answer_to_a_post_has_any_status(transport: HttpTransport, status: int) -> None:
    respx.post(ENDPOINT).respond(status, json={"error": "x"}, headers={"retry-after": "17"})
    received = await transport.post(ENDPOINT, b"", {})
    assert (received.status, received.json(), received.retry_after) == (status, {"error": "x"}, 17)


@pytest.mark.parametrize("said", ["", "-1", "1.5", "9999", "Wed, 21 Oct 2026 07:28:00 GMT", "1, 2", "\u0661"])
@respx.mock
async def test_a_time_to_wait_that_is_no_small_number_is_not_taken(transport: HttpTransport, said: str) -> None:
    respx.post(ENDPOINT).respond(503, headers=[("retry-after", said.encode())])
    assert (await transport.post(ENDPOINT, b"", {})).retry_after is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@respx.mock
async def test_credentials_do_not_follow_a_redirect(transport: HttpTransport, status: int) -> None:
    respx.post(ENDPOINT).respond(status, headers={"location": "https://evil.example/introspect"})
    evil = respx.route(host="evil.example").respond(json={"active": True})
    received = await transport.post(ENDPOINT, b"token=t&client_secret=s", {"authorization": "Basic x"})
    assert (received.status, evil.called) == (status, False)


@pytest.mark.parametrize("media", ["text/html", "application/jwt", ""])
@respx.mock
async def test_an_answer_to_a_post_is_json_only_by_its_type(transport: HttpTransport, media: str) -> None:
    respx.post(ENDPOINT).respond(content=b'{"active": true}', headers={"content-type": media})
    received = await transport.post(ENDPOINT, b"", {})
    with pytest.raises(FetchError, match="not JSON"):
        received.json()


@respx.mock
async def test_a_huge_an_encoded_and_a_broken_answer_to_a_post_are_none(transport: HttpTransport) -> None:
    respx.post(ENDPOINT).mock(
        side_effect=[
            httpx.Response(200, headers=JSON, content=b" " * 1001),
            httpx.Response(200, headers={**JSON, "content-encoding": "gzip"}, content=gzip.compress(b"{}")),
            httpx.ReadError("broke"),
            httpx.ReadTimeout("slow"),
        ]
    )
    for text in ("too long", "encoded", "no answer", "time limit"):
        with pytest.raises(FetchError, match=text):
            await transport.post(ENDPOINT, b"", {})


@pytest.mark.parametrize(
    ("url", "plain", "allowed"),
    [
        ("https://idp.example/keys", True, True),
        ("https://idp.example:8443/keys?x=1", True, True),
        ("http://127.0.0.1:8080/keys", True, True),
        ("http://127.8.8.8/keys", True, True),
        ("http://[::1]:8080/keys", True, True),
        ("http://localhost:8080/keys", True, True),
        ("http://idp.example/keys", False, True),
        ("http://10.0.0.1/keys", False, True),
        ("http://localhost.evil.example/keys", False, True),
        ("http://127.0.0.1.evil.example/keys", False, True),
        ("http://127.0.0.1@evil.example/keys", False, False),
        ("https://user:pass@idp.example/keys", False, False),
        ("https://idp.example/keys#x", False, False),
        ("https://idp.example/ke ys", False, False),
        ("https://idp.example/ke\nys", False, False),
        ("https://idp.exаmple/keys", False, False),
        ("https:///keys", False, False),
        ("https://idp.example:port/keys", False, False),
        ("https://[::1/keys", False, False),
        ("file:///etc/passwd", False, False),
        ("ftp://idp.example/keys", False, False),
        ("gopher://127.0.0.1/", False, False),
        ("data:application/json,{}", False, False),
        ("/keys", False, False),
        ("", False, False),
    ],
)
def test_what_may_be_fetched(url: str, plain: bool, allowed: bool) -> None:
    assert is_fetchable(url, allow_http=False) is plain
    assert is_fetchable(url, allow_http=True) is allowed
