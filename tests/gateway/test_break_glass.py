"""Break-glass through the gateway: headers of one request, its record before and after, batches, pages, attacks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from smart_gateway.policy.emergencies import BreakGlass, Lift
from smart_gateway.policy.model import ClientRule, UserBound, UserRule
from tests.support.asgi import NOW, UPSTREAM, Front, MemoryLog, Reply, ScriptedUpstream
from tests.support.deciding import policy

SCOPE = "__break-glass"
RULE = BreakGlass(SCOPE, frozenset({Lift.USERS}))
POLICY = policy(users={"Practitioner": UserRule(UserBound.COMPARTMENT)}, break_glass=RULE)
WHO: dict[str, Any] = {"subject": "dr", "client_id": "ehr", "fhir_user": "Practitioner/p", "issued_at": NOW - 10, "patient": None}
WHY = {"X-Break-Glass-Reason": "Patient unconscious, no consent", "X-Purpose-Of-Use": "BTG"}
OBSERVATION = {"resourceType": "Observation", "id": "o1", "meta": {"versionId": "1"}, "subject": {"reference": "Patient/other"}}


def front(app: Any = None, scope: str = f"user/*.cruds {SCOPE}", **choices: Any) -> Front:
    claims = {**WHO, **choices.pop("claims", {})}
    return Front(app or ScriptedUpstream(OBSERVATION), scope, policy=choices.pop("policy", POLICY), claims=claims, **choices)


def code(answer: Any) -> str:
    (issue,) = answer.json()["issue"]
    return str(issue["details"]["coding"][0]["code"])


async def test_a_record_opens_in_an_emergency_and_only_for_that_request() -> None:
    gateway = front()
    assert (await gateway.get("/Observation/o1")).status_code == 404
    opened = await gateway.get("/Observation/o1", headers=WHY)
    assert (opened.status_code, opened.json()["id"]) == (200, "o1")
    assert (await gateway.get("/Observation/o1")).status_code == 404  # nothing of it was kept with the token


async def test_it_is_on_record_before_anything_is_asked_and_again_at_the_end() -> None:
    upstream = ScriptedUpstream(OBSERVATION)
    gateway = front(upstream, claims={"token_id": "jti-1", "claims": {"auth_time": NOW - 60, "acr": "mfa"}})
    begun_when_asked: list[int] = []
    upstream.replies["GET /Observation/o1"] = lambda _asked: begun_when_asked.append(len(gateway.log.begun)) or Reply(200, OBSERVATION)  # type: ignore[func-returns-value]
    await gateway.get("/Observation/o1", headers=WHY)
    assert begun_when_asked == [1]
    (begun,), (ended,) = gateway.log.begun, gateway.log.events
    assert (begun.stage, begun.status, begun.outcome) == ("begun", 0, "permit")
    assert (ended.stage, ended.status, ended.outcome, ended.kept) == ("ended", 200, "permit", True)
    assert begun.request_id == ended.request_id
    for event in (begun, ended):
        use = event.break_glass
        assert use is not None
        assert (use.granted, use.scope, use.purpose, use.reason) == (True, SCOPE, "BTG", WHY["X-Break-Glass-Reason"])
        assert (use.lifts, use.token_id, use.auth_time, use.acr) == (("users",), "jti-1", NOW - 60, "mfa")
        assert SCOPE in event.rules


async def test_also_one_that_lifted_nothing_is_recorded() -> None:
    gateway = front(policy=policy(break_glass=RULE))
    await gateway.get("/Observation/o1", headers=WHY)
    assert gateway.log.begun[0].break_glass is not None
    assert gateway.log.begun[0].break_glass.granted


async def test_what_cannot_be_recorded_is_not_done() -> None:
    upstream = ScriptedUpstream(OBSERVATION)
    gateway = front(upstream)
    gateway.log.full = True
    refused = await gateway.get("/Observation/o1", headers=WHY)
    assert (refused.status_code, code(refused)) == (503, "dependency-unavailable")
    assert upstream.asked == []
    assert "unconscious" not in refused.text
    ordinary = await gateway.get("/Observation/o1")  # what is no emergency goes on
    assert ordinary.status_code == 404
    assert len(upstream.asked) == 1


async def test_what_is_refused_is_recorded_as_an_attempt() -> None:
    gateway = front(scope="user/*.cruds")
    refused = await gateway.get("/Observation/o1", headers=WHY)
    assert (refused.status_code, code(refused)) == (403, "break-glass-not-allowed")
    (event,) = gateway.log.events
    assert event.break_glass is not None
    assert (event.outcome, event.code, event.break_glass.granted) == ("deny", "break-glass-not-allowed", False)
    assert event.break_glass.reason == WHY["X-Break-Glass-Reason"]
    assert gateway.log.begun == []


HEADERS: list[tuple[dict[str, str], int, str]] = [
    ({"X-Purpose-Of-Use": "BTG"}, 403, "break-glass-reason"),
    ({**WHY, "X-Break-Glass-Reason": "   "}, 403, "break-glass-reason"),
    ({"X-Break-Glass-Reason": "why"}, 403, "break-glass-purpose"),
    ({**WHY, "X-Purpose-Of-Use": "TREAT"}, 403, "break-glass-purpose"),
    ({**WHY, "X-Break-Glass-Reason": "x" * 513}, 400, "malformed-header"),
    ({**WHY, "X-Break-Glass-Reason": "a\u202eb"}, 400, "malformed-header"),
    ({**WHY, "X-Break-Glass-Reason": "a\u2028b"}, 400, "malformed-header"),
    ({**WHY, "X-Break-Glass-Reason": "a\u0085b"}, 400, "malformed-header"),
]


@pytest.mark.parametrize(("headers", "status", "reason"), HEADERS, ids=[f"{n}-{case[2]}" for n, case in enumerate(HEADERS)])
async def test_headers_that_call_none(headers: dict[str, str], status: int, reason: str) -> None:
    upstream = ScriptedUpstream(OBSERVATION)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = await front(upstream).get("/Observation/o1", headers=raw)
    assert (answer.status_code, code(answer)) == (status, reason)
    assert upstream.asked == []


async def test_two_reasons_are_none() -> None:
    raw = [(b"X-Break-Glass-Reason", b"one"), (b"X-Break-Glass-Reason", b"two"), (b"X-Purpose-Of-Use", b"BTG")]
    answer = await front().get("/Observation/o1", headers=raw)
    assert (answer.status_code, code(answer)) == (400, "duplicate-header")


async def test_reasons_are_in_any_language() -> None:
    gateway = front()
    raw = [(b"X-Break-Glass-Reason", "Zusammenbruch im Flur – Hüfte".encode()), (b"X-Purpose-Of-Use", b"ETREAT")]
    assert (await gateway.get("/Observation/o1", headers=raw)).status_code == 200
    use = gateway.log.events[0].break_glass
    assert use is not None
    assert use.reason == "Zusammenbruch im Flur – Hüfte"


@pytest.mark.parametrize("headers", [{"X_Break_Glass_Reason": "why", "X_Purpose_Of_Use": "BTG"}, {"X-Purpose-Of-Use": "TREAT"}, {}])
async def test_other_headers_call_nothing(headers: dict[str, str]) -> None:
    gateway = front()
    assert (await gateway.get("/Observation/o1", headers=headers)).status_code == 404
    assert gateway.log.events[0].break_glass is None


async def test_without_a_rule_the_headers_mean_nothing() -> None:
    gateway = front(policy=policy(users={"Practitioner": UserRule(UserBound.COMPARTMENT)}))
    assert (await gateway.get("/Observation/o1", headers=WHY)).status_code == 404
    assert gateway.log.events[0].break_glass is None


async def test_the_headers_do_not_reach_the_server() -> None:
    upstream = ScriptedUpstream(OBSERVATION)
    await front(upstream).get("/Observation/o1", headers=WHY)
    assert {"x-break-glass-reason", "x-purpose-of-use"}.isdisjoint(name for name, _ in upstream.asked[0].headers)


async def test_a_client_that_may_not_come_breaks_no_glass() -> None:
    under = replace(POLICY, clients={"other": ClientRule()})
    answer = await front(policy=under).get("/Observation/o1", headers=WHY)
    assert (answer.status_code, code(answer)) == (403, "client-not-allowed")


async def test_nobody_breaks_no_glass() -> None:
    answer = await front().get("/Observation/o1", token=None, headers=WHY)
    assert answer.status_code == 401


async def test_documents_for_everybody_are_no_emergency() -> None:
    gateway = front()
    answer = await gateway.get("/.well-known/oauth-protected-resource", token=None, headers=WHY)
    assert answer.status_code != 403
    assert gateway.log.begun == []


async def test_another_login_is_asked_for() -> None:
    strict = replace(POLICY, break_glass=replace(RULE, max_auth_age=300.0, acr_values=("urn:mfa", "phr")))
    answer = await front(policy=strict).get("/Observation/o1", headers=WHY)
    assert (answer.status_code, code(answer)) == (401, "step-up-wanted")
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    for part in ('error="insufficient_user_authentication"', 'acr_values="urn:mfa phr"', 'max_age="300"', "error_description="):
        assert part in challenge
    by_dpop = await front(policy=strict, dpop_algorithms=("ES256",)).get("/Observation/o1", headers=WHY)
    assert [c.split(" ")[0] for c in by_dpop.headers.get_list("www-authenticate")] == ["Bearer", "DPoP"]
    assert all('max_age="300"' in c for c in by_dpop.headers.get_list("www-authenticate"))


async def test_after_the_login_it_is_granted() -> None:
    strict = replace(POLICY, break_glass=replace(RULE, max_auth_age=300.0, acr_values=("urn:mfa",)))
    gateway = front(policy=strict, claims={"claims": {"auth_time": NOW - 5, "acr": "urn:mfa"}})
    assert (await gateway.get("/Observation/o1", headers=WHY)).status_code == 200


async def test_it_ends_by_itself_also_for_a_token_that_is_cached() -> None:
    gateway = front(claims={"issued_at": NOW - 3599})
    assert (await gateway.get("/Observation/o1", headers=WHY)).status_code == 200
    gateway.reload(clock=lambda: NOW + 2)
    over = await gateway.get("/Observation/o1", headers=WHY)
    assert (over.status_code, code(over)) == (403, "break-glass-over")


# --- pages and batches ------------------------------------------------------------------------------------------------------------


def searchset(*resources: dict[str, Any], next: str | None = None) -> dict[str, Any]:
    links = [{"relation": "next", "url": next}] if next else []
    entries = [{"fullUrl": f"{UPSTREAM}/Observation/{r['id']}", "resource": r, "search": {"mode": "match"}} for r in resources]
    return {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries}


async def page_of(gateway: Front, headers: dict[str, str]) -> str:
    found = (await gateway.get("/Observation?code=x", headers=headers)).json()
    return str({link["relation"]: link["url"] for link in found["link"]}["next"])


def bounded(**choices: Any) -> Front:
    """A filter keeps the answers judged, and the pages sealed, in an emergency too."""
    coded = {**OBSERVATION, "code": {"coding": [{"code": "x"}]}}
    own = {**coded, "id": "o2", "performer": [{"reference": "Practitioner/p"}]}
    upstream = ScriptedUpstream()
    upstream.replies["GET /Observation"] = Reply(200, searchset(coded, own, next=f"{UPSTREAM}?_getpages=abc"))
    upstream.replies["GET "] = upstream.replies["GET /"] = Reply(200, searchset({**coded, "id": "o3"}))
    return front(upstream, f"user/Observation.rs?code=x {SCOPE}", **choices)


async def test_a_page_of_an_emergency_opens_in_an_emergency_only() -> None:
    gateway = bounded()
    sealed = await page_of(gateway, WHY)
    late = await gateway.get(sealed)
    assert (late.status_code, code(late)) == (403, "foreign-page")
    again = await gateway.get(sealed, headers=WHY)
    assert [e["resource"]["id"] for e in again.json()["entry"]] == ["o3"]


async def test_a_page_of_no_emergency_opens_in_none() -> None:
    gateway = bounded()
    sealed = await page_of(gateway, {})
    answer = await gateway.get(sealed, headers=WHY)
    assert (answer.status_code, code(answer)) == (403, "foreign-page")


async def test_a_page_does_not_outlive_the_emergency() -> None:
    gateway = bounded(claims={"issued_at": NOW - 3590})
    sealed = await page_of(gateway, WHY)
    gateway.reload(clock=lambda: NOW + 60)
    answer = await gateway.get(sealed, headers=WHY)
    assert (answer.status_code, code(answer)) == (403, "break-glass-over")


async def test_each_page_is_recorded_with_its_reason() -> None:
    gateway = bounded()
    await gateway.get(await page_of(gateway, WHY), headers={**WHY, "X-Break-Glass-Reason": "still unconscious"})
    reasons = [event.break_glass.reason for event in gateway.log.begun if event.break_glass is not None]
    assert reasons == [WHY["X-Break-Glass-Reason"], "still unconscious"]


def batch(*entries: tuple[str, str]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": method, "url": url}} for method, url in entries]}


async def test_the_entries_of_a_batch_are_in_the_emergency_and_its_writes_are_not() -> None:
    upstream = ScriptedUpstream(OBSERVATION)
    answered = {"resourceType": "Bundle", "type": "batch-response", "entry": [{"response": {"status": "200"}, "resource": OBSERVATION}]}
    upstream.replies["POST "] = upstream.replies["POST /"] = Reply(200, answered)
    gateway = front(upstream)
    body = batch(("GET", "Observation/o1"), ("DELETE", "Observation/o1"))
    answer = await gateway.request("POST", "", json=body, headers={**WHY, "content-type": "application/fhir+json"})
    first, second = answer.json()["entry"]
    assert (first["response"]["status"][:3], first["resource"]["id"]) == ("200", "o1")
    assert second["response"]["status"][:3] == "404"
    assert len(gateway.log.begun) == 1
    assert [(entry.interaction, entry.status) for entry in gateway.log.events[0].entries] == [("read", 200), ("delete", 404)]


async def test_a_batch_without_the_headers_is_no_emergency() -> None:
    upstream = ScriptedUpstream(OBSERVATION)
    answered = {"resourceType": "Bundle", "type": "batch-response", "entry": [{"response": {"status": "200"}, "resource": OBSERVATION}]}
    upstream.replies["POST "] = upstream.replies["POST /"] = Reply(200, answered)
    answer = await front(upstream).request(
        "POST", "", json=batch(("GET", "Observation/o1")), headers={"content-type": "application/fhir+json"}
    )
    assert "Patient/other" not in answer.text


# --- required records -------------------------------------------------------------------------------------------------------------


async def test_where_records_are_required_every_permit_is_recorded_first() -> None:
    upstream = ScriptedUpstream(OBSERVATION)
    gateway = front(upstream, policy=policy(), audit_required=True)
    assert (await gateway.get("/Observation/o1")).status_code == 200
    assert [event.stage for event in gateway.log.begun] == ["begun"]
    gateway.log.full = True
    asked = len(upstream.asked)
    for method, target, body in (
        ("GET", "/Observation/o1", None),
        ("DELETE", "/Observation/o1", None),
        ("POST", "/Observation", OBSERVATION),
    ):
        content = {} if body is None else {"content": json.dumps(body), "headers": {"content-type": "application/fhir+json"}}
        refused = await gateway.request(method, target, **content)
        assert (refused.status_code, code(refused)) == (503, "dependency-unavailable")
    assert len(upstream.asked) == asked


async def test_a_refusal_needs_no_record_to_be_one() -> None:
    log = MemoryLog()
    log.full = True
    gateway = front(scope="user/Patient.rs", log=log, audit_required=True)
    assert (await gateway.get("/Observation/o1")).status_code == 403
    assert log.begun == []


async def test_documents_for_everybody_need_no_record() -> None:
    log = MemoryLog()
    log.full = True
    answer = await front(log=log, audit_required=True).get("/.well-known/oauth-protected-resource", token=None)
    assert answer.status_code != 503


async def test_a_preflight_names_the_headers_that_call_an_emergency() -> None:
    gateway = front(cors_origins=frozenset({"https://app.example"}))
    asking = {"origin": "https://app.example", "access-control-request-method": "GET"}
    answer = await gateway.request("OPTIONS", "/Observation", token=None, headers=asking)
    assert {"X-Break-Glass-Reason", "X-Purpose-Of-Use"} <= set(answer.headers["access-control-allow-headers"].split(", "))
