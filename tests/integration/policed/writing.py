"""Carries writes out through the gateway, and holds what HAPI has afterwards, and the answer, against the judge."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import httpx

from tests.integration.policed.asking import Who
from tests.integration.policed.comparing import FHIR_JSON, demand
from tests.integration.policed.elements import untagged
from tests.integration.policed.judge import Judge
from tests.integration.policed.rules import Rules
from tests.integration.policed.world import Resource, marks
from tests.integration.policed.writes import Write, WritesJudge, allowed, bare, write

EACH = 4
PATCH = "application/json-patch+json"


class Scribe:
    """``seen`` counts writes by kind, the judge's word and status."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.http = httpx.Client(timeout=120, trust_env=False)
        self.seen: Counter[str] = Counter()

    def totals(self) -> Counter[str]:
        """How many of each type HAPI has."""
        types = ("Observation", "Patient", "Condition", "Encounter", "Group")
        return Counter({type: self.http.get(f"{self.server}/{type}?_summary=count").json()["total"] for type in types})

    def differences(self, base: str, bearer: str, rules: Rules, who: Who, name: str, rng: random.Random) -> list[str]:
        wrong = []
        for number in range(EACH):
            asked = write(rng, f"{name}-{number}")
            try:
                self.carry_out(base, bearer, asked, WritesJudge(rules, who), Judge(rules, who))
            except AssertionError as said:
                wrong.append(f"{said}"[:1500] + f"\n  asked {asked}\n  by {who}\n  under {rules}\n  name {name}-{number}")
        return wrong

    def stored(self, place: str) -> Resource | None:
        answer = self.http.get(f"{self.server}/{place}")
        return answer.json() if answer.status_code == 200 else None

    def carry_out(self, base: str, bearer: str, asked: Write, judge: Judge, reading: Judge) -> None:
        """Raises Wrong."""
        place, before = f"{asked.type}/{asked.id}", None
        if asked.old is not None:
            self.http.put(f"{self.server}/{place}", json=asked.old).raise_for_status()
            before = self.stored(place)
        try:
            may = allowed(asked, before, judge, reading)
            answer = self._send(base, bearer, asked)
            self.seen[f"{asked.kind} {'may' if may else 'may not'} {answer.status_code}"] += 1
            done = answer.status_code in (200, 201, 204)
            demand(may or not done, f"{asked.kind} of {place} was done: {answer.status_code} {answer.text[:300]}")
            if asked.kind != "free":
                demand(done or not may, f"{asked.kind} of {place} is allowed: {answer.status_code} {answer.text[:600]}")
            self._afterwards(base, asked, before, answer, done=done)
            self._told(asked, answer, before, reading, done=done)
        finally:
            self.http.delete(f"{self.server}/{place}")

    def _send(self, base: str, bearer: str, asked: Write) -> httpx.Response:
        headers = {"authorization": f"Bearer {bearer}", "accept": FHIR_JSON, "content-type": FHIR_JSON}
        place = f"{base}/{asked.type}/{asked.id}"
        match asked.kind:
            case "create":
                assert asked.new is not None
                body = {name: value for name, value in asked.new.items() if name != "id"}
                return self.http.post(f"{base}/{asked.type}", json=body, headers=headers)
            case "update" | "free":
                return self.http.put(place, json=asked.new, headers=headers)
            case "patch":
                return self.http.patch(place, content=json.dumps(asked.operations), headers={**headers, "content-type": PATCH})
        return self.http.delete(place, headers=headers)

    def _afterwards(self, base: str, asked: Write, before: Resource | None, answer: httpx.Response, *, done: bool) -> None:
        """HAPI holds what was asked for, or what it held."""
        place = f"{asked.type}/{asked.id}"
        if asked.kind == "create" and done:
            place = answer.headers["location"].removeprefix(f"{base}/").partition("/_history")[0]
        after = self.stored(place)
        if not done:
            demand(after == before, f"{place} has changed: {json.dumps(after)}")
            return
        if asked.kind == "create":
            self.http.delete(f"{self.server}/{place}")
        if asked.new is None or after is None:
            demand(after is None and asked.new is None, f"{place} is {json.dumps(after)}")
            return
        given, wanted = (content(one) for one in (after, asked.new))
        demand(given == wanted, f"{place} is {given} and not {wanted}")

    def _told(self, asked: Write, answer: httpx.Response, before: Resource | None, reading: Judge, *, done: bool) -> None:
        """The answer says nothing that may not be read, the words of the request apart."""
        said = marks(json.dumps(asked.new)) | marks(json.dumps(asked.operations))
        readable = [one for one in (before, asked.new) if one is not None and reading.may("r", one)]
        seen = {one for resource in readable for one in marks(json.dumps(reading.shown(resource)))}
        told = marks(answer.text) - seen - (said if not done else set())
        demand(not told, f"the answer to {asked.kind} tells {sorted(told)}")
        body = answer.json() if done and answer.content else {}
        if asked.new is not None and body.get("resourceType") == asked.type:
            demand(reading.may("r", asked.new), "the answer has a body")
            given, wanted = content(untagged(body)), content(reading.shown(asked.new))
            demand(given == wanted, f"the answer is {given} and not {wanted}")


def content(resource: Resource) -> dict[str, Any]:
    """Without what is the server's, and without labels, to which HAPI adds those of before."""
    found = bare(resource)
    found.pop("meta", None)
    return {**found, "contained": [bare(one) for one in found["contained"]]} if "contained" in found else found
