"""Who asks, and what: tokens and requests at random."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.integration.policed import rules, world

ASKED = (
    "Observation",
    "Observation",
    "Observation",
    "Patient",
    "Patient",
    "Condition",
    "Encounter",
    "Group",
    "Organization",
    "Practitioner",
)
INCLUDES: dict[str, tuple[tuple[str, str], ...]] = {
    "Observation": (
        ("_include", "Observation:subject"),
        ("_include", "Observation:performer"),
        ("_include", "Observation:encounter"),
        ("_include", "*"),
    ),
    "Condition": (("_include", "Condition:subject"), ("_include", "Condition:asserter")),
    "Encounter": (("_include", "Encounter:subject"), ("_include", "Encounter:participant"), ("_revinclude", "Observation:encounter")),
    "Patient": (
        ("_revinclude", "Observation:subject"),
        ("_revinclude", "Condition:patient"),
        ("_revinclude", "Encounter:patient"),
        ("_include", "Patient:organization"),
        ("_include", "Patient:general-practitioner"),
    ),
    "Group": (("_include", "Group:member"),),
    "Practitioner": (("_revinclude", "Observation:performer"), ("_revinclude", "Patient:general-practitioner")),
    "Organization": (("_revinclude", "Patient:organization"),),
}
ODD: dict[str, tuple[tuple[str, str], ...]] = {
    "Patient": (
        ("birthdate", "1971-01-01"),
        ("family", "mk"),
        ("name", "mk"),
        ("identifier", "urn:other|"),
        ("address-city", "mk"),
        ("gender", "male"),
        ("_sort", "birthdate"),
        ("_sort", "family"),
        ("phone", "555"),
        ("_has:Observation:patient:code", "1"),
        ("organization.name", "mk"),
        ("general-practitioner:Practitioner.active", "true"),
    ),
    "Observation": (
        ("value-string", "mk"),
        ("status", "final"),
        ("patient.gender", "male"),
        ("subject:Patient.family", "mk"),
        ("combo-value-concept", "1"),
        ("performer", "Practitioner/qdoc"),
        ("_sort", "-status"),
        ("code:not", "1"),
        ("subject:missing", "false"),
        ("component-code", "1"),
    ),
    "Condition": (("code", "1"), ("asserter", "Practitioner/qdoc"), ("patient.birthdate", "gt1970")),
    "Encounter": (("identifier", "mk"), ("participant", "Practitioner/qdoc"), ("status", "planned")),
    "Group": (("member", "Patient/qa"),),
}
SHAPES = (
    ("_summary", "true"),
    ("_summary", "data"),
    ("_summary", "text"),
    ("_elements", "id"),
    ("_elements", "status,code,subject"),
    ("_elements", "name,birthDate"),
    ("_summary", "count"),
    ("_total", "accurate"),
)
SHARED_ODD = (
    ("_security", f"{world.CONFIDENTIALITY}|N"),
    ("_security:not", "x"),
    ("_security", f"{world.OWN}|SUD"),
    ("_tag", "x"),
    ("_lastUpdated", "gt2020-01-01"),
    ("_content", "mk"),
)


@dataclass(frozen=True, slots=True)
class Who:
    """A token, by its claims."""

    scopes: tuple[str, ...]
    claims: dict[str, Any]

    @property
    def patient(self) -> str | None:
        return self.claims.get("patient")

    @property
    def user(self) -> str | None:
        """The fhirUser, where it is usable."""
        said = self.claims.get("fhirUser")
        return said if isinstance(said, str) and said.partition("/")[0] in ("Practitioner", "Patient", "RelatedPerson") else None

    @property
    def kind(self) -> str:
        return self.user.partition("/")[0] if self.user is not None else "none"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. ``kind``: what its answer is judged as; ``type``, ``id``, ``version`` as far as it names them; ``parts``: the entries of
    a batch; ``plain``: a search of which nothing permitted may be missing."""

    kind: str
    type: str = ""
    id: str = ""
    version: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    owner: str = ""
    plain: bool = False
    parts: tuple[Ask, ...] = field(default=())

    def has(self, *names: str) -> bool:
        return any(name.partition(":")[0] in names for name, _ in self.pairs)

    @property
    def target(self) -> str:
        """Below the base, without a slash at its beginning."""
        query = "&".join(f"{name}={text.replace('|', '%7C')}" for name, text in self.pairs)
        path = {
            "read": f"{self.type}/{self.id}",
            "vread": f"{self.type}/{self.id}/_history/{self.version}",
            "history": f"{self.type}/{self.id}/_history",
            "histories": f"{self.type}/_history",
            "everything": f"Patient/{self.id}/$everything",
            "search": f"{self.owner}/{self.type}" if self.owner else self.type,
            "batch": "",
        }[self.kind]
        return f"{path}?{query}" if query else path


