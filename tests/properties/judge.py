"""An independent judge: what a token may touch in these small worlds, written from the specification and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.properties.generating import MEMBERSHIP

BASES = ("https://fhir.example.org/fhir/", "http://127.0.0.1:8090/fhir/")
Resource = dict[str, Any]
World = Mapping[str, Resource]
SHARED = {"Organization", "Practitioner"}


def admits(scope: str, letter: str, resource: dict[str, Any], patient: str | None, user: str | None) -> bool:
    """Whether one scope string opens ``resource`` for one permission letter."""
    head, _, query = scope.partition("?")
    context, _, rest = head.partition("/")
    type, _, letters = rest.partition(".")
    held = {"read": "rs", "write": "cud", "*": "cruds"}.get(letters, letters)
    if type not in ("*", resource["resourceType"]) or letter not in held:
        return False
    if not in_context(context, letter, resource, patient, user):
        return False
    return all(satisfies(resource, *pair.split("=", 1)) for pair in query.split("&") if pair)


def may(scopes: Sequence[str], letters: str, resource: Resource, patient: str | None, user: str | None, world: World) -> bool:
    """Whether one of ``scopes`` opens ``resource`` for one of ``letters``; ``world``: every resource there is, by ``Type/id``."""
    if resource["resourceType"] != "Provenance":
        return any(admits(text, letter, resource, patient, user) for text in scopes for letter in letters)
    whole = any(_opens(text, letter, "Provenance") and unbounded(text, user) for text in scopes for letter in letters)
    owners = [_owner(text, patient, user) for text in scopes if any(_opens(text, letter, "Provenance") for letter in letters)]
    targets = [target["reference"] for target in resource["target"]]

    def readable(target: str) -> bool:
        return target in world and may(scopes, "rs", world[target], patient, user, world)

    return whole or any(owner is not None and all(t == f"Patient/{owner}" or readable(t) for t in targets) for owner in owners)


def unbounded(scope: str, user: str | None) -> bool:
    """Whether a scope opens all of its type."""
    context, filtered = scope.partition("/")[0], "?" in scope
    return not filtered and (context == "system" or (context == "user" and user is not None and user.startswith("Practitioner/")))


def open_to_all(scopes: Sequence[str], type: str, user: str | None) -> bool:
    """Whether every resource of ``type`` may be searched."""
    return any(_opens(text, "s", type) and unbounded(text, user) for text in scopes)


def owners(scopes: Sequence[str], type: str, patient: str | None, user: str | None) -> set[str]:
    """The patients whose records the scopes that open searches on ``type`` are about."""
    return {owner for text in scopes if _opens(text, "s", type) and (owner := _owner(text, patient, user)) is not None}


def _opens(scope: str, letter: str, type: str) -> bool:
    named, _, letters = scope.partition("?")[0].partition("/")[2].partition(".")
    return named in ("*", type) and letter in {"read": "rs", "write": "cud", "*": "cruds"}.get(letters, letters)


def _owner(scope: str, patient: str | None, user: str | None) -> str | None:
    """The patient whose record a bounded scope is about."""
    if scope.startswith("patient/"):
        return patient
    return user.removeprefix("Patient/") if scope.startswith("user/") and user is not None and user.startswith("Patient/") else None


def in_context(context: str, letter: str, resource: dict[str, Any], patient: str | None, user: str | None) -> bool:
    if context == "system":
        return True
    if context == "patient":
        if resource["resourceType"] in SHARED:
            return letter in "rs" and patient is not None
        return patient is not None and in_record(resource, patient)
    if user is None:
        return False
    kind, _, id = user.partition("/")
    return kind == "Practitioner" or (kind == "Patient" and resource["resourceType"] not in SHARED and in_record(resource, id))


def in_record(resource: dict[str, Any], patient: str) -> bool:
    type = resource["resourceType"]
    if type == "Patient":
        return bool(resource["id"] == patient)
    return any(names(each, patient) for path in MEMBERSHIP.get(type, ()) for each in references(resource, path))


def references(resource: dict[str, Any], path: tuple[str, ...]) -> list[dict[str, Any]]:
    found = resource.get(path[0], [])
    items = found if isinstance(found, list) else [found]
    return [item[path[1]] for item in items] if len(path) == 2 else items


def names(reference: dict[str, Any], patient: str) -> bool:
    text = reference.get("reference", "")
    for base in BASES:
        text = text.removeprefix(base)
    return text.removesuffix("/_history/2") == f"Patient/{patient}"


def satisfies(resource: dict[str, Any], name: str, text: str) -> bool:
    name, _, modifier = name.partition(":")
    known = {
        "Observation": {"category", "code", "status", "date", "subject"},
        "Condition": {"category", "code"},
        "AllergyIntolerance": {"code", "category"},
        "Appointment": {"status", "date"},
        "Patient": {"active", "gender"},
        "Device": {"status"},
        "Organization": {"active"},
        "Practitioner": {"active"},
        "Provenance": set(),
        "Encounter": {"status"},
    }[resource["resourceType"]] | {"_id"}
    if name not in known or (name == "category" and resource["resourceType"] == "AllergyIntolerance" and "|" in text):
        return False  # its category is a bare code: a system with it cannot be decided, and the scope grants nothing
    hit = any(_one(resource, name, value) for value in text.split(","))
    return not hit if modifier == "not" else hit


def _one(resource: dict[str, Any], name: str, value: str) -> bool:
    match name:
        case "_id":
            return bool(resource["id"] == value)
        case "category" | "code":
            concepts = resource.get(name, [])
            concepts = concepts if isinstance(concepts, list) else [concepts]
            system, bar, code = value.rpartition("|")
            return any(c["code"] == code and (not bar or c["system"] == system) for each in concepts for c in each["coding"])
        case "status" | "gender":
            return bool(resource.get(name) == value)
        case "active":
            return name in resource and str(resource[name]).lower() == value
        case "subject":
            return "subject" in resource and names(resource["subject"], value.removeprefix("Patient/"))
        case "date":
            return _date(resource, value)
        case _:
            raise AssertionError(name)


_RANGES = {
    "2020": ("2020-01-01T00:00:00", "2021-01-01T00:00:00"),
    "2020-05": ("2020-05-01T00:00:00", "2020-06-01T00:00:00"),
    "2020-05-17": ("2020-05-17T00:00:00", "2020-05-18T00:00:00"),
    "2021-01-01T10:00:00Z": ("2021-01-01T10:00:00", "2021-01-01T10:00:01"),
}


def _date(resource: dict[str, Any], value: str) -> bool:
    stored = resource.get("effectiveDateTime") or resource.get("start")
    if stored is None:
        return False
    low, high = _RANGES[stored]
    prefix, wanted = (value[:2], value[2:]) if value[0].isalpha() else ("eq", value)
    first, after = _RANGES[wanted]
    match prefix:
        case "eq":
            return first <= low and high <= after
        case "ge":
            return high > after or (first <= low and high <= after)
        case _:
            return low < first
