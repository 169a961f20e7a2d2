"""Writes at random, and what the judge says of each: by semantics 6 and by "Elements" and "Security labels" of docs/policies.md."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.integration.policed import world
from tests.integration.policed.definitions import MEMBERS
from tests.integration.policed.elements import is_named, steps, without
from tests.integration.policed.judge import Judge
from tests.integration.policed.words import references
from tests.integration.policed.world import Resource

SERVERS = ("versionId", "lastUpdated", "source")
TYPES = ("Observation", "Observation", "Patient", "Condition", "Encounter", "Group")


@dataclass(frozen=True, slots=True)
class Write:
    """``kind``: create, update, patch, delete, or free (an update of an id that nothing has). ``old``: what is stored before, if anything;
    ``new``: what shall be stored; ``operations``: of a patch."""

    kind: str
    type: str
    id: str
    old: Resource | None
    new: Resource | None
    operations: tuple[Mapping[str, Any], ...] = ()


def made(rng: random.Random, type: str, id: str, version: int) -> Resource:
    if type == "Patient":
        return {**world.patient(rng, id, version), "active": True}
    resource = world.OF_A_PATIENT[type](rng, id, version, rng.choice((*world.PATIENTS, "qa", "qb")))
    if rng.random() < 0.6:  # labels beyond every ceiling would have most writes refused
        resource.pop("meta", None)
        if rng.random() < 0.6:
            resource["meta"] = {"security": [{"system": world.CONFIDENTIALITY, "code": "N"}]}
    return resource


def changed(rng: random.Random, old: Resource) -> Resource:
    """Another content for one to three of the elements."""
    other, new = made(rng, old["resourceType"], old["id"], 2), copy.deepcopy(old)
    names = sorted({*other, *old, "meta"} - {"resourceType", "id", "contained"})
    for name in rng.sample(names, rng.choice((1, 1, 2, 3))):
        if name in other:
            new[name] = other[name]
        elif name == "performer" or rng.random() < 0.5:
            new.pop(name, None)
    if "performer" in new:  # of the one, perhaps, whose contained resource the other has not
        kept = [one for one in new["performer"] if one["reference"] != "#inner"]
        new["performer"] = [*kept, *([{"reference": "#inner"}] if "contained" in new else [])]
        if not new["performer"]:
            del new["performer"]
    elif "contained" in new:
        new["performer"] = [{"reference": "#inner"}]
    if new.get("identifier") and rng.random() < 0.3:
        new["identifier"] = [
            *new["identifier"][:1],
            {"system": "urn:own", "value": world.mark(new["id"], 2, "mine")},
            *new["identifier"][1:],
        ]
    return new


def as_patch(rng: random.Random, old: Resource, new: Resource) -> tuple[Mapping[str, Any], ...]:
    """From the one to the other, member by member; perhaps with a test of something first."""
    found: list[Mapping[str, Any]] = []
    for name in sorted({*old, *new}):
        if name not in new:
            found.append({"op": "remove", "path": f"/{name}"})
        elif name not in old or old[name] != new[name]:
            found.append({"op": "replace" if name in old else "add", "path": f"/{name}", "value": new[name]})
    if rng.random() < 0.35:
        name = rng.choice([name for name in old if name not in ("meta", "id", "resourceType")])
        found.insert(0, {"op": "test", "path": f"/{name}", "value": old[name]})
    return tuple(found)


def patched(stored: Resource, operations: tuple[Mapping[str, Any], ...]) -> Resource:
    """What a patch of whole members makes of a resource."""
    made = dict(stored)
    for operation in operations:
        name = operation["path"].removeprefix("/")
        if operation["op"] == "remove":
            del made[name]
        elif operation["op"] != "test":
            made[name] = operation["value"]
    return made


def write(rng: random.Random, name: str) -> Write:
    """``name``: an id that nothing has."""
    type, kind = rng.choice(TYPES), rng.choice(("create", "update", "update", "update", "patch", "patch", "delete", "free"))
    old = made(rng, type, name, 1)
    match kind:
        case "create" | "free":
            if rng.random() < 0.15 and type == "Patient":
                old = {"resourceType": type, "id": name, "telecom": old["telecom"]}
            return Write(kind, type, name, None, old)
        case "delete":
            return Write(kind, type, name, old, None)
    new = changed(rng, old)
    return Write(kind, type, name, old, new, as_patch(rng, old, new) if kind == "patch" else ())


class WritesJudge(Judge):
    """Of writes: in a record only where nobody else's patient is named."""

    def in_compartment(self, owner: str, ids: Any, resource: Resource) -> bool:
        ids = list(ids)
        if not super().in_compartment(owner, ids, resource):
            return False
        if resource["resourceType"] == owner:
            return True
        named = {one for path in MEMBERS[owner].get(resource["resourceType"], ()) for one in references(resource, path)}
        if owner == "Patient" and any(one.startswith("#") for one in named):
            return False  # a contained Patient is nobody knows who
        return owner != "Patient" or all(one.removeprefix("Patient/") in ids for one in named if one.startswith("Patient/"))


