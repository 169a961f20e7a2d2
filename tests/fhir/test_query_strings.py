"""Query strings and forms: decoded once, refused in doubt, written so that they read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.errors import RequestError
from smart_gateway.fhir.query import decode_form, decode_query, encode_query

# All that a value may hold once decoded: no control characters, no surrogates.
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters=[*map(chr, range(32)), "\x7f"]), max_size=20)
PAIRS = st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=8)


def refused(data: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        decode_query(data, 1000)
    assert caught.value.status == 400
    return caught.value.reason


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        (b"", []),
        (b"a=1", [("a", "1")]),
        (b"a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        (b"a", [("a", "")]),
        (b"a=", [("a", "")]),
        (b"a=b=c", [("a", "b=c")]),
        (b"&a=1&&b=2&", [("a", "1"), ("b", "2")]),
        (b"a=x+y", [("a", "x y")]),
        (b"a=x%2By", [("a", "x+y")]),
        (b"a=%26b%3D1", [("a", "&b=1")]),
        (b"%61=1", [("a", "1")]),
        (b"a=%252F", [("a", "%2F")]),
        (b"a=%c3%a9", [("a", "é")]),
        (b"code=http://loinc.org|8867-4", [("code", "http://loinc.org|8867-4")]),
        (b"code=a\\,b,c", [("code", "a\\,b,c")]),
        (b"a=1;b=2", [("a", "1;b=2")]),
        (b"a=%3F%23", [("a", "?#")]),
    ],
)
def test_a_query_is_decoded_once(query: bytes, pairs: list[tuple[str, str]]) -> None:
    assert decode_query(query, 1000) == pairs


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"a=1?b=2", "second-question-mark"),
        (b"?a=1", "second-question-mark"),
        (b"a=1#x", "fragment"),
        (b"a=1 2", "malformed-query"),
        (b"a=\xc3\xa9", "malformed-query"),
        (b"a=\r\n", "malformed-query"),
        (b"a=\x00", "malformed-query"),
        (b"a=\x7f", "malformed-query"),
        (b"=1", "malformed-query"),
        (b"a=1&=", "malformed-query"),
        (b"a=%", "malformed-encoding"),
        (b"a=%1", "malformed-encoding"),
        (b"a=%g1", "malformed-encoding"),
        (b"%=1", "malformed-encoding"),
        (b"a=%u0041", "malformed-encoding"),
        (b"a=%ff", "malformed-encoding"),
        (b"a=%c0%af", "malformed-encoding"),
        (b"a=%ed%a0%80", "malformed-encoding"),
        (b"%e9=1", "malformed-encoding"),
        (b"a=%00", "control-character"),
        (b"a=%0d%0aSet-Cookie:x", "control-character"),
        (b"a%09=1", "control-character"),
        (b"a=%7f", "control-character"),
    ],
)
def test_a_query_in_doubt_is_refused(query: bytes, reason: str) -> None:
    assert refused(query) == reason


def test_parameters_are_counted_before_they_are_decoded() -> None:
    assert len(decode_query(b"&".join([b"a=1"] * 5), 5)) == 5
    with pytest.raises(RequestError) as caught:
        decode_query(b"&".join([b"%"] * 6), 5)
    assert caught.value.reason == "too-many-parameters"


def test_a_form_is_read_by_the_same_rules() -> None:
    assert decode_form(b"a=1+2&b=x?y", 10) == [("a", "1 2"), ("b", "x?y")]
    for body in (b"a=\xff", b"a=\n", b"a=#", b"a=1 2"):
        with pytest.raises(RequestError) as caught:
            decode_form(body, 10)
        assert caught.value.reason == "malformed-form"


def test_writing_leaves_alone_what_has_no_meaning() -> None:
    assert encode_query([("code", "8867-4"), ("patient", "Patient/123")]) == "code=8867-4&patient=Patient/123"
    assert (
        encode_query([("code:in", "http://x|y,z"), ("a b", "c+d&e=f;g?h#i%é")])
        == "code:in=http://x%7Cy,z&a%20b=c%2Bd%26e%3Df%3Bg%3Fh%23i%25%C3%A9"
    )


@given(PAIRS)
def test_what_is_written_reads_back(pairs: list[tuple[str, str]]) -> None:
    text = encode_query(pairs).encode("ascii")
    assert decode_query(text, 1000) == pairs
    assert decode_form(text, 1000) == pairs


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    for decode in (decode_query, decode_form):
        try:
            pairs = decode(data, 20)
        except RequestError:
            continue
        assert all(name for name, _ in pairs)
        assert decode_query(encode_query(pairs).encode(), 20) == pairs
