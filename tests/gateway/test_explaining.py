"""``explain`` says what the gateway does: of sealed links, encoded bodies, emergencies and who comes how; and it says what it looked at."""

from __future__ import annotations

import gzip
import json
import zlib
from ipaddress import ip_network
from typing import Any

import pytest

from smart_gateway.answers.sealing import Sealer
from smart_gateway.errors import TokenError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.gateway.explaining import Invented, Question, Setting, UnusableQuestion, ask, explain, explain_token, invent
from smart_gateway.policy.emergencies import BreakGlass, Lift
from smart_gateway.policy.model import ClientRule, PublicInteraction, UserBound, UserRule
from smart_gateway.request.limits import Limits
from tests.support.asgi import NOW, PUBLIC, FakeVerifier, Front, Reply, ScriptedUpstream, code_of, observation, searchset
from tests.support.deciding import BASES, policy, principal, scopes
from tests.support.paging import PagingUpstream

OURS = json.dumps(observation()).encode()
THEIRS = json.dumps(observation(patient="999")).encode()


async def told(front: Front, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> dict[str, Any]:
    """What is explained to the bearer of ``t``, by what the gateway itself is judging by."""
    question = ask(method, target.removeprefix(PUBLIC), [f"{name}: {value}" for name, value in (headers or {}).items()], body)
    return await explain_token(question, "t", front.snapshot, NOW, front.snapshot.sealer)


async def alike(front: Front, method: str, target: str, **sent: Any) -> dict[str, Any]:
    """What is explained, held to what the gateway does."""
    shown = await told(front, method, target, sent.get("headers"), sent.get("content"))
    answer = await front.request(method, target, **sent)
    if shown["decision"] == "deny":
        assert (answer.status_code, code_of(answer)) == (shown["status"], shown["code"]), answer.text
    else:
        assert answer.status_code < 300, (shown, answer.text)
    return shown


def paging() -> PagingUpstream:
    return PagingUpstream(*(observation(f"o{number}") for number in range(9)))


async def next_page(front: Front) -> str:
    bundle = (await front.get("/Observation?_count=3")).json()
    return str(next(link["url"] for link in bundle["link"] if link["relation"] == "next"))


# --- links


async def test_a_page_is_opened_and_shown() -> None:
    front = Front(paging(), "patient/Observation.rs")
    shown = await alike(front, "GET", await next_page(front))
    assert (shown["decision"], shown["interaction"]) == ("permit", "page")
    (sent,) = shown["upstream"]
    assert "_getpages" in sent["target"]
    assert not any("to be checked" in check for check in shown["checks"])


@pytest.mark.parametrize("change", [lambda url: url[:-4] + "AAAA", lambda url: url.partition("_page=")[0] + "_page=garbage"])
async def test_a_page_that_is_not_ours_is_refused(change: Any) -> None:
    front = Front(paging(), "patient/Observation.rs")
    shown = await alike(front, "GET", change(await next_page(front)))
    assert (shown["status"], shown["code"]) == (403, "foreign-page")
    assert [ground["rule"] for ground in shown["grounds"]] == ["patient/Observation.rs"]


async def test_a_page_of_another_token_of_another_time_and_of_other_keys() -> None:
    front = Front(paging(), "patient/Observation.rs")
    url = await next_page(front)
    front.reload(verifier=FakeVerifier({"t": principal("patient/Observation.rs", patient="456")}))
    assert (await alike(front, "GET", url))["code"] == "foreign-page"
    front.reload(verifier=FakeVerifier({"t": principal("patient/Observation.rs")}), sealer=Sealer([b"x" * 32], 900.0))
    assert (await alike(front, "GET", url))["code"] == "foreign-page"


async def test_a_page_whose_time_is_over() -> None:
    front = Front(paging(), "patient/Observation.rs")
    url = await next_page(front)
    front.reload(clock=lambda: NOW + 901)
    question = ask("GET", url.removeprefix(PUBLIC), [], None)
    shown = await explain_token(question, "t", front.snapshot, NOW + 901, front.snapshot.sealer)
    assert (shown["status"], shown["code"]) == (404, "page-expired")
    assert (await front.get(url)).status_code == 404


async def test_without_keys_a_link_is_to_be_checked() -> None:
    front = Front(paging(), "patient/Observation.rs")
    question = ask("GET", "/Observation?_page=garbage", [], None)
    shown = await explain_token(question, "t", front.snapshot, NOW, None)
    assert (shown["decision"], shown["upstream"]) == ("permit", [])
    assert any(check.startswith("to be checked") for check in shown["checks"])


async def test_no_link_was_given_to_an_invented_principal() -> None:
    front = Front(paging(), "patient/Observation.rs")
    url = await next_page(front)
    who = invent(Invented("patient/Observation.rs", "123"), BASES, NOW)
    setting = Setting(front.snapshot.policy, front.snapshot.limits, who, NOW, front.snapshot.sealer)
    assert (await explain(ask("GET", url.removeprefix(PUBLIC), [], None), setting))["code"] == "foreign-page"


async def test_addresses_of_exports() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["GET /$export"] = Reply(202, b"", {"Content-Location": f"{BASES.upstream}/$export-poll-status?_jobId=j1"})
    front = Front(upstream, "system/*.rs", claims={"patient": None, "client_id": "backend"})
    started = await front.get("/$export", headers={"Prefer": "respond-async"})
    assert started.status_code == 202, started.text
    url = started.headers["content-location"]
    upstream.replies["GET /$export-poll-status"] = Reply(202)
    shown = await alike(front, "GET", url)
    assert [sent["target"] for sent in shown["upstream"]] == ["/$export-poll-status?_jobId=j1"]
    assert (await alike(front, "GET", "/$export-poll-status?_job=garbage"))["code"] == "foreign-export"
    front.reload(verifier=FakeVerifier({"t": principal("system/Patient.rs", patient=None, client_id="backend")}))
    assert (await alike(front, "GET", url))["decision"] == "deny"


# --- bodies in their encodings


FHIR = {"content-type": "application/fhir+json"}


@pytest.mark.parametrize("scope", ["patient/Observation.c", "system/Observation.c"])
@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        ("gzip", gzip.compress(OURS, mtime=0), None),
        ("x-gzip", gzip.compress(OURS, mtime=0), None),
        ("deflate", zlib.compress(OURS), None),
        ("identity", OURS, None),
        ("gzip", OURS, "malformed-encoding"),
        ("gzip", gzip.compress(OURS, mtime=0)[:-9], "malformed-encoding"),
        ("gzip", gzip.compress(OURS, mtime=0) + b"x", "malformed-encoding"),
        ("br", OURS, "unknown-encoding"),
        ("gzip, gzip", gzip.compress(gzip.compress(OURS, mtime=0)), "unknown-encoding"),
        ("gzip", gzip.compress(b" " * 1_000_000 + OURS), "body-too-large"),
    ],
)
async def test_a_body_is_decompressed_as_the_gateway_does_it(scope: str, encoding: str, body: bytes, code: str | None) -> None:
    upstream = ScriptedUpstream()
    upstream.replies["POST /Observation"] = Reply(201, b"", {"Location": f"{BASES.upstream}/Observation/o1/_history/1"}, type=None)
    front = Front(upstream, scope, limits=Limits(ratio=100))
    shown = await alike(front, "POST", "/Observation", headers={**FHIR, "content-encoding": encoding}, content=body)
    assert shown["code"] == code


