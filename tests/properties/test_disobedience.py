"""The generated searches against a server that does as it pleases: whatever it answers, nothing leaves that the judge keeps back.

It ignores every parameter, adds entries of others under any mode, hides them in each other, puts them under other ids, counts wrongly,
links to other pages, and answers in another media type or status.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from copy import deepcopy
from typing import Any

import httpx

from smart_gateway.policy.model import Policy
from tests.properties import judge, searches
from tests.properties.searches import BASE, Case, Resource
from tests.support.asgi import PUBLIC, UPSTREAM, Asked, Front, Reply, ScriptedUpstream
from tests.support.deciding import DEFAULT, policy

EXAMPLES = int(os.environ.get("SMART_GATEWAY_SEARCHES", "2000"))
RECORDS = searches.records("R4")
WORLD = {f"{r['resourceType']}/{r['id']}": r for r in RECORDS}
POLICIES = (DEFAULT, policy(compartment_search="compartment"), policy(compartment_search="union"), policy(foreign_patient_search="empty"))


class Wilful(ScriptedUpstream):
    """Answers every search with any records at all; reads, which checks ask for, with what there is or with another."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    def reply(self, asked: Asked) -> Reply:
        rng, path = self._rng, asked.path.strip("/").split("/")
        if len(path) == 2 and not path[1].startswith("_") and asked.method == "GET":
            stored = WORLD.get("/".join(path))
            if rng.random() < 0.1:
                stored = rng.choice(RECORDS)
            return Reply(404, b"") if stored is None else Reply(200, stored)
        kind = rng.random()
        if kind < 0.03:
            return Reply(rng.choice((201, 302, 400, 500)), self._bundle(), {"Location": f"{UPSTREAM}/{rng.choice(RECORDS)['id']}"})
        if kind < 0.06:
            return Reply(200, self._bundle(), type=rng.choice(("application/fhir+xml", "text/html", None)))
        return Reply(200, self._bundle())

    def _bundle(self) -> Resource:
        rng = self._rng
        entries = [self._entry(deepcopy(one)) for one in rng.sample(RECORDS, rng.randint(0, 12))]
        links = [{"relation": relation, "url": f"{UPSTREAM}?_getpages=x&_getpagesoffset=9"} for relation in ("self", "next")]
        return {"resourceType": "Bundle", "type": "searchset", "total": rng.choice((0, 7, 10**6)), "link": links, "entry": entries}

    def _entry(self, one: Resource) -> Resource:
        rng = self._rng
        kind = rng.random()
        if kind < 0.05 and one["resourceType"] != "Patient":  # who a Patient is, only its id tells
            one["id"] = rng.choice(("w1", "e1", "wa"))
        elif kind < 0.10:
            # what is contained is part of its resource, but for what carries resources that stand for themselves
            one["contained"] = [{"resourceType": "Parameters", "parameter": [{"name": "x", "resource": deepcopy(rng.choice(RECORDS))}]}]
        elif kind < 0.13:
            one = {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [{"resource": one}]}
        elif kind < 0.16:
            issue = {"severity": "warning", "code": "processing", "diagnostics": json.dumps(one)}
            one = {"resourceType": "OperationOutcome", "id": "o", "issue": [issue]}
        return {
            "fullUrl": f"{UPSTREAM}/{rng.choice(RECORDS)['resourceType']}/{one['id']}",
            "resource": one,
            "search": {"mode": rng.choice(("match", "match", "include", "outcome"))},
        }


def target(case: Case) -> str:
    pairs = [(name, text.replace(BASE, f"{PUBLIC}/")) for name, text in case.pairs]
    return f"/{case.type}?{httpx.QueryParams(pairs)}"


async def test_nothing_leaves_that_the_judge_keeps_back() -> None:
    rng, seen, given = random.Random(23), Counter[int](), 0
    for _ in range(EXAMPLES):
        case = searches.case(rng)
        if judge.open_to_all(case.token.scopes, "*", case.token.user):
            continue
        under: Policy = rng.choice(POLICIES)
        claims = {"patient": case.token.patient, "fhir_user": case.token.user}
        front = Front(Wilful(random.Random(rng.random())), " ".join(case.token.scopes), policy=under, claims=claims)
        answer = await front.get(target(case))
        seen[answer.status_code] += 1
        body = answer.json()
        if answer.status_code == 200:
            given += sum(_may_leave(case, entry) for entry in body.get("entry", []))
        _tells_of_nobody(case, answer)
    assert seen[200] > EXAMPLES / 4, seen
    assert seen[403] > EXAMPLES / 10, seen
    assert seen[502] > EXAMPLES / 100, seen
    assert set(seen) <= {200, 400, 403, 502}, seen
    assert given > EXAMPLES / 4, given


def _may_leave(case: Case, entry: Resource) -> bool:
    """A record that may be seen; a match by ``s``, all else by ``r`` or ``s``; and so for what it carries."""
    resource = entry["resource"]
    if resource["resourceType"] == "OperationOutcome":
        return False
    letters = "rs" if entry.get("search", {}).get("mode") == "include" else "s"
    whole = resource if not case.has("_elements", "_summary") else _whole(resource)
    token = case.token
    assert judge.may(token.scopes, letters, whole, token.patient, token.user, WORLD), (case, resource)
    for inner in [carrier["parameter"][0]["resource"] for carrier in resource.get("contained", [])]:
        assert judge.may(token.scopes, "rs", inner, token.patient, token.user, WORLD), (case, inner)
    return True


def _whole(resource: Resource) -> Resource:
    """The record of which elements were taken away again, by the members that are left (its id may be another's)."""
    fitting = [r for r in RECORDS if r["resourceType"] == resource["resourceType"] and _is_part(resource, r)]
    named = [r for r in fitting if r["id"] == resource["id"]]
    return (named or fitting or [resource])[0]


def _is_part(part: Resource, whole: Resource) -> bool:
    return all(whole.get(name) == value for name, value in part.items() if name not in {"id", "contained"})


def _tells_of_nobody(case: Case, answer: httpx.Response) -> None:
    """No word that only a record outside holds: in body or headers, but for what the client said itself."""
    text, token = answer.text + str(answer.headers), case.token
    said = "".join(value for _, value in case.pairs)
    for record in RECORDS:
        mark: Any = searches.mark(record["id"])
        if mark in text and mark not in said:
            assert judge.may(token.scopes, "rs", record, token.patient, token.user, WORLD), (case, record)
