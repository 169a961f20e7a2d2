"""Scopes, resources and searches made at random from a seed: small worlds in which much meets much."""

from __future__ import annotations

import random
from typing import Any

IDS = ("a", "b", "c")
TYPES = ("Observation", "Condition", "AllergyIntolerance", "Appointment", "Patient", "Device", "Organization", "Encounter")
CATEGORIES = ("laboratory", "vital-signs", "exam")
CODES = ("1", "2")
SYSTEMS = ("http://one", "http://two")
STATUSES = ("final", "draft")
DATES = ("2020", "2020-05", "2020-05-17", "2021-01-01T10:00:00Z")
LETTERS = ("r", "s", "rs", "cruds", "cud", "u", "d", "c")

# Which elements carry whom: what an independent judge knows of the Patient compartment (FHIR R4 CompartmentDefinition patient).
MEMBERSHIP: dict[str, tuple[tuple[str, ...], ...]] = {
    "Observation": (("subject",), ("performer",)),
    "Condition": (("subject",), ("asserter",)),
    "AllergyIntolerance": (("patient",), ("recorder",), ("asserter",)),
    "Appointment": (("participant", "actor"),),
    "Encounter": (("subject",),),
    "Device": (("patient",),),
}
LISTS = {"performer", "participant"}
FILTERS: dict[str, tuple[str, ...]] = {
    "Observation": ("category", "code", "status", "_id", "date", "subject"),
    "Condition": ("category", "code", "_id"),
    "AllergyIntolerance": ("code", "_id"),
    "Appointment": ("status", "_id", "date"),
    "Patient": ("active", "_id", "gender"),
    "Device": ("status", "_id"),
    "Organization": ("active", "_id"),
    "Encounter": ("status", "_id"),
}


def scope(rng: random.Random) -> str:
    """One scope: any context, type, letters, perhaps filters; sometimes v1."""
    context = rng.choice(("patient", "patient", "patient", "user", "system"))
    type = rng.choice((*TYPES, "*"))
    if rng.random() < 0.15:
        return f"{context}/{type}.{rng.choice(('read', 'write', '*'))}"
    names = FILTERS.get(type, ("_id", "status", "category"))
    params = [filter(rng, name) for name in rng.sample(names, rng.choice((0, 0, 0, 1, 1, 2)))]
    return f"{context}/{type}.{rng.choice(LETTERS)}" + ("?" + "&".join(params) if params else "")


def filter(rng: random.Random, name: str) -> str:
    """``name=value`` with one or two values, for tokens with or without a system."""
    values = {value(rng, name) for _ in range(rng.choice((1, 1, 2)))}
    modifier = ":not" if name in {"category", "code", "status"} and rng.random() < 0.1 else ""
    return f"{name}{modifier}={','.join(sorted(values))}"


def value(rng: random.Random, name: str) -> str:
    """One value that some resource of these worlds has."""
    match name:
        case "category" | "code":
            code = rng.choice(CATEGORIES if name == "category" else CODES)
            return code if rng.random() < 0.5 else f"{rng.choice(SYSTEMS)}|{code}"
        case "status":
            return rng.choice(STATUSES)
        case "_id":
            return rng.choice(IDS)
        case "date":
            return rng.choice(("", "ge", "lt")) + rng.choice(DATES)
        case "active":
            return rng.choice(("true", "false"))
        case "gender":
            return rng.choice(("male", "female"))
        case _:
            return f"Patient/{rng.choice(IDS)}"


def reference(rng: random.Random) -> dict[str, Any]:
    """A Reference in one of the forms that servers store: most of them to a patient."""
    id = rng.choice(IDS)
    forms: tuple[dict[str, Any], ...] = (
        {"reference": f"Patient/{id}"},
        {"reference": f"Patient/{id}"},
        {"reference": f"Patient/{id}/_history/2"},
        {"reference": f"https://fhir.example.org/fhir/Patient/{id}"},
        {"reference": f"http://127.0.0.1:8090/fhir/Patient/{id}"},
        {"reference": f"http://elsewhere.example/fhir/Patient/{id}"},
        {"reference": f"Practitioner/{id}"},
        {"reference": f"Group/{id}"},
        {"reference": "#p"},
        {"identifier": {"value": id}},
        {"display": id},
    )
    return rng.choice(forms)


def resource(rng: random.Random, type: str | None = None) -> dict[str, Any]:
    """A resource of one of TYPES, with members that memberships and filters look at, some missing."""
    type = type or rng.choice(TYPES)
    made: dict[str, Any] = {"resourceType": type, "id": rng.choice(IDS)}
    for path in MEMBERSHIP.get(type, ()):
        if rng.random() < 0.6:
            _put(made, path, rng)
    for name in FILTERS[type]:
        if rng.random() < 0.7:
            made |= _element(rng, type, name)
    return made


def _put(made: dict[str, Any], path: tuple[str, ...], rng: random.Random) -> None:
    found = [reference(rng) for _ in range(rng.choice((1, 2)))]
    if len(path) == 2:
        made[path[0]] = [{path[1]: each} for each in found]
    else:
        made[path[0]] = found if path[0] in LISTS else found[0]


def _element(rng: random.Random, type: str, name: str) -> dict[str, Any]:
    match name:
        case "category":
            return {"category": [_concept(rng, CATEGORIES)]}
        case "code":
            return {"code": _concept(rng, CODES)}
        case "status":
            return {"status": rng.choice(STATUSES)}
        case "date":
            return {"effectiveDateTime" if type == "Observation" else "start": rng.choice(DATES)}
        case "active":
            return {"active": rng.random() < 0.5}
        case "gender":
            return {"gender": rng.choice(("male", "female"))}
        case _:
            return {}


def _concept(rng: random.Random, codes: tuple[str, ...]) -> dict[str, Any]:
    codings = [{"system": rng.choice(SYSTEMS), "code": rng.choice(codes)} for _ in range(rng.choice((1, 1, 2)))]
    return {"coding": codings}


def search(rng: random.Random, type: str) -> str:
    """A query on ``type``, perhaps empty, perhaps for a patient."""
    names = (*FILTERS[type], *(("patient",) if type in MEMBERSHIP else ()))
    pairs = [filter(rng, name).replace(":not", "") for name in rng.sample(names, rng.choice((0, 1, 2)))]
    return "&".join(pairs)
