from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.answers.sealing import Sealer
from smart_gateway.errors import PageExpired, PageRefused
from tests.answers.conftest import NOW

KEY, OTHER = b"a" * 16, b"b" * 40
NONCE = b"n" * 12


@given(st.binary(), st.binary())
def test_opens_what_was_sealed(payload: bytes, context: bytes) -> None:
    sealer = Sealer([KEY], 60)
    assert sealer.open(sealer.seal(payload, context, NOW, NONCE), context, NOW + 59) == payload


def test_old_keys_open_and_the_first_seals() -> None:
    token = Sealer([KEY], 60).seal(b"x", b"c", NOW, NONCE)
    assert Sealer([OTHER, KEY], 60).open(token, b"c", NOW) == b"x"
    with pytest.raises(PageRefused):
        Sealer([KEY], 60).open(Sealer([OTHER, KEY], 60).seal(b"x", b"c", NOW, NONCE), b"c", NOW)


def test_expires() -> None:
    sealer = Sealer([KEY], 60)
    with pytest.raises(PageExpired):
        sealer.open(sealer.seal(b"x", b"c", NOW, NONCE), b"c", NOW + 60)


def test_a_stranger_does_not_learn_that_it_expired() -> None:
    sealer = Sealer([KEY], 60)
    with pytest.raises(PageRefused):
        sealer.open(sealer.seal(b"x", b"c", NOW, NONCE), b"other", NOW + 61)


def test_every_changed_byte_is_refused() -> None:
    sealer = Sealer([KEY], 60)
    token = sealer.seal(b"payload", b"c", NOW, NONCE)
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(PageRefused):
            sealer.open(base64.urlsafe_b64encode(changed).rstrip(b"=").decode(), b"c", NOW)


@pytest.mark.parametrize("token", ["", "x", "a" * 10, "a" * 200, "é" * 50, "a b" * 30, "=" * 60, "+/" * 40])
def test_garbage_is_refused(token: str) -> None:
    with pytest.raises(PageRefused):
        Sealer([KEY], 60).open(token, b"c", NOW)


def test_there_is_one_spelling() -> None:
    sealer = Sealer([KEY], 60)
    token = next(t for size in range(3) if len(t := sealer.seal(b"x" * size, b"c", NOW, NONCE)) % 4)
    for other in (token + "=", token + "==", token + "\n", token[:-1] + chr(ord(token[-1]) + 1)):
        with pytest.raises(PageRefused):
            sealer.open(other, b"c", NOW)


@pytest.mark.parametrize(("keys", "lifetime"), [([], 60), ([b"short"], 60), ([KEY, b""], 60), ([KEY], 0), ([KEY], -1)])
def test_weak_settings_are_refused(keys: list[bytes], lifetime: float) -> None:
    with pytest.raises(ValueError, match="seal"):
        Sealer(keys, lifetime)
