"""What one principal may touch under one policy, and what it sees of it: written from semantics 3, 4, 5 and 9 and from docs/policies.md.

Nothing of the gateway's rooms is imported. ``narrow``: the members of a Patient compartment that a search by one parameter finds, and no
others; ``owner``: by the record of this patient alone, for what is in the records of two, of which rules name one each, is left out
(docs/known-limits.md, both).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.integration.policed.asking import Who
from tests.integration.policed.definitions import MEMBERS, NARROWED, PARAMETERS, satisfies
from tests.integration.policed.elements import without
from tests.integration.policed.labels import concerns, confidentiality, is_labelled, labels_of
from tests.integration.policed.rules import LADDER, Rules
from tests.integration.policed.words import among, context, listed, literal, references, text
from tests.integration.policed.world import Resource

SHARED = ("Practitioner", "Organization")
DEFAULT_USERS = {"Practitioner": "everything", "Patient": "compartment", "RelatedPerson": "patient"}
_PLACEHOLDER = re.compile(r"\$\{([^{}]+)\}")


class Unreadable(Exception):
    """A claim is there, and nobody can say what it means."""


class Judge:
    """``rules`` and ``who`` as the settings and the token have them."""

    def __init__(self, rules: Rules, who: Who, *, narrow: bool = False, owner: str | None = None) -> None:
        self.rules, self.who, self.policy, self.narrow, self.owner = rules, who, rules.policy, narrow, owner
        clients = self.policy.get("clients")
        name = who.claims["client_id"]
        self.client: Mapping[str, Any] | None = {"role": "system"} if clients is None else clients.get(name, clients.get("*"))

    # What may be touched.

    def may(self, letters: str, resource: Resource) -> bool:
        """By any of ``letters``."""
        return any(self._may(letter, resource) for letter in letters)

    def _may(self, letter: str, resource: Resource) -> bool:
        if self.client is None:
            return False
        held = self.client.get("pin", self.who.scopes)
        given = any(
            self._gives(scope, letter, resource) and self._within_registration(context(scope), letter, resource)
            for scope in held
            if not scope.startswith("__")
        )
        return given and self._within_lists(letter, resource) and self._within_labels(letter, resource)

    def _gives(self, scope: str, letter: str, resource: Resource) -> bool:
        if not self._meets(scope, letter, resource, {}):
            return False
        match context(scope):
            case "system":
                assert self.client is not None
                return self.client.get("role") == "system"
            case "user":
                return self._within_users(letter, resource)
        return True

    def _meets(self, scope: str, letter: str, resource: Resource, filled: Mapping[str, list[str] | None]) -> bool:
        """Type, letter, filters, and for patient/ the record; ``filled``: what stands for placeholders."""
        head, _, query = scope.partition("?")
        type, _, letters = head.partition("/")[2].partition(".")
        if type not in ("*", resource["resourceType"]) or letter not in letters:
            return False
        if context(scope) == "patient" and not self._in_records([self.who.patient] if self.who.patient else [], letter, resource):
            return False
        return all(self._satisfies(resource, *pair.split("=", 1)) for pair in query.split("&") if pair)

    def _in_records(self, patients: list[str], letter: str, resource: Resource) -> bool:
        """Of these patients, or shared to read."""
        if not patients:
            return False
        if resource["resourceType"] in SHARED:
            return letter in "rs" and resource["resourceType"] in self.policy.get("shared_types", SHARED)
        return self.in_compartment("Patient", patients, resource)

    def in_compartment(self, owner: str, ids: Iterable[str], resource: Resource) -> bool:
        type = resource["resourceType"]
        wanted = {f"{owner}/{id}" for id in ids if owner != "Patient" or self.owner in (None, id)}
        if type == owner:
            return f"{type}/{resource['id']}" in wanted
        paths = MEMBERS[owner].get(type, ())
        if self.narrow and owner == "Patient":
            paths = NARROWED.get(type, paths)
        return any(reference in wanted for path in paths for reference in references(resource, path))

    def _within_registration(self, context_: str, letter: str, resource: Resource) -> bool:
        assert self.client is not None
        if not self.client.get("intersect_registered"):
            return True
        scopes = self.client.get("registered_scopes", [])
        return any(context(one) == context_ and self._meets(one, letter, resource, {}) for one in scopes if not one.startswith("__"))

    def _within_lists(self, letter: str, resource: Resource) -> bool:
        """The client's limit and Groups, the issuer's ceiling."""
        assert self.client is not None
        lists = [one for one in (self.client.get("limit"), self.rules.ceiling) if one is not None]
        if not all(any(self._meets(s, letter, resource, {}) for s in one if not s.startswith("__")) for one in lists):
            return False
        groups = self.client.get("groups")
        return groups is None or resource["resourceType"] != "Group" or resource["id"] in groups

    # Users.

    def _within_users(self, letter: str, resource: Resource) -> bool:
        patients = self.policy.get("patients")
        if patients is not None and not self._in_records(self._patients(patients["from_claim"]), letter, resource):
            return False
        said = self.policy.get("users", DEFAULT_USERS)
        if isinstance(said, Mapping):
            return self._within(said.get(self.who.kind, "nothing"), letter, resource)
        try:
            groups = [[one for one in item.get("any_of", [item]) if self._is_for(one.get("when", {}))] for item in said]
        except Unreadable:
            return False
        groups = [group for group in groups if group]
        return bool(groups) and all(any(self._within(one["boundary"], letter, resource) for one in group) for group in groups)

    def _is_for(self, when: Mapping[str, Any]) -> bool:
        if not among(self.who.kind, when.get("fhir_user")):
            return False
        held = [self._claims(path, wanted) for path, wanted in when.get("claim", {}).items()]
        return all(held)

    def _claims(self, path: str, wanted: Any) -> bool:
        said = self.who.claims.get(path)
        if said is None or said in ("", []):
            return False
        values = said if isinstance(said, list) else [said]
        if not all(isinstance(one, str | int) for one in values):
            raise Unreadable
        return bool({text(one) for one in values} & {text(one) for one in listed(wanted)})

    def _patients(self, path: str) -> list[str]:
        said = self.who.claims.get(path)
        values = said if isinstance(said, list) else [said]
        return literal("Patient", values) or []

    def _within(self, boundary: Any, letter: str, resource: Resource) -> bool:
        who = self.who
        match boundary:
            case "everything":
                return True
            case "nothing":
                return False
            case "compartment":
                kind, _, id = (who.user or "/").partition("/")
                return kind in MEMBERS and self.in_compartment(kind, [id], resource)
            case "patient":
                return who.patient is not None and self.in_compartment("Patient", [who.patient], resource)
            case {"compartment": place}:
                kind, _, id = place.partition("/")
                ids = literal(kind, self._filled(id[2:-1])) if id.startswith("$") else [id]
                return ids is not None and self.in_compartment(kind, ids, resource)
            case {"patients": {"from_claim": path}}:
                return self._in_records(self._patients(path), letter, resource)
        return any(self._meets(scope, letter, resource, {}) for scope in boundary)

    # Filters.

    def _filled(self, name: str) -> list[Any] | None:
        """The alternatives that stand for a placeholder."""
        match name:
            case "patient":
                return None if self.who.patient is None else [self.who.patient]
            case "fhir_user":
                return None if self.who.user is None else [self.who.user]
            case "fhir_user.id":
                return None if self.who.user is None else [self.who.user.partition("/")[2]]
        said = self.who.claims.get(name.removeprefix("claim."))
        values = said if isinstance(said, list) else [said]
        return [text(one) for one in values] if values and all(isinstance(one, str | int) for one in values) else None

    def _satisfies(self, resource: Resource, name: str, wanted: str) -> bool:
        if name != "_id" and name not in PARAMETERS.get(resource["resourceType"], ()):
            return False
        alternatives: list[str] = []
        for value in wanted.split(","):
            found = _PLACEHOLDER.search(value)
            if found is None:
                alternatives.append(value)
                continue
            filled = self._filled(found[1])
            if filled is None or (name == "participant" and found[1] == "fhir_user" and self.who.kind == "Patient"):
                return False  # the whole scope leaves nothing: no Patient takes part so
            kind = {"subject": "Patient", "participant": "Practitioner", "organization": "Organization"}.get(name)
            if kind is not None:
                ids = literal(kind, filled) if found[1] != "fhir_user" else [one.removeprefix(f"{kind}/") for one in filled]
                if ids is None:
                    return False
                alternatives += [one if "/" in one else f"{kind}/{one}" for one in ids]
            else:
                alternatives += [value.replace(found[0], one) for one in filled]
        return any(satisfies(resource, name, value) for value in alternatives)

    # Labels.

    def _within_labels(self, letter: str, resource: Resource) -> bool:
        if "labels" not in self.policy:
            return True
        meant = self._limits()
        return any(self._is_certainly_for(limit.get("when", {})) for limit in meant) and all(
            self._within_label(limit, resource) for limit in meant if concerns(limit, letter, resource["resourceType"])
        )

    def _limits(self) -> list[Mapping[str, Any]]:
        return [limit for limit in listed(self.policy.get("labels", [])) if self.is_for(limit.get("when", {}))]

    def labels_decide(self, letter: str, type: str) -> bool:
        """Whether limits on labels leave out anything of ``type``."""
        worst = {"meta": {"security": [{"code": "?"}]}}
        found = [limit for limit in self._limits() if concerns(limit, letter, type)]
        return any(limit.get("required") or not self._within_label(limit, worst) or self._forbids(limit) for limit in found)

    def _forbids(self, limit: Mapping[str, Any]) -> bool:
        raised = [limit["raised_by"][name] for name in limit.get("raised_by", {}) if self._holds(name)]
        allowed = {code for one in raised if isinstance(one, Mapping) for code in one.get("allowed", [])}
        return bool(set(limit.get("forbidden", [])) - allowed)

    def is_for(self, when: Mapping[str, Any]) -> bool:
        """Whether a limiting rule is: where a claim cannot be read, it is."""
        if not among(self.who.claims["client_id"], when.get("client")) or not among(self.who.kind, when.get("fhir_user")):
            return False
        return all(self._may_claim(path, wanted) for path, wanted in when.get("claim", {}).items())

    def _is_certainly_for(self, when: Mapping[str, Any]) -> bool:
        """Of limits on labels: one that only may be for somebody holds, and is none that is for them."""
        try:
            return all(self._claims(path, wanted) for path, wanted in when.get("claim", {}).items())
        except Unreadable:
            return False

    def _may_claim(self, path: str, wanted: Any) -> bool:
        try:
            return self._claims(path, wanted)
        except Unreadable:
            return True

    def _within_label(self, limit: Mapping[str, Any], resource: Resource) -> bool:
        raised = [limit["raised_by"][name] for name in limit.get("raised_by", {}) if self._holds(name)]
        raised = [one if isinstance(one, Mapping) else {"ceiling": one} for one in raised]
        ceiling = max(LADDER.index(one) for one in (limit.get("ceiling", "V"), *(r["ceiling"] for r in raised if "ceiling" in r)))
        allowed = {code for one in raised for code in one.get("allowed", [])}
        forbidden = [code for code in limit.get("forbidden", []) if code not in allowed]
        labels = labels_of(resource)
        return (
            confidentiality(labels, limit.get("unlabelled", "V")) <= ceiling
            and not any(is_labelled(labels, code) for code in forbidden)
            and all({"system": s, "code": c} in labels for s, _, c in (code.partition("|") for code in limit.get("required", [])))
        )

    def _holds(self, plain: str) -> bool:
        assert self.client is not None
        if "pin" not in self.client and "registered_scopes" in self.client and plain not in self.client["registered_scopes"]:
            return False
        if self.client.get("intersect_registered") and plain not in self.client.get("registered_scopes", []):
            return False
        lists = [one for one in (self.client.get("limit"), self.rules.ceiling) if one is not None]
        return plain in self.client.get("pin", self.who.scopes) and all(plain in one for one in lists)

    # Elements.

    def hiding(self, type: str) -> list[Mapping[str, Any]]:
        """The rules that hide elements of ``type`` from this one."""
        rules = self.policy.get("fields", [])
        return [rule for rule in rules if rule.get("hide") and rule["type"] in (type, "*") and self.is_for(rule.get("when", {}))]

    def hidden(self, resource: Resource, *others: Resource) -> list[str]:
        """``others``: what it is contained in, and its version of today: their labels count for it."""
        labels = [label for one in (resource, *others) for label in labels_of(one)]
        rules = self.hiding(resource["resourceType"])
        rules = [rule for rule in rules if "labelled" not in rule or any(is_labelled(labels, code) for code in rule["labelled"])]
        paths = [path for rule in rules for path in rule["hide"]]
        inside = any(self.hidden(one, resource, *others) for one in resource.get("contained", []))
        return [*paths, "text"] if paths or inside else []  # the narrative of a whole says what is contained too

    def shown(self, resource: Resource, *others: Resource) -> Resource:
        """What may leave of ``resource``, the tag apart."""
        contained = [self.shown(one, resource, *others) for one in resource.get("contained", [])]
        left = {**resource, "contained": contained} if contained else resource
        found: Resource = without(left, self.hidden(resource, *others))
        return found
