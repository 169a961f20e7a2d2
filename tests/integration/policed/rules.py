"""Policies at random, as a settings file has them, and what is beside the policy of one tenant: the ceiling of its issuer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.integration.policed.world import CODES, OWN, PATIENTS, SYSTEMS

TYPES = ("Observation", "Observation", "Condition", "Encounter", "Patient", "Patient", "Organization", "Practitioner", "Group")
LADDER = "ULMNRV"
PLAIN = ("__restricted", "__very", "__sud")
KINDS = ("Practitioner", "Patient", "RelatedPerson", "none")
HIDDEN = {
    "Patient": (
        "birthDate",
        "name.family",
        "name",
        "identifier.where(system='urn:other')",
        "telecom",
        "address.city",
        "gender",
        "deceased[x]",
    ),
    "Observation": ("value[x]", "note", "note.text", "component.value[x]", "performer", "status"),
    "Condition": ("note", "code"),
    "Encounter": ("identifier", "identifier.value", "participant"),
    "*": ("note", "identifier", "name.family"),
}
FILTERS = {
    "Observation": ("category", "code", "status", "subject"),
    "Condition": ("category", "code"),
    "Encounter": ("status", "participant"),
    "Patient": ("organization", "_id", "gender"),
}
VALUES = {
    "status": ("final", "preliminary", "planned", "finished"),
    "gender": ("male", "female"),
    "subject": (*(f"Patient/{id}" for id in PATIENTS), "Patient/${claim.subject}", "Patient/${patient}"),
    "participant": ("Practitioner/qdoc", "${fhir_user}", "Practitioner/${claim.employee}"),
    "organization": (
        "Organization/qnorth",
        "Organization/${claim.organization}",
        "Organization/${claim.organization}",
        "${claim.organization}",
    ),
    "_id": (*PATIENTS, "${patient}", "${claim.care_team}", "${fhir_user.id}"),
}
PLACED = ("code", "subject", "participant", "organization", "_id")  # whose values may have placeholders

Policy = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy and the ceiling of the issuer (None: there is none)."""

    policy: Policy
    ceiling: list[str] | None = None


def value(rng: random.Random, name: str, *, filled: bool) -> str:
    if name in CODES:
        code = "${claim.code}" if filled and rng.random() < 0.5 else rng.choice(CODES[name])
        return code if rng.random() < 0.6 else f"{rng.choice(SYSTEMS)}|{code}"
    wanted = filled and rng.random() < 0.75
    return rng.choice([text for text in VALUES[name] if ("$" in text) == wanted] or VALUES[name])


def scope(
    rng: random.Random, context: str, *, filled: bool = False, letters: Sequence[str] = ("rs", "cruds", "cruds", "r", "s", "rus")
) -> str:
    """``filled``: with placeholders."""
    type = rng.choice(tuple(FILTERS) if filled and rng.random() < 0.8 else (*TYPES, "*", "*", "*"))
    if type not in FILTERS or rng.random() < (0.15 if filled else 0.45):
        return f"{context}/{type}.{rng.choice(letters)}"
    choices = [name for name in FILTERS[type] if not filled or name in PLACED]
    names = rng.sample(choices, min(rng.choice((1, 1, 1, 2)), len(choices)))
    pairs = [f"{name}={','.join(sorted({value(rng, name, filled=filled) for _ in range(rng.choice((1, 1, 2)))}))}" for name in names]
    return f"{context}/{type}.{rng.choice(letters)}?{'&'.join(pairs)}"


def scopes(rng: random.Random, contexts: Sequence[str], *, filled: bool = False) -> list[str]:
    made = [scope(rng, rng.choice(contexts), filled=filled) for _ in range(rng.choice((1, 2, 3)))]
    if rng.random() < (0.1 if filled else 0.5):
        made.append(f"{rng.choice(contexts)}/*.{rng.choice(('rs', 'cruds'))}")
    return made


def claims(rng: random.Random) -> dict[str, Any]:
    choices = (
        {"dept": "lab"},
        {"dept": ["lab", "ward"]},
        {"roles": "student"},
        {"roles": ["student", "chief"], "dept": "ward"},
        {"level": 3},
    )
    return dict(rng.choice(choices))


def boundary(rng: random.Random) -> Any:
    words = ("everything", "everything", "compartment", "patient", "nothing")
    others = (
        {"compartment": "Practitioner/${claim.employee}"},
        {"compartment": "Patient/qa"},
        {"patients": {"from_claim": "care_team"}},
    )
    drawn = rng.random()
    if drawn < 0.4:
        return rng.choice(words)
    return rng.choice(others) if drawn < 0.55 else scopes(rng, ("user",), filled=True)


def rule_for_users(rng: random.Random) -> dict[str, Any]:
    when: dict[str, Any] = {}
    if rng.random() < 0.6:
        when["fhir_user"] = rng.choice(("Practitioner", rng.choice(KINDS[:2]), ["Practitioner", rng.choice(KINDS[1:])]))
    if rng.random() < 0.3:
        when["claim"] = claims(rng)
    return {**({"when": when} if when else {}), "boundary": boundary(rng)}


def users(rng: random.Random) -> Any:
    if rng.random() < 0.4:
        made_of = {kind: boundary(rng) for kind in rng.sample(KINDS, rng.choice((1, 2, 3)))}
        return {kind: one for kind, one in made_of.items() if (kind, one) != ("none", "compartment")}  # settings refuse that
    made: list[dict[str, Any]] = []
    for _ in range(rng.choice((1, 2, 2, 3))):
        if rng.random() < 0.4:
            made.append({"any_of": [rule_for_users(rng) for _ in range(rng.choice((2, 3)))]})
        else:
            made.append(rule_for_users(rng))
    return made


