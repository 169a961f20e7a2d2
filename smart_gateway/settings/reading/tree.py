"""A configuration as a tree whose every value knows where it was written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from smart_gateway.settings.findings import KeyPath, Place

Scalar = str | int | float | bool | None


@dataclass(slots=True)
class Node:
    """A value and its place.

    ``raw`` is a plain scalar's text as written, for variables whose type is not yet known. ``stand_in`` marks what was put in for a
    missing value, so that the rest can still be judged; ``path`` is where the value was before anything was taken away.
    """

    place: Place
    content: Scalar | list[Node] | dict[str, Entry]
    raw: str | None = None
    stand_in: bool = False
    path: KeyPath = ()

    def plain(self) -> Any:
        """The tree below as dicts, lists and scalars."""
        match self.content:
            case dict():
                return {key: entry.node.plain() for key, entry in self.content.items()}
            case list():
                return [node.plain() for node in self.content]
            case _:
                return self.content

    def walk(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
        """Every node with its key path, this one first."""
        yield path, self
        if isinstance(self.content, dict):
            for key, entry in self.content.items():
                yield from entry.node.walk((*path, key))
        elif isinstance(self.content, list):
            for index, node in enumerate(self.content):
                yield from node.walk((*path, index))

    def places(self, section: str) -> dict[KeyPath, str]:
        """Where each key and item below ``section`` is written, by its path below it: of keys the key's own place."""
        top = self.child(section)
        found: dict[KeyPath, str] = {}
        for path, node in top.walk() if top is not None else ():
            if isinstance(node.content, dict):
                found.update({(*path, key): str(entry.place) for key, entry in node.content.items() if entry.place.line is not None})
            elif isinstance(node.content, list):
                found.update({(*path, index): str(item.place) for index, item in enumerate(node.content) if item.place.line is not None})
        return found

    def copy(self) -> Node:
        """The same tree in nodes of its own, at the same places."""
        match self.content:
            case dict():
                content: Scalar | list[Node] | dict[str, Entry] = {
                    key: Entry(entry.place, entry.node.copy()) for key, entry in self.content.items()
                }
            case list():
                content = [node.copy() for node in self.content]
            case _:
                content = self.content
        return Node(self.place, content, self.raw, self.stand_in, self.path)

    def number(self) -> None:
        """Notes in every node below the key path where it is now."""
        for path, node in self.walk():
            node.path = path

    def remove(self, part: str | int) -> None:
        """Takes one key or item away."""
        if isinstance(self.content, dict):
            self.content.pop(str(part), None)
        elif isinstance(self.content, list) and isinstance(part, int) and part < len(self.content):
            self.content.pop(part)

    def child(self, part: str | int) -> Node | None:
        """The value under one key or index."""
        if isinstance(self.content, dict):
            entry = self.content.get(str(part))
            return entry.node if entry else None
        if isinstance(self.content, list) and isinstance(part, int) and 0 <= part < len(self.content):
            return self.content[part]
        return None


@dataclass(slots=True)
class Entry:
    """A key's place and its value."""

    place: Place
    node: Node
