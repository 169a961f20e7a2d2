"""Writes docs/decision-table.md by asking the code for decisions. ``python tools/decision_table.py``; a test says when it is stale."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from smart_gateway.boundary import dependent
from smart_gateway.boundary.model import Boundary
from smart_gateway.fhir.bundles import CARRIERS
from smart_gateway.fhir.references import Bases, Reference
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import Vocabulary, load_vocabulary
from smart_gateway.policy.access import Access
from smart_gateway.policy.authorize import authorize
from smart_gateway.policy.exports.planning import EXPORTED_ON, KICKOFF
from smart_gateway.policy.model import SERVER_TYPES, Policy, default_additions
from smart_gateway.policy.operations.table import SHIPPED, OperationRule, Reach
from smart_gateway.policy.plan import (
    AnswerToWrite,
    BodyCheck,
    CheckHistory,
    CheckResource,
    CheckSearchset,
    CheckUnion,
    PatchCheck,
    Permit,
    Plan,
    Stream,
)
from smart_gateway.principal import Principal
from smart_gateway.request.limits import Limits
from smart_gateway.request.parsing import RequestParser
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.reading import read_scopes

TARGET = Path(__file__).parent.parent / "docs" / "decision-table.md"

_PATIENT = "123"
_BASES = Bases("https://fhir.example.org/fhir", "http://127.0.0.1:8090/fhir")
_READS = (Permission.READ, Permission.SEARCH)
_WRITES = (Permission.CREATE, Permission.UPDATE, Permission.DELETE)

_HEAD = """# What decides, by interaction, type and context

<!-- Written by tools/decision_table.py, which asks the code: change it there. -->

Every cell is the answer of the code to a token that holds just that, under the default policy: no clients, users and public interactions
named. What scopes, filters, the client's limits and the user's rule leave is met together ([decision.md](decision.md)).
"""
_INTERACTIONS = """## Interactions

`needs` are the permissions without which the answer is 403. Beside each stands what must lie inside the token's boundary: for a token of
one patient, and for one that is bound to nothing.

| interaction | needs | checked for one patient | checked without a bound |
|---|---|---|---|
"""
_OPERATIONS = """## Operations

Those that are not here are opened to nobody. `$export` needs `rs` by `system/` scopes without filters on every type that it gives.

| operation | on | needs | what bounds it |
|---|---|---|---|
"""
_TYPES = """## Types

