"""What of a resource is there for sure in a summary of it: of the members that parameters look at, those that no summary takes apart.

A member counts only where each path of the type's parameters through it stays whole: marked isSummary (Σ) step by step, down to all
that the value's type has. Whatever cannot be shown to stay is left out of the tables, and so taken for hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tables.schema import Schema

_UNSEARCHED = frozenset({"id", "extension", "modifierExtension"})
_ALWAYS = frozenset({"id", "meta"})

_Row = Mapping[str, Any]


def summary_members(schema: Schema, type: str, rows: Iterable[_Row]) -> dict[str, list[str]]:
    """The members that stay under ``_summary=true`` and ``_summary=text``, of those that the parameters ``rows`` of ``type`` look at."""
    read: dict[str, bool] = {}
    for steps, leaf in _ways(rows):
        if steps:
            member = steps[0].partition("[")[0]
            read[member] = read.get(member, True) and _stays(schema, type, steps, leaf)
    found = sorted(read.keys() - _ALWAYS)
    return {"true": [name for name in found if read[name]], "text": [name for name in found if schema.is_mandatory(type, name)]}


def _ways(rows: Iterable[_Row]) -> Iterator[tuple[list[str], bool]]:
    """The steps of each path, and whether a value is read at its end, rather than by the components that go on from there."""
    for row in rows:
        components = row.get("components", ())
        for path in row.get("paths", ()):
            yield _steps(path), not components
            for component in components:
                for part in component["paths"]:
                    yield [*([] if component.get("of_resource") else _steps(path)), *_steps(part)], True


def _steps(path: str) -> list[str]:
    return [step for step in path.rpartition(":")[0].split(".") if step]


def _stays(schema: Schema, type: str, steps: list[str], leaf: bool) -> bool:
    at = type
    for step in steps:
        name, _, condition = step.partition("[")
        below = schema.in_summary(at, name)
        if below is None or (condition and schema.in_summary(below, condition.partition("=")[0]) is None):
            return False
        at = below
    return not leaf or _is_whole(schema, at, frozenset())


def _is_whole(schema: Schema, at: str, above: frozenset[str]) -> bool:
    """Whether all that a value of ``at`` has is marked. A type inside itself (an Identifier's assigner) adds nothing."""
    if at in above or schema.is_primitive(at):
        return True
    members = [name for name in schema.members(at) if name not in _UNSEARCHED]
    return bool(members) and all(_is_kept(schema, at, name, above | {at}) for name in members)


def _is_kept(schema: Schema, at: str, name: str, above: frozenset[str]) -> bool:
    below = schema.in_summary(at, name)
    return below is not None and _is_whole(schema, below, above)
