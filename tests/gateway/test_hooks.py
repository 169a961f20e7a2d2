"""Hooks: what the operator's own code may say of a principal, and what becomes of a request when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from smart_gateway import Amendment, PrincipalHook, Refusal
from smart_gateway.errors import DependencyUnavailable, HookRefused
from smart_gateway.fhir.references import Reference
from smart_gateway.gateway.callers.hooks import Amendments
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import Policy
from smart_gateway.principal import Ceiling, Principal
from smart_gateway.scopes.claim_paths import find_claim
from tests.support.asgi import NOW, FakeVerifier, Front, Reply, ScriptedUpstream, code_of, observation, searchset
from tests.support.deciding import DEFAULT, principal

LABORATORY = "patient/Observation.rs?category=laboratory"


class Scripted:
    """A hook that says ``said`` (raises it where it is an exception), counts, and waits for ``gate`` where there is one."""

    def __init__(self, said: Any) -> None:
        self.said = said
        self.asked: list[Principal] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, principal: Principal) -> Any:
        self.asked.append(principal)
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.said, BaseException):
            raise self.said
        return self.said


def front(
    said: Any, scope: str = "patient/Observation.rs", *, widen: bool = False, timeout: float = 2.0, **choices: Any
) -> tuple[Front, Scripted]:
    upstream = ScriptedUpstream(observation("o1"), observation("o2", category=[{"coding": [{"code": "laboratory"}]}]))
    upstream.replies["GET /Observation"] = Reply(200, searchset(observation("o1")))
    hook = Scripted(said)
    return Front(upstream, scope, amendments=Amendments(hook, timeout=timeout, may_widen=widen), **choices), hook


def test_a_function_is_a_hook() -> None:
    async def hook(principal: Principal) -> Amendment | Refusal:
        return Amendment()

    typed: PrincipalHook = hook
    assert Amendments(typed)


async def test_an_empty_amendment_leaves_all_as_it_is() -> None:
    made, hook = front(Amendment())
    assert (await made.get("/Observation/o1")).status_code == 200
    assert [asked.patient for asked in hook.asked] == ["123"]


async def test_the_hook_is_asked_once_for_a_principal_and_the_amended_one_is_the_same_object() -> None:
    made, hook = front(Amendment(limit=[LABORATORY]))
    for _ in range(3):
        await made.get("/Observation/o2")
    assert len(hook.asked) == 1
    amendments, who = made.snapshot.amendments, principal("user/*.rs")
    first = await amendments.of(who, NOW)
    assert first is await amendments.of(who, NOW)
    assert first is not await amendments.of(replace(who), NOW)
    assert len(hook.asked) == 3


async def test_nobody_is_asked_about_discovery_or_public_requests() -> None:
    made, hook = front(Refusal("No."))
    assert (await made.get("/.well-known/smart-configuration")).status_code == 200
    assert (await made.get("/Observation/o1", token=None)).status_code == 401
    assert hook.asked == []
    anonymous = Principal("", anonymous=True)
    assert await made.snapshot.amendments.of(anonymous, NOW) is anonymous


async def test_a_limit_shrinks_reads_and_searches() -> None:
    made, _ = front(Amendment(limit=[LABORATORY]))
    assert (await made.get("/Observation/o1")).status_code == 404
    assert (await made.get("/Observation/o2")).status_code == 200
    assert (await made.get("/Observation")).json().get("entry", []) == []


async def test_a_limit_never_gives_what_the_token_lacks() -> None:
    made, _ = front(Amendment(limit=["user/*.cruds", "system/*.cruds", "patient/*.cruds"]))
    assert (await made.get("/Patient/123")).status_code == 403
    assert (await made.request("DELETE", "/Observation/o1")).status_code == 403
    assert (await made.get("/Observation/o1")).status_code == 200


async def test_an_empty_limit_leaves_nothing() -> None:
    made, _ = front(Amendment(limit=[]))
    assert (await made.get("/Observation/o1")).status_code == 403


async def test_a_limit_comes_on_top_of_those_that_are_there() -> None:
    hook = Scripted(Amendment(limit=["patient/*.rs"]))
    held = replace(principal("patient/*.rs"), ceilings=(Ceiling("an issuer", ()),))
    amended = await Amendments(hook).of(held, NOW)
    assert [ceiling.source for ceiling in amended.ceilings] == ["an issuer", "the hook"]
    assert not Access(amended, DEFAULT).unlimited(next(iter(amended.scopes.resources[0].permissions)))


async def test_a_refusal_is_403_in_the_hooks_words_and_the_record_says_of_whom() -> None:
    made, hook = front(Refusal("The patient has withdrawn consent."), claims={"subject": "s1"})
    response = await made.get("/Observation/o1")
    assert (response.status_code, code_of(response)) == (403, "refused-by-hook")
    assert "withdrawn consent" in response.json()["issue"][0]["details"]["text"]
    assert (made.event.outcome, made.event.subject, made.event.code) == ("deny", "s1", "refused-by-hook")
    assert (await made.get("/Observation/o2")).status_code == 403
    assert len(hook.asked) == 1


@pytest.mark.parametrize(
    "said",
    [
        RuntimeError("secret"),
        TimeoutError("secret"),
        KeyError("secret"),
        SystemError("secret"),
        None,
        True,
        {"limit": []},
        principal("user/*.cruds"),
        Amendment,
        Amendment(limit="patient/*.rs"),
        Amendment(limit=["patient/*.rs", "openid"]),
        Amendment(limit=["patient/Observation.sr"]),
        Amendment(limit=[7]),  # type: ignore[list-item]
        Amendment(facts=7),  # type: ignore[arg-type]
        Amendment(scopes="user/*.cruds"),
        Amendment(scopes=""),
        Amendment(patient="456"),
        Amendment(encounter="e1"),
        Amendment(fhir_user="Practitioner/1"),
    ],
)
async def test_a_hook_that_fails_lets_nobody_in(said: Any, caplog: pytest.LogCaptureFixture) -> None:
    made, hook = front(said)
    response = await made.get("/Observation/o1")
    assert (response.status_code, code_of(response)) == (503, "dependency-unavailable")
    assert "retry-after" in response.headers
    assert "secret" not in response.text + caplog.text
    assert caplog.messages
    hook.said = Amendment()
    assert (await made.get("/Observation/o1")).status_code == 200


async def test_a_hook_that_does_not_answer_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    made, hook = front(Amendment(), timeout=0.01)
    hook.gate = asyncio.Event()
    assert (await made.get("/Observation/o1")).status_code == 503
    assert "did not answer" in caplog.text


async def test_a_hook_that_answers_its_cancellation_is_too_late(caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn(_: Principal) -> Amendment:
        try:
            await asyncio.Event().wait()
        finally:
            return Amendment()  # noqa: B012  # what a hook must not do: it swallows the cancellation

    for _ in range(2):
        with pytest.raises(DependencyUnavailable):
            await Amendments(stubborn, timeout=0.01).of(principal("patient/*.rs"), NOW)
    assert "did not answer" in caplog.text


async def test_a_hook_that_ignores_its_cancellation_holds_nobody_up() -> None:
    let_go = asyncio.Event()

    async def deaf(_: Principal) -> Amendment:
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()
        raise RuntimeError("secret")  # heard by nobody, and logged by nobody

    with pytest.raises(DependencyUnavailable):
        await asyncio.wait_for(Amendments(deaf, timeout=0.01).of(principal("patient/*.rs"), NOW), 5)
    let_go.set()
    await asyncio.sleep(0)


async def test_a_hook_that_is_cancelled_lets_nobody_in() -> None:
    amendments = Amendments(Scripted(asyncio.CancelledError()))
    with pytest.raises(DependencyUnavailable):
        await amendments.of(principal("patient/*.rs"), NOW)


async def test_many_at_once_ask_once_and_one_that_leaves_takes_nobody_along() -> None:
    hook = Scripted(Amendment())
    hook.gate = asyncio.Event()
    amendments, who = Amendments(hook), principal("patient/*.rs")
    waiting = [asyncio.create_task(amendments.of(who, NOW)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    hook.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    answers = await asyncio.gather(*waiting[1:])
    assert all(answer is answers[0] for answer in answers)
    assert len(hook.asked) == 1


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (Amendment(scopes="user/Patient.rs"), lambda who: [scope.text for scope in who.scopes.resources] == ["user/Patient.rs"]),
        (Amendment(scopes=""), lambda who: who.scopes.resources == ()),
        (Amendment(patient="456"), lambda who: who.patient == "456"),
        (Amendment(encounter="e1"), lambda who: who.encounter == "e1"),
        (Amendment(fhir_user="Practitioner/1"), lambda who: who.fhir_user == Reference("Practitioner", "1")),
    ],
)
async def test_what_widens_counts_where_the_settings_say_so(said: Amendment, shown: Callable[[Principal], bool]) -> None:
    before = replace(principal("patient/Observation.rs", subject="s", client_id="c"), ceilings=(Ceiling("an issuer", ()),))
    amended = await Amendments(Scripted(said), may_widen=True).of(before, NOW)
    assert shown(amended)
    kept = ("issuer", "subject", "client_id", "token_id", "expires_at", "confirmation", "ceilings", "anonymous")
    assert all(getattr(amended, name) == getattr(before, name) for name in kept)


@pytest.mark.parametrize(
    "said",
    [
        Amendment(patient="Patient/1"),
        Amendment(patient="1,2"),
        Amendment(patient=1),  # type: ignore[arg-type]
        Amendment(encounter=""),
        Amendment(fhir_user="Organization/1"),
        Amendment(fhir_user="https://elsewhere.example/Practitioner/1"),
        Amendment(fhir_user="Practitioner/1/_history/2"),
        Amendment(scopes=7),  # type: ignore[arg-type]
    ],
)
async def test_what_widens_must_still_be_well_formed(said: Amendment) -> None:
    amendments = Amendments(Scripted(said), may_widen=True)
    if said.scopes is not None:
        assert (await amendments.of(principal("user/*.cruds"), NOW)).scopes.resources == ()
        return
    with pytest.raises(DependencyUnavailable):
        await amendments.of(principal("user/*.cruds"), NOW)


async def test_facts_stand_beside_the_claims_and_no_token_can_forge_them() -> None:
    claims = {"hook": {"roles": ["admin"]}, "org": "north"}
    amended = await Amendments(Scripted(Amendment(facts={"roles": ["nurse"]}))).of(replace(principal("patient/*.rs"), claims=claims), NOW)
    assert dict(amended.claims["hook"]) == {"roles": ["nurse"]}
    assert amended.claims["org"] == "north"
    bare = await Amendments(Scripted(Amendment())).of(replace(principal("patient/*.rs"), claims=claims), NOW)
    assert dict(bare.claims["hook"]) == {}


@pytest.mark.parametrize("name", ["hook.patients", '["hook"].patients', 'hook["patients"]', "hook.patients[0]", "hook"])
@pytest.mark.parametrize("facts", [{"patients": ["123"]}, {}])
async def test_no_claim_is_found_where_a_policy_asks_for_facts(name: str, facts: dict[str, Any]) -> None:
    claims = {name: {"patients": ["other"]} if name == "hook" else ["other"]}
    amended = await Amendments(Scripted(Amendment(facts=facts))).of(replace(principal("user/*.rs"), claims=claims), NOW)
    assert find_claim(amended.claims, ("hook.patients",)) == facts.get("patients")
    if name != "hook":
        assert find_claim(amended.claims, (name,)) in (None, ["123"], "123")


async def test_each_principal_is_judged_by_what_was_said_of_it() -> None:
    class ByClient:
        async def __call__(self, principal: Principal) -> Amendment | Refusal:
            return Refusal("Not you.") if principal.client_id == "b" else Amendment()

    verifier = FakeVerifier({name: principal("patient/Observation.rs", client_id=name) for name in ("a", "b")})
    made, _ = front(Amendment(), verifier=verifier)
    made.reload(amendments=Amendments(ByClient()))
    statuses = [(await made.get("/Observation/o1", token=name)).status_code for name in ("a", "b", "a", "b")]
    assert statuses == [200, 403, 200, 403]


async def test_an_answer_serves_for_a_minute_at_most_also_for_who_comes_with_no_token() -> None:
    hook = Scripted(Amendment())
    amendments, who = Amendments(hook), principal("patient/*.rs")
    first = await amendments.of(who, NOW)
    assert await amendments.of(who, NOW + 59) is first
    hook.said = Refusal("Withdrawn.")
    with pytest.raises(HookRefused):
        await amendments.of(who, NOW + 60)
    with pytest.raises(HookRefused):
        await amendments.of(who, NOW - 1)  # a clock that is set back makes nothing serve longer


async def test_a_full_memory_forgets_the_oldest_and_mixes_up_nobody() -> None:
    hook = Scripted(Amendment())
    amendments = Amendments(hook, size=2)
    people = [principal("patient/*.rs", patient=str(number)) for number in range(5)]
    for who in people * 2:
        assert (await amendments.of(who, NOW)).patient == who.patient
    assert len(hook.asked) == 10


async def test_a_dry_run_records_what_the_hook_would_refuse() -> None:
    made, _ = front(Refusal("No."), dry_run=True)
    assert (await made.get("/Observation/o1")).status_code == 200
    assert (made.event.outcome, made.event.code) == ("deny", "refused-by-hook")


async def test_a_refusal_is_no_exception_of_the_token() -> None:
    with pytest.raises(HookRefused) as refused:
        await Amendments(Scripted(Refusal("No."))).of(principal("patient/*.rs"), NOW)
    assert refused.value.status == 403
    assert isinstance(DEFAULT, Policy)