`user/` patient is a user whose fhirUser is the Patient, `user/` practitioner one whose fhirUser is a Practitioner. *In the record*: by the
parameters that stand with the type (Patient itself: by its id). *Whole type*: any resource of it.
"""
_PROBES = (
    ("GET", "/Observation/x", ()),
    ("GET", "/Observation/x/_history/1", ()),
    ("GET", "/Observation/x/_history", ()),
    ("GET", "/Observation/_history", ()),
    ("GET", "/_history", ()),
    ("GET", "/Observation", ()),
    ("GET", f"/Patient/{_PATIENT}/Observation", ()),
    ("GET", "/?_type=Observation", ()),
    ("POST", "/Observation", ()),
    ("POST", "/Observation", ((b"if-none-exist", b"code=x"),)),
    ("PUT", "/Observation/x", ()),
    ("PUT", "/Observation?code=x", ()),
    ("PATCH", "/Observation/x", ((b"content-type", b"application/json-patch+json"),)),
    ("PATCH", "/Observation?code=x", ((b"content-type", b"application/json-patch+json"),)),
    ("DELETE", "/Observation/x", ()),
    ("DELETE", "/Observation?code=x", ()),
)
_ANSWERS: Mapping[type, str] = {
    Stream: "",
    CheckResource: "the answer",
    CheckSearchset: "every entry",
    CheckUnion: "every entry",
    CheckHistory: "every version",
    AnswerToWrite: "the answer, if `r`",
}
_BODIES: Mapping[type, str] = {BodyCheck: "the body", PatchCheck: "what the patch makes"}
_REACHES: Mapping[Reach, str] = {
    Reach.INSTANCE: "the stored instance lies inside",
    Reach.CRITERIA: "its parameters are narrowed as a search's",
    Reach.BODY: "the resource given lies inside by the rule for writes",
    Reach.WHOLE_TYPE: "the type is open whole",
    Reach.UNBOUNDED_TYPE: "the type has no bound",
    Reach.UNBOUNDED: "the token has no bound",
}


def render() -> str:
    """The whole page."""
    parts = [_HEAD, _INTERACTIONS + "\n".join(_interactions()), _OPERATIONS + "\n".join(_operations()), _TYPES + "\n" + "\n".join(_types())]
    return "\n".join(f"{part.rstrip()}\n" for part in parts)


# Interactions


def _interactions() -> Iterator[str]:
    policy = _policy(Release.R4)
    parser = RequestParser(policy.vocabulary, "", Limits())
    for method, target, headers in _PROBES:
        path, _, query = target.partition("?")
        request = parser.parse(method, path.encode(), query.encode(), headers)
        conditional = method != "GET" and ("?" in target or any(name == b"if-none-exist" for name, _ in headers))

        def planned(scope: str) -> Plan | None:
            decision = authorize(request, Access(_principal(scope), policy))  # noqa: B023
            return decision.plan if isinstance(decision, Permit) else None

        needs = _needs(lambda letters: planned(f"patient/Observation.{letters}") is not None)
        bounded, free = planned("patient/Observation.cruds"), planned("system/*.cruds")
        name = f"{'conditional ' if conditional else ''}{request.interaction}"
        yield f"| {name} | `{needs}` | {_checked(bounded)} | {_checked(free)} |"


def _needs(permits: Callable[[str], bool]) -> str:
    """The fewest permissions by which the request is permitted."""
    subsets = ("".join(letters) for size in range(1, 6) for letters in combinations("cruds", size))
    return next(letters for letters in subsets if permits(letters))


def _checked(plan: Plan | None) -> str:
    assert plan is not None
    said = [
        "what the criteria find" if plan.criteria is not None else "",
        "the stored resource" if plan.stored is not None and not plan.stored.boundary.is_everything else "",
        _BODIES[type(plan.body)] if plan.body is not None and not plan.body.boundary.is_everything else "",
        _ANSWERS[type(plan.answer)],
    ]
    return "; ".join(word for word in said if word) or "nothing"


def _operations() -> Iterator[str]:
    rows: dict[tuple[str, ...], list[str]] = {}
    for rule in SHIPPED:
        for level, opening in rule.levels.items():
            letters = opening.permissions.letters
            needs = f"`{letters}`" if len(letters) == 1 else " or ".join(f"`{letter}`" for letter in letters)
            on = {"SYSTEM": "the base", "TYPE": _on(rule), "INSTANCE": f"{_on(rule)}/[id]"}[level.name]
            rows.setdefault((rule.name, needs, _REACHES[opening.reach]), []).append(on)
    for (name, needs, reach), places in rows.items():
        yield f"| `{name}` | {', '.join(dict.fromkeys(places))} | {needs} | {reach} |"
    exported = ", ".join(type or "the base" for type in sorted(EXPORTED_ON, key=str))
    yield f"| `{KICKOFF}` | {exported} | `rs` | the types are open whole, by `system/` |"


def _on(rule: OperationRule) -> str:
    return ", ".join(sorted(rule.types)) if rule.types is not None else "any type"


# Types


class _Column(NamedTuple):
    """Who asks: the context's scopes and the fhirUser."""

    title: str
    context: str
    user: str | None


_COLUMNS = (
    _Column("`patient/`", "patient", None),
    _Column("`user/` patient", "user", f"Patient/{_PATIENT}"),
    _Column("`user/` practitioner", "user", "Practitioner/p"),
    _Column("`system/`", "system", None),
)


