"""Environment variables over the file, and options over both: ``SMART_GATEWAY_UPSTREAM__URL`` is ``upstream.url``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from smart_gateway.settings.findings import Finding, KeyPath, Place, spell_key
from smart_gateway.settings.reading.document import read_value
from smart_gateway.settings.reading.tree import Entry, Node

PREFIX = "SMART_GATEWAY_"
RESERVED = frozenset({"SMART_GATEWAY_CONFIG"})  # names the file itself


@dataclass(frozen=True, slots=True)
class Override:
    """One key that is set from outside the file: ``parts`` are its levels, ``place`` names the variable or the option."""

    place: Place
    parts: tuple[str, ...]
    value: str


def variables(environment: Mapping[str, str], root: Node, given: Sequence[Override]) -> tuple[Override, ...]:
    """The variables that stand for keys, outer levels first. Those that a ``from_env`` names, in the file ``root``, another variable
    or the options ``given``, are secrets and no keys."""
    found = [
        Override(Place(f"${name}"), tuple(part.lower() for part in name.removeprefix(PREFIX).split("__")), value)
        for name, value in environment.items()
        if name.startswith(PREFIX) and name not in RESERVED
    ]
    written = [read_value(override.value, "").root for override in (*found, *given) if "from_env" in override.value]
    named = {f"${name}" for tree in (root, *written) if tree is not None for name in _secret_names(tree)}
    direct = {f"${override.value}" for override in found if override.parts[-1] == "from_env"}
    kept = (override for override in found if override.place.source not in named | direct)
    return tuple(sorted(kept, key=lambda override: (len(override.parts), override.place.source)))


def _secret_names(root: Node) -> Iterator[str]:
    return (node.content for path, node in root.walk() if path and path[-1] == "from_env" and isinstance(node.content, str))


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
    for part, following in pairwise(override.parts):
        below = _descend(node, part, following, override)
        if below is None:
            return (Finding(override.place, spell_key(override.parts), f"{spell_key(path) or 'the file'} has no level below it here"),)
        node, path = below, (*path, part)
    if not _assign(node, override.parts[-1], document.root, override):
        return (Finding(override.place, spell_key(override.parts), "there is no such item to set"),)
    return document.findings


def _descend(node: Node, part: str, following: str, override: Override) -> Node | None:
    """The level ``part`` below ``node``; when it is not there, a new one, a list where ``following`` is a number."""
    known = _spelling(node, part)
    below = node.child(int(part) if isinstance(node.content, list) and part.isdecimal() else known)
    if below is None and _assign(node, part, Node(override.place, [] if following.isdecimal() else {}), override):
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