def client(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    contexts = ("user", "user", "system", "patient")
    plain = [text for text in PLAIN if rng.random() < 0.5]
    if rng.random() < 0.35:
        made["limit"] = [*scopes(rng, contexts), *plain]
    if rng.random() < 0.3:
        made |= {"registered_scopes": [*scopes(rng, contexts), *plain], "intersect_registered": rng.random() < 0.7}
    if rng.random() < 0.15:
        made["pin"] = [*scopes(rng, contexts), *plain]
    if rng.random() < 0.6:
        made["role"] = "system"
    if rng.random() < 0.2:
        made["groups"] = [f"q{n}" for n in rng.sample(range(90), 40)]
    return made


def whom(rng: random.Random) -> dict[str, Any]:
    choices: tuple[dict[str, Any], ...] = (
        {"client": "app"},
        {"client": ["app", "other"]},
        {"fhir_user": list(rng.sample(KINDS, 3))},
        {"claim": claims(rng)},
    )
    return rng.choice(choices)


def label_limit(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if rng.random() < 0.7:
        made["ceiling"] = rng.choice("NNRRM")
    if rng.random() < 0.75:
        made["unlabelled"] = rng.choice("UNNNR")
    if rng.random() < 0.5:
        made["forbidden"] = rng.choice(([f"{OWN}|SUD"], [f"{OWN}|SUD", f"{OWN}|VIP"], ["SUD"], [f"{OWN}|"]))
    if rng.random() < 0.12:
        made["required"] = [f"{OWN}|OK"]
    if rng.random() < 0.5:
        more: dict[str, Any] = {"__restricted": "R", "__very": {"ceiling": "V"}, "__sud": {"allowed": [f"{OWN}|SUD"]}}
        made["raised_by"] = {name: more[name] for name in rng.sample(PLAIN, 2)}
        if "forbidden" not in made or f"{OWN}|SUD" not in made["forbidden"]:
            made["raised_by"].pop("__sud", None)
    return made


def labels(rng: random.Random) -> Any:
    if rng.random() < 0.5:
        return label_limit(rng)
    made = []
    for number in range(rng.choice((1, 2, 3))):
        limit = label_limit(rng)
        if number and rng.random() < 0.7:
            limit["when"] = whom(rng)
        if rng.random() < 0.4:
            limit["types"] = rng.sample(("Observation", "Patient", "Condition", "Encounter"), 2)
        if rng.random() < 0.3:
            limit["permissions"] = rng.choice(("rs", "cud", "r", "s", "cruds"))
        made.append(limit)
    return made


def hiding(rng: random.Random) -> dict[str, Any]:
    type = rng.choice(("Patient", "Patient", "Observation", "Observation", "Condition", "Encounter", "*"))
    made: dict[str, Any] = {"type": type, "permissions": "rs", "hide": rng.sample(HIDDEN[type], rng.choice((1, 1, 2)))}
    if rng.random() < 0.35:
        made["labelled"] = [rng.choice((f"{OWN}|VIP", f"{OWN}|SUD"))]
    if rng.random() < 0.25:
        made["when"] = whom(rng)
    return made


def writing(rng: random.Random) -> dict[str, Any]:
    type = rng.choice(("Patient", "Observation", "*"))
    only = {
        "Patient": ["telecom", "identifier.where(system='urn:own')", "gender"],
        "Observation": ["status", "note"],
        "*": ["meta.security", "note"],
    }
    keep = {"Patient": ["birthDate", "name.family", "managingOrganization"], "Observation": ["subject", "value[x]"], "*": ["meta.security"]}
    made: dict[str, Any] = {"type": type, "permissions": rng.choice(("u", "u", "cu"))}
    name, choices = rng.choice((("only", only), ("keep", keep)))
    if name == "keep":
        made["permissions"] = "u"
    made[name] = rng.sample(choices[type], rng.choice((1, len(choices[type]))))
    if rng.random() < 0.25:
        made["when"] = whom(rng)
    return made


def rules(rng: random.Random, *, writes: bool = False) -> Rules:
    """``writes``: for those, with rules on what they may change, and less that bounds whole records."""
    policy: Policy = {}
    if rng.random() < (0.2 if writes else 0.45):
        policy["clients"] = {name: client(rng) for name in rng.choice((("app",), ("app", "*"), ("app", "other"), ("*",)))}
    if rng.random() < (0.35 if writes else 0.55):
        policy["users"] = users(rng)
    if rng.random() < 0.12:
        policy["patients"] = {"from_claim": "care_team"}
    if rng.random() < 0.5:
        policy["labels"] = labels(rng)
    if rng.random() < (0.3 if writes else 0.5):
        policy["fields"] = [hiding(rng) for _ in range(rng.choice((1, 1, 2)))]
    if writes and rng.random() < 0.6:
        policy["fields"] = [*policy.get("fields", [])[:1], *(writing(rng) for _ in range(rng.choice((1, 2))))]
    if rng.random() < 0.1:
        policy["shared_types"] = ["Organization"]
    ceiling = [*scopes(rng, ("user", "system", "patient")), *PLAIN[:2]] if rng.random() < 0.15 else None
    limits = policy.get("labels", [])
    named = {name for limit in (limits if isinstance(limits, list) else [limits]) for name in limit.get("raised_by", {})}
    for one in policy.get("clients", {}).values():
        one.update({name: known(listed, named) for name, listed in one.items() if name in ("limit", "registered_scopes", "pin")})
    return Rules(policy, None if ceiling is None else known(ceiling, named))


def known(listed: list[str], named: set[str]) -> list[str]:
    """Without plain scopes that mean nothing in this policy, which settings refuse; and without any twice."""
    return list(dict.fromkeys(text for text in listed if not text.startswith("__") or text in named))
