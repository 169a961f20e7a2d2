"""Asks the gateway and holds what comes back against the judge."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import httpx

from tests.integration.policed.asking import Ask, Who
from tests.integration.policed.bounds import TYPES, Bounds, Truth, Version, names
from tests.integration.policed.elements import is_part, is_tagged, untagged
from tests.integration.policed.judge import Judge
from tests.integration.policed.rules import Rules
from tests.integration.policed.world import OWN, Resource, marks

FHIR_JSON = "application/fhir+json"


class Wrong(AssertionError):
    """The answer is not what the judge says."""


class Comparison:
    """``seen`` counts answers by kind, status and code."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.seen: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.http = httpx.Client(timeout=120, trust_env=False)

    def ask(self, base: str, bearer: str, ask: Ask, bounds: Bounds) -> None:
        """Raises Wrong."""
        headers = {"authorization": f"Bearer {bearer}", "accept": FHIR_JSON}
        if ask.kind == "batch":
            self._batch(base, headers, ask, bounds)
            return
        answer = self._get(base, ask.target, headers, bounds)
        if answer.status_code == 404 and ask.kind in ("read", "vread", "history") and not ask.pairs:
            absent = self._get(base, Ask(ask.kind, ask.type, "never-was", ask.version).target, headers, bounds)
            demand(face(answer) == face(absent), f"absent looks other: {face(answer)} {face(absent)}")
        if ("_summary", "text") in ask.pairs and ask.kind == "read" and "json" not in answer.headers["content-type"]:
            return  # HTML of what is open whole, whose marks were looked at
        status, pages = answer.status_code, [answer.json()]
        while ask.kind in ("search", "histories", "everything") and status == 200 and (url := following(pages[-1])):
            demand(len(pages) < 60, "pages without an end")
            answer = self._get("", url, headers, bounds)
            if ask.kind == "everything" and answer.status_code == 403:
                break  # of a token that reads everything, and searches not all: it was given the server's own link
            demand(answer.status_code == 200, f"page {len(pages)}: {answer.status_code} {answer.text[:300]}")
            pages.append(answer.json())
        self.answered(ask, status, pages, bounds)

    def _get(self, base: str, target: str, headers: dict[str, str], bounds: Bounds) -> httpx.Response:
        answer = self.http.get(f"{base}/{target}" if base else target, headers=headers)
        told = marks(answer.text) - bounds.told
        demand(not told, f"{target} tells {sorted(told)[:5]}")
        return answer

    def _batch(self, base: str, headers: dict[str, str], ask: Ask, bounds: Bounds) -> None:
        entries = [{"request": {"method": "GET", "url": part.target}} for part in ask.parts]
        body = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        answer = self.http.post(base, json=body, headers={**headers, "content-type": FHIR_JSON})
        told = marks(answer.text) - bounds.told
        demand(not told, f"batch tells {sorted(told)[:5]}")
        if answer.status_code != 200:
            nothing = not any(bounds.some("cruds", type) for type in TYPES)
            demand(answer.status_code == 403 and nothing, f"batch {answer.status_code} {answer.text[:300]}")
            return
        found = answer.json()["entry"]
        demand(len(found) == len(ask.parts), "entries")
        for part, entry in zip(ask.parts, found, strict=True):
            body = entry.get("resource") or entry["response"].get("outcome")
            if body is not None or ("_summary", "text") not in part.pairs:
                self.answered(part, int(entry["response"]["status"][:3]), [body], bounds, whole=False)

    def answered(self, ask: Ask, status: int, pages: list[Resource], bounds: Bounds, *, whole: bool = True) -> None:
        """``whole``: all pages are there."""
        code = "" if status == 200 else pages[0]["issue"][0].get("details", {}).get("coding", [{"code": "?"}])[0]["code"]
        self.seen[f"{ask.kind} {status} {code}".strip()] += 1
        if status != 200:
            self._refused(ask, status, code, bounds)
            return
        match ask.kind:
            case "read" | "vread":
                self.shown(ask, pages[0], "r", bounds)
                demand(pages[0]["resourceType"] == ask.type, "another type")
            case "search":
                self._searched(ask, pages, bounds, whole=whole)
            case _:
                entries = [entry for page in pages for entry in page.get("entry", [])]
                letters = {"history": "r", "histories": "s", "everything": "rs"}[ask.kind]
                given = [self.shown(ask, entry["resource"], letters, bounds) for entry in entries if "resource" in entry]
                if ask.kind == "everything":
                    demand(bounds.judge.may("r", self.truth.current[f"Patient/{ask.id}"]), "everything of a Patient that is not open")
                elif whole:
                    self._versions(ask, {version for version in given if version}, bounds, letters)

    def _versions(self, ask: Ask, given: set[Version], bounds: Bounds, letters: str) -> None:
        wanted = {
            (t, i, v) for (t, i, v), r in self.truth.versions.items()
            if t == ask.type and ask.id in ("", i) and bounds.opens(letters, r)
        }  # fmt: skip
        demand(given >= wanted, f"missing {sorted(wanted - given)[:5]}")

    def shown(self, ask: Ask, resource: Resource, letters: str, bounds: Bounds) -> Version:
        """One resource that left."""
        if resource["resourceType"] == "OperationOutcome":
            return ("OperationOutcome", "", "")
        version = resource.get("meta", {}).get("versionId") or self.truth.current[names(resource)]["meta"]["versionId"]
        key = (resource["resourceType"], resource["id"], version)
        demand(key in self.truth.versions, f"nobody knows {key}")
        stored = self.truth.versions[key]
        demand(bounds.may(letters, stored), f"{key} is not permitted")
        wanted, found = untagged(bounds.shown(stored)), untagged(resource)
        if found != wanted and ask.kind in ("vread", "history", "histories"):
            wanted = untagged(bounds.judge.shown(stored, EVERY_LABEL))  # where the version of today was not read
        part = ask.has("_summary", "_elements")
        demand(is_part(found, wanted) if part else found == wanted, f"{key} is {json.dumps(found)} and not {json.dumps(wanted)}")
        if bounds.judge.hidden(stored, self.truth.current[names(stored)]):
            demand(is_tagged(resource), f"{key} is not tagged")
        elif not part and not bounds.judge.hidden(stored, EVERY_LABEL):
            demand(not is_tagged(resource), f"{key} is tagged")
        self.given[ask.kind] += 1
        return key

    def _searched(self, ask: Ask, pages: list[Resource], bounds: Bounds, *, whole: bool) -> None:
        entries = [entry for page in pages for entry in page.get("entry", [])]
        modes: dict[str, list[str]] = defaultdict(list)
        for entry in entries:
            mode = entry.get("search", {}).get("mode", "match")
            self.shown(ask, entry["resource"], "s" if mode == "match" else "rs", bounds)
            if entry["resource"]["resourceType"] != "OperationOutcome":
                modes[mode].append(names(entry["resource"]))
        matches = modes["match"]
        demand(len(matches) == len(set(matches)), "doubles")
        demand(not ask.owner or bool(set(matches) <= set(self.members(ask))), "not of the compartment")
        wanted = self.expected(ask, bounds)
        if ("_summary", "count") in ask.pairs:
            low = len([name for name in wanted if bounds.sure("s", self.truth.current[name])])
            demand(low <= pages[0]["total"] <= len(wanted), f"{pages[0]['total']} is not {low} to {len(wanted)}")
            return
        demand(set(matches) <= set(wanted), f"{set(matches) - set(wanted)} are no matches")
        if "total" in pages[0] and whole:
            demand(pages[0]["total"] == len(matches), f"total {pages[0]['total']} of {len(matches)}")
        if ask.plain and whole:
            sure = {name for name in wanted if bounds.sure("s", self.truth.current[name])}
            demand(set(matches) >= sure, f"missing {sorted(sure - set(matches))[:5]}")
            self._included(ask, matches, set(modes["include"]), bounds)

    def members(self, ask: Ask) -> list[str]:
        kind, _, id = ask.owner.partition("/")
        return [name for name, resource in self.truth.current.items() if BARE.in_compartment(kind, [id], resource)]

    def expected(self, ask: Ask, bounds: Bounds) -> list[str]:
        """The matches to nobody's bounds that the judge lets through."""
        bare = [
            pair
            for pair in ask.pairs
            if pair[0].partition(":")[0] not in ("_include", "_revinclude", "_summary", "_elements", "_total", "_count")
        ]
        found = self.truth.found(ask.type, bare)
        if ask.owner:
            kind, _, id = ask.owner.partition("/")
            found = [name for name in found if BARE.in_compartment(kind, [id], self.truth.current[name])]
        return [name for name in found if bounds.judge.may("s", self.truth.current[name])]

    def _included(self, ask: Ask, matches: list[str], given: set[str], bounds: Bounds) -> None:
        wishes = [pair for pair in ask.pairs if pair[0] in ("_include", "_revinclude")]
        if not wishes or not matches:
            demand(not given, f"nobody asked for {given}")
            return
        ids = ",".join(sorted(name.partition("/")[2] for name in matches))
        brought = set(self.truth.found(ask.type, (("_id", ids), *wishes))) - set(matches)
        allowed = {name for name in brought if bounds.judge.may("rs", self.truth.current[name])}
        demand(given <= allowed, f"nobody includes {given - allowed}")
        self.given["include"] += len(given)
        if ("_count", "500") in ask.pairs:
            sure = {name for name in allowed if bounds.sure("rs", self.truth.current[name], narrow=False)}
            demand(given >= sure, f"not included: {sorted(sure - given)}")

    def _refused(self, ask: Ask, status: int, code: str, bounds: Bounds) -> None:
        """What is open is not refused."""
        match ask.kind, status:
            case "read" | "vread", 403 | 404:
                version = ask.version or self.truth.current[f"{ask.type}/{ask.id}"]["meta"]["versionId"]
                open_ = bounds.opens("r", self.truth.versions[ask.type, ask.id, version])
                demand(not open_ or (ask.pairs != () and code != "insufficient-scope"), f"{ask.target} is open: {status} {code}")
                if status == 403 and code == "insufficient-scope":
                    demand(not bounds.some("r", ask.type), f"{ask.type} is open: {code}")
            case "history", 403 | 404:
                demand(not bounds.opens("r", self.truth.current[f"{ask.type}/{ask.id}"]), f"{ask.target} is open: {status} {code}")
            case "search" | "histories", 403 if code == "insufficient-scope":
                demand(not bounds.some("s", ask.type), f"{ask.type} is open: {code}")
            case "search", 403 if ask.plain and code not in REASONS:
                raise Wrong(f"{ask.target}: {code}")
            case ("everything", 403 | 404) | ("search" | "histories", 403):
                pass
            case "search", 400 if not ask.plain:
                pass
            case "read", 400 if ask.pairs:
                pass
            case _:
                raise Wrong(f"{ask.target}: {status} {code}")


EVERY_LABEL: Resource = {"meta": {"security": [{"system": OWN, "code": code} for code in ("VIP", "SUD")]}}  # that any rule hides by
BARE = Judge(Rules({}), Who((), {"client_id": ""}), narrow=True)  # of compartments only
# Why a search that nothing is odd about may be refused all the same (docs/search.md, docs/policies.md).
REASONS = {"foreign-patient", "inexact-count", "summary-hides-check", "hidden-elements", "client-not-allowed", "unknown-client"}


def demand(holds: bool, said: str) -> None:  # as assert has it
    if not holds:
        raise Wrong(said)


def following(bundle: Resource) -> str | None:
    found = [link["url"] for link in bundle.get("link", []) if link["relation"] == "next"]
    return found[0] if found else None


def face(answer: httpx.Response) -> Any:
    """All of a refusal but what names the request."""
    issues = [{name: value for name, value in issue.items() if name != "diagnostics"} for issue in answer.json()["issue"]]
    headers = sorted(set(answer.headers) - {"date"})
    return answer.status_code, issues, headers, len(answer.json())
