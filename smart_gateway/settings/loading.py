"""From files and environment to settings, or to everything that is wrong with them at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smart_gateway.errors import SettingsError
from smart_gateway.settings.checks import check
from smart_gateway.settings.complaints import complaints
from smart_gateway.settings.document import MAX_BYTES, Entry, Node, read_document
from smart_gateway.settings.environment import overlay, variables
from smart_gateway.settings.findings import Finding, KeyPath, Place, Severity, has_errors, spell_key
from smart_gateway.settings.model import Settings
from smart_gateway.settings.secret import Surroundings

logger = logging.getLogger(__name__)

_MAY_BE_NULL = {("policy", "limits", "requests_per_minute")}


@dataclass(frozen=True, slots=True)
class Examination:
    """What reading a configuration gave: ``settings`` unless a finding is an error; ``files`` are all that were read."""

    settings: Settings | None
    findings: tuple[Finding, ...]
    files: tuple[Path, ...]


def load_settings(source: str | Path | Mapping[str, Any], *, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of a YAML file, or of a mapping with the same keys; warnings go to the log.

    ``environment`` is the process's own unless given. Raises SettingsError with every finding.
    """
    examination = examine(source, os.environ if environment is None else environment)
    if examination.settings is None:
        errors = [finding for finding in examination.findings if finding.severity is Severity.ERROR]
        text = "\n".join(str(finding) for finding in errors)
        raise SettingsError(f"The settings are refused:\n{text}", examination.findings)
    for finding in examination.findings:
        logger.warning("%s", finding)
    return examination.settings


def examine(source: str | Path | Mapping[str, Any], environment: Mapping[str, str]) -> Examination:
    """Reads and judges a configuration. Never raises for what is in it."""
    reading = _Reading(environment)
    if isinstance(source, Mapping):
        directory = Path()
        root: Node | None = _node_of(source, Place("settings"))
    else:
        path = Path(source)
        directory = path.parent
        root = reading.file(path, Place(str(source)))
    if root is not None:
        reading.overlay(root, directory)
    settings = reading.judge(root, directory) if root is not None else None
    findings = tuple(dict.fromkeys(reading.findings))
    return Examination(None if has_errors(findings) else settings, findings, tuple(reading.files))


class _Reading:
    """One pass over a configuration, collecting findings."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.findings: list[Finding] = []
        self.files: list[Path] = []

    def file(self, path: Path, asked: Place) -> Node | None:
        """The tree of one file that must hold a mapping; ``asked`` is where the file is named."""
        self.files.append(path)
        try:
            with path.open("rb") as stream:
                data = stream.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a file name"
            self.findings.append(Finding(asked, "", f"the file {path} cannot be read: {reason}"))
            return None
        document = read_document(data, str(path))
        self.findings.extend(document.findings)
        if document.root is not None and isinstance(document.root.content, dict):
            return document.root
        if not document.findings:
            self.findings.append(Finding(Place(str(path), 1, 1), "", "the file must hold a mapping of keys"))
        return None

    def overlay(self, root: Node, directory: Path) -> None:
        """Variables over the file; the policy's file is read in before those that reach into it."""
        found = variables(self.environment, root)
        for variable in (v for v in found if v.parts == ("policy",)):
            self.findings.extend(overlay(root, variable))
        self._include_policy(root, directory)
        found = variables(self.environment, root)
        for variable in (v for v in found if v.parts != ("policy",)):
            self.findings.extend(overlay(root, variable))

    def _include_policy(self, root: Node, directory: Path) -> None:
        entry = root.content.get("policy") if isinstance(root.content, dict) else None
        if entry is None or not isinstance(entry.node.content, str):
            return
        node = self.file(directory / entry.node.content, entry.node.place)
        if node is None:
            entry.node = Node(entry.node.place, {})  # the finding is there; the rest is judged as well
        else:
            entry.node = node

    def judge(self, root: Node, directory: Path) -> Settings | None:
        """The model's findings, and when the model holds, those of the checks across keys."""
        self._sweep_nulls(root)
        surroundings = Surroundings(directory, self.environment)
        settings = self._validated(root, surroundings, retry=True)
        if settings is None:
            return None
        settings._surroundings = surroundings
        for problem in check(settings, surroundings):
            place = _place(root, problem.path)
            self.findings.append(Finding(place, spell_key(problem.path), problem.text, problem.nearest, problem.severity))
        self.files.extend(_files_named(root, directory))
        return settings

    def _validated(self, root: Node, surroundings: Surroundings, *, retry: bool) -> Settings | None:
        try:
            return Settings.model_validate(root.plain(), context=surroundings)
        except ValidationError as error:
            found = complaints(error, root)
        if retry and _respelled(root, [complaint.path for complaint in found if complaint.wants_text]):
            return self._validated(root, surroundings, retry=False)
        self.findings.extend(complaint.finding for complaint in found)
        return None

    def _sweep_nulls(self, root: Node) -> None:
        """A key without a value would read as absent, and absent can mean open: it is refused instead."""
        for path, node in list(root.walk()):
            if isinstance(node.content, dict):
                for key in [key for key, entry in node.content.items() if entry.node.content is None]:
                    if (*path, key) not in _MAY_BE_NULL:
                        self._empty((*path, key), node.content[key].node)
                    node.content.pop(key)
            elif isinstance(node.content, list):
                for index, item in enumerate(node.content):
                    if item.content is None:
                        self._empty((*path, index), item)
                node.content = [item for item in node.content if item.content is not None]

    def _empty(self, path: KeyPath, node: Node) -> None:
        self.findings.append(Finding(node.place, spell_key(path), "has no value: write {} or [] for an empty one, or leave the key out"))


def _respelled(root: Node, paths: list[KeyPath]) -> bool:
    """Gives variables that were read as numbers or booleans back as the texts that they are; whether there were any."""
    changed = False
    for path in paths:
        node = _lookup(root, path)
        if node is not None and node.place.source.startswith("$") and node.raw is not None and not isinstance(node.content, str):
            node.content = node.raw
            changed = True
    return changed


def _lookup(root: Node, path: KeyPath) -> Node | None:
    node: Node | None = root
    for part in path:
        node = node.child(part) if node is not None else None
    return node


def _place(root: Node, path: KeyPath) -> Place:
    """Where ``path`` is written, or the nearest level above it that is."""
    node, place = root, root.place
    for part in path:
        below = node.child(part)
        if below is None:
            return place
        node, place = below, below.place
    return place


def _files_named(root: Node, directory: Path) -> Iterator[Path]:
    """Files besides the YAML ones whose change is a change of the settings."""
    for path, node in root.walk():
        if path and path[-1] in {"from_file", "jwks_file"} and isinstance(node.content, str):
            yield directory / node.content


def _node_of(value: Any, place: Place) -> Node:
    """A tree of plain Python data, all of it at one place."""
    match value:
        case Mapping():
            return Node(place, {str(key): Entry(place, _node_of(item, place)) for key, item in value.items()})
        case list() | tuple():
            return Node(place, [_node_of(item, place) for item in value])
        case _:
            return Node(place, value)