def allowed(write: Write, stored: Resource | None, judge: Judge, reading: Judge) -> bool:
    """``stored``: as the server has it; ``reading``: the judge of reads."""
    new = write.new
    match write.kind:
        case "create":
            assert new is not None
            return judge.may("c", new) and may_hold(new, judge, "c")
        case "free":
            assert new is not None
            return judge.may("u", new) and may_hold(new, judge, "u")
        case "delete":
            assert stored is not None
            return judge.may("d", stored)
    assert stored is not None
    assert new is not None
    if write.kind == "patch":
        new = patched(stored, write.operations)
    if not judge.may("u", stored) or not judge.may("u", new):
        return False
    if write.kind == "update" and hides_within(stored, judge):
        return False
    if writing(judge, stored["resourceType"], "u") and not reading.may("r", stored) and write.kind == "update":
        return False
    if write.kind == "patch":
        named = all(may_name(operation, stored, judge, reading) for operation in write.operations)
        if not named or len(judge.hidden(new)) < len(judge.hidden(stored)):  # without the label by which it is hidden, it would show
            return False
    return may_become(stored, new, judge)


def hides_within(resource: Resource, judge: Judge) -> bool:
    return bool(judge.hiding(resource["resourceType"])) or any(judge.hiding(one["resourceType"]) for one in resource.get("contained", []))


def may_name(operation: Mapping[str, Any], stored: Resource, judge: Judge, reading: Judge) -> bool:
    """Nothing hidden is named, nor tested without the right to read."""
    member = operation["path"][1:].partition("/")[0]
    hidden = [path for rule in judge.hiding(stored["resourceType"]) for path in rule["hide"]]
    if hidden and (member == "text" or any(is_named(member, steps(path)[0][0]) for path in hidden)):
        return False
    inside = any(judge.hiding(one["resourceType"]) for one in stored.get("contained", []))
    if inside and member in ("contained", "text"):
        return False
    return operation["op"] != "test" or reading.may("r", stored)


def writing(judge: Judge, type: str, letter: str) -> list[Mapping[str, Any]]:
    """The rules on what may change."""
    rules = judge.policy.get("fields", [])
    return [
        r for r in rules if "hide" not in r and r["type"] in (type, "*") and letter in r["permissions"] and judge.is_for(r.get("when", {}))
    ]


def bare(resource: Resource) -> Resource:
    """Without what is the server's."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in SERVERS}
    rest = {name: value for name, value in resource.items() if name not in ("meta", "id", "resourceType")}
    return {**rest, "meta": meta} if meta else rest


def may_hold(new: Resource, judge: Judge, letter: str) -> bool:
    """Of a create."""
    return not any("only" in rule and without(bare(new), rule["only"]) for rule in writing(judge, new["resourceType"], letter))


def may_become(stored: Resource, new: Resource, judge: Judge) -> bool:
    before, after = bare(stored), bare(new)
    for rule in writing(judge, stored["resourceType"], "u"):
        if "only" in rule and without(before, rule["only"]) != without(after, rule["only"]):
            return False
        if any(values(before, steps(path)) != values(after, steps(path)) for path in rule.get("keep", [])):
            return False
    return True


def values(value: Any, path: list[tuple[str, Any]]) -> list[Any]:
    """What lies at a path."""
    if isinstance(value, list):
        return [found for one in value for found in values(one, path)]
    if not path:
        return [value]
    if not isinstance(value, dict):
        return []
    return [found for name, inner in sorted(value.items()) if is_named(name, path[0][0]) for found in values(inner, path[1:])]
