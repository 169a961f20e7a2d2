"""Compiles one release's definitions to the table that ``smart_gateway/fhir/data`` holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tables.expressions import Branch, Name, Path, Unsupported, branches, compile_branch
from tables.overrides import AFFECTS_STATE, COMPONENT_EXPRESSIONS, COMPONENT_KINDS, OVERRIDES
from tables.schema import Schema
from tables.sources import VERSIONS, Definition, Definitions, flag, many, one
from tables.structures import structures
from tables.summaries import summary_members

_RESOURCE = Name("%resource")


@dataclass
class Table:
    """One release's table as it is written, with that of its ``elements``; and why a parameter has no paths: by (type, code)."""

    content: dict[str, Any]
    elements: dict[str, str]
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Compiler:
    """Compiles search parameters of one release."""

    name: str
    schema: Schema
    by_url: Mapping[str, Definition]

    def paths(self, parameter: Definition, type: str) -> list[Path]:
        """The paths of ``parameter`` for ``type``, by its own branches only; raises Unsupported with the reason where there are none."""
        expression = self._expression(parameter, type)
        if expression is None:
            raise Unsupported("no expression")
        own = [branch for text in _split(expression) if _names(text, type) for branch in branches(text)]
        if not own:
            raise Unsupported("no branch for this type")
        found = [path for branch in own if branch[0] == Name(type) for path in compile_branch(branch[1:], self.schema, type)]
        if not found:
            raise Unsupported("no such element")
        return _unique(found)

    def components(self, parameter: Definition, type: str, paths: Iterable[Path]) -> list[dict[str, Any]]:
        """The components of a composite; raises Unsupported where one of them has no path."""
        result = []
        for part in many(parameter, "component"):
            text = one(part, "expression")
            text = COMPONENT_EXPRESSIONS.get((self.name, type, one(parameter, "code"), text), text)
            result.append(self._component(part, text, type, list(paths)))
        return result

    def _component(self, part: Definition, expression: str, type: str, paths: list[Path]) -> dict[str, Any]:
        definition = str(one(part, "definition"))
        name = definition.rpartition("/")[2]
        kind = one(self.by_url[definition], "type") if definition in self.by_url else COMPONENT_KINDS.get(name)
        if kind is None:
            raise Unsupported(f"a component names {name}, which does not exist")
        parsed = branches(expression)
        absolute = [branch[0] == _RESOURCE for branch in parsed]
        if any(absolute) and not all(absolute):
            raise Unsupported("a component that is partly %resource")
        starts = [type] if all(absolute) else [path.at for path in paths]
        relative: list[Branch] = [branch[1:] if all(absolute) else branch for branch in parsed]
        found = [path for start in starts for branch in relative for path in compile_branch(branch, self.schema, start)]
        if not found:
            raise Unsupported(f"no such element in a component: {expression}")
        written = {"kind": kind, "paths": [str(path) for path in _unique(found)]}
        return {**written, "of_resource": True} if all(absolute) else written

    def _expression(self, parameter: Definition, type: str) -> str | None:
        override = OVERRIDES.get((self.name, type, one(parameter, "code")))
        if override is None:
            text = one(parameter, "expression")
            return None if text is None else str(text)
        if override.expression is None:
            raise Unsupported(override.reason)
        return override.expression


def compile_table(definitions: Definitions, operations: Mapping[str, bool]) -> Table:
    """The table of ``definitions``; ``operations`` says by operation id whether it changes state where the definition does not."""
    schema = Schema(definitions)
    compiler = Compiler(definitions.name, schema, {one(item, "url"): item for item in definitions.parameters})
    table = Table(
        {
            "release": definitions.name.upper(),
            "version": VERSIONS[definitions.name],
            "types": sorted(schema.concrete),
            "not_domain_resources": sorted(type for type in schema.concrete if not schema.is_domain_resource(type)),
            "compartments": _compartments(definitions.compartments),
            "operations": [_operation(item, operations) for item in sorted(definitions.operations, key=lambda item: one(item, "id"))],
            "summaries": {"true": {}, "text": {}},
            "parameters": {},
        },
        structures(schema),
    )
    pairs = [(base, parameter) for parameter in definitions.parameters for base in many(parameter, "base")]
    for base, parameter in sorted(pairs, key=lambda pair: (pair[0], one(pair[1], "code"))):
        rows = table.content["parameters"].setdefault(base, {})
        if one(parameter, "code") in rows:
            raise SystemExit(f"{definitions.name}: {base} has two parameters {one(parameter, 'code')}")
        rows[one(parameter, "code")] = _row(compiler, parameter, base, table)
    _add_summaries(table.content, schema)
    return table


def affects_state(definitions: Definitions) -> dict[str, bool]:
    """Operation id -> whether it changes state, as far as ``definitions`` say."""
    said = {one(item, "id"): flag(item, "affectsState") for item in definitions.operations if many(item, "affectsState")}
    return {**AFFECTS_STATE, **said}


def _add_summaries(content: dict[str, Any], schema: Schema) -> None:
    """What stays under each ``_summary``, by type; types of which nothing does are left out."""
    rows = content["parameters"]
    for type in content["types"]:
        bases = ("Resource", "DomainResource", type) if schema.is_domain_resource(type) else ("Resource", type)
        staying = summary_members(schema, type, [row for base in bases for row in rows.get(base, {}).values()])
        for summary, members in staying.items():
            if members:
                content["summaries"][summary][type] = members


def _row(compiler: Compiler, parameter: Definition, base: str, table: Table) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": one(parameter, "type")}
    if many(parameter, "target"):
        targets = sorted(many(parameter, "target"))
        # R4 lists every type but Parameters, R5 every type; Parameters are never stored, so both say "any".
        row["targets"] = ["*"] if {*targets, "Parameters"} == set(table.content["types"]) else targets
    try:
        paths = compiler.paths(parameter, base)
        components = compiler.components(parameter, base, paths)
    except Unsupported as reason:
        table.reasons[base, one(parameter, "code")] = str(reason)
        return row
    row["paths"] = [str(path) for path in paths]
    if components:
        row["components"] = components
    return row


def _compartments(definitions: Iterable[Definition]) -> dict[str, dict[str, list[str]]]:
    return {
        one(item, "code"): {one(entry, "code"): many(entry, "param") for entry in many(item, "resource") if many(entry, "param")}
        for item in sorted(definitions, key=lambda item: one(item, "code"))
    }


def _operation(item: Definition, operations: Mapping[str, bool]) -> dict[str, Any]:
    affects = flag(item, "affectsState") if many(item, "affectsState") else operations[one(item, "id")]
    levels = [level for level in ("system", "type", "instance") if flag(item, level)]
    return {"code": one(item, "code"), "levels": levels, "resources": many(item, "resource"), "affects_state": affects}


def _split(expression: str) -> list[str]:
    """The parts between top-level ``|``: one branch that is more than paths leaves the other types' branches readable."""
    parts, depth, quoted = [""], 0, False
    for char in expression:
        quoted ^= char == "'"
        depth += 0 if quoted else (char == "(") - (char == ")")
        if char == "|" and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _names(branch: str, type: str) -> bool:
    """Whether ``branch`` starts at ``type``."""
    return branch.lstrip(" (").partition(".")[0].strip(" )") == type


def _unique(paths: Iterable[Path]) -> list[Path]:
    """Every path once; what one branch gives whole, another need not give restricted."""
    found = list(dict.fromkeys(paths))
    whole = {(path.steps, path.type) for path in found if not path.targets}
    return [path for path in found if not path.targets or (path.steps, path.type) not in whole]
