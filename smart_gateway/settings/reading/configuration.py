"""One pass over a configuration: files and environment into a tree, and the tree into settings or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smart_gateway.errors import SettingsError
from smart_gateway.settings.checks.contradictions import check
from smart_gateway.settings.files import read_named
from smart_gateway.settings.findings import Finding, KeyPath, Place, spell_key
from smart_gateway.settings.model import Settings
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.reading.complaints import Complaint, complaints
from smart_gateway.settings.reading.dividing import TENANTS, named
from smart_gateway.settings.reading.document import MAX_BYTES, read_document
from smart_gateway.settings.reading.environment import Override, options, overlay, variables
from smart_gateway.settings.reading.including import Including
from smart_gateway.settings.reading.tree import Entry, Node
from smart_gateway.settings.sections.secret import Surroundings

_MAY_BE_NULL = ("policy", "limits", "requests_per_minute")
_NAMES_OF_FILES = frozenset({"from_file", "jwks_file", "key_file", "certificate", "key", "client_ca"})
_ROUNDS = 12  # each puts aside what the model refused; a value can be refused once at every level
_STAND_INS: dict[str, Any] = {
    "public_url": "https://stand-in.invalid/fhir",
    "fhir_version": "R4",
    "issuer": "https://stand-in.invalid",
}
_STAND_INS |= {
    "server": {"public_url": _STAND_INS["public_url"]},
    "upstream": {"fhir_version": "R4"},
    "issuers": [{"issuer": _STAND_INS["issuer"]}],
}


class Reading:
    """One pass over a configuration, collecting findings."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.findings: list[Finding] = []
        self.nulls: list[KeyPath] = []
        self.files: list[Path] = []

    def file(self, path: Path, asked: Place) -> Node | None:
        """The tree of one file that must hold a mapping; ``asked`` is where the file is named."""
        self.files.append(path)
        try:
            data = read_named(path, str(path), MAX_BYTES)
        except SettingsError as error:
            self.findings.append(Finding(asked, "", error.text))
            return None
        document = read_document(data, str(path))
        self.findings.extend(document.findings)
        if document.root is not None and isinstance(document.root.content, dict):
            return document.root
        if not document.findings:
            self.findings.append(Finding(Place(str(path), 1, 1), "", "the file must hold a mapping of keys"))
        return None

    def overlay(self, root: Node, directory: Path, given: Sequence[str]) -> None:
        """Variables over the file, options over both; files that are named in it are read in before those that reach into them."""
        chosen = options(given)
        overrides = (*variables(self.environment, root, chosen), *chosen)
        self._apply(root, [override for override in overrides if _names_files(override)])
        self._include_policy(root, directory)
        for node in _items(root.child(TENANTS)):
            self._include_tenant(node, directory)
        self._apply(root, [override for override in overrides if not _names_files(override)])
        root.number()

    def _apply(self, root: Node, overrides: Sequence[Override]) -> None:
        for override in overrides:
            self.findings.extend(overlay(root, override))

    def _include_policy(self, root: Node, directory: Path) -> None:
        entry = root.content.get("policy") if isinstance(root.content, dict) else None
        if entry is None:
            return
        including = Including(directory, self.file)
        entry.node = including.policy(entry.node)
        self.findings.extend(including.findings)
        self.files.extend(including.looked)

    def _include_tenant(self, node: Node, directory: Path) -> None:
        """Puts the file of a tenant in its place, and that of its policy."""
        if isinstance(node.content, str):
            with self.telling(Path(node.content).stem):
                found = self.file(directory / node.content, node.place)
            if found is None:
                node.content, node.stand_in = {}, True
                return
            node.place, node.content, node.raw = found.place, found.content, None
        with self.telling(named(node)):
            self._include_policy(node, directory)

    @contextmanager
    def telling(self, tenant: str) -> Iterator[None]:
        """What is found meanwhile is the tenant's, but for what is said of the process."""
        before = len(self.findings)
        yield
        self.findings[before:] = [
            finding if finding.key.startswith("server") else replace(finding, tenant=tenant) for finding in self.findings[before:]
        ]

    def judge(self, root: Node, surroundings: Surroundings, *, proxying: bool) -> Settings | None:
        """The findings of the model and of the checks across keys; what the model refuses is put aside, so that the rest is checked too."""
        self._complain(root, surroundings)
        settings = _remaining(root, surroundings)
        if settings is None:
            return None
        known = not _stands_in(root, ("upstream", "fhir_version"))
        for problem in check(settings, vocabulary_known=known, proxying=proxying):
            self.report(root, problem)
        self.files.extend(_files_named(root, surroundings.directory))
        return settings

    def _complain(self, root: Node, surroundings: Surroundings) -> None:
        found = _complaints(root, surroundings)
        if _respelled(root, [complaint.path for complaint in found if complaint.wants_text]):
            found = _complaints(root, surroundings)
        for complaint in found:
            if not any(path[: len(complaint.written)] == complaint.written for path in self.nulls):
                self.findings.append(complaint.finding)

    def report(self, root: Node, problem: Problem) -> None:
        node, path = locate(root, problem.path)
        if not node.stand_in:
            self.findings.append(Finding(node.place, spell_key(path), problem.text, problem.nearest, problem.severity))

    def sweep_nulls(self, root: Node) -> None:
        """A key without a value would read as absent, and absent can mean open: it is refused instead."""
        for path, node in reversed(list(root.walk())):
            if node.content is None and path:
                above = lookup(root, path[:-1])
                assert above is not None
                above.remove(path[-1])
                if path[-len(_MAY_BE_NULL) :] != _MAY_BE_NULL:
                    self.nulls.append(path)
                    text = "has no value: write {} or [] for an empty one, or leave the key out"
                    tenant = lookup(root, path[:2]) if path[:1] == (TENANTS,) and len(path) > 2 else None  # below an item
                    whose = named(tenant) if tenant is not None else None
                    self.findings.append(Finding(node.place, spell_key(path), text, tenant=whose))


