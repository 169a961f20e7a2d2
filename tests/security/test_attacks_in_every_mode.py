"""Each attack on tokens, by name, at a running gateway, for issuers whose JWTs are verified, that are asked, and that permit (UMA).

Every one starts from a request that would be answered.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from enum import Enum
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smart_gateway.gateway.callers.inviting import Invitations, UmaServer
from smart_gateway.policy.model import ClientRule
from smart_gateway.policy.uma import UmaResource
from smart_gateway.tokens.cache import DenyList
from smart_gateway.tokens.client_authentication import ClientAuthentication, ClientMethod
from smart_gateway.tokens.issuer import IntrospectionConfig, IssuerConfig, UmaConfig
from smart_gateway.tokens.transport import Received
from smart_gateway.tokens.verifier import Verifier
from tests.support.asgi import NOW, PUBLIC, Conversation, Front, Reply, ScriptedUpstream, code_of, observation, searchset
from tests.support.deciding import BASES, policy
from tests.support.issuer import ISSUER, MemoryTransport, Posted, ScriptedIssuer, SigningKey, access_claims, compact, encode, json_answer
from tests.support.issuer import make_key as key
from tests.support.proofs import proof, thumbprint

RSA, EC, OTHERS = key("RS256"), key("ES256", "ec"), key("RS256", "others")
OWNER, THIEF = key("ES256", "owner"), key("ES256", "thief")
OTHER = "https://other.example.org"
GATEWAY = ClientAuthentication(ClientMethod.BASIC, "gateway", "s3cr3t")
CHART = UmaResource("chart-{patient}", (("read", ("patient/*.rs",)),))
TARGET = "/Observation/o1"


class Mode(Enum):
    JWT = "jwt"
    ASKED = "introspection"
    PERMITS = "uma"
    PERMITS_ASKED = "uma and introspection"

    @property
    def asks(self) -> bool:
        return self in {Mode.ASKED, Mode.PERMITS_ASKED}

    @property
    def permits(self) -> bool:
        return self in {Mode.PERMITS, Mode.PERMITS_ASKED}


class World:
    """A gateway, its issuer, and that issuer's introspection endpoint, which knows what it has ``issued`` and nothing else."""

    def __init__(self, mode: Mode, *more: IssuerConfig, cache_ttl: float = 3600.0, **choices: Any) -> None:
        self.mode = mode
        self.now = NOW
        self.issuer = ScriptedIssuer(keys=[RSA, EC])
        self.other = ScriptedIssuer(OTHER, keys=[SigningKey("RS256", RSA.kid, OTHERS.private)])  # the same kid
        self.transport = MemoryTransport(self.issuer, self.other)
        self.transport.endpoints[f"{ISSUER}/introspect"] = self._introspect
        self.active: dict[str, dict[str, Any]] = {}
        self.upstream = ScriptedUpstream(observation("o1", "123"), observation("o2", "456"))
        self.upstream.replies["GET /Observation"] = Reply(200, searchset(observation("o1", "123")))
        self.verifier = Verifier([configured(mode), *more], BASES, self.transport, cache_ttl=cache_ttl)
        servers = [UmaServer(ISSUER, ISSUER, (CHART,))] if mode.permits else []
        choices = {"invitations": Invitations(servers, self.verifier), **choices}
        self.front = Front(self.upstream, verifier=self.verifier, clock=lambda: self.now, **choices)

    def issued(self, signing: SigningKey = RSA, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token of the issuer itself, whatever its claims say."""
        said = self.claims(**claims)
        parameters = {"alg": signing.alg, "kid": signing.kid, "typ": "at+jwt", **(header or {})}
        token = compact({name: value for name, value in parameters.items() if value is not ...}, said, signing)
        self.active[token] = said
        return token

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What the issuer says of a token by which ``TARGET`` may be read."""
        permissions = [{"rsid": "chart-123", "scopes": ["read"]}]
        by_mode: dict[Mode, dict[str, Any]] = {
            Mode.PERMITS: {"authorization": {"permissions": permissions}},
            Mode.PERMITS_ASKED: {"permissions": permissions},
        }
        return access_claims(**{"aud": PUBLIC, **by_mode.get(self.mode, {}), **changes})

    def _introspect(self, posted: Posted) -> Received:
        claims = self.active.get(posted.form["token"])
        return json_answer({"active": False} if claims is None else {"active": True, **claims})

    async def ask(self, token: str | None, target: str = TARGET, **options: Any) -> httpx.Response:
        return await self.front.get(target, token=token, **options)

    async def refuse(self, token: str, reason: str | None = None) -> None:
        """401, twice, with a challenge; nothing has gone up, nobody but the issuer was asked, and the token is said nowhere."""
        for _ in range(2):
            refused = await self.ask(token)
            assert refused.status_code == 401, refused.text
            assert 'error="invalid_token"' in refused.headers["www-authenticate"]
            assert reason is None or code_of(refused) == reason
            assert token not in refused.text + str(refused.headers)
        assert self.upstream.asked == []
        assert all(url.startswith(f"{ISSUER}/") for url in self.transport.asked)

    async def forged(self, token: str, reason: str) -> None:
        """Refused: an issuer that is asked says itself that it is none of its tokens."""
        await self.refuse(token, "inactive" if self.mode.asks else reason)


def configured(mode: Mode, issuer: str = ISSUER, **more: Any) -> IssuerConfig:
    asking = IntrospectionConfig(GATEWAY, f"{issuer}/introspect") if mode.asks else None
    uma = UmaConfig(GATEWAY, (CHART,), issuer) if mode.permits else None
    return IssuerConfig(issuer, (PUBLIC,), introspection=asking, uma=uma, **more)


def signed(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"


@pytest.fixture(params=Mode, ids=lambda mode: mode.value)
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


@pytest.mark.parametrize("signing", [RSA, EC], ids=["rsa", "ec"])
async def test_the_honest_token_opens_its_patient_and_no_other(world: World, signing: SigningKey) -> None:
    token = world.issued(signing)
    assert (await world.ask(token)).status_code == 200
    assert (await world.ask(token, "/Observation/o2")).status_code == 404


# --- forged


async def test_key_confusion(world: World) -> None:
    public = RSA.private.public_key()
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(RSA.jwk()).encode(),
    ):
        text = signed({"alg": "HS256", "kid": RSA.kid, "typ": "at+jwt"}, world.claims())
        await world.forged(f"{text}.{encode(hmac.digest(secret, text.encode(), hashlib.sha256))}", "algorithm-refused")


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
async def test_none(world: World, alg: str) -> None:
    text = signed({"alg": alg, "typ": "at+jwt"}, world.claims())
    await world.forged(f"{text}.{encode(b'x')}", "algorithm-refused")
    world.issued()
    refused = await world.ask(f"{text}.")
    assert refused.status_code == 401
    assert world.upstream.asked == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/chain.pem"},
        {"jwk": key("RS256", "thief").jwk()},
        {"x5c": ["MIIB"], "x5t": "AAAA", "x5t#S256": "AAAA"},
        {"jku": f"{ISSUER}/keys?@evil.example", "kid": "thief"},
    ],
    ids="+".join,
)
async def test_jku_x5u_and_embedded_jwk(world: World, parameters: dict[str, Any]) -> None:
    thief = key("RS256", "thief")
    header = {"alg": "RS256", "typ": "at+jwt", "kid": RSA.kid, **parameters}
    await world.forged(compact(header, world.claims(), thief), "unknown-key" if "kid" in parameters else "bad-signature")


