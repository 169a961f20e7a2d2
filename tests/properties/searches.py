"""Records of three patients, and searches on them of every kind that semantics 4 names, made at random from a seed.

A search says of itself what a judge needs to justify its refusal: the types that it steps into, and whether it must be refused at all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

PATIENTS = ("wa", "wb", "wc")
TYPES = ("Observation", "Condition", "Encounter", "Patient", "Organization", "Practitioner", "Provenance")
ASKED = ("Observation", "Observation", "Observation", "Condition", "Encounter", "Patient", "Patient", "Organization", "Practitioner")
CODES = {"category": ("laboratory", "vital-signs", "exam"), "code": ("1", "2")}
SYSTEMS = ("http://one", "http://two")
STATUS = {"Observation": ("final", "preliminary"), "Encounter": ("planned", "cancelled")}
NAMES = {
    "Observation": ("category", "code", "status", "subject"),
    "Condition": ("category", "code"),
    "Encounter": ("status",),
    "Patient": ("active", "gender", "_id"),
    "Organization": ("active",),
    "Practitioner": ("active",),
    "Provenance": (),
}
RECORDS = 160
BASE = "{base}"  # stands for the gateway's base in a query, and for nothing where a server is asked itself

Resource = dict[str, Any]


def mark(id: str) -> str:
    """A text that one record holds and no other."""
    return f"mark-{id}-7Q2x"


def concept(rng: random.Random, name: str) -> Resource:
    return {"coding": [{"system": rng.choice(SYSTEMS), "code": rng.choice(CODES[name])} for _ in range(rng.choice((1, 2)))]}


def subject(rng: random.Random, other: str) -> Resource:
    patient = rng.choice(PATIENTS)
    known = {"reference": f"Patient/{patient}", "display": "somebody"}
    return rng.choice((known, known, known, {"reference": other}, {"identifier": {"value": patient}}, {"display": patient}))


def resource(rng: random.Random, number: int, release: str) -> Resource:
    """One record; numbers that are close belong together."""
    type = rng.choice(("Observation", "Observation", "Observation", "Condition", "Encounter", "Encounter", "Organization", "Provenance"))
    made: Resource = {"resourceType": type, "id": f"w{number}"}
    if type in STATUS:
        made["status"] = rng.choice(STATUS[type])
    if type == "Encounter":
        made["class"] = {"code": "AMB"} if release == "R4" else [{"coding": [{"code": "AMB"}]}]
        made["identifier"] = [{"value": mark(made["id"])}]
    if type in {"Observation", "Condition"}:
        made |= {"code": concept(rng, "code"), "category": [concept(rng, "category")], "note": [{"text": mark(made["id"])}]}
        if rng.random() < 0.4:
            made["encounter"] = {"reference": f"Encounter/e{rng.randrange(6)}"}
    if type == "Organization":
        made |= {"name": mark(made["id"]), "active": rng.random() < 0.5}
    elif type == "Provenance":
        made |= provenance(rng, made["id"])
    elif rng.random() < 0.9:
        made["subject"] = subject(rng, "Group/wg")
    if type == "Observation" and rng.random() < 0.5:
        made["performer"] = [subject(rng, rng.choice(("Practitioner/wp", "Practitioner/wq"))) for _ in range(rng.choice((1, 2)))]
    return made


def provenance(rng: random.Random, id: str) -> Resource:
    targets = {rng.choice((*(f"Encounter/e{n}" for n in range(6)), *(f"Patient/{patient}" for patient in PATIENTS))) for _ in range(2)}
    return {
        "target": [{"reference": target} for target in sorted(targets)],
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/wp"}}],
        "activity": {"text": mark(id)},
    }


def records(release: str) -> list[Resource]:
    """All records, those that others refer to first."""
    rng = random.Random(7)
    made: list[Resource] = [
        {"resourceType": "Practitioner", "id": "wp", "active": True},
        {"resourceType": "Practitioner", "id": "wq", "active": False},
        {
            "resourceType": "Group",
            "id": "wg",
            "type": "person",
            **({"actual": True} if release == "R4" else {"membership": "definitional"}),
        },
    ]
    for place, id in enumerate(PATIENTS):
        more = {"active": place > 0, "gender": ("male", "female")[place % 2], "name": [{"family": mark(id)}]}
        made.append({"resourceType": "Patient", "id": id, **more, "generalPractitioner": [{"reference": "Practitioner/wp"}]})
    for number in range(6):
        encounter = {"resourceType": "Encounter", "id": f"e{number}", "status": rng.choice(STATUS["Encounter"])}
        encounter["class"] = {"code": "AMB"} if release == "R4" else [{"coding": [{"code": "AMB"}]}]
        made.append(
            {**encounter, "subject": {"reference": f"Patient/{PATIENTS[number % 3]}"}, "identifier": [{"value": mark(f"e{number}")}]}
        )
    return made + [resource(rng, number, release) for number in range(RECORDS)]


def value(rng: random.Random, type: str, name: str) -> str:
    if name in CODES:
        code = rng.choice(CODES[name])
        return code if rng.random() < 0.5 else f"{rng.choice(SYSTEMS)}|{code}"
    choices = {"active": ("true", "false"), "gender": ("male", "female"), "_id": PATIENTS, "status": STATUS.get(type, ())}
    return rng.choice(choices.get(name, tuple(f"Patient/{patient}" for patient in PATIENTS)))


def filters(rng: random.Random, type: str, most: int) -> list[tuple[str, str]]:
    names = rng.sample(NAMES[type], rng.randint(0, min(most, len(NAMES[type]))))
    return [(name, ",".join(sorted({value(rng, type, name) for _ in range(rng.choice((1, 1, 2)))}))) for name in names]


def scope(rng: random.Random) -> str:
    context, type = rng.choice(("patient", "patient", "patient", "user", "system")), rng.choice((*TYPES, "*"))
    chosen = [] if type == "*" or rng.random() < 0.4 else filters(rng, type, 2)
    if not chosen:
        return f"{context}/{type}.{rng.choice(('rs', 's', 'cruds', 'r', 'read', 'write'))}"
    return f"{context}/{type}.{rng.choice(('rs', 's', 'cruds', 'r'))}?" + "&".join(f"{name}={text}" for name, text in chosen)


@dataclass(frozen=True, slots=True)
class Token:
    """Who asks."""

    scopes: tuple[str, ...]
    patient: str | None
    user: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """One search by one token. ``steps``: the types that its chains step into; ``reaching``: it is refused to every bounded token;
    ``unknown``: so it is with 400."""

    token: Token
    type: str
    pairs: tuple[tuple[str, str], ...]
    steps: frozenset[str] = frozenset()
    reaching: bool = False
    unknown: bool = False

    def has(self, *names: str) -> bool:
        return any(name.partition(":")[0] in names for name, _ in self.pairs)

    def without(self, *names: str) -> tuple[tuple[str, str], ...]:
        return tuple(pair for pair in self.pairs if pair[0].partition(":")[0] not in names)

    @property
    def patients_asked(self) -> frozenset[str]:
        """The patients whom it names as those whose records are wanted."""
        texts = [
            text
            for name, text in self.pairs
            if name in {"patient", "subject", "subject:Patient"} or (self.type, name) == ("Patient", "_id")
        ]
        return frozenset(id for text in texts for id in PATIENTS for part in text.split(",") if id in part.split("/"))


def token(rng: random.Random) -> Token:
    scopes = [scope(rng) for _ in range(rng.choice((1, 2, 3)))]
    if rng.random() < 0.85:  # most tokens of the world open a whole record, perhaps besides a few types to all
        scopes.append(rng.choice(("patient/*.rs", "patient/*.read", "patient/*.s patient/Patient.r")))
    user = rng.choice((None, "Practitioner/p", "Practitioner/p", "Patient/wa"))
    if user == "Practitioner/p" and rng.random() < 0.5:
        scopes += [f"user/{type}.rs" for type in rng.sample(("Patient", "Encounter", "Practitioner", "Observation"), 2)]
    return Token(tuple(" ".join(scopes).split(" ")), rng.choice((*PATIENTS, *PATIENTS, *PATIENTS, None)), user)


def case(rng: random.Random) -> Case:
    """A search with zero to two of each kind of parameter."""
    type = rng.choice((*ASKED, "Provenance")) if rng.random() < 0.9 else rng.choice(TYPES)
    pairs = [pair for pair in filters(rng, type, 2) if pair[0] != "subject"]
    steps: frozenset[str] = frozenset()
    for make in (_modified, _owner, _included, _shaped):
        if rng.random() < 0.4:
            pairs += make(rng, type)
    if rng.random() < 0.2 and type in _CHAINS:
        key, text, passed = rng.choice(_CHAINS[type])
        pairs.append((key, text))
        steps = frozenset(passed)
    reaching = unknown = False
    if rng.random() < 0.05:
        pairs.append(rng.choice((("_list", "42"), ("_contained", "true"), ("_id:in", "List/1"))))
        reaching = True
    elif rng.random() < 0.03:
        pairs.append(rng.choice((("nonsense", "1"), ("_lastUpdated:nickname", "2020"), ("_offset", "5"))))
        unknown = True
    if not any(name == "_count" for name, _ in pairs):
        pairs.append(("_count", "500"))
    return Case(token(rng), type, tuple(dict.fromkeys(pairs)), steps, reaching, unknown)


def _modified(rng: random.Random, type: str) -> list[tuple[str, str]]:
    choices: dict[str, tuple[tuple[str, str], ...]] = {
        "Observation": (
            ("code:not", "http://one|1"), ("subject:missing", "false"), ("performer:missing", "true"), ("status:not", "final"),
            ("category", "laboratory,exam"), ("code", "http://one|"), ("code:missing", "false"),
        ),
        "Condition": (("code:not", "2"), ("encounter:missing", "true"), ("category:not", "exam")),
        "Encounter": (("status:not", "planned"), ("subject:missing", "false")),
        "Patient": (("gender:not", "male"), ("name:exact", mark("wa")), ("family:contains", "mark"), ("active:missing", "false")),
        "Organization": (("name:contains", "mark"), ("active:not", "true")),
        "Practitioner": (("active:not", "true"),),
    }  # fmt: skip
    ids = ",".join(rng.sample([*(f"w{n}" for n in range(0, RECORDS, 3)), *(f"e{n}" for n in range(6))], 12))
    shared = (("_lastUpdated", "ge2020-01-01"), ("_id", ids if type != "Patient" else ",".join(rng.sample(PATIENTS, 2))))
    return [rng.choice((*choices.get(type, ()), *shared))]


def _owner(rng: random.Random, type: str) -> list[tuple[str, str]]:
    """The patient in every form that FHIR has for a reference."""
    if type not in {"Observation", "Condition", "Encounter"}:
        return []
    id, other = rng.choice(PATIENTS), rng.choice(PATIENTS)
    return [
        rng.choice(
            (
                ("patient", id),
                ("patient", f"Patient/{id}"),
                ("subject", f"Patient/{id}"),
                ("subject:Patient", id),
                ("subject", f"{BASE}Patient/{id}"),
                ("patient", f"{BASE}Patient/{id},Patient/{other}"),
                ("subject", f"Patient/{id},Patient/{other}"),
                ("subject", "Group/wg"),
                ("subject", f"Group/wg,Patient/{id}"),
            )
        )
    ]


def _included(rng: random.Random, type: str) -> list[tuple[str, str]]:
    return rng.sample(_INCLUDES.get(type, (("_include", "*"),)), rng.choice((1, 1, 2)) if len(_INCLUDES.get(type, ())) > 1 else 1)


_INCLUDES: dict[str, tuple[tuple[str, str], ...]] = {
    "Observation": (
        ("_include", "Observation:subject"),
        ("_include", "Observation:subject:Patient"),
        ("_include", "Observation:patient"),
        ("_include", "Observation:encounter"),
        ("_include", "Observation:performer"),
        ("_include", "Observation:performer:Practitioner"),
        ("_include", "Observation:*"),
        ("_include", "*"),
        ("_include:iterate", "Encounter:subject"),
        ("_revinclude", "Provenance:target"),
    ),
    "Condition": (("_include", "Condition:subject"), ("_include", "Condition:encounter"), ("_include", "*")),
    "Encounter": (
        ("_include", "Encounter:subject"),
        ("_revinclude", "Observation:encounter"),
        ("_revinclude", "Condition:encounter"),
        ("_revinclude", "Provenance:target"),
        ("_revinclude:iterate", "Observation:subject"),
    ),
    "Patient": (
        ("_include", "Patient:general-practitioner"),
        ("_revinclude", "Observation:subject"),
        ("_revinclude", "Observation:patient"),
        ("_revinclude", "Observation:performer"),
        ("_revinclude", "Encounter:patient"),
        ("_revinclude", "Provenance:target"),
    ),
    "Practitioner": (("_revinclude", "Observation:performer"), ("_revinclude", "Patient:general-practitioner")),
    "Provenance": (("_include", "Provenance:target"), ("_include", "Provenance:target:Patient"), ("_include", "Provenance:agent")),
}

_CHAINS: dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "Observation": (
        ("subject:Patient.gender", "male", ("Patient",)),
        ("patient.active", "true", ("Patient",)),
        ("encounter.status", "planned", ("Encounter",)),
        ("encounter:Encounter.patient.gender", "female", ("Encounter", "Patient")),
        ("performer:Practitioner.active", "true", ("Practitioner",)),
        ("encounter.subject:Patient.general-practitioner:Practitioner.active", "true", ("Encounter", "Patient", "Practitioner")),
        ("_has:Provenance:target:agent", "Practitioner/wp", ("Provenance",)),
    ),
    "Condition": (("patient.gender", "male", ("Patient",)), ("encounter.status", "planned", ("Encounter",))),
    "Encounter": (
        ("patient.gender", "male", ("Patient",)),
        ("_has:Observation:encounter:code", "1", ("Observation",)),
        ("subject:Patient._has:Observation:patient:code", "2", ("Patient", "Observation")),
    ),
    "Patient": (
        ("_has:Observation:patient:code", "1", ("Observation",)),
        ("_has:Encounter:patient:_has:Observation:encounter:code", "1", ("Encounter", "Observation")),
        ("general-practitioner:Practitioner.active", "true", ("Practitioner",)),
    ),
}


def _shaped(rng: random.Random, type: str) -> list[tuple[str, str]]:
    """How the answer is wanted."""
    choices: tuple[tuple[str, str], ...] = (
        ("_elements", "id"), ("_elements", "status,code"), ("_elements", "subject.display"), ("_summary", "data"), ("_summary", "true"),
        ("_summary", "count"), ("_summary", "false"), ("_count", "0"), ("_total", "accurate"), ("_sort", "_id"), ("_sort", "-_lastUpdated"),
    )  # fmt: skip
    more = (("_sort", "-date"), ("_sort", "status"), ("_elements", f"{type}.code,subject")) if type == "Observation" else ()
    return [rng.choice((*choices, *more))]
