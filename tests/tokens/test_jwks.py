"""Which published keys may verify what."""

from __future__ import annotations

from typing import Any

import pytest
from jwt.algorithms import get_default_algorithms

from smart_gateway.tokens.algorithms import ALGORITHMS, signature_holds
from smart_gateway.tokens.jwks import KeySet, parse_key_set
from smart_gateway.tokens.transport import FetchError
from tests.support.issuer import make_key

_ALGORITHMS = get_default_algorithms()
RSA = make_key("RS256")
EC = make_key("ES256")


def usable(*jwks: Any) -> KeySet:
    return parse_key_set({"keys": list(jwks)})


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_a_key_of_every_algorithm_is_usable_for_it_alone(alg: str) -> None:
    keys = usable(make_key(alg).jwk())
    for name, algorithm in ALGORITHMS.items():
        assert bool(keys.candidates("key-1", algorithm)) is (name == alg)


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_a_key_without_alg_fits_every_algorithm_of_its_kind(alg: str) -> None:
    keys = usable(make_key(alg).jwk(alg=None, use=None))
    for algorithm in ALGORITHMS.values():
        same_kind = (algorithm.kty, algorithm.crv) == (ALGORITHMS[alg].kty, ALGORITHMS[alg].crv)
        assert bool(keys.candidates("key-1", algorithm)) is same_kind


@pytest.mark.parametrize(
    "jwk",
    [
        RSA.jwk(use="enc"),
        RSA.jwk(use=["sig"]),
        RSA.jwk(use=None, key_ops=["encrypt"]),
        RSA.jwk(key_ops=["sign"]),
        RSA.jwk(key_ops="verify"),
        RSA.jwk(key_ops=[]),
        RSA.jwk(alg="HS256"),
        RSA.jwk(alg="RSA-OAEP"),
        RSA.jwk(alg="none"),
        RSA.jwk(alg=5),
        RSA.jwk(kty="oct"),
        RSA.jwk(kty="EC"),
        RSA.jwk(kty=None),
        RSA.jwk(kty=["RSA"]),
        RSA.jwk(kid=7),
        RSA.jwk(n=None),
        RSA.jwk(n=12),
        RSA.jwk(n="!!"),
        RSA.jwk(n=""),
        RSA.jwk(e="AQ"),
        RSA.jwk(d="AQAB"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "key-1"},
        make_key("RS256", bits=1024).jwk(),
        make_key("ES256K").jwk(alg=None),
        EC.jwk(crv="P-384"),
        EC.jwk(crv="P-999"),
        EC.jwk(x="AAAA"),
        EC.jwk(y=EC.jwk()["x"]),
        EC.jwk(d="AAAA"),
        make_key("EdDSA").jwk(crv="Ed448"),
        make_key("EdDSA").jwk(crv="X25519"),
        make_key("EdDSA").jwk(x="AAAA"),
        None,
        "key",
        [],
        {},
    ],
)
def test_an_unusable_key_is_left_out_and_the_others_stay(jwk: Any) -> None:
    good = make_key("ES384", "good").jwk()
    assert [key.kid for key in usable(jwk, good).keys] == ["good"]


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_a_key_published_with_its_private_half_is_left_out(alg: str) -> None:
    private = _ALGORITHMS[alg].to_jwk(make_key(alg).private, as_dict=True)
    private.pop("key_ops", None)
    assert "d" in private
    assert usable(private).keys == ()


def test_a_key_for_verification_by_key_ops_is_usable() -> None:
    assert usable(RSA.jwk(use=None, key_ops=["verify"])).keys


@pytest.mark.parametrize("document", [None, [], "keys", 5, {}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"keys": [{}] * 101}])
def test_what_is_no_key_set_is_no_answer(document: Any) -> None:
    with pytest.raises(FetchError):
        parse_key_set(document)


def test_a_token_without_kid_needs_the_one_key_that_fits() -> None:
    rs256 = ALGORITHMS["RS256"]
    one = usable(RSA.jwk(), EC.jwk())
    two = usable(RSA.jwk(), make_key("RS256", "key-2").jwk())
    assert [key.kid for key in one.candidates(None, rs256)] == ["key-1"]
    assert two.candidates(None, rs256) == ()


def test_a_kid_never_falls_back_to_keys_without_one() -> None:
    keys = usable(make_key("RS256", None).jwk())
    assert keys.candidates("key-1", ALGORITHMS["RS256"]) == ()
    assert len(keys.candidates(None, ALGORITHMS["RS256"])) == 1


@pytest.mark.parametrize("kid", ["KEY-1", "key-1 ", "key‐1", "", "key-11"])
def test_kids_are_compared_whole(kid: str) -> None:
    assert usable(RSA.jwk()).candidates(kid, ALGORITHMS["RS256"]) == ()


def test_doubled_kids_are_all_tried() -> None:
    other = make_key("RS256", "other").jwk(kid="key-1")
    assert len(usable(RSA.jwk(), other, EC.jwk()).candidates("key-1", ALGORITHMS["RS256"])) == 2


@pytest.mark.parametrize("key", [EC.private.public_key(), None, "secret", make_key("ES384").private.public_key()])
def test_a_key_that_the_library_refuses_verifies_nothing(key: Any) -> None:
    assert not signature_holds(ALGORITHMS["RS256"], key, b"data", RSA.sign(b"data"))
    assert signature_holds(ALGORITHMS["RS256"], RSA.private.public_key(), b"data", RSA.sign(b"data"))