@pytest.mark.parametrize("crit", [[], ["exp"], ["b64"], ["urn:example:x"], None, "exp"], ids=str)
async def test_crit(world: World, crit: Any) -> None:
    """Of an issuer that is asked only the answer counts: it knows no such token."""
    await world.forged(compact({"alg": "RS256", "kid": RSA.kid, "typ": "at+jwt", "crit": crit}, world.claims(), RSA), "header-refused")


@pytest.mark.parametrize(("alg", "signing"), [("ES256", RSA), ("RS256", EC), ("EdDSA", RSA), ("PS256", RSA), ("ES384", EC)])
async def test_wrong_kty_for_alg(world: World, alg: str, signing: SigningKey) -> None:
    await world.forged(compact({"alg": alg, "kid": signing.kid, "typ": "at+jwt"}, world.claims(), signing), "unknown-key")


@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.value)
async def test_duplicate_kid_across_issuers(mode: Mode) -> None:
    world = World(mode, IssuerConfig(OTHER, (PUBLIC,)))
    theirs = world.other.token(audience=PUBLIC)
    assert (await world.ask(theirs)).status_code == 200
    assert (await world.ask(world.issued())).status_code == 200
    header = {"alg": "RS256", "kid": RSA.kid, "typ": "at+jwt"}
    ours_by_their_key = compact(header, world.claims(), OTHERS)
    theirs_by_our_key = compact(header, access_claims(OTHER, aud=PUBLIC), RSA)
    for forged, reason in ((ours_by_their_key, "inactive" if mode.asks else "bad-signature"), (theirs_by_our_key, "bad-signature")):
        refused = await world.ask(forged)
        assert (refused.status_code, code_of(refused)) == (401, reason)
    assert not any(posted.form["token"] in {theirs, theirs_by_our_key} for posted in world.transport.posted)