async def test_what_is_in_a_compressed_body_counts() -> None:
    front = Front(ScriptedUpstream(), "patient/Observation.c")
    headers = {**FHIR, "content-encoding": "gzip"}
    shown = await alike(front, "POST", "/Observation", headers=headers, content=gzip.compress(THEIRS, mtime=0))
    assert shown["code"] == "outside-boundary"


async def test_a_compressed_form() -> None:
    upstream = ScriptedUpstream()
    upstream.replies["POST /Observation/_search"] = Reply(200, searchset(observation()))
    front = Front(upstream, "patient/Observation.rs")
    headers = {"content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"}
    for form, code in ((b"code=x", None), (b"patient=999", "foreign-patient")):
        shown = await alike(front, "POST", "/Observation/_search", headers=headers, content=gzip.compress(form, mtime=0))
        assert shown["code"] == code


async def test_a_body_that_is_too_large() -> None:
    front = Front(ScriptedUpstream(), "patient/Observation.c", limits=Limits(body=100))
    assert (await alike(front, "POST", "/Observation", headers=FHIR, content=OURS))["status"] == 413


# --- who comes how


RULE = ClientRule(networks=(ip_network("10.0.0.0/8"),), sender_constraint=frozenset({"dpop"}), max_token_age=60.0, requests_per_minute=5)