def who(rng: random.Random, *, writes: bool = False) -> Who:
    """``writes``: most of them may write."""
    scopes = []
    if rng.random() < 0.75:
        scopes.append("user/*.cruds" if writes else rng.choice(("user/*.cruds", "user/*.rs", "user/*.cruds")))
    if rng.random() < 0.4:
        scopes.append(rng.choice(("patient/*.cruds", "patient/*.rs")))
    if rng.random() < 0.2:
        scopes.append("system/*.cruds")
    if rng.random() < 0.5 or not scopes:
        scopes += [rules.scope(rng, rng.choice(("user", "user", "patient", "system"))) for _ in range(rng.choice((1, 2)))]
    scopes += [name for name in rules.PLAIN if rng.random() < 0.35]
    claims: dict[str, Any] = {"client_id": rng.choice(("app", "app", "app", "other", "stranger"))}
    user = rng.choice(
        (*("Practitioner/qdoc",) * 4, "Practitioner/qdot", "Patient/qa", "Patient/qa", "RelatedPerson/qrel", "Device/x", None)
    )
    maybe = {
        "fhirUser": user,
        "patient": rng.choice((*world.PATIENTS, "qa", None, None)),
        "dept": rng.choice(("lab", "ward", ["lab", "x"], None, None)),
        "roles": rng.choice(("student", ["chief"], ["student", "nurse"], None)),
        "level": rng.choice((3, "3", None)),
        "organization": rng.choice(("qnorth", "Organization/qsouth", ["qnorth", "qsouth"], None, None, "qnorth,qsouth", {"a": 1})),
        "employee": rng.choice(("qdoc", "Practitioner/qdot", ["qdoc", "qdot"], None, None)),
        "subject": rng.choice(("qa", "Patient/qb", ["qa", "qc"], None, None, "Group/x")),
        "code": rng.choice(("1", "2", ["1", "2"], "1,2", None, None)),
        "care_team": rng.choice((["qa", "qb"], ["Patient/qc"], "qa", [], None, ["qa", 7])),
    }
    if rng.random() < 0.06:
        maybe[rng.choice(("dept", "roles"))] = {"unreadable": True}
    return Who(tuple(scopes), {**claims, **{name: value for name, value in maybe.items() if value is not None}})


def search(rng: random.Random, type: str) -> Ask:
    drawn, pairs, owner = rng.random(), [], ""
    names = [name for name in rules.FILTERS.get(type, ()) if name != "organization"]
    if names and rng.random() < 0.4:
        name = rng.choice(names)
        pairs.append((name, rules.value(rng, name, filled=False)))
    plain = True
    if drawn < 0.3 and type in INCLUDES:
        pairs += rng.sample(INCLUDES[type], rng.choice((1, 2)) if len(INCLUDES[type]) > 1 else 1)
    elif drawn < 0.5:
        pairs.append(rng.choice((*ODD.get(type, SHARED_ODD), *SHARED_ODD[: rng.choice((0, 6))])))
        plain = False
    elif drawn < 0.62:
        pairs.append(rng.choice(SHAPES))
    elif drawn < 0.74 and type in ("Observation", "Condition", "Encounter", "Group"):
        owner = f"Patient/{rng.choice(world.PATIENTS)}"
    elif drawn < 0.8 and type in ("Observation", "Condition", "Encounter"):
        pairs.append(("patient", rng.choice(world.PATIENTS)))
    pairs.append(("_count", str(rng.choice((3, 10, 500, 500)))))
    return Ask("search", type, pairs=tuple(pairs), owner=owner, plain=plain)


def one(rng: random.Random, known: list[tuple[str, str, str]]) -> Ask:
    """A request of one interaction; ``known``: type, id and version of all that there is."""
    type, id, version = rng.choice(known)
    drawn = rng.random()
    if drawn < 0.16:
        return Ask("read", type, id)
    if drawn < 0.24:
        return Ask("vread", type, id, version)
    if drawn < 0.32:
        return Ask("history", type, id)
    if drawn < 0.37:
        return Ask("histories", type, pairs=(("_count", "60"),))
    if drawn < 0.41:
        return Ask("everything", "Patient", rng.choice(world.PATIENTS))
    if drawn < 0.45:
        return Ask("read", type, id, pairs=(rng.choice(SHAPES[:6]),))
    return search(rng, rng.choice(ASKED))


def ask(rng: random.Random, known: list[tuple[str, str, str]]) -> Ask:
    if rng.random() < 0.07:
        parts = tuple(part for part in (one(rng, known) for _ in range(5)) if part.kind != "everything")
        return Ask("batch", parts=parts)
    return one(rng, known)