async def test_huge_tokens(world: World) -> None:
    for token in ("a" * 16_385, ".".join(["a" * 8_000] * 3), "." * 20_000, world.issued(padding="x" * 20_000)):
        refused = await world.ask(token)
        assert (refused.status_code, code_of(refused)) == (431, "token-too-long")
    assert world.transport.asked == world.upstream.asked == []
    assert (await world.ask(world.issued(padding="x" * 8_000))).status_code == 200


# --- issued for something else


@pytest.mark.parametrize(
    "marks", [{"nonce": "n-0S6"}, {"at_hash": "h"}, {"c_hash": "h"}, {"typ": "ID"}, {"typ": "Refresh"}, {"token_use": "id"}], ids=str
)
async def test_id_token_as_access_token(world: World, marks: dict[str, str]) -> None:
    await world.refuse(world.issued(header={"typ": "JWT"}, **marks))


@pytest.mark.parametrize(
    "audience",
    [
        PUBLIC + "/",
        PUBLIC + "/Patient",
        PUBLIC + ".evil.example",
        PUBLIC[:-1],
        PUBLIC + "?",
        PUBLIC.upper(),
        PUBLIC.replace("https", "http"),
        "https://fhir.example.org",
        f"{PUBLIC} {PUBLIC}",
        [PUBLIC + "/"],
        [[PUBLIC]],
        [PUBLIC, None],
        "account",
        "*",
        "",
        None,
    ],
    ids=str,
)
async def test_aud_prefixes(world: World, audience: Any) -> None:
    await world.refuse(world.issued(aud=audience), "wrong-audience")


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": PUBLIC.replace("example", "ex\u0430mple")},  # Cyrillic a
        {"aud": PUBLIC.replace(".org", "\uff0eorg")},  # a fullwidth stop, which some normal forms make a stop
        {"aud": PUBLIC + "\u200b"},
        {"iss": ISSUER.replace("idp", "\u0456dp")},
        {"iss": ISSUER.replace(".org", "\u3002org")},
        {"iss": ISSUER + "\u200d"},
        {"iss": ISSUER + "\0"},
    ],
    ids=ascii,
)
async def test_unicode_look_alikes(world: World, claims: dict[str, Any]) -> None:
    await world.refuse(world.issued(**claims), "wrong-audience" if "aud" in claims else "unknown-issuer")


@pytest.mark.parametrize("name", ["\u0430pp", "APP", "app ", "app\u200b", "ａｐｐ", "app\0", "ap\u0440", "*app", ""])
@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.value)
async def test_unicode_look_alikes_of_a_client(mode: Mode, name: str) -> None:
    world = World(mode, policy=policy(clients={"app": ClientRule()}))
    assert (await world.ask(world.issued(client_id="app"))).status_code == 200
    refused = await world.ask(world.issued(client_id=name))
    assert (refused.status_code, code_of(refused)) == (403, "client-not-allowed")


@pytest.mark.parametrize(
    "scope", ["p\u0430tient/Observation.rs", "patient\u2215Observation.rs", "patient/Observati\u043en.rs", "patient/\uff0a.rs"]
)
@pytest.mark.parametrize("mode", [Mode.JWT, Mode.ASKED], ids=lambda mode: mode.value)
async def test_unicode_look_alikes_of_scopes(mode: Mode, scope: str) -> None:
    world = World(mode)
    assert (await world.ask(world.issued(scope=scope))).status_code == 403
    assert world.upstream.asked == []