async def test_what_is_asked_of_an_arrival_is_told_as_a_check() -> None:
    """Of an invented principal; of a token it is known by what it is bound."""
    who = invent(Invented("patient/Observation.rs", "123", client="app"), BASES, NOW)
    shown = await explain(Question("GET", "/Observation/o1"), Setting(policy(clients={"app": RULE}), Limits(), who, NOW))
    assert shown["decision"] == "permit"
    assert shown["checks"][:3] == [
        "the client comes from 10.0.0.0/8",
        "the token is bound to its sender by dpop",
        "the client asks at most 5 times a minute",
    ]


@pytest.mark.parametrize("issued", [NOW - 61, None])
async def test_a_token_that_is_too_old(issued: float | None) -> None:
    claims, under = {"client_id": "app", "issued_at": issued}, policy(clients={"app": ClientRule(max_token_age=60.0)})
    front = Front(ScriptedUpstream(), "patient/Observation.rs", claims=claims, policy=under)
    shown = await told(front, "GET", "/Observation/o1")
    assert (shown["status"], shown["code"]) == (401, "token-too-old")
    assert (await front.get("/Observation/o1")).status_code == 401


async def test_a_client_that_needs_a_certification() -> None:
    front = Front(ScriptedUpstream(), "patient/Observation.rs", claims={"client_id": "app"}, policy=policy(certified_only=True))
    assert (await alike(front, "GET", "/Observation/o1"))["code"] == "client-not-certified"


async def test_an_emergency_is_called_by_headers() -> None:
    rule = BreakGlass("__break-glass", frozenset({Lift.USERS}))
    under = policy(users={"Practitioner": UserRule(UserBound.NOTHING)}, break_glass=rule)
    who = {"subject": "dr", "client_id": "ehr", "fhir_user": "Practitioner/p", "issued_at": NOW - 10, "patient": None}
    front = Front(ScriptedUpstream(observation()), "user/*.rs __break-glass", claims=who, policy=under)
    why = {"X-Break-Glass-Reason": "unconscious", "X-Purpose-Of-Use": "BTG"}
    assert (await alike(front, "GET", "/Observation/o1"))["decision"] == "deny"
    shown = await alike(front, "GET", "/Observation/o1", headers=why)
    assert shown["decision"] == "permit"
    assert ("lifts", True) in {(ground["result"], ground["decided"]) for ground in shown["grounds"]}
    assert "the emergency is on record before anything is done" in shown["checks"]
    assert (await alike(front, "GET", "/Observation/o1", headers={"X-Purpose-Of-Use": "BTG"}))["decision"] == "deny"


async def test_a_token_that_does_not_count() -> None:
    front = Front(ScriptedUpstream(), "patient/Observation.rs")
    front.reload(verifier=FakeVerifier({"t": TokenError("The token has expired.", reason="token-expired")}))
    assert (await alike(front, "GET", "/Observation/o1"))["code"] == "token-expired"


# --- what was looked at


