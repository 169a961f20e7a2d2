"""The cache of verified tokens, the deny list, and the settings of issuers."""

from __future__ import annotations

from typing import Any

import pytest

from smart_gateway.errors import SettingsError, TokenError
from smart_gateway.fhir.references import Bases
from smart_gateway.principal import Principal
from smart_gateway.tokens import algorithms, jwt, registered_claims
from smart_gateway.tokens.cache import DenyList, VerifiedTokens, token_digest
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.verifier import Verifier
from tests.support.issuer import AUDIENCE, ISSUER, NOW, MemoryTransport, ScriptedIssuer, make_key

BASES = Bases(public=AUDIENCE, upstream="http://127.0.0.1:8090/fhir")
ISSUED = ScriptedIssuer(keys=[make_key("ES256")])


def verifier(**options: Any) -> Verifier:
    return Verifier([IssuerConfig(ISSUER, (AUDIENCE,))], BASES, MemoryTransport(ISSUED), **options)


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry per signature that is checked."""
    checked: list[str] = []

    def counting(algorithm: algorithms.SignatureAlgorithm, *arguments: Any) -> bool:
        checked.append(algorithm.name)
        return algorithms.signature_holds(algorithm, *arguments)

    monkeypatch.setattr(jwt, "signature_holds", counting)
    return checked


async def reason_of(gate: Verifier, token: str, now: float) -> str:
    with pytest.raises(TokenError) as refused:
        await gate.verify(token, now)
    return refused.value.reason


async def test_claims_are_judged_against_the_issuer_that_was_picked() -> None:
    with pytest.raises(TokenError) as refused:
        registered_claims.check_claims(jwt.parse_jwt(ISSUED.token(iss="https://other.example")), IssuerConfig(ISSUER, (AUDIENCE,)), NOW)
    assert refused.value.reason == "unknown-issuer"


async def test_the_same_token_costs_no_cryptography_and_is_the_same_object(signatures: list[str]) -> None:
    gate, token = verifier(), ISSUED.token()
    first = await gate.verify(token, NOW)
    assert await gate.verify(token, NOW + 59.9) is first
    assert signatures == ["ES256"]
    again = await gate.verify(token, NOW + 60)
    assert again == first
    assert again is not first
    assert signatures == ["ES256"] * 2


async def test_cache_past_exp() -> None:
    gate, token = verifier(), ISSUED.token(exp=NOW + 10)
    await gate.verify(token, NOW + 9.999)
    assert await reason_of(gate, token, NOW + 10) == "expired"
    assert await reason_of(gate, token, NOW + 9999) == "expired"


async def test_clock_set_back_is_no_hit(signatures: list[str]) -> None:
    gate, token = verifier(), ISSUED.token(iat=...)
    await gate.verify(token, NOW)
    await gate.verify(token, NOW - 3600)
    assert len(signatures) == 2


async def test_a_refused_token_is_judged_anew(signatures: list[str]) -> None:
    gate, token = verifier(), ISSUED.token(nbf=NOW + 60)
    assert await reason_of(gate, token, NOW) == "not-yet-valid"
    assert (await gate.verify(token, NOW + 31)).patient == "123"
    assert len(signatures) == 2


async def test_a_forged_twin_of_a_cached_token_is_no_hit() -> None:
    gate, token = verifier(), ISSUED.token()
    await gate.verify(token, NOW)
    head, payload, _ = token.split(".")
    other_signature = ISSUED.token(make_key("ES256", "stranger")).split(".")[2]
    assert await reason_of(gate, f"{head}.{payload}.{other_signature}", NOW) == "bad-signature"


@pytest.mark.parametrize("denied", [DenyList(token_ids=frozenset({"token-1"})), DenyList(subjects=frozenset({"subject-1"}))])
async def test_revoked_but_cached(denied: DenyList) -> None:
    gate, token = verifier(), ISSUED.token()
    await gate.verify(token, NOW)
    gate.deny_list = denied
    assert await reason_of(gate, token, NOW) == "revoked"
    assert await reason_of(verifier(deny_list=denied), token, NOW) == "revoked"
    assert (await gate.verify(ISSUED.token(jti="other", sub="other"), NOW)).token_id == "other"
    assert (await gate.verify(ISSUED.token(jti=..., sub=...), NOW)).token_id is None


async def test_the_least_recently_used_leaves_first(signatures: list[str]) -> None:
    gate = verifier(cache_size=2)
    first, second, third = (ISSUED.token(jti=name) for name in "abc")
    for token in (first, second, first, third):
        await gate.verify(token, NOW)
    assert len(signatures) == 3
    await gate.verify(first, NOW)
    assert len(signatures) == 3
    await gate.verify(second, NOW)
    assert len(signatures) == 4


async def test_a_cache_of_size_zero_keeps_nothing(signatures: list[str]) -> None:
    gate, token = verifier(cache_size=0), ISSUED.token()
    await gate.verify(token, NOW)
    await gate.verify(token, NOW)
    assert len(signatures) == 2


@pytest.mark.parametrize("expires_at", [None, 0.0, NOW - 1, NOW])
def test_a_principal_without_a_future_is_not_kept(expires_at: float | None) -> None:
    kept = VerifiedTokens(10, 60)
    kept.put(b"digest", Principal(issuer=ISSUER, expires_at=expires_at), NOW)
    assert kept.get(b"digest", NOW) is None


def test_digests_tell_tokens_apart_and_hold_none() -> None:
    assert token_digest("a") != token_digest("b")
    assert len(token_digest("a" * 10_000)) == 32
    assert token_digest("\ud800")


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": ""},
        {"audiences": ()},
        {"audiences": ("",)},
        {"algorithms": ()},
        {"algorithms": ("HS256",)},
        {"algorithms": ("RS256", "none")},
        {"algorithms": ("ES256K",)},
        {"leeway": -1.0},
        {"leeway": float("nan")},
        {"max_token_lifetime": 0.0},
        {"jwks_uri": "https://x/keys", "jwks_file": "keys.json"},
    ],
)
def test_settings_that_would_let_anything_in_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        IssuerConfig(**{"issuer": ISSUER, "audiences": (AUDIENCE,), **wrong})


@pytest.mark.parametrize("issuers", [[], [IssuerConfig(ISSUER, (AUDIENCE,)), IssuerConfig(ISSUER, ("other",))]])
def test_issuers_are_a_closed_list_of_different_ones(issuers: list[IssuerConfig]) -> None:
    with pytest.raises(SettingsError):
        Verifier(issuers, BASES, MemoryTransport())