# --- time


@pytest.mark.parametrize("claims", [{"exp": NOW}, {"exp": NOW - 1}, {"exp": 0}, {"nbf": NOW + 31}, {"iat": NOW + 31}], ids=str)
async def test_clock_edges(world: World, claims: dict[str, float]) -> None:
    await world.refuse(world.issued(**claims), "expired" if "exp" in claims else "not-yet-valid")


@pytest.mark.parametrize("claims", [{"exp": NOW + 1}, {"nbf": NOW + 30}, {"iat": NOW + 30}], ids=str)
async def test_clock_edges_that_are_within(world: World, claims: dict[str, float]) -> None:
    assert (await world.ask(world.issued(**claims))).status_code == 200


@pytest.mark.parametrize("exp", ["1750000300", True, None, [NOW + 300], {"t": 1}, -1, 1e300, 2**70], ids=str)
async def test_clock_edges_of_what_is_no_time(world: World, exp: Any) -> None:
    await world.refuse(world.issued(exp=exp), "malformed-token")


async def test_cache_past_exp(world: World) -> None:
    token = world.issued(exp=int(NOW) + 10)
    assert (await world.ask(token)).status_code == 200
    world.now = NOW + 9.99
    assert (await world.ask(token)).status_code == 200
    world.now = NOW + 10
    refused = await world.ask(token)
    assert (refused.status_code, code_of(refused)) == (401, "expired")


async def test_cache_under_a_clock_that_is_set_back(world: World) -> None:
    token = world.issued()
    assert (await world.ask(token)).status_code == 200
    world.now = NOW - 60
    refused = await world.ask(token)
    assert (refused.status_code, code_of(refused)) == (401, "not-yet-valid")


@pytest.mark.parametrize(
    "denied", [DenyList(token_ids=frozenset({"token-1"})), DenyList(subjects=frozenset({"subject-1"}))], ids=["jti", "sub"]
)
async def test_revoked_but_cached(world: World, denied: DenyList) -> None:
    token = world.issued()
    assert (await world.ask(token)).status_code == 200
    world.verifier.deny_list = denied
    refused = await world.ask(token)
    assert (refused.status_code, code_of(refused)) == (401, "revoked")


@pytest.mark.parametrize("mode", [Mode.ASKED, Mode.PERMITS_ASKED], ids=lambda mode: mode.value)
async def test_revoked_at_the_issuer_but_cached(mode: Mode) -> None:
    """The verified token is kept for an hour, what its issuer said for half a minute."""
    world = World(mode)
    token = world.issued()
    assert (await world.ask(token)).status_code == 200
    world.active.clear()
    world.now = NOW + 30
    refused = await world.ask(token)
    assert (refused.status_code, code_of(refused)) == (401, "inactive")


@pytest.mark.parametrize("mode", [Mode.JWT, Mode.PERMITS], ids=lambda mode: mode.value)
async def test_a_key_that_its_issuer_withdrew_serves_no_longer_than_tokens_are_kept(mode: Mode) -> None:
    world = World(mode, cache_ttl=60.0)
    token = world.issued(exp=int(NOW) + 10_000)
    assert (await world.ask(token)).status_code == 200
    world.issuer.keys.remove(RSA)
    world.now = NOW + 3_700
    assert (await world.ask(token)).status_code == 401
    assert (await world.ask(world.issued(EC, exp=int(NOW) + 10_000))).status_code == 200


# --- kept, replayed, several


@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.value)
async def test_cross_tenant_cache(mode: Mode) -> None:
    """Two issuers, the same subject, client, token id and times: each token is what its own issuer says, in any order."""
    world = World(mode, IssuerConfig(OTHER, (PUBLIC,)))
    ours, theirs = world.issued(), world.other.token(audience=PUBLIC, patient="456")
    for _ in range(2):
        for token, seen in ((ours, "/Observation/o1"), (theirs, "/Observation/o2")):
            statuses = {target: (await world.ask(token, target)).status_code for target in ("/Observation/o1", "/Observation/o2")}
            assert statuses == {"/Observation/o1": 404, "/Observation/o2": 404, seen: 200}


