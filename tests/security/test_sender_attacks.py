"""Attacks on sender constraints, each by name: stolen tokens, stolen, forged and replayed proofs, forged certificates.

Every one starts from a request that would be answered.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import math
from dataclasses import replace
from typing import Any

import httpx
import pytest
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from smart_gateway.tokens.dpop import ProofRules
from smart_gateway.tokens.nonces import Nonces
from smart_gateway.tokens.possession import BindingRules, Possessions
from smart_gateway.tokens.shared_cache import LocalCache
from tests.support.asgi import NOW, FakeVerifier, Front, ScriptedUpstream, code_of, observation
from tests.support.certificates import authority
from tests.support.deciding import principal
from tests.support.issuer import ISSUER, SigningKey, compact, encode, make_key
from tests.support.proofs import hashed, proof, public_jwk, thumbprint

AMY, EVE = make_key("ES256", "amy"), make_key("ES256", "eve")
RSA, ED = make_key("RS256", "rsa"), make_key("EdDSA", "ed")
WEAK = make_key("RS256", "weak", 1024)
TOKEN, OTHER, BEARER, CERTIFIED, BOTH = "bound-token", "other-bound-token", "free-token", "certified-token", "twice-bound-token"
URL = "https://fhir.example.org/fhir/Observation/o1"
ROBOT = authority().issue("robot")
NONCES = Nonces([b"k" * 32], "https://fhir.example.org/fhir")


def bound(**confirmation: Any) -> Any:
    return replace(principal("patient/Observation.rs"), issuer=ISSUER, confirmation=confirmation)


def front(key: SigningKey = AMY, **rules: Any) -> Front:
    """A gateway that knows these tokens of the issuer, of which ``TOKEN`` and ``OTHER`` are bound to ``key``."""
    x5t = {"x5t#S256": hashed(ROBOT.der)}
    known = {
        TOKEN: bound(jkt=thumbprint(key)),
        OTHER: bound(jkt=thumbprint(key)),
        BEARER: bound(),
        CERTIFIED: bound(**x5t),
        BOTH: bound(jkt=thumbprint(key), **x5t),
    }
    possessions = Possessions({ISSUER: BindingRules(**rules)}, NONCES, LocalCache())
    return Front(ScriptedUpstream(observation()), possessions=possessions, verifier=FakeVerifier(known))


async def ask(
    front: Front, *proofs: str, token: str = TOKEN, scheme: str = "DPoP", method: str = "GET", target: str = "/Observation/o1"
) -> httpx.Response:
    headers = [("authorization", f"{scheme} {token}"), *(("dpop", one) for one in proofs)]
    return await front.request(method, target, token=None, headers=headers)


async def refused(front: Front, *proofs: str, code: str | None = None, status: int = 401, **asked: Any) -> httpx.Response:
    answer = await ask(front, *proofs, **asked)
    assert answer.status_code == status, answer.text
    if code is not None:
        assert code_of(answer) == code
    return answer


def challenge(answer: httpx.Response, scheme: str) -> str:
    """The challenge of one scheme."""
    found = [value for value in answer.headers.get_list("www-authenticate") if value.startswith(f"{scheme} ")]
    assert len(found) == 1, answer.headers
    return found[0]


@pytest.mark.parametrize("key", [AMY, RSA, ED, make_key("ES384"), make_key("RS384"), make_key("PS256")], ids=lambda key: key.alg)
async def test_the_honest_proof_is_accepted(key: SigningKey) -> None:
    assert (await ask(front(key), proof(key, TOKEN))).status_code == 200


# --- a stolen token


async def test_downgrade_to_bearer() -> None:
    """RFC 9449 section 7.2: a bound token is no bearer token, with a good proof or without."""
    gateway = front()
    for proofs in ((), (proof(AMY, TOKEN),)):
        answer = await refused(gateway, *proofs, code="proof-missing", scheme="Bearer")
        assert 'error="invalid_token"' in challenge(answer, "DPoP")
        assert "error" not in challenge(answer, "Bearer").replace("error_description", "")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
async def test_downgrade_to_bearer_in_other_spellings(scheme: str) -> None:
    await refused(front(), proof(AMY, TOKEN), code="proof-missing", scheme=scheme)


async def test_the_scheme_without_any_proof() -> None:
    answer = await refused(front(), code="proof-missing")
    assert 'error="invalid_dpop_proof"' in challenge(answer, "DPoP")
    assert 'algs="RS256 RS384 ES256 ES384 PS256 EdDSA"' in challenge(answer, "DPoP")


async def test_a_proof_by_the_thiefs_own_key() -> None:
    await refused(front(), proof(EVE, TOKEN), code="proof-other-key")


async def test_the_owners_public_key_with_the_thiefs_signature() -> None:
    await refused(front(), proof(AMY, TOKEN, signer=EVE), code="proof-signature")


async def test_a_free_token_dressed_up_as_a_bound_one() -> None:
    """RFC 9449 section 7.2: the scheme promises a binding that the token does not have."""
    gateway = front()
    await refused(gateway, proof(EVE, BEARER), code="not-bound", token=BEARER)
    await refused(gateway, code="not-bound", token=BEARER)
    assert (await ask(gateway, token=BEARER, scheme="Bearer")).status_code == 200


async def test_a_free_token_where_the_issuers_must_be_bound() -> None:
    for rules, scheme in (({"dpop_required": True}, "DPoP"), ({"mtls_required": True}, "Bearer")):
        answer = await refused(front(**rules), code="sender-constraint-required", token=BEARER, scheme="Bearer")
        assert 'error="invalid_token"' in challenge(answer, scheme)
    await refused(front(mtls_required=True), proof(AMY, TOKEN), code="sender-constraint-required")
    await refused(front(dpop_required=True), code="sender-constraint-required", token=CERTIFIED, scheme="Bearer")
    await refused(front(), code="certificate-missing", token=CERTIFIED, scheme="Bearer")


# --- a stolen proof


async def test_replay() -> None:
    gateway, once = front(), proof(AMY, TOKEN)
    assert (await ask(gateway, once)).status_code == 200
    await refused(gateway, once, code="proof-replayed")
    assert (await ask(gateway, proof(AMY, TOKEN))).status_code == 200


async def test_replay_under_another_signature() -> None:
    """ES256 signs the same claims another time in other bytes: it is the id that counts."""
    gateway = front()
    assert (await ask(gateway, proof(AMY, TOKEN, jti="x"))).status_code == 200
    await refused(gateway, proof(AMY, TOKEN, jti="x"), code="proof-replayed")


async def test_replay_to_the_last_moment() -> None:
    gateway, once, start = front(), proof(AMY, TOKEN, iat=int(NOW) + 30), NOW
    assert (await ask(gateway, once)).status_code == 200
    for later in (1.0, 60.0, 119.9, 120.0):
        gateway.reload(clock=lambda later=later: start + later)
        await refused(gateway, once, code="proof-replayed")
    gateway.reload(clock=lambda: start + 120.1)
    await refused(gateway, once, code="proof-out-of-time")


async def test_replay_in_parallel() -> None:
    gateway, once = front(), proof(AMY, TOKEN)
    answers = await asyncio.gather(*(ask(gateway, once) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19


async def test_replay_after_a_reload() -> None:
    """What was seen is handed on: a reload is no fresh start."""
    gateway, once, seen = front(), proof(AMY, TOKEN), LocalCache()
    for expected in (200, 401):
        gateway.reload(possessions=Possessions({ISSUER: BindingRules()}, NONCES, seen))
        assert (await ask(gateway, once)).status_code == expected


async def test_replay_at_another_worker() -> None:
    """With a cache that both share, they are one."""
    shared, once = LocalCache(), proof(AMY, TOKEN)
    statuses = []
    for gateway in (front(), front()):
        gateway.reload(possessions=Possessions({}, NONCES, shared))
        statuses.append((await ask(gateway, once)).status_code)
    assert statuses == [200, 401]


async def test_replay_once_there_is_no_room_to_remember() -> None:
    """Nothing that was seen is forgotten for want of room: then no proof counts."""
    gateway = front()
    gateway.reload(possessions=Possessions({}, NONCES, LocalCache(most_once=2)))
    statuses = [(await ask(gateway, proof(AMY, TOKEN))).status_code for _ in range(4)]
    assert statuses == [200, 200, 401, 401]


async def test_somebody_elses_ids_cannot_be_used_up() -> None:
    gateway = front()
    await refused(gateway, proof(EVE, TOKEN, jti="amys-next"), code="proof-other-key")
    await refused(gateway, proof(AMY, TOKEN, jti="amys-next", signer=EVE), code="proof-signature")
    await refused(gateway, proof(AMY, TOKEN, jti="amys-next", htm="PUT"), code="proof-other-request")
    assert (await ask(gateway, proof(AMY, TOKEN, jti="amys-next"))).status_code == 200


@pytest.mark.parametrize("method", ["POST", "get", "Get", "HEAD", "", "GET ", None, ["GET"], ...])
async def test_wrong_htm(method: Any) -> None:
    await refused(front(), proof(AMY, TOKEN, htm=method), code="proof-other-request")


async def test_a_proof_of_a_read_does_not_delete() -> None:
    await refused(front(), proof(AMY, TOKEN, "GET"), code="proof-other-request", method="DELETE")


@pytest.mark.parametrize(
    "url",
    [
        "https://fhir.example.org/fhir/Observation/o2",
        "https://fhir.example.org/fhir/Observation/O1",
        "https://fhir.example.org/fhir/Observation/o1/",
        "https://fhir.example.org/fhir/Observation",
        "https://fhir.example.org/fhir//Observation/o1",
        "https://fhir.example.org/fhir/x/../Observation/o1",
        "https://fhir.example.org/Observation/o1",
        "https://fhir.example.org/other/Observation/o1",
        "http://fhir.example.org/fhir/Observation/o1",
        "https://fhir.example.org:8443/fhir/Observation/o1",
        "https://fhir.example.org./fhir/Observation/o1",
        "https://evil.example/fhir/Observation/o1",
        "https://fhir.example.org@evil.example/fhir/Observation/o1",
        "https://evil.example@fhir.example.org/fhir/Observation/o1",
        "https://fhir.example.org\\@evil.example/fhir/Observation/o1",
        "https://fhir.example.org/fhir/Observation/o1\n",
        "https://fhir.exa\tmple.org/fhir/Observation/o1",
        " https://fhir.example.org/fhir/Observation/o1",
        "https://fhir.example.org/fhir/Observation%2Fo1",
        "https://fhir.example.org/fhir/Observation/о1",
        "//fhir.example.org/fhir/Observation/o1",
        "/fhir/Observation/o1",
        "ftp://fhir.example.org/fhir/Observation/o1",
        "https://[fhir.example.org/fhir/Observation/o1",
        "https://fhir.example.org:99999/fhir/Observation/o1",
        "",
        None,
        ["https://fhir.example.org/fhir/Observation/o1"],
        ...,
    ],
)
async def test_wrong_htu(url: Any) -> None:
    await refused(front(), proof(AMY, TOKEN, htu=url), code="proof-other-request")


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://FHIR.example.ORG/fhir/Observation/o1",
        "https://fhir.example.org:443/fhir/Observation/o1",
        "https://fhir.example.org:/fhir/Observation/o1",
        "https://fhir.example.org/fhir/%4fbservation/o%31",
        "https://fhir.example.org/fhir/Observation/o1?_format=json",
        "https://fhir.example.org/fhir/Observation/o1#x",
    ],
)
async def test_other_spellings_of_the_same_htu(url: str) -> None:
    """RFC 9449 section 4.3: normalised by syntax and scheme, query and fragment left out."""
    assert (await ask(front(), proof(AMY, TOKEN, htu=url))).status_code == 200


async def test_the_query_is_not_part_of_htu() -> None:
    gateway = front()
    gateway_url = "https://fhir.example.org/fhir/Observation"
    answer = await ask(gateway, proof(AMY, TOKEN, url=gateway_url), target="/Observation?code=1")
    assert answer.status_code != 401
    await refused(gateway, proof(AMY, TOKEN, url=gateway_url), code="proof-other-request", target="/Observation/_search", method="POST")


@pytest.mark.parametrize(
    "ath", [hashed(OTHER.encode()), hashed(TOKEN.encode()) + "=", hashed(b""), TOKEN, "", None, 5, [hashed(TOKEN.encode())], "ä", ...]
)
async def test_wrong_ath(ath: Any) -> None:
    await refused(front(), proof(AMY, TOKEN, ath=ath), code="proof-other-token")


async def test_a_proof_of_one_token_with_another_of_the_same_key() -> None:
    await refused(front(), proof(AMY, OTHER), code="proof-other-token")


async def test_the_proof_that_the_authorization_server_got() -> None:
    """It has no ``ath``, and another address."""
    taken = proof(AMY, TOKEN, "POST", "https://idp.example.org/token", ath=...)
    await refused(front(), taken, code="proof-other-request")


# --- time


@pytest.mark.parametrize("off", [-90.5, -91, -3600, 31, 30.5, 3600, -NOW])
async def test_iat_skew(off: float) -> None:
    await refused(front(), proof(AMY, TOKEN, iat=NOW + off), code="proof-out-of-time")


@pytest.mark.parametrize("off", [-90, -60, 0, 30])
async def test_iat_within_the_skew(off: float) -> None:
    assert (await ask(front(), proof(AMY, TOKEN, iat=NOW + off))).status_code == 200


async def test_the_settings_say_how_old_a_proof_may_be() -> None:
    gateway = front(proofs=ProofRules(age=5.0, leeway=1.0))
    assert (await ask(gateway, proof(AMY, TOKEN, iat=NOW - 6))).status_code == 200
    await refused(gateway, proof(AMY, TOKEN, iat=NOW - 6.1), code="proof-out-of-time")
    await refused(gateway, proof(AMY, TOKEN, iat=NOW + 1.1), code="proof-out-of-time")


@pytest.mark.parametrize("iat", [..., None, "now", str(int(NOW)), True, [NOW], {}, -1, 1e300])
async def test_iat_that_is_no_time(iat: Any) -> None:
    await refused(front(), proof(AMY, TOKEN, iat=iat), code="proof-malformed")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_iat_that_is_no_number_of_json(number: str) -> None:
    head = json.dumps({"typ": "dpop+jwt", "alg": "ES256", "jwk": public_jwk(AMY)}).encode()
    body = f'{{"jti":"1","htm":"GET","htu":"{URL}","ath":"{hashed(TOKEN.encode())}","iat":{number}}}'.encode()
    await refused(front(), compact(head, body, AMY), code="proof-malformed")


@pytest.mark.parametrize("claims", [{"exp": NOW}, {"exp": NOW - 1}, {"nbf": NOW + 31}])
async def test_exp_and_nbf_of_a_proof_count(claims: dict[str, Any]) -> None:
    await refused(front(), proof(AMY, TOKEN, **claims), code="proof-out-of-time")


# --- forged proofs


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 5, ["ES256"], ..., "ES256K", "RS1", "HS1"])
async def test_alg_none_and_unknown(alg: Any) -> None:
    forged = proof(AMY, TOKEN, header={"alg": alg})
    await refused(front(), forged, code="proof-malformed")
    await refused(front(), forged.rpartition(".")[0] + ".", code="proof-malformed")


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_alg_hs_by_the_public_key(alg: str) -> None:
    """The public key as the secret of a MAC, in each form that a library may take it in."""
    digest = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[alg]
    jwk = public_jwk(AMY)
    unsigned = proof(AMY, TOKEN, header={"alg": alg}).rpartition(".")[0]
    for secret in (json.dumps(jwk).encode(), base64.urlsafe_b64decode(jwk["x"] + "="), thumbprint(AMY).encode(), b""):
        await refused(front(), f"{unsigned}.{encode(hmac.digest(secret or b'0', unsigned.encode(), digest))}", code="proof-malformed")


async def test_a_symmetric_key() -> None:
    oct_key = {"kty": "oct", "k": encode(b"k" * 32)}
    await refused(front(), proof(AMY, TOKEN, header={"jwk": oct_key}), code="proof-key")
    await refused(front(), proof(AMY, TOKEN, header={"jwk": {**public_jwk(AMY), "k": encode(b"k" * 32)}}), code="proof-key")


@pytest.mark.parametrize(("key", "writer"), [(AMY, ECAlgorithm), (RSA, RSAAlgorithm), (ED, OKPAlgorithm)], ids=["EC", "RSA", "OKP"])
async def test_a_private_key_in_jwk(key: SigningKey, writer: Any) -> None:
    """RFC 9449 section 4.3 number 7: whoever shows a private key has shown it to everybody."""
    private = {name: value for name, value in writer.to_jwk(key.private, as_dict=True).items() if name != "key_ops"}
    assert "d" in private
    await refused(front(key), proof(key, TOKEN, header={"jwk": private}), code="proof-key")


@pytest.mark.parametrize("jwk", [..., None, "key", [], {}, {"kty": "EC"}, {"kty": "XX", "x": "a"}, {"kty": 5}, {"kty": ["EC"]}])
async def test_no_key_in_the_proof(jwk: Any) -> None:
    await refused(front(), proof(AMY, TOKEN, header={"jwk": jwk, "kid": "amy"}), code="proof-key")


@pytest.mark.parametrize("parameter", ["jku", "x5u", "x5c", "kid"])
async def test_a_key_that_the_proof_only_names(parameter: str) -> None:
    """None of these is ever looked at, let alone fetched."""
    await refused(front(), proof(AMY, TOKEN, header={"jwk": ..., parameter: "https://evil.example/keys"}), code="proof-key")


@pytest.mark.parametrize("change", [{"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": []}, {"alg": "ES384"}, {"alg": "HS256"}, {"kid": 5}])
async def test_a_key_that_says_it_is_for_something_else(change: dict[str, Any]) -> None:
    await refused(front(), proof(AMY, TOKEN, header={"jwk": {**public_jwk(AMY), **change}}), code="proof-key")


async def test_wrong_kty_for_alg() -> None:
    await refused(front(), proof(AMY, TOKEN, header={"alg": "RS256"}), code="proof-key")
    await refused(front(RSA), proof(RSA, TOKEN, header={"alg": "ES256"}), code="proof-key")
    await refused(front(), proof(AMY, TOKEN, header={"alg": "ES384"}), code="proof-key")


async def test_a_weak_key() -> None:
    await refused(front(WEAK), proof(WEAK, TOKEN), code="proof-key")


async def test_a_point_that_is_not_on_the_curve() -> None:
    jwk = {**public_jwk(AMY), "y": encode(b"\1" * 32)}
    await refused(front(), proof(AMY, TOKEN, header={"jwk": jwk}), code="proof-other-key")


@pytest.mark.parametrize("member", ["x", "y", "crv"])
async def test_a_key_whose_members_are_written_otherwise(member: str) -> None:
    """The thumbprint is that of the members as they are written: no second spelling of a key is the same one."""
    jwk = public_jwk(AMY)
    for spelled in (jwk[member] + "=", jwk[member] + " ", jwk[member] + "\n", [jwk[member]]):
        answer = await ask(front(), proof(AMY, TOKEN, header={"jwk": {**jwk, member: spelled}}))
        assert answer.status_code == 401


@pytest.mark.parametrize("typ", [..., None, "", "JWT", "at+jwt", "dpop", "dpop+jwt ", "application/dpop+jwt2", 5, ["dpop+jwt"]])
async def test_another_jwt_as_a_proof(typ: Any) -> None:
    """An assertion that the client once signed for something else is no proof."""
    await refused(front(), proof(AMY, TOKEN, header={"typ": typ}), code="proof-malformed")


@pytest.mark.parametrize(
    "parameter", [{"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"b64": True}, {"zip": "DEF"}, {"enc": "A128GCM"}, {"cty": "JWT"}]
)
async def test_header_parameters_that_change_what_it_is(parameter: dict[str, Any]) -> None:
    await refused(front(), proof(AMY, TOKEN, header=parameter), code="proof-malformed")


@pytest.mark.parametrize("jti", [..., None, "", 5, ["x"], {}])
async def test_a_proof_without_an_id(jti: Any) -> None:
    await refused(front(), proof(AMY, TOKEN, jti=jti), code="proof-malformed")


async def test_doubled_members() -> None:
    body = json.dumps({"jti": "1", "htm": "GET", "htu": URL, "ath": hashed(TOKEN.encode()), "iat": int(NOW)})
    head = json.dumps({"typ": "dpop+jwt", "alg": "ES256", "jwk": public_jwk(AMY)})
    good = compact(head.encode(), body.encode(), AMY)
    assert (await ask(front(), good)).status_code == 200
    for first, second in ((head[:-1] + ',"alg":"none"}', body), (head, body[:-1] + ',"htm":"DELETE"}')):
        await refused(front(), compact(first.encode(), second.encode(), AMY), code="proof-malformed")


@pytest.mark.parametrize("text", ["", " ", "x", "a.b", "a.b.c", "a.b.c.d", "....", "ä.ö.ü", "eyJ9.e30.AA", "=.=.="])
async def test_what_is_no_jwt(text: str) -> None:
    answer = await front().request(
        "GET", "/Observation/o1", token=None, headers=[(b"authorization", b"DPoP bound-token"), (b"dpop", text.encode())]
    )
    assert answer.status_code == 401
    assert code_of(answer) == "proof-malformed"


async def test_other_spellings_of_a_good_proof() -> None:
    good = proof(AMY, TOKEN)
    head, body, signature = good.split(".")
    for spelled in (f" {good}", f"{good} ", f"{good}=", f"{head}.{body}.{signature}.", f"DPoP {good}", f'"{good}"'):
        answer = await ask(front(), spelled)
        # Spaces around a header's value are not part of it (RFC 9110 section 5.5); in raw ASGI they could still be there.
        assert answer.status_code == 401


async def test_a_huge_proof() -> None:
    await refused(front(), proof(AMY, TOKEN, padding="x" * 9000), code="proof-malformed")


# --- several proofs


async def test_two_dpop_headers() -> None:
    for token, scheme in ((TOKEN, "DPoP"), (BEARER, "Bearer")):
        gateway = front()
        await refused(gateway, proof(AMY, TOKEN), proof(EVE, TOKEN), code="duplicate-header", status=400, token=token, scheme=scheme)
    same = proof(AMY, TOKEN)
    await refused(front(), same, same, code="duplicate-header", status=400)


async def test_two_proofs_in_one_header() -> None:
    for comma in (",", ", ", " "):
        await refused(front(), proof(AMY, TOKEN) + comma + proof(EVE, TOKEN), code="proof-malformed")


async def test_two_schemes() -> None:
    headers = [("authorization", f"DPoP {TOKEN}"), ("authorization", f"Bearer {BEARER}"), ("dpop", proof(AMY, TOKEN))]
    answer = await front().request("GET", "/Observation/o1", token=None, headers=headers)
    assert answer.status_code == 400
    joined = f"DPoP {TOKEN}, Bearer {BEARER}"
    assert (await front().request("GET", "/Observation/o1", token=None, headers={"authorization": joined})).status_code == 401


# --- nonces


async def wanted(gateway: Front, *proofs: str) -> str:
    """The nonce of a refusal that wants one."""
    answer = await refused(gateway, *proofs, code="nonce-wanted")
    assert 'error="use_dpop_nonce"' in challenge(answer, "DPoP")
    assert "error=" not in challenge(answer, "Bearer")
    return answer.headers["dpop-nonce"]


async def test_nonce_missing_and_then_given() -> None:
    gateway = front(nonce=True)
    nonce = await wanted(gateway, proof(AMY, TOKEN))
    answer = await ask(gateway, proof(AMY, TOKEN, nonce=nonce))
    assert answer.status_code == 200
    again = await ask(gateway, proof(AMY, TOKEN, nonce=answer.headers["dpop-nonce"]))
    assert again.status_code == 200


async def test_a_nonce_serves_several_proofs_but_no_replay() -> None:
    gateway = front(nonce=True)
    nonce = await wanted(gateway, proof(AMY, TOKEN))
    once = proof(AMY, TOKEN, nonce=nonce)
    assert (await ask(gateway, once)).status_code == 200
    assert (await ask(gateway, proof(AMY, TOKEN, nonce=nonce))).status_code == 200
    await refused(gateway, once, code="proof-replayed")


async def test_a_proof_that_only_lacked_its_nonce_is_not_used_up() -> None:
    gateway = front(nonce=True)
    nonce = await wanted(gateway, proof(AMY, TOKEN, jti="same"))
    assert (await ask(gateway, proof(AMY, TOKEN, jti="same", nonce=nonce))).status_code == 200


async def test_nonce_expired() -> None:
    gateway, nonce = front(nonce=True), NONCES.make(ISSUER, NOW - 301)
    await wanted(gateway, proof(AMY, TOKEN, nonce=nonce))
    gateway.reload(clock=lambda: NOW - 1)
    assert (await ask(gateway, proof(AMY, TOKEN, nonce=nonce))).status_code == 200


async def test_nonce_of_a_time_to_come() -> None:
    await wanted(front(nonce=True), proof(AMY, TOKEN, nonce=NONCES.make(ISSUER, NOW + 301)))


@pytest.mark.parametrize(
    "nonce",
    [
        Nonces([b"x" * 32], "https://fhir.example.org/fhir").make(ISSUER, NOW),
        Nonces([b"k" * 32], "https://other.example/fhir").make(ISSUER, NOW),
        NONCES.make("https://other-idp.example", NOW),
        NONCES.make(ISSUER, NOW)[:-1],
        NONCES.make(ISSUER, NOW) + "A",
        NONCES.make(ISSUER, NOW).swapcase(),
        "A" * 32,
        "AAAA",
        "",
        "ä",
        "a" * 4000,
    ],
)
async def test_nonce_foreign_or_forged(nonce: str) -> None:
    await wanted(front(nonce=True), proof(AMY, TOKEN, nonce=nonce))


@pytest.mark.parametrize("nonce", [None, 5, ["x"], True])
async def test_nonce_that_is_no_string(nonce: Any) -> None:
    await refused(front(nonce=True), proof(AMY, TOKEN, nonce=nonce), code="proof-malformed")


async def test_a_new_key_makes_nonces_and_the_old_one_still_knows_its_own() -> None:
    rotated = Nonces([b"n" * 32, b"k" * 32], "https://fhir.example.org/fhir")
    assert rotated.counts(NONCES.make(ISSUER, NOW), ISSUER, NOW)
    assert not NONCES.counts(rotated.make(ISSUER, NOW), ISSUER, NOW)


async def test_no_nonce_where_none_is_wanted() -> None:
    answer = await ask(front(), proof(AMY, TOKEN))
    assert "dpop-nonce" not in answer.headers
    answer = await ask(front(nonce=True), token=BEARER, scheme="Bearer")
    assert (answer.status_code, "dpop-nonce" in answer.headers) == (200, False)


async def test_a_nonce_comes_with_refusals_by_permission_too() -> None:
    gateway = front(nonce=True)
    nonce = NONCES.make(ISSUER, NOW)
    url = "https://fhir.example.org/fhir/Patient/1"
    answer = await ask(gateway, proof(AMY, TOKEN, url=url, nonce=nonce), target="/Patient/1")
    assert answer.status_code == 403
    assert NONCES.counts(answer.headers["dpop-nonce"], ISSUER, NOW)


# --- certificates


def shows(der: Any) -> dict[str, Any]:
    """The ASGI TLS extension of a connection on which ``der`` was shown."""
    import ssl

    return {"tls": {"client_cert_chain": [] if der is None else [ssl.DER_cert_to_PEM_cert(der)], "client_cert_error": None}}


async def over_tls(gateway: Front, token: str, der: Any, *proofs: str, scheme: str = "Bearer", error: str | None = None) -> tuple[int, str]:
    """Status and body of a request over a connection with that client certificate."""
    from tests.support.asgi import Conversation

    extensions = shows(der)
    extensions["tls"]["client_cert_error"] = error
    headers = {"authorization": f"{scheme} {token}", **({"dpop": proofs[0]} if proofs else {})}
    talk = Conversation(gateway.gateway, "GET", "/fhir/Observation/o1", headers, extensions=extensions)
    await talk.run()
    return talk.status, talk.body.decode()


async def test_the_honest_certificate_is_accepted() -> None:
    assert (await over_tls(front(), CERTIFIED, ROBOT.der))[0] == 200


@pytest.mark.parametrize("der", [None, authority().issue("robot").der, ROBOT.der[:-1] + b"\0"])
async def test_a_certified_token_without_its_certificate(der: bytes | None) -> None:
    """RFC 8705 section 3: the same name by another authority is another certificate."""
    status, body = await over_tls(front(), CERTIFIED, der)
    assert status == 401
    assert ("certificate-missing" if der is None else "certificate-mismatch") in body


async def test_a_certificate_that_the_server_could_not_verify() -> None:
    status, body = await over_tls(front(), CERTIFIED, ROBOT.der, error="self signed certificate")
    assert (status, "certificate-missing" in body) == (401, True)


async def test_a_token_that_is_bound_twice_needs_both() -> None:
    gateway = front()
    assert (await over_tls(gateway, BOTH, ROBOT.der, proof(AMY, BOTH), scheme="DPoP"))[0] == 200
    assert (await over_tls(gateway, BOTH, None, proof(AMY, BOTH), scheme="DPoP"))[0] == 401
    assert (await over_tls(gateway, BOTH, ROBOT.der, scheme="DPoP"))[0] == 401
    assert (await over_tls(gateway, BOTH, ROBOT.der, proof(AMY, BOTH)))[0] == 401
    assert (await over_tls(gateway, BOTH, ROBOT.der, proof(EVE, BOTH), scheme="DPoP"))[0] == 401


async def test_a_certified_token_by_dpop() -> None:
    status, body = await over_tls(front(), CERTIFIED, ROBOT.der, proof(EVE, CERTIFIED), scheme="DPoP")
    assert (status, "not-bound" in body) == (401, True)


# --- cnf


@pytest.mark.parametrize(
    "confirmation",
    [
        {"jwk": public_jwk(AMY)},
        {"kid": "amy"},
        {"jku": "https://evil.example/keys"},
        {"x5t": "abc"},
        {"jkt#S256": thumbprint(AMY)},
        {"osc": {}},
        {"jkt": thumbprint(AMY), "jwk": public_jwk(AMY)},
        {"jkt": thumbprint(AMY), "kc-jkt-type": "attestation"},
        {"jkt": thumbprint(AMY), "kc-jkt-type": ["DPoP"]},
        {"kc-jkt-type": "DPoP"},
        {"jkt": None},
        {"jkt": [thumbprint(AMY)]},
        {"jkt": "ä"},
        {"x5t#S256": None},
        {"x5t#S256": [hashed(ROBOT.der)]},
        {"x5t#S256": "ä"},
    ],
)
async def test_a_binding_that_cannot_be_checked(confirmation: dict[str, Any]) -> None:
    """It is never passed over: nobody could tell the owner from a thief."""
    gateway = Front(ScriptedUpstream(observation()), verifier=FakeVerifier({TOKEN: bound(**confirmation)}))
    for scheme in ("DPoP", "Bearer"):
        status, body = await over_tls(gateway, TOKEN, ROBOT.der, proof(AMY, TOKEN), scheme=scheme)
        assert status == 401
    assert "sender-constrained" in body


@pytest.mark.parametrize(
    "jkt",
    ["", thumbprint(AMY) + "=", thumbprint(AMY).lower(), thumbprint(AMY)[:-1], "*"],
    ids=["empty", "padded", "lower case", "cut", "star"],
)
async def test_jkt_in_another_spelling(jkt: str) -> None:
    gateway = Front(ScriptedUpstream(observation()), verifier=FakeVerifier({TOKEN: bound(jkt=jkt)}))
    await refused(gateway, proof(AMY, TOKEN), code="proof-other-key")


async def test_keycloaks_word_for_dpop_is_known() -> None:
    token = bound(jkt=thumbprint(AMY), **{"kc-jkt-type": "DPoP"})
    gateway = Front(ScriptedUpstream(observation()), verifier=FakeVerifier({TOKEN: token}))
    assert (await ask(gateway, proof(AMY, TOKEN))).status_code == 200


def test_nan_is_no_time() -> None:
    assert not NONCES.counts(NONCES.make(ISSUER, NOW), ISSUER, math.nan)
