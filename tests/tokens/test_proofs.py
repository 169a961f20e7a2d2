"""Proofs, thumbprints and nonces by the examples of their specifications."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.errors import ProofRefused
from smart_gateway.tokens.dpop import ProofRules, read_proof
from smart_gateway.tokens.nonces import Nonces
from smart_gateway.tokens.presented import Presented, Scheme
from smart_gateway.tokens.thumbprints import certificate_thumbprint, jwk_thumbprint
from tests.support.certificates import self_signed
from tests.support.issuer import SigningKey, make_key
from tests.support.proofs import hashed, proof, public_jwk, thumbprint

# RFC 9449 section 7.1, figure 12 and what it says beside; the key's thumbprint is that of section 6.1.
EXAMPLE = (
    b"eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR"
    b"nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaH"
    b"RtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJa"
    b"M0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhA"
    b"JpLjA"
)
THEN = 1_562_262_618.0
JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
ASKED = Presented(
    "GET",
    "https://resource.example.org/protectedresource",
    token="Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
    scheme=Scheme.DPOP,
    proofs=(EXAMPLE,),
)


def test_the_example_of_rfc_9449() -> None:
    made = read_proof(ASKED, JKT, ProofRules(), THEN)
    assert (made.lasts, made.nonce) == (91.0, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "POST"}, "proof-other-request"),
        ({"url": "https://resource.example.org/protectedresource/"}, "proof-other-request"),
        ({"token": "another"}, "proof-other-token"),
        ({"proofs": ()}, "proof-missing"),
        ({"proofs": (EXAMPLE, EXAMPLE)}, "proof-doubled"),
        ({"proofs": (EXAMPLE[:-5] + b"AAAAA",)}, "proof-signature"),
    ],
    ids=str,
)
def test_the_example_for_anything_else(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ProofRefused) as refused:
        read_proof(replace(ASKED, **change), JKT, ProofRules(), THEN)  # type: ignore[arg-type]
    assert (refused.value.reason, refused.value.error, refused.value.status) == (reason, "invalid_dpop_proof", 401)


def identified(key: SigningKey, jti: str) -> str:
    """The id of a good proof."""
    shown = proof(key, "t", url="https://x.example/a", now=THEN, jti=jti).encode()
    asked = Presented("GET", "https://x.example/a", token="t", scheme=Scheme.DPOP, proofs=(shown,))
    return read_proof(asked, thumbprint(key), ProofRules(), THEN).id


def test_ids_are_of_their_key_and_hold_nothing_of_the_proof() -> None:
    key, other = make_key("ES256", "one"), make_key("ES256", "two")
    assert identified(key, "a") == identified(key, "a")
    assert len({identified(key, "a"), identified(key, "b"), identified(other, "a")}) == 3
    assert len(identified(key, "x" * 1000)) == 43


RFC_7638 = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64t"
    "Z_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbO"
    "pbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
RFC_8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


def test_thumbprints_of_the_specifications() -> None:
    """RFC 7638 section 3.1, RFC 8037 appendix A.3."""
    assert jwk_thumbprint(RFC_7638) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert jwk_thumbprint(RFC_8037) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_thumbprints_agree_with_an_independent_reckoning(alg: str) -> None:
    key = make_key(alg)
    assert jwk_thumbprint(public_jwk(key)) == jwk_thumbprint(key.jwk()) == thumbprint(key)


@pytest.mark.parametrize("member", ["n", "e", "kty"])
@pytest.mark.parametrize("value", [None, 5, "", "a b", "AQAB=", 'A","x":"', "ä", ["AQAB"]])
def test_no_thumbprint_of_what_is_no_key(member: str, value: object) -> None:
    """A member that JSON could write in several ways has no one thumbprint."""
    assert jwk_thumbprint({**RFC_7638, member: value}) is None
    assert jwk_thumbprint({name: known for name, known in RFC_7638.items() if name != member}) is None


def test_the_thumbprint_of_a_certificate_is_of_its_der() -> None:
    """RFC 8705 section 3.1."""
    known = self_signed("robot")
    assert certificate_thumbprint(known.der) == hashed(known.der)


@given(text=st.text(max_size=60))
def test_no_text_is_a_nonce_unless_it_was_made_here(text: str) -> None:
    assert not Nonces([b"k" * 32], "https://fhir.example").counts(text, "https://idp.example", THEN)


@given(later=st.floats(-300, 299), issuer=st.text(max_size=20))
def test_a_nonce_counts_for_five_minutes_and_its_issuer(later: float, issuer: str) -> None:
    nonces = Nonces([b"k" * 32], "https://fhir.example")
    made = nonces.make(issuer, THEN)
    assert nonces.counts(made, issuer, THEN + later)
    assert not nonces.counts(made, issuer + "x", THEN + later)
    assert not nonces.counts(made, issuer, THEN + 301)
