"""Labelled records of four patients: whatever one of them holds in an element has a mark, of the resource, its version and the element."""

from __future__ import annotations

import random
import re
from typing import Any

from tests.integration.records import CANARY

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
OLDER = "http://hl7.org/fhir/v3/Confidentiality"
OWN = "http://acme.example/labels"
PATIENTS = ("qa", "qb", "qc", "qd")
DOCTORS = ("qdoc", "qdot")
ORGANIZATIONS = ("qnorth", "qsouth")
CODES = {"category": ("laboratory", "exam"), "code": ("1", "2")}
SYSTEMS = ("http://one", "http://two")
RECORDS = 90
MARK = re.compile(r"mk-[A-Za-z0-9.-]+?" + CANARY)

Resource = dict[str, Any]


def mark(*parts: object) -> str:
    """A text that one element of one version holds and no other."""
    return f"mk-{'.'.join(map(str, parts))}{CANARY}"


def marks(text: str) -> set[str]:
    return set(MARK.findall(text))


def labels(rng: random.Random) -> list[dict[str, str]]:
    """``meta.security``: most have none or a usual one, some have what is hard to read."""
    found: list[dict[str, str]] = []
    if rng.random() < 0.6:
        code = rng.choice("NNNNRRRVULM")
        found.append({"system": rng.choice((CONFIDENTIALITY, CONFIDENTIALITY, CONFIDENTIALITY, OLDER)), "code": code})
    if rng.random() < 0.08:
        found.append(rng.choice(({"system": CONFIDENTIALITY, "code": "Q"}, {"code": "N"}, {"code": "SUD"}, {"system": OWN, "code": "sud"})))
    found += [{"system": OWN, "code": code} for code in ("SUD", "VIP", "OK") if rng.random() < 0.17]
    return found


def labelled(rng: random.Random, resource: Resource) -> Resource:
    security = labels(rng)
    return {**resource, "meta": {"security": security}} if security else resource


def concept(rng: random.Random, name: str) -> Resource:
    return {"coding": [{"system": rng.choice(SYSTEMS), "code": rng.choice(CODES[name])} for _ in range(rng.choice((1, 2)))]}


def narrative(text: str) -> Resource:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{text}</div>'}


def patient(rng: random.Random, id: str, version: int) -> Resource:
    made = {
        "resourceType": "Patient",
        "id": id,
        "text": narrative(mark(id, version, "text")),
        "identifier": [
            {"system": "urn:own", "value": mark(id, version, "own")},
            {"system": "urn:other", "value": mark(id, version, "other")},
        ],
        "active": rng.random() < 0.5,
        "name": [
            {"family": mark(id, version, "family"), "given": [mark(id, version, "given")]},
            {"text": mark(id, version, "nickname")},
        ],
        "telecom": [{"system": "phone", "value": mark(id, version, "telecom")}],
        "gender": rng.choice(("male", "female")),
        "birthDate": f"19{rng.randrange(50, 99)}-01-01",
        "address": [{"city": mark(id, version, "city"), "country": mark(id, version, "country")}],
        "managingOrganization": {"reference": f"Organization/{rng.choice(ORGANIZATIONS)}"},
        "generalPractitioner": [{"reference": f"Practitioner/{rng.choice(DOCTORS)}"}],
    }
    return labelled(rng, made)


