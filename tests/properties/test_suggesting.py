"""What is suggested allows all that was allowed, and nothing less does: in generated policies, by records of the gateway itself.

By hand: ``SMART_GATEWAY_SUGGESTIONS=100000 make test ARGS=tests/properties/test_suggesting.py``.
"""

from __future__ import annotations

import io
import json
import os
import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from smart_gateway.demo.fhir_server import DemoServer
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.observe.logs import DecisionLog
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.policy.requirements import REQUIRED
from smart_gateway.policy.suggesting import Observed, Suggestion
from smart_gateway.principal import Principal
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.reading import read_scope
from smart_gateway.scopes.scope import Context, ResourceScope
from tests.properties import generating, policies
from tests.properties.policies import NOW, TYPES
from tests.support.asgi import UPSTREAM, FakeVerifier, Front
from tests.support.deciding import scopes

WORLDS = int(os.environ.get("SMART_GATEWAY_SUGGESTIONS", "400"))
PARTS = 4
# A record does not tell whether a write also gave what was written.
HEADERS = {"prefer": "return=minimal", "content-type": "application/fhir+json"}
Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of one of the tokens."""

    token: str
    method: str
    target: str
    body: Resource | None = None


@dataclass(frozen=True, slots=True)
class Days:
    """Who asks for what, under which policy, of which records."""

    policy: Policy
    tokens: dict[str, Principal]
    records: tuple[Resource, ...]
    asks: tuple[Ask, ...]


def days(rng: random.Random, contexts: Collection[Context] = tuple(Context)) -> Days:
    """``contexts`` are those of the scopes in tokens. Rules on what a write may change are left out: they compare what is stored, which
    needs a right to read it that no record shows."""
    world = policies.world(rng, rng.choice(("clients", "users", "labels", "fields")))
    hiding = tuple(rule for rule in world.choices.get("fields", ()) if rule.hide)
    tokens = {f"t{i}": token(one, contexts) for i, one in enumerate((world.principal, policies.who(rng)))}
    records = {(r["resourceType"], r["id"]): r for _ in range(12) for r in policies.resources(rng)}
    types = [type for type, _ in records]
    asks = tuple(ask(rng, rng.choice(types)) for _ in range(8))
    return Days(world.with_policy(actors=None, fields=hiding).policy, tokens, tuple(records.values()), asks)


def token(one: Principal, contexts: Collection[Context]) -> Principal:
    resources = tuple(scope for scope in one.scopes.resources if scope.context in contexts)
    return replace(one, client_id="app", permitted=None, actors=(), scopes=replace(one.scopes, resources=resources))


def ask(rng: random.Random, type: str) -> Ask:
    token, id = rng.choice(("t0", "t1")), rng.choice(generating.IDS)
    body = {**policies.resources(rng, type)[0], "id": id}
    query = generating.search(rng, type) if type in generating.FILTERS and rng.random() < 0.5 else ""
    entries = [{"request": {"method": "GET", "url": f"{rng.choice(TYPES)}/{rng.choice(generating.IDS)}"}} for _ in range(2)]
    method, target, sent = rng.choice(
        [
            ("GET", f"/{type}/{id}", None),
            ("GET", f"/{type}/{id}", None),
            ("GET", f"/{type}?{query}", None),
            ("GET", f"/{type}?{query}", None),
            ("GET", f"/{type}/{id}/_history/1", None),
            ("POST", f"/{type}", body),
            ("PUT", f"/{type}/{id}", body),
            ("DELETE", f"/{type}/{id}", None),
            ("GET", f"/Patient/{id}/{type}", None),
            ("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries}),
        ]
    )
    return Ask(token, method, target, sent)


async def spend(days: Days, under: Policy) -> tuple[list[Any], list[Resource]]:
    """What the gateway answered to each request, and the decision log of it."""
    sink = io.BytesIO()
    server = DemoServer(days.records, base_path="/fhir", base_url=UPSTREAM, clock=lambda: NOW)
    front = Front(server, policy=under, verifier=FakeVerifier(days.tokens), log=DecisionLog(sink), clock=lambda: NOW)
    answers = []
    for one in days.asks:
        content = None if one.body is None else json.dumps(one.body)
        answer = await front.request(one.method, one.target, token=one.token, headers=HEADERS, content=content)
        answers.append((answer.status_code, shown(answer)))
    return answers, [json.loads(line) for line in sink.getvalue().splitlines()]


def shown(answer: httpx.Response) -> Any:
    """The resources in it, or what became of entries."""
    if not answer.content or answer.status_code >= 400:
        return None
    body = answer.json()
    if body["resourceType"] != "Bundle":
        return body
    return sorted(json.dumps(e.get("resource") or e["response"]["status"], sort_keys=True) for e in body.get("entry", ()))


def suggestion(records: Iterable[Resource], policy: Policy | None) -> Suggestion | None:
    def read(text: str, issuer: str | None) -> ResourceScope | None:
        scope = read_scope(text, replacement=None, v1_write="cud")
        return scope if isinstance(scope, ResourceScope) else None

    observed = Observed(read)
    for record in records:
        observed.add(record)
    found = list(observed.suggestions(policy))
    assert len(found) < 2
    return found[0] if found else None


def limited(policy: Policy, suggested: Suggestion) -> Policy:
    """``policy`` with the suggestion in it, as the limit of the client."""
    clients = policy.clients or {"*": ClientRule(system_role=True)}
    rule = ClientRule(system_role=suggested.system) if policy.clients is None else clients.get("app") or clients["*"]
    limit = replace(rule, limit=scopes(*suggested.scopes), plain=replace(rule.plain, limit=frozenset(suggested.plain)))
    return replace(policy, clients={**clients, "app": limit})


def was_allowed(record: Resource) -> bool:
    """Whether anything of it was: of a batch, one entry."""
    return record["outcome"] == "permit" and record["status"] < 400 and bool(parts(record))


def parts(record: Resource) -> list[Resource]:
    """The record, or of a batch the entries that were carried out."""
    return [entry for entry in record["entries"] if (entry["status"] or 500) < 400] if record["interaction"] == "batch" else [record]


@pytest.mark.parametrize("part", range(PARTS))
async def test_what_was_allowed_is_allowed_under_the_suggestion(part: int) -> None:
    """The same answers, whatever else the policy says; and nothing that the suggestion does not account for."""
    allowed = Counter[str]()
    for turn in range(part, WORLDS, PARTS):
        made = days(random.Random(turn))
        before, records = await spend(made, made.policy)
        suggested = suggestion(records, made.policy)
        if suggested is None:
            assert not any(map(was_allowed, records))
            continue
        assert not suggested.unexplained
        after, again = await spend(made, limited(made.policy, suggested))
        for one, answer, other, old, new in zip(made.asks, before, after, records, again, strict=True):
            if was_allowed(old):
                assert other == answer, (turn, one, old["rules"], new["code"], suggested)
                allowed[old["interaction"]] += 1
    assert len(allowed) > 5
    assert allowed.total() > WORLDS // PARTS * 0.5


def needed(made: Days, records: list[Resource]) -> set[tuple[str, str, Permission]]:
    """The token, type and permission of all that was let through."""
    found = set()
    for one, record in zip(made.asks, records, strict=True):
        for part in parts(record) if record["outcome"] == "permit" else ():
            found.add((one.token, part["type"], REQUIRED[Interaction(part["interaction"])]))
    return found


def boundaries(made: Days, policy: Policy, needs: Iterable[tuple[str, str, Permission]]) -> list[Any]:
    """What each token may touch of what it needed, without the names of the rules that say so."""
    accesses = {name: Access(principal, policy) for name, principal in made.tokens.items()}
    found = [accesses[token].boundary(type, permission) for token, type, permission in needs]
    return [(one.is_everything, frozenset((r.compartments, r.filters, r.labels) for r in one.regions)) for one in found]


def smaller(suggested: Suggestion) -> Iterator[Suggestion]:
    """Each suggestion with a letter less, but for what it keeps as it was."""
    held = scopes(*suggested.scopes)
    for place, one in enumerate(held):
        for letter in one.permissions.letters if one.text not in suggested.kept else "":
            left = one.permissions.letters.replace(letter, "")
            head, mark, filters = one.text.partition("?")
            less = [f"{head.rpartition('.')[0]}.{left}{mark}{filters}"] if left else []
            texts = [scope.text for scope in held]
            yield replace(suggested, scopes=(*texts[:place], *less, *texts[place + 1 :]))


@pytest.mark.parametrize("part", range(PARTS))
async def test_no_letter_and_no_scope_can_be_left_out(part: int) -> None:
    """With tokens of one context: by two, each of which grants the same, both are named."""
    tried = 0
    for turn in range(part, WORLDS, PARTS):
        rng = random.Random(turn)
        made = days(rng, [rng.choice(tuple(Context))])
        if any(rule.pin is not None for rule in (made.policy.clients or {}).values()):
            continue
        _, records = await spend(made, made.policy)
        suggested, needs = suggestion(records, made.policy), sorted(needed(made, records), key=str)
        if suggested is None:
            continue
        whole = boundaries(made, limited(made.policy, suggested), needs)
        assert whole == boundaries(made, made.policy, needs), (turn, suggested)
        for less in smaller(suggested):
            assert boundaries(made, limited(made.policy, less), needs) != whole, (turn, suggested, less.scopes)
            tried += 1
    assert tried > WORLDS // PARTS * 0.2