async def test_replays_of_a_bound_token_and_of_its_proof(world: World) -> None:
    token = world.issued(cnf={"jkt": thumbprint(OWNER)})

    async def send(scheme: str, *proofs: str) -> httpx.Response:
        headers = [("authorization", f"{scheme} {token}"), *(("dpop", one) for one in proofs)]
        return await world.ask(None, headers=headers)

    good = proof(OWNER, token)
    assert (await send("DPoP", good)).status_code == 200
    for scheme, proofs, code in (
        ("DPoP", (good,), "proof-replayed"),
        ("DPoP", (), "proof-missing"),
        ("Bearer", (), "proof-missing"),
        ("Bearer", (proof(OWNER, token),), "proof-missing"),
        ("DPoP", (proof(THIEF, token),), "proof-other-key"),
        ("DPoP", (proof(OWNER, token, url=f"{PUBLIC}/Observation/o2"),), "proof-other-request"),
    ):
        refused = await send(scheme, *proofs)
        assert (refused.status_code, code_of(refused)) == (401, code)
    assert len(world.upstream.asked) == 1


async def test_several_tokens(world: World) -> None:
    token, other = world.issued(), world.issued(jti="token-2")
    both = [(b"authorization", f"Bearer {token}".encode()), (b"authorization", f"Bearer {other}".encode())]
    for headers in (both, [both[0], both[0]], [both[0], (b"authorization", b"DPoP " + other.encode())], [both[0], (b"authorization", b"")]):
        conversation = Conversation(world.front.gateway, "GET", f"/fhir{TARGET}", headers=headers)
        await conversation.run()
        assert conversation.status == 400
    for value in (f"Bearer {token}, Bearer {other}", f"Bearer {token} {other}", f"Bearer {token},{other}", f"Bearer {token};{other}"):
        refused = await world.ask(None, headers={"authorization": value})
        assert (refused.status_code, code_of(refused)) == (401, "malformed-token")
    assert world.transport.asked == world.upstream.asked == []


async def test_tokens_in_the_query_and_in_the_form(world: World) -> None:
    token = world.issued()
    for given in (token, None):
        for name in ("access_token", "Access_Token", "access%5Ftoken", "token"):
            assert (await world.ask(given, f"/Observation?{name}={token}")).status_code in {400, 401}
        form = {"content": f"access_token={token}", "headers": {"content-type": "application/x-www-form-urlencoded"}}
        assert (await world.front.request("POST", "/Observation/_search", token=given, **form)).status_code in {400, 401}
    assert world.upstream.asked == []


@pytest.mark.parametrize(
    "value",
    [
        "{}",
        "Bearer",
        "Bearer ",
        "Bearer\t{}",
        "Bearer:{}",
        "Bearer={}",
        'Bearer "{}"',
        "Bearer token={}",
        "Bearer {}=x",
        "Bearer {}\t",
        "Bearer\u00a0{}",
        "Basic {}",
        "Token {}",
        "JWT {}",
        "Bearer Bearer {}",
        "Bearer,DPoP {}",
        "B\u0435arer {}",
    ],
    ids=ascii,
)
async def test_authorization_in_other_forms(world: World, value: str) -> None:
    raw = value.format(world.issued()).encode("utf-8")
    conversation = Conversation(world.front.gateway, "GET", f"/fhir{TARGET}", headers=[(b"authorization", raw)])
    await conversation.run()
    assert conversation.status == 401
    assert world.upstream.asked == []


@pytest.mark.parametrize(
    "name", ["proxy-authorization", "x-authorization", "x-access-token", "authorization_", "http-authorization", "cookie"]
)
async def test_tokens_in_other_headers_are_none(world: World, name: str) -> None:
    refused = await world.ask(None, headers={name: f"Bearer {world.issued()}"})
    assert refused.status_code == 401
    assert world.upstream.asked == []


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR", "Bearer  "])
async def test_schemes_have_no_case(world: World, scheme: str) -> None:
    assert (await world.ask(None, headers={"authorization": f"{scheme} {world.issued()}"})).status_code == 200
