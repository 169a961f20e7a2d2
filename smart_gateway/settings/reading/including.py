"""A policy in several files: a directory in place of one, and ``include`` in any of them; put together before anything is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from smart_gateway.settings.findings import Finding, Place, Severity
from smart_gateway.settings.reading.tree import Node

_SUFFIXES = frozenset({".yaml", ".yml"})
_PROSE = frozenset({".md", ".txt"})
_KEY = "include"

Read = Callable[[Path, Place], Node | None]
"""Reads one file that must hold a mapping, and says what is wrong with it; the place is where the file is named."""


class Including:
    """Puts one policy together. ``findings`` is what is wrong, ``looked`` every directory whose files were taken."""

    def __init__(self, directory: Path, read: Read) -> None:
        self._directory = directory
        self._read = read
        self._taken: set[Path] = set()
        self.findings: list[Finding] = []
        self.looked: list[Path] = []

    def policy(self, node: Node) -> Node:
        """The whole policy: of the file or directory that ``node`` names, or of the mapping that it is, with all that these include."""
        if isinstance(node.content, str):
            return self._of(node.content, node.place)
        if isinstance(node.content, dict):
            self._include(node)
        return node

    def _of(self, name: str, asked: Place) -> Node:
        """What the files of ``name`` hold together; of one that cannot be read nothing, so that the rest is judged as well."""
        whole: Node | None = None
        for path in self._paths(name, asked):
            found = self._file(path, asked)
            if found is None:
                continue
            self._include(found)
            if whole is None:
                whole = found
            else:
                self._merge(whole, found)
        return whole or Node(asked, {})

    def _file(self, path: Path, asked: Place) -> Node | None:
        try:
            same = path.resolve()
        except (OSError, RuntimeError, ValueError):  # links in a circle, a name that is none
            same = path
        if same in self._taken:
            self.findings.append(Finding(asked, "policy", f"the file {path} is part of the policy already"))
            return None
        self._taken.add(same)
        return self._read(path, asked)

    def _paths(self, name: str, asked: Place) -> Iterator[Path]:
        path = self._directory / name
        if not path.is_dir():
            yield path
            return
        self.looked.append(path)
        try:
            shown = sorted(child for child in path.iterdir() if not child.name.startswith("."))
        except OSError as error:
            self.findings.append(Finding(asked, "policy", f"the directory {path} cannot be read: {error.strerror}"))
            return
        found = [child for child in shown if child.suffix in _SUFFIXES]
        self._left_out((child for child in shown if child.suffix not in _SUFFIXES | _PROSE), asked)
        if not found:
            self.findings.append(Finding(asked, "policy", f"the directory {path} holds no file *.yaml"))
        yield from found

    def _left_out(self, paths: Iterator[Path], asked: Place) -> None:
        """A limit in a file that nobody reads limits nothing."""
        for path in paths:
            text = f"{path} is not read: of a directory the files *.yaml and *.yml are"
            self.findings.append(Finding(asked, "policy", text, severity=Severity.WARNING))

    def _include(self, policy: Node) -> None:
        """Puts what ``policy`` includes in the place of its key ``include``."""
        assert isinstance(policy.content, dict)
        entry = policy.content.pop(_KEY, None)
        if entry is None:
            return
        named = entry.node.content if isinstance(entry.node.content, list) else [entry.node]
        for item in named:
            if isinstance(item.content, str) and item.content:
                self._merge(policy, self._of(item.content, item.place))
            else:
                self.findings.append(Finding(item.place, f"policy.{_KEY}", "must be the path of a file or directory, or a list of these"))

    def _merge(self, policy: Node, other: Node) -> None:
        """Sections of both: those that list go on, those that name are united, and each name is said once."""
        assert isinstance(policy.content, dict)
        assert isinstance(other.content, dict)
        for name, entry in other.content.items():
            held = policy.content.get(name)
            if held is None:
                policy.content[name] = entry
            elif isinstance(held.node.content, list) and isinstance(entry.node.content, list):
                held.node.content += entry.node.content
            elif isinstance(held.node.content, dict) and isinstance(entry.node.content, dict):
                self._unite(name, held.node, entry.node)
            else:
                self._doubled(f"policy.{name}", entry.place, held.place)

    def _unite(self, section: str, held: Node, other: Node) -> None:
        assert isinstance(held.content, dict)
        assert isinstance(other.content, dict)
        for name, entry in other.content.items():
            if name in held.content:
                self._doubled(f"policy.{section}.{name}", entry.place, held.content[name].place)
            else:
                held.content[name] = entry

    def _doubled(self, key: str, place: Place, first: Place) -> None:
        self.findings.append(Finding(place, key, f"is said already ({first}); each counts once"))
