"""Environment variables over the file: ``SMART_GATEWAY_UPSTREAM__URL`` is ``upstream.url``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smart_gateway.settings.document import read_value
from smart_gateway.settings.findings import Finding, KeyPath, Place, spell_key
from smart_gateway.settings.tree import Entry, Node

PREFIX = "SMART_GATEWAY_"
RESERVED = frozenset({"SMART_GATEWAY_CONFIG"})  # names the file itself


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable that stands for a key: ``parts`` are the levels as the name has them, in lower case."""

    name: str
    parts: tuple[str, ...]
    value: str

    @property
    def place(self) -> Place:
        return Place(f"${self.name}")


def variables(environment: Mapping[str, str], root: Node) -> tuple[Variable, ...]:
    """The variables that stand for keys, outer levels first. Those that a ``from_env`` of the file names are secrets, not keys."""
    named = {node.content for path, node in root.walk() if path and path[-1] == "from_env"}
    found = [
        Variable(name, tuple(part.lower() for part in name.removeprefix(PREFIX).split("__")), value)
        for name, value in environment.items()
        if name.startswith(PREFIX) and name not in RESERVED and name not in named
    ]
    return tuple(sorted(found, key=lambda variable: (len(variable.parts), variable.name)))


def overlay(root: Node, variable: Variable) -> tuple[Finding, ...]:
    """Sets the key that ``variable`` stands for, in place; missing levels are made, items of lists go by their number."""
    document = read_value(variable.value, variable.place.source)
    if document.root is None:
        return document.findings or (Finding(variable.place, spell_key(variable.parts), "has no value"),)
    node, path = root, KeyPath()
    for part in variable.parts[:-1]:
        below = _descend(node, part, variable)
        if below is None:
            return (Finding(variable.place, spell_key(variable.parts), f"{spell_key(path) or 'the file'} has no level below it here"),)
        node, path = below, (*path, part)
    if not _assign(node, variable.parts[-1], document.root, variable):
        return (Finding(variable.place, spell_key(variable.parts), "there is no such item to set"),)
    return document.findings


def _descend(node: Node, part: str, variable: Variable) -> Node | None:
    """The level ``part`` below ``node``, made when it is not there."""
    known = _spelling(node, part)
    below = node.child(int(part) if isinstance(node.content, list) and part.isdecimal() else known)
    if below is None and _assign(node, part, Node(variable.place, {}), variable):
        below = node.child(int(part) if isinstance(node.content, list) else known)
    return below if below is not None and isinstance(below.content, (dict, list)) else None


def _assign(node: Node, part: str, value: Node, variable: Variable) -> bool:
    """Puts ``value`` under ``part``; for lists at an index that exists, or one past the last."""
    if isinstance(node.content, dict):
        node.content[_spelling(node, part)] = Entry(variable.place, value)
        return True
    if not isinstance(node.content, list) or not part.isdecimal() or len(part) > 4 or int(part) > len(node.content):
        return False
    node.content[int(part) : int(part) + 1] = [value]
    return True


def _spelling(node: Node, part: str) -> str:
    """The key as the file spells it (names of types and clients have capitals, names of variables have no case)."""
    keys = node.content if isinstance(node.content, dict) else ()
    same = [key for key in keys if key.lower() == part]
    return same[0] if len(same) == 1 else part
