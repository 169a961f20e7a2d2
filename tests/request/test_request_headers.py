"""The headers that count: each once, clean, bounded."""

from __future__ import annotations

import pytest

from smart_gateway.errors import HeadersTooLarge, RequestError
from smart_gateway.request.headers import read_headers

SINGLE = [
    "host",
    "content-type",
    "content-length",
    "content-encoding",
    "authorization",
    "dpop",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-none-exist",
]


def refused(*headers: tuple[bytes, bytes], limit: int = 65536) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_headers(headers, limit)
    return caught.value


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("spelled", [str.lower, str.upper, str.title])
def test_a_header_that_must_stand_once_stands_once(name: str, spelled: type) -> None:
    value = b"1"
    assert read_headers([(name.encode(), value)], 65536).text(name.encode()) == "1"
    error = refused((name.encode(), value), (b"accept", b"*/*"), (str(spelled(name)).encode(), value))
    assert (error.status, error.reason) == (400, "duplicate-header")
    assert error.expression is not None
    assert error.expression.lower() == f"http.{name}"


def test_lists_are_joined() -> None:
    headers = read_headers(
        [(b"accept", b"text/html"), (b"prefer", b"return=minimal"), (b"Accept", b"*/*"), (b"prefer", b"respond-async")], 65536
    )
    assert headers.text(b"accept") == "text/html,*/*"
    assert headers.text(b"prefer") == "return=minimal,respond-async"


def test_other_headers_do_not_count() -> None:
    headers = read_headers([(b"x-forwarded-for", b"a"), (b"x-forwarded-for", b"b"), (b"cookie", b"\xff")], 65536)
    assert headers.values == {}
    assert headers.text(b"accept") is None


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\r\n b", b"a\x00", b"\x7f", b"a\x1bb", b"\r"])
@pytest.mark.parametrize("name", [b"accept", b"x-other", b"cookie", b"if-none-exist"])
def test_control_characters_are_refused(name: bytes, value: bytes) -> None:
    assert refused((name, value)).reason == "malformed-header"


def test_a_tab_is_white_space() -> None:
    assert read_headers([(b"accept", b"\ttext/html\t")], 65536).text(b"accept") == "text/html"


def test_the_headers_that_count_are_ascii() -> None:
    headers = read_headers([(b"accept", "é".encode())], 65536)
    with pytest.raises(RequestError) as caught:
        headers.text(b"accept")
    assert (caught.value.reason, caught.value.expression) == ("malformed-header", "http.Accept")


@pytest.mark.parametrize("value", [b"-1", b"+1", b"1,1", b"0x10", b"", b"1 1", b"1.0", "١".encode()])
def test_a_content_length_is_a_number(value: bytes) -> None:
    assert refused((b"content-length", value)).reason == "malformed-header"


def test_only_one_framing() -> None:
    assert refused((b"content-length", b"3"), (b"transfer-encoding", b"chunked")).reason == "ambiguous-framing"
    assert read_headers([(b"transfer-encoding", b"chunked")], 65536).text(b"content-length") is None


def test_all_headers_together_are_bounded() -> None:
    pairs = [(b"x-a", b"b" * 7)] * 10
    assert read_headers(pairs, 100).values == {}
    error = refused(*pairs, limit=99)
    assert isinstance(error, HeadersTooLarge)
    assert error.status == 431
    assert isinstance(refused((b"authorization", b"Bearer " + b"a" * 100), limit=99), HeadersTooLarge)
