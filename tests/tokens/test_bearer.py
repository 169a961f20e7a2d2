"""The Authorization header."""

from __future__ import annotations

import pytest

from smart_gateway.errors import HeadersTooLarge, RequestError, TokenError, TokenMissing
from smart_gateway.request.limits import Limits
from smart_gateway.tokens.bearer import read_token
from smart_gateway.tokens.presented import Scheme

LIMITS = Limits(token=64)


def read(*values: bytes) -> str | None:
    return read_token([(b"host", b"x"), *((b"authorization", value) for value in values)], LIMITS)[1]


def test_no_header_is_no_token() -> None:
    assert read() is None


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer abc.def-_~+/==", "abc.def-_~+/=="),
        (b"bearer abc", "abc"),
        (b"BEARER abc", "abc"),
        (b"Bearer   abc", "abc"),
        (b"Bearer " + b"a" * 64, "a" * 64),
    ],
)
def test_bearer_in_any_case(value: bytes, token: str) -> None:
    assert read(value) == token


def test_header_name_in_any_case() -> None:
    assert read_token([(b"Authorization", b"Bearer abc")], LIMITS) == (Scheme.BEARER, "abc")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b" Bearer abc",
        b"Bearer abc ",
        b"Bearer\tabc",
        b"Bearer abc def",
        b"Bearer abc, Bearer def",
        b"Bearer abc,def",
        b"Bearer =abc",
        b"Bearer a=b",
        b"Bearer a\nb",
        b"Bearer abc\n",
        b"Bearer \xc3\xa4",
        b"Bearer a\x00",
        b"Bearerabc",
        b"Token abc",
        b"Basic dXNlcjpwYXNz",
        b"DPoP",
        b"DPoP abc def",
        b"abc",
    ],
)
def test_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(TokenError) as refused:
        read(value)
    assert refused.value.status == 401
    assert "abc" not in refused.value.text


@pytest.mark.parametrize("value", [b"Basic dXNlcjpwYXNz", b"Token abc", b"Negotiate abc", b""])
def test_another_scheme_is_no_authentication_hence_no_error_code(value: bytes) -> None:
    with pytest.raises(TokenMissing) as refused:
        read(value)
    assert refused.value.error is None


@pytest.mark.parametrize("value", [b"DPoP abc", b"dpop abc", b"DPOP  abc"])
def test_dpop_in_any_case(value: bytes) -> None:
    assert read_token([(b"authorization", value)], LIMITS) == (Scheme.DPOP, "abc")


@pytest.mark.parametrize("values", [(b"Bearer a", b"Bearer a"), (b"Bearer a", b"Basic b"), (b"", b"")])
def test_two_authorization_headers_are_a_bad_request(values: tuple[bytes, bytes]) -> None:
    with pytest.raises(RequestError) as refused:
        read(*values)
    assert (refused.value.status, refused.value.reason) == (400, "duplicate-header")


@pytest.mark.parametrize("value", [b"Bearer " + b"a" * 65, b"Bearer " + b"a" * 100_000, b"Basic " + b"a" * 100_000])
def test_a_long_token_is_431(value: bytes) -> None:
    with pytest.raises(HeadersTooLarge) as refused:
        read(value)
    assert refused.value.status == 431
