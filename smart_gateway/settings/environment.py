"""Environment variables over the file, and options over both: ``SMART_GATEWAY_UPSTREAM__URL`` is ``upstream.url``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smart_gateway.settings.document import read_value
from smart_gateway.settings.findings import Finding, KeyPath, Place, spell_key
from smart_gateway.settings.tree import Entry, Node

PREFIX = "SMART_GATEWAY_"
RESERVED = frozenset({"SMART_GATEWAY_CONFIG"})  # names the file itself


@dataclass(frozen=True, slots=True)
class Override:
    """One key that is set from outside the file: ``parts`` are its levels, ``place`` names the variable or the option."""

    place: Place
    parts: tuple[str, ...]
    value: str


def variables(environment: Mapping[str, str], root: Node) -> tuple[Override, ...]:
    """The variables that stand for keys, outer levels first. Those that a ``from_env`` of the file names are secrets, not keys."""
    named = {node.content for path, node in root.walk() if path and path[-1] == "from_env"}
    found = [
        Override(Place(f"${name}"), tuple(part.lower() for part in name.removeprefix(PREFIX).split("__")), value)
        for name, value in environment.items()
        if name.startswith(PREFIX) and name not in RESERVED and name not in named
    ]
    return tuple(sorted(found, key=lambda override: (len(override.parts), override.place.source)))


def options(given: Sequence[str]) -> tuple[Override, ...]:
    """The options ``--set upstream.url=http://...``, in order. One without ``=`` has no value, and is refused for it."""
    pairs = (text.partition("=") for text in given)
    return tuple(Override(Place(f"--set {key}"), tuple(key.split(".")), value) for key, _, value in pairs)


def overlay(root: Node, override: Override) -> tuple[Finding, ...]:
    """Sets the key that ``override`` stands for, in place; missing levels are made, items of lists go by their number."""
    document = read_value(override.value, override.place.source)
    if document.root is None:
        return document.findings or (Finding(override.place, spell_key(override.parts), "has no value"),)
    node, path = root, KeyPath()
    for part in override.parts[:-1]:
        below = _descend(node, part, override)
        if below is None:
            return (Finding(override.place, spell_key(override.parts), f"{spell_key(path) or 'the file'} has no level below it here"),)
        node, path = below, (*path, part)
    if not _assign(node, override.parts[-1], document.root, override):
        return (Finding(override.place, spell_key(override.parts), "there is no such item to set"),)
    return document.findings


def _descend(node: Node, part: str, override: Override) -> Node | None:
    """The level ``part`` below ``node``, made when it is not there."""
    known = _spelling(node, part)
    below = node.child(int(part) if isinstance(node.content, list) and part.isdecimal() else known)
    if below is None and _assign(node, part, Node(override.place, {}), override):
        below = node.child(int(part) if isinstance(node.content, list) else known)
    return below if below is not None and isinstance(below.content, (dict, list)) else None


def _assign(node: Node, part: str, value: Node, override: Override) -> bool:
    """Puts ``value`` under ``part``; for lists at an index that exists, or one past the last."""
    if isinstance(node.content, dict):
        node.content[_spelling(node, part)] = Entry(override.place, value)
        return True
    if not isinstance(node.content, list) or not part.isdecimal() or len(part) > 4 or int(part) > len(node.content):
        return False
    node.content[int(part) : int(part) + 1] = [value]
    return True


def _spelling(node: Node, part: str) -> str:
    """The key as the file spells it (names of types and clients have capitals, names of variables have no case)."""
    keys = node.content if isinstance(node.content, dict) else ()
    same = [key for key in keys if key.lower() == part.lower()]
    return same[0] if len(same) == 1 else part
