"""What HAPI has and finds to nobody's bounds, and what the judge says of all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from urllib.parse import quote

import httpx

from tests.integration.policed.asking import Who
from tests.integration.policed.judge import Judge
from tests.integration.policed.rules import Rules
from tests.integration.policed.world import PATIENTS, Resource, marks

TYPES = ("Patient", "Observation", "Condition", "Encounter", "Group", "Organization", "Practitioner")
Version = tuple[str, str, str]


def names(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


class Truth:
    """What HAPI has, every version of it, and what it answers to nobody's bounds."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.http = httpx.Client(timeout=120, trust_env=False)
        self.versions: dict[Version, Resource] = {}
        for type in TYPES:
            for resource in self.resources(f"{type}/_history?_count=500"):
                self.versions[type, resource["id"], resource["meta"]["versionId"]] = resource
        self.current: dict[str, Resource] = {}
        for (type, id, version), resource in self.versions.items():
            if int(version) >= int(self.current.get(f"{type}/{id}", {"meta": {"versionId": 0}})["meta"]["versionId"]):
                self.current[f"{type}/{id}"] = resource
        self._found: dict[str, list[str]] = {}

    def resources(self, target: str) -> list[Resource]:
        answer = self.http.get(f"{self.base}/{target}")
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", []) if "resource" in entry]

    def found(self, type: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
        """The names of what a search finds, includes and all."""
        query = "&".join(f"{name}={quote(text, safe=':/,')}" for name, text in (*pairs, ("_count", "500")))
        if (target := f"{type}?{query}") not in self._found:
            self._found[target] = [names(resource) for resource in self.resources(target)]
        return self._found[target]


class Bounds:
    """One policy, one who: the judge's words on all that there is."""

    def __init__(self, rules: Rules, who: Who, truth: Truth) -> None:
        self.truth = truth
        self.judge = Judge(rules, who)
        self._each = {narrow: [Judge(rules, who, narrow=narrow, owner=owner) for owner in PATIENTS] for narrow in (False, True)}

    def may(self, letters: str, resource: Resource) -> bool:
        """Whether this version may be seen: where labels limit, only if today's may."""
        return any(self.judge.may(letter, resource) and self._today(letter, resource, sure=False) for letter in letters)

    def opens(self, letters: str, resource: Resource) -> bool:
        """Whether it must be."""
        return any(self.sure(letter, resource, narrow=False) and self._today(letter, resource, sure=True) for letter in letters)

    def _today(self, letter: str, resource: Resource, *, sure: bool) -> bool:
        if not self.judge.labels_decide(letter, resource["resourceType"]):
            return True
        current = self.truth.current[names(resource)]
        return self.sure("rs", current, narrow=False) if sure else self.judge.may("rs", current)

    def sure(self, letters: str, resource: Resource, *, narrow: bool = True) -> bool:
        """Whether a search finds it, or with ``narrow`` False, a read gives it."""
        return any(judge.may(letters, resource) for judge in self._each[narrow])

    def some(self, letters: str, type: str) -> bool:
        """Whether anything of the type must be open."""
        return any(self.sure(letters, resource, narrow=False) for (t, _, _), resource in self.truth.versions.items() if t == type)

    @cached_property
    def told(self) -> set[str]:
        """The marks of all that may be seen in any way."""
        return {one for r in self.truth.versions.values() if self.may("rs", r) for one in marks(json.dumps(self.shown(r)))}

    def shown(self, resource: Resource) -> Resource:
        """What may leave of a version."""
        return self.judge.shown(resource, self.truth.current[names(resource)])
