from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.answers.rewriting import base_rewriter, public_location
from smart_gateway.fhir.references import Bases
from tests.answers.conftest import BASES, PUBLIC, UPSTREAM

U, P = UPSTREAM.encode(), PUBLIC.encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"url":"%s/Patient/1"}' % U, b'{"url":"%s/Patient/1"}' % P),
        (b'{"url":"%s?_getpages=1"}' % U, b'{"url":"%s?_getpages=1"}' % P),
        (b'["%s","%s/"]' % (U, U), b'["%s","%s/"]' % (P, P)),
        (b'"<a href=\\"%s/x\\">"' % U, b'"<a href=\\"%s/x\\">"' % P),
        (b'"<a href=\\"%s\\">"' % U, b'"<a href=\\"%s\\">"' % P),
        (b'"%s-other/x"' % U, b'"%s-other/x"' % U),
        (b'"see %s/x"' % U, b'"see %s/x"' % U),
        (b"nothing here", b"nothing here"),
        (b"", b""),
    ],
)
def test_quoted_upstream_urls_become_public(before: bytes, after: bytes) -> None:
    assert base_rewriter(BASES).whole(before) == after


def test_one_base_within_the_other_is_rewritten_once() -> None:
    bases = Bases("http://h/fhir/r4", "http://h/fhir")
    assert base_rewriter(bases).whole(b'"http://h/fhir/Patient/1"') == b'"http://h/fhir/r4/Patient/1"'


PIECES = st.sampled_from([b'"' + U + b"/", b'"' + U, b'"', U, U[:9], b"/Patient/1", b'"http', b"?", b"x" * 50, b"\xff", b"\\"])


@given(st.lists(PIECES), st.lists(st.integers(1, 70), min_size=1))
def test_streaming_gives_what_the_whole_gives(pieces: list[bytes], sizes: list[int]) -> None:
    body = b"".join(pieces)
    stream, out, place, turn = base_rewriter(BASES).stream(), b"", 0, 0
    while place < len(body):
        size = sizes[turn % len(sizes)]
        out += stream.feed(body[place : place + size])
        place, turn = place + size, turn + 1
    assert out + stream.finish() == base_rewriter(BASES).whole(body)


def test_streaming_holds_back_little() -> None:
    stream, fed, out = base_rewriter(BASES).stream(), 0, 0
    for _ in range(100):
        out += len(stream.feed(b"x" * 1000))
        fed += 1000
        assert fed - out <= len(U) + 1


def test_equal_bases_change_nothing() -> None:
    rewriter = base_rewriter(Bases(PUBLIC, PUBLIC))
    body = b'"%s/x"' % P
    stream = rewriter.stream()
    assert rewriter.whole(body) == body
    assert stream.feed(body) + stream.finish() == body


@pytest.mark.parametrize(
    ("value", "public"),
    [
        (f"{UPSTREAM}/Patient/1", f"{PUBLIC}/Patient/1"),
        (f"{UPSTREAM}/Patient/1/_history/2", f"{PUBLIC}/Patient/1/_history/2"),
        (f"{PUBLIC}/Patient/1", f"{PUBLIC}/Patient/1"),
        ("Patient/1/_history/2", f"{PUBLIC}/Patient/1/_history/2"),
        ("/fhir/Patient/1", f"{PUBLIC}/Patient/1"),
        ("/Patient/1", None),
        ("//fhir/Patient/1", None),
        ("http://other.example/fhir/Patient/1", None),
        (f"{UPSTREAM}/Patient/1?x=1", None),
        (f"{UPSTREAM}/Patient/1#x", None),
        (f"{UPSTREAM}/Patient/..", None),
        (f"{UPSTREAM}/Patient/1/$everything", None),
        (f"{UPSTREAM}/Patient", None),
        (f"{UPSTREAM}@evil.example/Patient/1", None),
        (f"{UPSTREAM}/Patient/1\r\nX: y", None),
        ("", None),
    ],
)
def test_locations(value: str, public: str | None) -> None:
    assert public_location(value, BASES) == public