def observation(rng: random.Random, id: str, version: int, owner: str) -> Resource:
    made: Resource = {
        "resourceType": "Observation",
        "id": id,
        "status": rng.choice(("final", "preliminary")),
        "category": [concept(rng, "category")],
        "code": concept(rng, "code"),
        "subject": {"reference": f"Patient/{owner}"},
        "valueString": mark(id, version, "value"),
        "note": [{"text": mark(id, version, "note")}],
    }
    performers = []
    if rng.random() < 0.4:
        performers.append({"reference": f"Practitioner/{rng.choice(DOCTORS)}"})
    if rng.random() < 0.2:
        performers.append({"reference": f"Patient/{rng.choice(PATIENTS)}"})
    if rng.random() < 0.25:
        inner = {"resourceType": "Patient", "id": "inner", "name": [{"family": mark(id, version, "inner")}], "birthDate": "1971-02-03"}
        made["contained"] = [{**inner, "gender": "male"}]
        performers.append({"reference": "#inner"})
    if performers:
        made["performer"] = performers
    if rng.random() < 0.4:
        made["encounter"] = {"reference": f"Encounter/qe{rng.randrange(6)}"}
    if rng.random() < 0.3:
        made["text"] = narrative(mark(id, version, "text"))
    if rng.random() < 0.3:
        made["component"] = [{"code": concept(rng, "code"), "valueString": mark(id, version, "component")}]
    return labelled(rng, made)


def condition(rng: random.Random, id: str, version: int, owner: str) -> Resource:
    made: Resource = {
        "resourceType": "Condition",
        "id": id,
        "category": [concept(rng, "category")],
        "code": concept(rng, "code"),
        "subject": {"reference": f"Patient/{owner}"},
        "note": [{"text": mark(id, version, "note")}],
    }
    if rng.random() < 0.3:
        made["asserter"] = {"reference": rng.choice((f"Practitioner/{rng.choice(DOCTORS)}", f"Patient/{owner}"))}
    return labelled(rng, made)


def encounter(rng: random.Random, id: str, version: int, owner: str) -> Resource:
    made: Resource = {
        "resourceType": "Encounter",
        "id": id,
        "identifier": [{"value": mark(id, version, "identifier")}],
        "status": rng.choice(("planned", "finished")),
        "class": {"code": "AMB"},
        "subject": {"reference": f"Patient/{owner}"},
        "participant": [{"individual": {"reference": f"Practitioner/{rng.choice(DOCTORS)}"}}],
    }
    return labelled(rng, made)


def group(rng: random.Random, id: str, version: int, owner: str) -> Resource:
    member = [{"entity": {"reference": f"Patient/{owner}"}}]
    made: Resource = {"resourceType": "Group", "id": id, "type": "person", "actual": True, "name": mark(id, version, "name")}
    return labelled(rng, {**made, "member": member})


def practitioner(rng: random.Random, id: str, version: int) -> Resource:
    return labelled(rng, {"resourceType": "Practitioner", "id": id, "active": True, "name": [{"family": mark(id, version, "family")}]})


def organization(rng: random.Random, id: str, version: int) -> Resource:
    return labelled(rng, {"resourceType": "Organization", "id": id, "active": True, "name": mark(id, version, "name")})


OF_A_PATIENT = {"Observation": observation, "Condition": condition, "Encounter": encounter, "Group": group}


def generations() -> list[list[Resource]]:
    """What to put one after the other: the first versions of all, then second ones of some."""
    rng = random.Random(5)
    first: list[Resource] = [organization(rng, id, 1) for id in ORGANIZATIONS] + [practitioner(rng, id, 1) for id in DOCTORS]
    first += [patient(rng, id, 1) for id in PATIENTS]
    first += [encounter(rng, f"qe{n}", 1, PATIENTS[n % 4]) for n in range(6)]
    for number in range(RECORDS):
        type = rng.choice(("Observation", "Observation", "Observation", "Condition", "Encounter", "Group"))
        first.append(OF_A_PATIENT[type](rng, f"q{number}", 1, rng.choice(PATIENTS)))
    second = [patient(rng, "qb", 2), organization(rng, "qsouth", 2)]
    for old in first:
        if old["resourceType"] in OF_A_PATIENT and rng.random() < 0.35:
            owner = (old.get("subject") or old["member"][0]["entity"])["reference"].removeprefix("Patient/")
            owner = owner if rng.random() < 0.7 else rng.choice(PATIENTS)
            second.append(OF_A_PATIENT[old["resourceType"]](rng, old["id"], 2, owner))
    return [first, second]