def locate(root: Node, path: KeyPath) -> tuple[Node, KeyPath]:
    """The value at ``path``, or the nearest level above it that is written; and the path as the file has it."""
    node = root
    for index, part in enumerate(path):
        below = node.child(part)
        if below is None:
            return node, (*node.path, *path[index:])
        node = below
    return node, node.path


def _complaints(root: Node, surroundings: Surroundings) -> list[Complaint]:
    try:
        Settings.model_validate(root.plain(), context=surroundings)
    except ValidationError as error:
        return complaints(error, root)
    return []


def _remaining(root: Node, surroundings: Surroundings) -> Settings | None:
    """The settings without what the model refuses, with stand-ins for what must be there."""
    for _ in range(_ROUNDS):
        try:
            return Settings.model_validate(root.plain(), context=surroundings)
        except ValidationError as error:
            found = complaints(error, root)
        for path in sorted({complaint.path for complaint in found if complaint.missing not in _STAND_INS}, reverse=True):
            above = lookup(root, path[:-1])
            if above is not None and path:
                above.remove(path[-1])
        for complaint in found:
            if complaint.missing is not None and complaint.missing in _STAND_INS:
                _put_stand_in(root, complaint.path, complaint.missing)
    return None


def _put_stand_in(root: Node, path: KeyPath, key: str) -> None:
    node = lookup(root, path)
    if node is not None and isinstance(node.content, dict):
        stand_in = node_of(_STAND_INS[key], node.place)
        for _, below in stand_in.walk():
            below.stand_in = True
        node.content[key] = Entry(node.place, stand_in)


def _stands_in(root: Node, path: KeyPath) -> bool:
    node = lookup(root, path)
    return node is not None and node.stand_in


def _respelled(root: Node, paths: list[KeyPath]) -> bool:
    """Gives variables that were read as numbers or booleans back as the texts that they are; whether there were any."""
    changed = False
    for path in paths:
        node = lookup(root, path)
        if node is not None and node.place.line is None and node.raw is not None and not isinstance(node.content, str):
            node.content = node.raw
            changed = True
    return changed


def lookup(root: Node, path: KeyPath) -> Node | None:
    node: Node | None = root
    for part in path:
        node = node.child(part) if node is not None else None
    return node


def _files_named(root: Node, directory: Path) -> Iterator[Path]:
    """Files besides the YAML ones whose change is a change of the settings."""
    for path, node in root.walk():
        named = path[-1:] and (
            path[-1] in _NAMES_OF_FILES
            or path[-3:-1] == ("value_sets", "files")
            or path[-3:-1] in {("udap", "anchors"), ("udap", "statements")}
            or path == ("revocation", "file")
        )
        if named and isinstance(node.content, str):
            yield directory / node.content


def node_of(value: Any, place: Place) -> Node:
    """A tree of plain Python data, all of it at one place."""
    match value:
        case Mapping():
            return Node(place, {str(key): Entry(place, node_of(item, place)) for key, item in value.items()})
        case list() | tuple():
            return Node(place, [node_of(item, place) for item in value])
        case _:
            return Node(place, value)


def _items(node: Node | None) -> list[Node]:
    return node.content if node is not None and isinstance(node.content, list) else []


def _names_files(override: Override) -> bool:
    """Whether a key is set that may name a file to read in, or is above one."""
    match override.parts:
        case ("policy",) | ("tenants",) | ("tenants", _) | ("tenants", _, "policy"):
            return True
        case _:
            return False
