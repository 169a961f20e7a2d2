"""Attacks on tokens, each by name. Every one starts from a token that would be accepted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from smart_gateway.errors import TokenError
from smart_gateway.fhir.references import Bases
from smart_gateway.principal import Principal
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.possession import Possessions
from smart_gateway.tokens.presented import Presented
from smart_gateway.tokens.verifier import Verifier
from tests.support.issuer import (
    AUDIENCE,
    ISSUER,
    NOW,
    MemoryTransport,
    ScriptedIssuer,
    SigningKey,
    access_claims,
    compact,
    encode,
    make_key,
)

BASES = Bases(public=AUDIENCE, upstream="http://127.0.0.1:8090/fhir")
RSA, EC, ED = make_key("RS256"), make_key("ES256", "ec"), make_key("EdDSA", "ed")
ISSUED = ScriptedIssuer(keys=[RSA, EC, ED])


def verifier(*issuers: ScriptedIssuer, **settings: Any) -> tuple[Verifier, MemoryTransport]:
    issuers = issuers or (ISSUED,)
    transport = MemoryTransport(*issuers)
    return Verifier([IssuerConfig(issuer.issuer, (AUDIENCE,), **settings) for issuer in issuers], BASES, transport), transport


async def accept(token: str, now: float = NOW, **settings: Any) -> Principal:
    return await verifier(**settings)[0].verify(token, now)


async def refuse(token: str, reason: str | None = None, now: float = NOW, **settings: Any) -> None:
    with pytest.raises(TokenError) as refused:
        await accept(token, now, **settings)
    assert refused.value.status == 401
    assert refused.value.error == "invalid_token"
    if reason is not None:
        assert refused.value.reason == reason


def header(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {"alg": "RS256", "kid": "key-1", "typ": "at+jwt", **changes}.items() if value is not ...}


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.alg)
async def test_the_honest_token_is_accepted(key: SigningKey) -> None:
    assert (await accept(ISSUED.token(key))).patient == "123"


# --- algorithms and keys


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", " none", "none "])
@pytest.mark.parametrize("signature", ["", "AA", "e30"])
async def test_alg_none(alg: str, signature: str) -> None:
    unsigned = compact(header(alg=alg), access_claims(), None)
    await refuse(unsigned + signature)


def public_forms(key: SigningKey) -> list[bytes]:
    public = key.private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return [pem, pem.strip(), der, json.dumps(key.jwk()).encode(), b""]


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.alg)
async def test_key_confusion_hmac_with_the_public_key(alg: str, key: SigningKey) -> None:
    signed = f"{encode(json.dumps(header(alg=alg, kid=key.kid)).encode())}.{encode(json.dumps(access_claims()).encode())}"
    for secret in public_forms(key):
        mac = hmac.new(secret, signed.encode(), getattr(hashlib, "sha" + alg[2:])).digest()
        await refuse(f"{signed}.{encode(mac)}", "algorithm-refused")


async def test_oct_key_in_the_set_is_never_used() -> None:
    issuer = ScriptedIssuer(published=[{"kty": "oct", "k": encode(b"s" * 32), "kid": "hmac", "alg": "HS256"}, RSA.jwk()])
    signed = f"{encode(json.dumps(header(alg='HS256', kid='hmac')).encode())}.{encode(json.dumps(access_claims()).encode())}"
    mac = hmac.new(b"s" * 32, signed.encode(), hashlib.sha256).digest()
    with pytest.raises(TokenError):
        await verifier(issuer)[0].verify(f"{signed}.{encode(mac)}", NOW)


@pytest.mark.parametrize("alg", ["RS512", "ES512", "PS512", "PS384", "ES256K", "RS1", "EdDSA ", "rs256", "A128KW", "dir"])
async def test_algorithm_outside_the_allow_list(alg: str) -> None:
    await refuse(compact(header(alg=alg), access_claims(), RSA), "algorithm-refused")


@pytest.mark.parametrize("alg", [None, 5, True, ["RS256"], {"RS256": 1}, ...])
async def test_alg_that_is_no_name(alg: Any) -> None:
    await refuse(compact(header(alg=alg), access_claims(), RSA), "algorithm-refused")


async def test_allow_list_is_per_issuer() -> None:
    await refuse(ISSUED.token(RSA), "algorithm-refused", algorithms=("ES256",))
    await accept(ISSUED.token(EC), algorithms=("ES256",))


@pytest.mark.parametrize(
    ("alg", "key"),
    [("ES256", RSA), ("RS256", EC), ("EdDSA", RSA), ("RS256", ED), ("ES384", EC), ("PS256", RSA), ("RS384", RSA)],
    ids=lambda value: value if isinstance(value, str) else value.alg,
)
async def test_wrong_key_type_or_use_for_alg(alg: str, key: SigningKey) -> None:
    await refuse(compact(header(alg=alg, kid=key.kid), access_claims(), key), "unknown-key")


async def test_es256_with_a_key_on_the_wrong_curve() -> None:
    wrong = make_key("ES384", "ec-384")
    issuer = ScriptedIssuer(published=[wrong.jwk(alg="ES256"), wrong.jwk(kid="bare", alg=None), RSA.jwk()])
    for kid in ("ec-384", "bare"):
        with pytest.raises(TokenError):
            await verifier(issuer)[0].verify(compact(header(alg="ES256", kid=kid), access_claims(), wrong), NOW)


@pytest.mark.parametrize(
    "signature", [b"\0" * 64, b"\0" * 63 + b"\1", b"\0" * 31 + b"\1" + b"\0" * 32, b"\xff" * 64, b"", b"\0", b"\0" * 96]
)
async def test_psychic_signature(signature: bytes) -> None:
    signed = ISSUED.token(EC).rpartition(".")[0]
    await refuse(f"{signed}.{encode(signature)}")


async def test_der_signature_is_not_the_raw_form() -> None:
    der = b"\x30\x06\x02\x01\x01\x02\x01\x01"
    await refuse(f"{ISSUED.token(EC).rpartition('.')[0]}.{encode(der)}", "bad-signature")


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.alg)
async def test_claims_changed_under_a_signature(key: SigningKey) -> None:
    head, _, signature = ISSUED.token(key).split(".")
    await refuse(f"{head}.{encode(json.dumps(access_claims(patient='999')).encode())}.{signature}", "bad-signature")


async def test_signed_by_a_stranger_under_a_known_kid() -> None:
    await refuse(ISSUED.token(make_key("RS256", "stranger"), header={"kid": "key-1"}), "bad-signature")


async def test_weak_rsa_key_is_ignored() -> None:
    weak = make_key("RS256", "weak", bits=1024)
    issuer = ScriptedIssuer(keys=[weak, RSA])
    with pytest.raises(TokenError):
        await verifier(issuer)[0].verify(issuer.token(weak), NOW)


async def test_encryption_key_verifies_nothing() -> None:
    issuer = ScriptedIssuer(published=[RSA.jwk(use="enc"), EC.jwk()])
    with pytest.raises(TokenError):
        await verifier(issuer)[0].verify(issuer.token(RSA), NOW)


# --- headers that name keys, and criticality


def embedded(stranger: SigningKey) -> list[dict[str, Any]]:
    return [
        {"jwk": stranger.jwk()},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"jku": "https://evil.example/keys", "kid": "stranger"},
        {"jku": f"{ISSUER}/keys@evil.example", "jwk": stranger.jwk(), "x5u": "file:///etc/passwd"},
    ]


@pytest.mark.parametrize("parameters", embedded(make_key("RS256", "stranger")), ids="+".join)
async def test_keys_named_by_the_token_are_never_used_nor_fetched(parameters: dict[str, Any]) -> None:
    stranger = make_key("RS256", "stranger")
    gate, transport = verifier()
    with pytest.raises(TokenError):
        await gate.verify(ISSUED.token(stranger, header={"kid": "key-1", **parameters}), NOW)
    assert set(transport.asked) <= {ISSUED.discovery_uri, ISSUED.jwks_uri}


async def test_url_parameters_are_ignored_on_an_honest_token() -> None:
    gate, transport = verifier()
    await gate.verify(ISSUED.token(header={"jku": "https://evil.example/keys", "x5u": "https://evil.example/c"}), NOW)
    assert set(transport.asked) == {ISSUED.discovery_uri, ISSUED.jwks_uri}


@pytest.mark.parametrize("crit", [[], ["exp"], ["b64"], ["http://x"], "exp", None, {}, [1], False])
async def test_crit_is_refused_whatever_it_holds(crit: Any) -> None:
    await refuse(ISSUED.token(header={"crit": crit}), "header-refused")


@pytest.mark.parametrize("b64", [True, False, None, "false"])
async def test_b64_is_refused(b64: Any) -> None:
    await refuse(ISSUED.token(header={"b64": b64}), "header-refused")


async def test_unencoded_payload_with_b64_and_crit() -> None:
    parameters = header(b64=False, crit=["b64"])
    payload = json.dumps(access_claims())
    signed = f"{encode(json.dumps(parameters).encode())}.{payload}"
    await refuse(f"{signed}.{encode(RSA.sign(signed.encode()))}")


@pytest.mark.parametrize("parameters", [{"zip": "DEF"}, {"enc": "A128GCM"}, {"cty": "JWT"}])
async def test_compressed_encrypted_and_nested_by_header(parameters: dict[str, Any]) -> None:
    await refuse(ISSUED.token(header=parameters), "header-refused")


@pytest.mark.parametrize("kid", ["", "../../../dev/null", "key-1\0", "key-1' OR '1'='1", "KEY-1", "key-1 ", "k" * 5000])
async def test_kid_injection(kid: str) -> None:
    await refuse(ISSUED.token(header={"kid": kid}), "unknown-key")


@pytest.mark.parametrize("kid", [None, 1, ["key-1"], {"key-1": 1}, True])
async def test_kid_that_is_no_string(kid: Any) -> None:
    await refuse(ISSUED.token(header={"kid": kid}), "malformed-token")


async def test_no_kid_with_several_keys_that_fit() -> None:
    issuer = ScriptedIssuer(keys=[RSA, make_key("RS256", "key-2")])
    with pytest.raises(TokenError):
        await verifier(issuer)[0].verify(issuer.token(RSA, header={"kid": ...}), NOW)
    await accept(ISSUED.token(RSA, header={"kid": ...}))


# --- the compact form


async def test_jwe_with_five_parts() -> None:
    await refuse("e30.AA.AA.AA.AA", "encrypted-token")


async def test_jws_json_serialization() -> None:
    head, payload, signature = ISSUED.token().split(".")
    await refuse(json.dumps({"protected": head, "payload": payload, "signature": signature}))
    await refuse(json.dumps({"payload": payload, "signatures": [{"protected": head, "signature": signature}]}))


async def test_nested_jwt() -> None:
    await refuse(compact(header(), ISSUED.token().encode(), RSA), "malformed-token")


async def test_detached_payload() -> None:
    head, _, signature = ISSUED.token().split(".")
    await refuse(f"{head}..{signature}", "malformed-token")


async def test_signature_stripped() -> None:
    signed = ISSUED.token().rpartition(".")[0]
    await refuse(signed)
    await refuse(signed + ".")


async def test_opaque_token() -> None:
    await refuse("d4c3b2a1-opaque", "opaque-token")


def spoiled(token: str) -> dict[str, str]:
    head, payload, signature = token.split(".")
    return {
        "padded header": f"{head}=.{payload}.{signature}",
        "padded payload": f"{head}.{payload}==.{signature}",
        "padded signature": f"{head}.{payload}.{signature}==",
        "standard alphabet": f"{head}.{payload}.+/{signature[2:]}",
        "space": f"{head}. {payload}.{signature}",
        "leading space": f" {token}",
        "trailing newline": f"{token}\n",
        "newline inside": f"{head}.{payload[:10]}\n{payload[10:]}.{signature}",
        "four parts": f"{token}.",
        "leading dot": f".{token}",
        "fullwidth": f"{head}.{payload}.{signature[:-1]}Ａ",
        "nul": f"{token}\0",
        "bad length": f"{head}.{payload}.{signature[:-1]}",
        "prefix": f"Bearer {token}",
        "twice": f"{token},{token}",
    }


@pytest.mark.parametrize("name", spoiled("a.b.c"))
async def test_base64url_is_strict(name: str) -> None:
    await refuse(spoiled(ISSUED.token())[name])


async def test_non_canonical_trailing_bits() -> None:
    token = ISSUED.token(RSA)  # 256 bytes of signature: the last character carries four bits that must be zero
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) + 1]
    assert base64.urlsafe_b64decode(twin.split(".")[2] + "==") == base64.urlsafe_b64decode(token.split(".")[2] + "==")
    await accept(token)
    await refuse(twin, "malformed-token")


@pytest.mark.parametrize(
    "payload",
    [
        b'{"patient":"999",' + json.dumps(access_claims()).encode()[1:],
        json.dumps(access_claims()).encode()[:-1] + b',"aud":"x"}',
        json.dumps(access_claims()).encode()[:-1] + b',"act":{"a":1,"a":2}}',
        json.dumps(access_claims()).encode()[:-1] + b',"p\\u0061tient":"999"}',
    ],
)
async def test_doubled_claims(payload: bytes) -> None:
    await refuse(compact(header(), payload, RSA), "malformed-token")


async def test_doubled_header_parameter() -> None:
    await refuse(compact(b'{"alg":"none","alg":"RS256","kid":"key-1"}', access_claims(), RSA), "malformed-token")


@pytest.mark.parametrize(
    "part", [b"", b"[]", b'"x"', b"null", b"1", b"{", b"{}}", b"\xef\xbb\xbf{}", b"\xff", "{}".encode("utf-16"), b"[" * 5000]
)
async def test_parts_that_are_no_objects(part: bytes) -> None:
    await refuse(compact(header(), part, RSA))
    await refuse(compact(part, access_claims(), RSA))


async def test_a_huge_token_is_refused_in_linear_time() -> None:
    await refuse("a" * 1_000_000)
    await refuse(".".join(["a" * 300_000] * 3))
    await refuse("." * 1_000_000)


# --- claims


@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER + "/",
        ISSUER.upper(),
        ISSUER[:-1],
        ISSUER + "x",
        ISSUER.replace("https", "http"),
        ISSUER.replace("example", "exаmple"),
        ISSUER.replace("idp.", "idp．"),
        ISSUER + "\0",
        "https://idp.example.org/realms/../realms/smart",
        "",
        None,
        5,
        [ISSUER],
        {"iss": ISSUER},
        ...,
    ],
)
async def test_issuer_is_compared_whole(issuer: Any) -> None:
    await refuse(ISSUED.token(iss=issuer), "unknown-issuer")


@pytest.mark.parametrize(
    "audience",
    [
        AUDIENCE + "/",
        AUDIENCE + "/x",
        AUDIENCE[:-1],
        AUDIENCE.upper(),
        "https://fhir.example.org",
        AUDIENCE.replace("https", "http"),
        AUDIENCE + "?x",
        AUDIENCE + " ",
        f"{AUDIENCE} https://x",
        AUDIENCE.replace("fhir.example", "fhir.exаmple"),
        "*",
        "",
        None,
        5,
        True,
        [],
        [AUDIENCE, 5],
        [[AUDIENCE]],
        [AUDIENCE + "/"],
        {"aud": AUDIENCE},
        {AUDIENCE: 1},
        ...,
    ],
)
async def test_audience_is_compared_whole(audience: Any) -> None:
    await refuse(compact(header(), access_claims(aud=audience), RSA), "wrong-audience")


async def test_audience_among_others() -> None:
    await accept(ISSUED.token(audience=["account", AUDIENCE]))  # type: ignore[arg-type]


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt", ...])
async def test_types_of_access_tokens(typ: Any) -> None:
    await accept(ISSUED.token(header={"typ": typ}))


@pytest.mark.parametrize(
    "typ",
    [
        "dpop+jwt",
        "logout+jwt",
        "id+jwt",
        "application/jwt",
        "JWE",
        "JOSE",
        "at+jwt ",
        "at+jwt; x=y",
        "secevent+jwt",
        "client-authentication+jwt",
        "oauth-authz-req+jwt",
        "token-introspection+jwt",
        "at+ſwt",
        "",
        None,
        5,
        ["at+jwt"],
    ],
)
async def test_other_types_are_refused(typ: Any) -> None:
    await refuse(ISSUED.token(header={"typ": typ}), "wrong-token-type")


@pytest.mark.parametrize("claim", ["nonce", "at_hash", "c_hash"])
@pytest.mark.parametrize("typ", ["JWT", ...])
async def test_id_token_as_access_token(claim: str, typ: Any) -> None:
    for value in ("n-0S6", None, ""):
        await refuse(ISSUED.token(header={"typ": typ}, **{claim: value}), "id-token")


async def test_access_token_by_type_may_carry_a_nonce() -> None:
    await accept(ISSUED.token(header={"typ": "at+jwt"}, nonce="n"))


@pytest.mark.parametrize(
    "mark", [{"typ": "ID"}, {"typ": "Refresh"}, {"typ": "Offline"}, {"typ": "Logout"}, {"token_use": "id"}, {"token_type": "refresh"}]
)
async def test_other_tokens_by_their_issuers_own_mark(mark: dict[str, str]) -> None:
    await refuse(ISSUED.token(**mark), "wrong-token-type")


@pytest.mark.parametrize("mark", [{"typ": "Bearer"}, {"token_use": "access"}, {"token_type": "access"}])
async def test_access_tokens_by_their_issuers_own_mark(mark: dict[str, str]) -> None:
    await accept(ISSUED.token(**mark))


@pytest.mark.parametrize("cnf", [{}, None, "x", []])
async def test_a_token_bound_to_nothing(cnf: Any) -> None:
    await refuse(ISSUED.token(cnf=cnf), "sender-constrained")


@pytest.mark.parametrize(
    ("cnf", "reason"), [({"jkt": "x"}, "proof-missing"), ({"x5t#S256": "x"}, "certificate-missing"), ({"kid": "x"}, "sender-constrained")]
)
async def test_sender_constrained_token_without_its_proof(cnf: Any, reason: str) -> None:
    with pytest.raises(TokenError) as refused:
        await Possessions().check(Principal(ISSUER, confirmation=cnf), Presented("GET", "https://fhir.example/Patient/1"), NOW)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "exp",
    [..., None, True, False, "9999999999", [NOW + 300], {}, -1, 10**12, 10**400, 1e300, math.inf, -math.inf, math.nan],
)
async def test_exp_is_required_and_a_time(exp: Any) -> None:
    await refuse(ISSUED.token(exp=exp), "malformed-token")


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("value", [None, True, "0", [], -1, 10**400, math.nan, math.inf])
async def test_nbf_and_iat_are_times(claim: str, value: Any) -> None:
    await refuse(ISSUED.token(**{claim: value}), "malformed-token")


@pytest.mark.parametrize("exp", [NOW, NOW - 0.001, NOW - 29, NOW - 3600, 0, 0.0])
async def test_expired_without_any_leeway(exp: float) -> None:
    await refuse(ISSUED.token(exp=exp), "expired")


@pytest.mark.parametrize("exp", [NOW + 0.001, NOW + 1, int(NOW) + 1])
async def test_not_yet_expired(exp: float) -> None:
    assert (await accept(ISSUED.token(exp=exp))).expires_at == float(exp)


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_leeway_of_nbf_and_iat_at_its_edge(claim: str) -> None:
    await accept(ISSUED.token(**{claim: NOW + 30}))
    await refuse(ISSUED.token(**{claim: NOW + 30.5}), "not-yet-valid")
    await refuse(ISSUED.token(**{claim: NOW + 1}), "not-yet-valid", leeway=0.0)


async def test_tokens_that_live_too_long() -> None:
    await accept(ISSUED.token(exp=NOW + 3600), max_token_lifetime=3600.0)
    await refuse(ISSUED.token(exp=NOW + 3601), "lifetime-refused", max_token_lifetime=3600.0)
    await refuse(ISSUED.token(exp=NOW + 10, iat=...), "lifetime-refused", max_token_lifetime=3600.0)


@pytest.mark.parametrize("claim", ["sub", "jti"])
@pytest.mark.parametrize("value", [None, 5, ["x"], {}])
async def test_sub_and_jti_are_strings(claim: str, value: Any) -> None:
    await refuse(ISSUED.token(**{claim: value}), "malformed-token")


@pytest.mark.parametrize("act", [None, "proxy", [], 5])
async def test_an_actor_that_cannot_be_read_hides_nobody(act: Any) -> None:
    await refuse(ISSUED.token(act=act), "malformed-token")


# --- several issuers


OTHER = ScriptedIssuer(issuer="https://other.example.org", keys=[make_key("RS256", "other-key")])


async def test_same_kid_in_two_issuers() -> None:
    twin = ScriptedIssuer(issuer=OTHER.issuer, keys=[SigningKey("RS256", "key-1", make_key("RS256", "other-key").private)])
    gate, _ = verifier(ISSUED, twin)
    assert (await gate.verify(ISSUED.token(), NOW)).issuer == ISSUER
    assert (await gate.verify(twin.token(), NOW)).issuer == twin.issuer
    for forged in (ISSUED.token(twin.keys[0]), twin.token(RSA)):
        with pytest.raises(TokenError) as refused:
            await gate.verify(forged, NOW)
        assert refused.value.reason == "bad-signature"


async def test_a_token_of_one_issuer_by_the_key_of_another() -> None:
    gate, _ = verifier(ISSUED, OTHER)
    with pytest.raises(TokenError):
        await gate.verify(ISSUED.token(OTHER.keys[0]), NOW)


async def test_two_verifiers_share_no_cache() -> None:
    here, _ = verifier(ISSUED)
    there, _ = verifier(OTHER)
    token = ISSUED.token()
    await here.verify(token, NOW)
    with pytest.raises(TokenError):
        await there.verify(token, NOW)


# --- any bytes


@settings(max_examples=150, deadline=None)
@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")) | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*", fullmatch=True))
async def test_any_text_is_refused_as_a_token_and_nothing_else(text: str) -> None:
    await refuse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([ISSUER, AUDIENCE, NOW + 60]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
CLAIMS = st.sampled_from(
    ["iss", "aud", "exp", "nbf", "iat", "sub", "jti", "cnf", "act", "typ", "nonce", "patient", "fhirUser", "scope", "fhirContext"]
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(CLAIMS | st.just("authorization_details"), JSON, max_size=4))
async def test_any_signed_claims_are_judged_without_an_error(claims: dict[str, Any]) -> None:
    try:
        who = await accept(ISSUED.token(ED, **claims))
    except TokenError:
        return
    assert (who.issuer, who.expires_at is not None and who.expires_at > NOW) == (ISSUER, True)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jku", "b64", "x"]), JSON, min_size=1, max_size=3))
async def test_any_signed_header_is_judged_without_an_error(parameters: dict[str, Any]) -> None:
    try:
        await accept(compact({**header(alg="EdDSA", kid="ed"), **parameters}, access_claims(), ED))
    except TokenError:
        return
    assert parameters.keys().isdisjoint({"crit", "b64"})


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
async def test_one_changed_byte_spoils_a_token(place: int, byte: int) -> None:
    token = bytearray(ISSUED.token(ED).encode())
    place %= len(token)
    if token[place] != byte:
        token[place] = byte
        await refuse(token.decode("latin-1"))