def _types() -> Iterator[str]:
    """A table for each kind of type that is decided alike, and which types of each release these are."""
    groups: dict[tuple[str, ...], dict[Release, list[str]]] = {}
    for release in Release:
        default, listing = _policy(release), _listing(release)
        for type in sorted(default.vocabulary.types):
            cells = [_cell(column, type, permissions, default, listing) for column in _COLUMNS for permissions in (_READS, _WRITES)]
            group = groups.setdefault((*cells, _besides(type)), {release: [] for release in Release})
            group[release].append(_named(type, default))
    for number, (row, members) in enumerate(sorted(groups.items(), key=lambda found: -len(found[1][Release.R4])), start=1):
        yield f"### {number}\n\n| | read and search | create, update, delete |\n|---|---|---|"
        yield from (f"| {column.title} | {row[2 * i]} | {row[2 * i + 1]} |" for i, column in enumerate(_COLUMNS))
        yield f"\n{row[-1]}\n" if row[-1] else ""
        yield from (f"{_wrapped(line)}\n" for line in _members(members))


def _named(type: str, policy: Policy) -> str:
    """The type, with the parameters by which it is in a record."""
    codes = policy.rules.inclusion("Patient", type)
    return f"{type} ({' '.join(codes)})" if codes else type


def _members(members: Mapping[Release, list[str]]) -> Iterator[str]:
    """The types of the first release; of the others, what differs from it."""
    (first, types), *others = members.items()
    yield f"{first}: " + (", ".join(types) or "none")
    for release, those in others:
        more, fewer = [type for type in those if type not in types], [type for type in types if type not in those]
        said = [f"besides {', '.join(more)}" if more else "", f"not {', '.join(fewer)}" if fewer else ""]
        yield f"{release}: the same" + "".join(f"; {part}" for part in said if part)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, 140, break_long_words=False, break_on_hyphens=False)


def _besides(type: str) -> str:
    """What else is asked of a resource of ``type``, by the tables of the code."""
    if type in CARRIERS:
        return "Every resource that it holds must be open too, but for tokens without any bound."
    if type in dependent.MEMBERS:
        named = " and ".join(f"`{member}`" for member in sorted(dependent.MEMBERS[type]))
        return f"Bound to a record, what its {named} names must be open too; at most 50 such resources are fetched for one answer."
    return ""


def _cell(column: _Column, type: str, permissions: Iterable[Permission], default: Policy, listing: Policy) -> str:
    """What decides; by whom only, where a scope's ``*`` or the default policy gives nothing."""
    by_default = _both(column, type, permissions, default)
    by_listing = _both(column, type, permissions, listing)
    if any(word != "never" for word in by_default):
        return _by_name(*by_default)
    said = _by_name(*by_listing)
    return said if said == "never" else f"{said}, where the policy lists it"


def _both(column: _Column, type: str, permissions: Iterable[Permission], policy: Policy) -> tuple[str, str]:
    """What a scope of the type's own name gives, and one of ``*``."""
    letters = "cruds"
    accesses = [Access(_principal(f"{column.context}/{name}.{letters}", column.user), policy) for name in (type, "*")]
    words = [{_word(access.boundary(type, permission)) for permission in permissions} for access in accesses]
    (named,), (starred,) = words
    return named, starred


def _by_name(named: str, starred: str) -> str:
    return named if named == starred else f"{named}, by name only"


def _word(boundary: Boundary) -> str:
    if boundary.is_nothing:
        return "never"
    return "in the record" if any(region.compartments for region in boundary.regions) else "whole type"


# Whom and what the code is asked about


def _policy(release: Release, **choices: frozenset[str]) -> Policy:
    vocabulary: Vocabulary = load_vocabulary(release)
    return Policy(vocabulary, _BASES, compartment_additions=default_additions(release), **choices)  # type: ignore[arg-type]


def _listing(release: Release) -> Policy:
    """A policy that lists all that can be listed: Binary cannot be shared (settings.policy_checks)."""
    types = load_vocabulary(release).types
    return _policy(release, shared_types=types - dependent.MEMBERS.keys(), writable_server_types=SERVER_TYPES)


def _principal(scope: str, user: str | None = None) -> Principal:
    fhir_user = Reference(*user.split("/")) if user is not None else None
    scopes = read_scopes(scope, replacement=None, v1_write="cud")
    return Principal("https://idp.example.org", scopes=scopes, fhir_user=fhir_user, patient=_PATIENT)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{TARGET}\n")