def grounds(shown: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    return {ground["rule"]: (ground["result"], ground["decided"]) for ground in shown["grounds"]}


async def looked(method: str, target: str, scope: str, **choices: Any) -> dict[str, Any]:
    under, claims = choices.pop("under", policy()), {"patient": "123", **choices}
    return await explain(Question(method, target), Setting(under, Limits(), principal(scope, **claims), NOW))


GRANTS, GRANTS_IN_VAIN, IGNORED = ("grants", True), ("grants", False), ("ignored", False)


@pytest.mark.parametrize(
    ("method", "target", "observation", "condition"),
    [
        ("GET", "/Observation", GRANTS, IGNORED),
        ("GET", "/Observation?nonsense=1", GRANTS_IN_VAIN, IGNORED),
        ("GET", "/Observation?patient=999", GRANTS, IGNORED),  # it is outside of what is granted
        ("GET", "/Procedure", IGNORED, IGNORED),
        ("GET", "/?_type=Observation", GRANTS, IGNORED),
        ("GET", "/?_type=Observation,Procedure", IGNORED, IGNORED),  # Procedure is what is closed
        ("GET", "/_history", GRANTS, IGNORED),
        ("POST", "/Condition", IGNORED, GRANTS),
        ("POST", "/Condition?x=1", IGNORED, GRANTS_IN_VAIN),
        ("GET", "/metadata", None, None),
    ],
)
async def test_every_scope_has_its_line(method: str, target: str, observation: Any, condition: Any) -> None:
    shown = await looked(method, target, "patient/Observation.rs patient/Condition.cud openid patient/Bad.zz")
    found = grounds(shown)
    assert (found.get("patient/Observation.rs"), found.get("patient/Condition.cud")) == (observation, condition)
    assert (found["openid"], found["patient/Bad.zz"]) == (("ignored", False), ("ignored", False))
    assert all(ground["text"] for ground in shown["grounds"])


async def test_a_line_for_each_scope_over_many_types() -> None:
    shown = await looked("GET", "/_history", "patient/*.rs patient/Observation.rs")
    (every, one) = shown["grounds"]
    assert every["text"].startswith("gives s on Account, AdverseEvent, ")
    assert every["text"].endswith(" more")
    assert one["text"] == "gives s on Observation"


async def test_scopes_that_do_not_count_at_all() -> None:
    pinned = policy(clients={"app": ClientRule(pin=scopes("patient/Condition.rs"))}, places={("clients", "app"): "policy.yaml:4:3"})
    shown = await looked("GET", "/Condition", "patient/Observation.rs", under=pinned, client_id="app")
    assert shown["decision"] == "permit"
    found = grounds(shown)
    assert found == {"app": ("limits", True), "patient/Condition.rs": ("grants", True), "patient/Observation.rs": ("ignored", False)}
    assert {ground.get("place") for ground in shown["grounds"]} == {"policy.yaml:4:3", None}
    unknown = await looked("GET", "/Condition", "patient/Condition.rs", under=policy(clients={}), client_id="app")
    assert grounds(unknown) == {"app": ("denies", True), "patient/Condition.rs": ("ignored", False)}


async def test_a_rule_for_users_decides_nothing_for_scopes_of_others() -> None:
    under = policy(users={"Practitioner": UserRule(UserBound.NOTHING)})
    shown = await looked("GET", "/Condition", "patient/Condition.rs user/Condition.rs", under=under, fhir_user="Practitioner/1")
    assert [ground["decided"] for ground in shown["grounds"] if ground["source"] == "user"] == [False]
    alone = await looked("GET", "/Condition", "user/Condition.rs", under=under, fhir_user="Practitioner/1")
    assert [ground["decided"] for ground in alone["grounds"] if ground["source"] == "user"] == [True]


async def test_nobody_sees_what_is_public() -> None:
    under = policy(public=(PublicInteraction(Interaction.SEARCH_TYPE, "ValueSet"),))
    setting = Setting(under, Limits(), invent(Invented(), BASES, NOW), NOW)
    assert grounds(await explain(Question("GET", "/ValueSet"), setting)) == {"search-type ValueSet": ("grants", True)}
    shown = await explain(Question("GET", "/Observation"), setting)
    assert (shown["code"], grounds(shown)) == ("token-missing", {"search-type ValueSet": ("ignored", False)})


async def test_grounds_are_those_of_the_decision_and_change_no_record() -> None:
    """What was passed over is told to who asks why, and not to the log."""
    front = Front(ScriptedUpstream(observation()), "openid patient/Observation.rs patient/Condition.rs")
    await front.get("/Observation/o1")
    assert front.event.rules == ("patient/Observation.rs",)


# --- what can be asked


@pytest.mark.parametrize("line", ["Accept", ": x", "", "Authorization: Bearer x", "authorization:x", "DPoP: y"])
def test_headers_that_are_none(line: str) -> None:
    with pytest.raises(UnusableQuestion) as error:
        ask("GET", "/", [line], None)
    assert "Bearer" not in error.value.text


@pytest.mark.parametrize("who", [{"patient": "a/b"}, {"patient": ""}, {"fhir_user": "Patient"}, {"fhir_user": "Group/1"}])
def test_principals_that_cannot_be(who: dict[str, str]) -> None:
    with pytest.raises(UnusableQuestion):
        invent(Invented("patient/*.rs", **who), BASES, NOW)


def test_claims_alone_are_somebody() -> None:
    assert invent(Invented(), BASES, NOW).anonymous
    assert not invent(Invented(claims={"organization": "north"}), BASES, NOW).anonymous


async def test_framing_is_none_of_the_question() -> None:
    front = Front(ScriptedUpstream(), "patient/Observation.c")
    question = ask("POST", "/Observation", ["Content-Length: 5"], OURS)
    assert (await explain_token(question, "t", front.snapshot, NOW, None))["code"] is None
