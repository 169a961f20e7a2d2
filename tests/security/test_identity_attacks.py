"""Attacks on who it is that asks, each by name: one taken for another, by issuers, listeners, certificates, hooks, headers and memories."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from ipaddress import ip_network
from itertools import permutations
from typing import Any

import pytest

from smart_gateway import Amendment
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.gateway.callers.hooks import Amendments
from smart_gateway.gateway.callers.listeners import Choice, Choices, Listener, Listeners, listening
from smart_gateway.gateway.credentials import Credentials, ExchangedAuthorization, IdentityHeaders
from smart_gateway.policy.model import ClientRule, PublicInteraction
from smart_gateway.principal import Ceiling, Principal
from smart_gateway.tokens.client_certificates import CertificateName, ClientCertificates
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.possession import Possessions
from smart_gateway.tokens.token_endpoint import TokenEndpoint
from smart_gateway.tokens.token_exchange import ExchangedTokens, ExchangeTerms
from smart_gateway.tokens.transport import Received
from smart_gateway.tokens.verifier import Verifier
from tests.support.asgi import FHIR, PUBLIC, Conversation, FakeVerifier, Front, Reply, ScriptedUpstream, code_of, observation, searchset
from tests.support.certificates import Certified, authority
from tests.support.deciding import BASES, policy, principal, scopes
from tests.support.issuer import ISSUER, MemoryTransport, Posted, ScriptedIssuer, json_answer, make_key
from tests.support.paging import PagingUpstream, link
from tests.support.proofs import proof, thumbprint
from tests.support.uma import BASIC

OTHER = "https://other.example.org"
OURS, THEIRS = ScriptedIssuer(), ScriptedIssuer(OTHER, keys=[make_key("RS256", "theirs")])
SYSTEM = {"scope": "system/*.cruds", "patient": ...}


def two_issuers(upstream: ScriptedUpstream | None = None, theirs: Mapping[str, Any] | None = None, **choices: Any) -> Front:
    """A gateway that takes tokens of both, of which the second may have further settings."""
    configs = [IssuerConfig(ISSUER, (PUBLIC,)), IssuerConfig(OTHER, (PUBLIC,), **(theirs or {}))]
    verifier = Verifier(configs, BASES, MemoryTransport(OURS, THEIRS))
    upstream = upstream or ScriptedUpstream(observation("o1"), observation("o2", "456"), {"resourceType": "Patient", "id": "123"})
    return Front(upstream, verifier=verifier, **choices)


def ours(**claims: Any) -> str:
    return OURS.token(audience=PUBLIC, **claims)


def theirs(**claims: Any) -> str:
    return THEIRS.token(audience=PUBLIC, **claims)


# --- issuers


async def test_a_client_of_one_issuer_is_nobody_at_another_that_gives_tokens_in_its_name() -> None:
    under = policy(clients={"growth-chart": ClientRule(issuers=frozenset({ISSUER})), "*": ClientRule()})
    front = two_issuers(policy=under)
    for _ in range(2):
        assert (await front.get("/Observation/o1", token=ours())).status_code == 200
        refused = await front.get("/Observation/o1", token=theirs())
        assert (refused.status_code, code_of(refused)) == (403, "client-not-allowed")


async def test_a_role_of_one_issuers_client_is_not_lent_to_the_other() -> None:
    under = policy(clients={"robot": ClientRule(system_role=True, issuers=frozenset({ISSUER})), "*": ClientRule()})
    front = two_issuers(policy=under)
    assert (await front.get("/Observation/o2", token=ours(client_id="robot", **SYSTEM))).status_code == 200
    assert (await front.get("/Observation/o2", token=theirs(client_id="robot", **SYSTEM))).status_code == 403
    assert (await front.get("/Observation/o2", token=theirs(client_id="*", **SYSTEM))).status_code == 403


async def test_a_ceiling_of_one_issuer_is_not_lost_beside_the_other() -> None:
    """Same subject, client, token id and times at both: in whatever order they come."""
    front = two_issuers(theirs={"ceiling": scopes("patient/Patient.rs")})
    for token, status in ((ours(), 200), (theirs(), 403), (ours(), 200), (theirs(), 403)):
        assert (await front.get("/Observation/o1", token=token)).status_code == status


async def test_a_page_of_one_issuers_token_is_closed_to_the_same_subject_of_the_other() -> None:
    front = two_issuers(PagingUpstream(*(observation(f"o{n}") for n in range(10))))
    onward = link(await front.get("/Observation?_count=3", token=ours()))
    assert onward is not None
    refused = await front.get(onward, token=theirs())
    assert (refused.status_code, code_of(refused)) == (403, "foreign-page")
    assert (await front.get(onward, token=ours())).status_code == 200


async def test_a_job_of_one_issuers_client_is_closed_to_the_same_client_of_the_other() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /$export"] = Reply(202, b"", {"content-location": f"{BASES.upstream}/$export-poll-status?_jobId=1"})
    front = two_issuers(upstream)
    started = await front.get("/$export", token=ours(**SYSTEM))
    assert started.status_code == 202, started.text
    place = started.headers["content-location"]
    for method in ("GET", "DELETE"):
        refused = await front.request(method, place, token=theirs(**SYSTEM))
        assert (refused.status_code, code_of(refused)) == (403, "foreign-export")
    assert [asked.line for asked in upstream.asked] == ["GET /$export"]


async def test_a_reload_that_takes_an_issuer_away_takes_its_cached_tokens_away() -> None:
    front = two_issuers()
    token = theirs()
    assert (await front.get("/Observation/o1", token=token)).status_code == 200
    front.reload(verifier=Verifier([IssuerConfig(ISSUER, (PUBLIC,))], BASES, MemoryTransport(OURS)))
    refused = await front.get("/Observation/o1", token=token)
    assert (refused.status_code, code_of(refused)) == (401, "unknown-issuer")


@pytest.mark.parametrize("claims", [{"azp": "trusted"}, {"appid": "trusted"}, {"azp": "trusted", "appid": "trusted", "cid": "trusted"}])
async def test_the_claim_that_names_the_client_is_one_and_no_other_stands_in_for_it(claims: dict[str, str]) -> None:
    under = policy(clients={"trusted": ClientRule()})
    for name in ("growth-chart", None, 5, ["trusted"], ""):
        front = two_issuers(policy=under)
        refused = await front.get("/Observation/o1", token=ours(client_id=name, **claims))
        assert (refused.status_code, code_of(refused)) == (403, "client-not-allowed")


# --- listeners and certificates


@cache
def certificate(name: str) -> Certified:
    return authority().issue(name)


OPEN = Listener("open", Choices(Choice.IGNORE, Choice.IGNORE), Choices(Choice.LIMIT, Choice.LIMIT), scopes("patient/Patient.rs"))
STRICT = Listener("strict", Choices(Choice.LIMIT, Choice.LIMIT), Choices(Choice.REJECT, Choice.REJECT), scopes("patient/Patient.rs"))
FREE = Listener("free", Choices(Choice.IGNORE, Choice.IGNORE), Choices(Choice.REJECT, Choice.REJECT))


def listeners_front(**choices: Any) -> Front:
    upstream = PagingUpstream(*(observation(f"o{n}") for n in range(10)), {"resourceType": "Patient", "id": "123"})
    names = {"app": (CertificateName(hashlib.sha256(certificate("app").der).hexdigest()),)}
    known = {"t": principal("patient/*.rs", client_id="app")}
    settled = {"listeners": Listeners(OPEN, STRICT, FREE), "client_certificates": ClientCertificates(names)}
    return Front(upstream, verifier=FakeVerifier(known), **{**settled, **choices})


async def at(front: Front, listener: Listener, target: str = "/fhir/Observation/o1", shown: str | None = None) -> Conversation:
    chain = [] if shown is None else [ssl.DER_cert_to_PEM_cert(certificate(shown).der)]
    talk = Conversation(
        listening(front.gateway, listener.name),
        "GET",
        target,
        {"Authorization": "Bearer t"},
        extensions={"tls": {"client_cert_chain": chain}},
    )
    await talk.run()
    return talk


ARRIVALS = {("strict", "app"): 200, ("strict", None): 403, ("strict", "stranger"): 403, ("free", None): 200}


@pytest.mark.parametrize("order", list(permutations(ARRIVALS)), ids=str)
async def test_the_same_token_at_several_listeners_and_with_several_certificates(order: tuple[tuple[str, str | None], ...]) -> None:
    """What is remembered of a token at one of them is nothing at another, in whatever order they are tried."""
    front = listeners_front()
    named = {listener.name: listener for listener in (STRICT, FREE)}
    for arrival in (*order, *reversed(order)):
        name, shown = arrival
        assert (await at(front, named[name], shown=shown)).status == ARRIVALS[arrival], arrival


async def test_a_page_of_the_open_door_is_judged_by_the_limit_of_the_other() -> None:
    front = listeners_front()
    talk = await at(front, FREE, "/fhir/Observation?_count=3")
    onward = next(one["url"] for one in json.loads(talk.body)["link"] if one["relation"] == "next").removeprefix("https://fhir.example.org")
    assert (await at(front, FREE, onward)).status == 200
    assert (await at(front, STRICT, onward)).status == 403
    assert (await at(front, STRICT, onward, shown="app")).status == 200


async def test_the_name_of_a_listener_is_nothing_that_a_client_can_say() -> None:
    front = listeners_front()
    for name in ("smart_gateway.listener", "listener", "x-listener", "smart-gateway-listener"):
        talk = Conversation(listening(front.gateway, "strict"), "GET", "/fhir/Observation/o1", {"Authorization": "Bearer t", name: "free"})
        await talk.run()
        assert talk.status == 403
    unnamed = Conversation(front.gateway, "GET", "/fhir/Observation/o1", {"Authorization": "Bearer t"})
    await unnamed.run()
    assert unnamed.status == 401


async def test_a_hook_is_asked_about_the_limited_one_and_its_word_is_not_carried_to_the_other() -> None:
    async def hook(who: Principal) -> Amendment:
        return Amendment() if who.ceilings else Amendment(limit=["patient/Observation.rs"])

    front = listeners_front(amendments=Amendments(hook))
    for _ in range(2):
        assert (await at(front, STRICT, "/fhir/Patient/123")).status == 200
        assert (await at(front, FREE, "/fhir/Patient/123")).status == 403
        assert (await at(front, FREE)).status == 200
        assert (await at(front, STRICT)).status == 403


async def test_a_networks_rule_does_not_take_a_proxy_for_a_client_that_it_cannot_name() -> None:
    under = policy(clients={"*": ClientRule(networks=(ip_network("10.0.0.0/8"),))})
    front = Front(ScriptedUpstream(observation()), "patient/*.rs", policy=under, trusted_proxies=(ip_network("10.1.0.0/16"),))

    async def ask(*told: str) -> int:
        headers = [(b"authorization", b"Bearer t"), *((b"x-forwarded-for", one.encode()) for one in told)]
        talk = Conversation(front.gateway, "GET", "/fhir/Observation/o1", client=("10.1.0.4", 1), headers=headers)
        await talk.run()
        return talk.status

    assert await ask("10.9.0.1") == 200
    for told in (
        "203.0.113.9",
        "203.0.113.9:4711",
        "unknown",
        "_hidden",
        "10.9.0.1, 203.0.113.9",
        "10.9.0.1,",
        "[2001:db8::1]:1",
        "10.9.0.1:80",
    ):
        assert await ask(told) == 403, told
    assert await ask("10.9.0.1", "203.0.113.9") == 403


# --- ceilings


def under_a_ceiling(*held: str, scope: str = "system/*.cruds openid", **choices: Any) -> tuple[Front, ScriptedUpstream]:
    upstream = ScriptedUpstream(observation("o1"), {"resourceType": "Patient", "id": "123"}, {"resourceType": "ValueSet", "id": "v"})
    found = searchset(observation("o1"))
    found["entry"].append({"resource": {"resourceType": "Patient", "id": "123"}, "search": {"mode": "include"}})
    for line in ("GET /Observation", "GET /Patient/123/$everything", "GET /", "GET /_history"):
        upstream.replies[line] = Reply(200, found)
    who = replace(principal(scope, patient=None, subject="s"), ceilings=(Ceiling("a test", scopes(*held)),))
    return Front(upstream, verifier=FakeVerifier({"t": who}), **choices), upstream


BEYOND = [
    ("GET", "/Patient/123", None),
    ("GET", "/Patient", None),
    ("GET", "/Patient/123/_history", None),
    ("GET", "/?_type=Patient", None),
    ("GET", "/Patient/123/$everything", None),
    ("GET", "/Patient/123/Condition", None),
    ("GET", "/$export", None),
    ("GET", "/$export?_type=Patient", None),
    ("GET", "/Patient/$export", None),
    ("POST", "/$export", {"resourceType": "Parameters"}),
    ("GET", "/Observation?patient.name=x", None),
    ("GET", "/Observation?_has:Patient:link:name=x", None),
    ("GET", "/Observation/o1/$meta", None),
    ("POST", "/Observation", {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}),
    ("PUT", "/Observation/o1", {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}}),
    ("DELETE", "/Observation/o1", None),
    ("DELETE", "/Observation?code=x", None),
    ("POST", "/Observation/$validate", {"resourceType": "Parameters"}),
    ("POST", "/$reindex", {"resourceType": "Parameters"}),
    ("POST", "/", {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": {"method": "DELETE", "url": "Observation/o1"}}]}),
]


@pytest.mark.parametrize(("method", "target", "body"), BEYOND, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("held", [("patient/Observation.s", "system/Observation.s"), ()], ids=["little", "nothing"])
async def test_nothing_goes_beyond_a_ceiling(held: tuple[str, ...], method: str, target: str, body: Any) -> None:
    front, upstream = under_a_ceiling(*held)
    options = {} if body is None else {"content": json.dumps(body).encode(), "headers": {"content-type": FHIR}}
    answer = await front.request(method, target, **options)
    assert '"Patient"' not in answer.text.replace("Patient/", "")
    assert answer.status_code in {400, 403, 404, 405}, answer.text
    assert all(asked.line == f"GET {target}" for asked in upstream.asked), "what is not there was looked for, and no more"


async def test_includes_and_batches_stay_below_a_ceiling() -> None:
    front, upstream = under_a_ceiling("system/Observation.rs")
    one = {"resource": observation("o1"), "response": {"status": "200"}}
    upstream.replies["POST "] = Reply(200, {"resourceType": "Bundle", "type": "batch-response", "entry": [one]})
    found = await front.get("/Observation?_include=Observation:subject")
    assert [entry["resource"]["resourceType"] for entry in found.json()["entry"]] == ["Observation"]
    entries = [{"request": {"method": "GET", "url": url}} for url in ("Observation/o1", "Patient/123", "Patient/123/$everything")]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answer = await front.request("POST", "/", content=json.dumps(bundle).encode(), headers={"content-type": FHIR})
    assert answer.status_code == 200, answer.text
    assert [entry["response"]["status"][:3] for entry in answer.json()["entry"]] == ["200", "403", "403"]


async def test_what_is_open_to_everybody_opens_no_more_with_a_token_than_without() -> None:
    under = policy(public=(PublicInteraction(Interaction.READ, "ValueSet"),))
    front, upstream = under_a_ceiling(policy=under)
    assert (await front.get("/ValueSet/v", token=None)).status_code == 200
    for target in ("/ValueSet/v/_history", "/ValueSet", "/ValueSet/v/$expand", "/Patient/123"):
        assert (await front.get(target, token=None)).status_code == 401
        assert (await front.get(target)).status_code in {403, 404}
    assert [asked.line for asked in upstream.asked] == ["GET /ValueSet/v"]


# --- what the upstream is told


async def test_an_exchanged_token_is_never_anothers() -> None:
    """Many users at once, each several times, whose tokens differ in the subject alone: also under one flight and from memory."""
    given: list[str] = []

    def exchange(posted: Posted) -> Received:
        given.append(posted.form["subject_token"])
        token = "for-" + hashlib.sha256(posted.form["subject_token"].encode()).hexdigest()
        kind = "urn:ietf:params:oauth:token-type:access_token"
        return json_answer({"access_token": token, "token_type": "Bearer", "expires_in": 100, "issued_token_type": kind})

    transport = MemoryTransport(OURS)
    transport.endpoints[f"{ISSUER}/token"] = exchange
    exchanged = ExchangedTokens(TokenEndpoint(transport, BASIC, url=f"{ISSUER}/token"), ExchangeTerms(frozenset({ISSUER})))
    upstream = ScriptedUpstream(*(observation(f"o{n}", str(n)) for n in range(20)))
    front = two_issuers(upstream, credentials=Credentials(ExchangedAuthorization(exchanged)))
    tokens = [ours(sub=f"user-{n}", patient=str(n)) for n in range(20)]
    for _ in range(2):
        answers = await asyncio.gather(*(front.get(f"/Observation/o{n}", token=tokens[n]) for n in range(20) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {200}
    assert sorted(given) == sorted(tokens)
    for asked in upstream.asked:
        number = int(asked.path.removeprefix("/Observation/o"))
        assert asked.header("authorization") == "Bearer for-" + hashlib.sha256(tokens[number].encode()).hexdigest()
    refused = await front.get("/Observation/o1", token=theirs(patient="1"))
    assert (refused.status_code, code_of(refused)) == (401, "exchange-refused")


@pytest.mark.parametrize(
    "name",
    ["x-fhir-patient", "X-Fhir-Patient", "x_fhir_patient", "X-FHIR_PATIENT", "x-fhir-patient ", "http-x-fhir-patient", "x.fhir.patient"],
)
@pytest.mark.parametrize("dry_run", [False, True], ids=["enforced", "dry run"])
async def test_identity_headers_of_a_client_go_nowhere(name: str, *, dry_run: bool) -> None:
    upstream = ScriptedUpstream(observation())
    told = Credentials(identity=IdentityHeaders(((b"x-fhir-patient", "patient"),)))
    front = Front(upstream, "patient/*.rs", credentials=told, dry_run=dry_run)
    for token, patient in (("t", "123"), ("forged", ""), (None, "")):
        authorization = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        talk = Conversation(front.gateway, "GET", "/fhir/Observation/o1", headers=[*authorization, (name.lower().encode(), b"999")])
        await talk.run()
        assert all("999" not in str(asked.headers) and asked.header("x-fhir-patient") == patient for asked in upstream.asked)
        assert len(upstream.asked) == (1 if token == "t" or dry_run else 0)
        upstream.asked.clear()


# --- bound tokens and pages


async def test_dpop_on_pages() -> None:
    """A page is asked for like everything else: a proof for its own address, once, by the owner of the token."""
    owner, thief = make_key("ES256", "owner"), make_key("ES256", "thief")
    cnf = {"jkt": thumbprint(owner)}
    front = two_issuers(PagingUpstream(*(observation(f"o{n}") for n in range(10))), possessions=Possessions())
    token, other = ours(cnf=cnf), ours(cnf={"jkt": thumbprint(thief)})

    async def ask(target: str, *proofs: str, scheme: str = "DPoP", sent: str = token) -> Any:
        return await front.get(target, token=None, headers=[("authorization", f"{scheme} {sent}"), *(("dpop", one) for one in proofs)])

    url = f"{PUBLIC}/Observation"
    onward = link(await ask("/Observation?_count=3", proof(owner, token, url=url)))
    assert onward is not None
    good = proof(owner, token, url=url)
    assert (await ask(onward, good)).status_code == 200
    for proofs, code in (
        ((good,), "proof-replayed"),
        ((), "proof-missing"),
        ((proof(thief, token, url=url),), "proof-other-key"),
        ((proof(owner, token, url=f"{url}/o1"),), "proof-other-request"),
        ((proof(owner, token, url=url, method="POST"),), "proof-other-request"),
        ((proof(owner, other, url=url),), "proof-other-token"),
    ):
        refused = await ask(onward, *proofs)
        assert (refused.status_code, code_of(refused)) == (401, code)
    refused = await ask(onward, proof(owner, token, url=url), scheme="Bearer")
    assert (refused.status_code, code_of(refused)) == (401, "proof-missing")
    assert (await ask(onward, proof(thief, other, url=url), sent=other)).status_code == 200, "the same subject, and a token of its own"
