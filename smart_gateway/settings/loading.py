"""From files and environment to settings, or to everything that is wrong with them at once."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smart_gateway.errors import SettingsError
from smart_gateway.settings.findings import Finding, KeyPath, Place, Severity, has_errors
from smart_gateway.settings.model import Settings
from smart_gateway.settings.reading.configuration import Reading, locate, lookup, node_of
from smart_gateway.settings.reading.dividing import Division, divide
from smart_gateway.settings.reading.tree import Node
from smart_gateway.settings.sections.secret import Surroundings
from smart_gateway.settings.sections.tenants import check_apart

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Examination:
    """What reading a configuration gave: ``settings`` unless a finding is an error; ``files`` are all that were read. ``each`` is what it
    gave for each tenant."""

    settings: Settings | None
    findings: tuple[Finding, ...]
    files: tuple[Path, ...]
    root: Node | None = None
    each: tuple[Examination, ...] = ()

    def of(self, name: str | None) -> Examination:
        """That of one tenant, or this where there are none. Raises SettingsError with the findings, or for the wrong question."""
        if self.settings is None:
            raise SettingsError("The settings are refused.", self.findings)
        chosen = self.settings.of(name)
        return next((one for one in self.each if one.settings is chosen), self)

    def place(self, *path: str | int) -> Place:
        """Where a key is written, or the nearest level above it that is."""
        return locate(self.root, path)[0].place if self.root is not None else Place("")


def load_settings(source: str | Path | Mapping[str, Any], *, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of a YAML file, or of a mapping with the same keys; warnings go to the log.

    ``environment`` is the process's own unless given. Raises SettingsError with every finding.
    """
    examination = examine(source, os.environ if environment is None else environment)
    if examination.settings is None:
        raise _refusal(examination.findings)
    for finding in examination.findings:
        logger.warning("%s", finding)
    return examination.settings


def examine(
    source: str | Path | Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    given: Sequence[str] = (),
    proxying: bool = False,
    directory: Path | None = None,
) -> Examination:
    """Reads and judges a configuration. Never raises for what is in it.

    ``given`` are settings from the command line, such as ``upstream.url=http://...``; ``proxying``: the configuration is for a
    reverse proxy, not for middleware. ``directory`` is where the relative paths of a mapping start.
    """
    reading = Reading(environment)
    if isinstance(source, Mapping):
        directory = directory or Path()
        root: Node | None = node_of(source, Place("settings"))
    else:
        path = Path(source)
        directory = path.parent
        root = reading.file(path, Place(str(source)))
    settings: Settings | None = None
    each: tuple[Examination, ...] = ()
    if root is not None:
        reading.overlay(root, directory, given)
        reading.sweep_nulls(root)
        division = divide(root)
        if division is None:
            settings = reading.judge(root, Surroundings(directory, environment, root.places("policy")), proxying=proxying)
        else:
            settings, each = _judge_tenants(division, reading, Surroundings(directory, environment), proxying=proxying)
    findings = tuple(sorted(dict.fromkeys(reading.findings), key=lambda finding: finding.place.order))
    refused = has_errors(findings)
    return Examination(None if refused else settings, findings, tuple(dict.fromkeys(reading.files)), root, () if refused else each)


def _judge_tenants(
    division: Division, reading: Reading, around: Surroundings, *, proxying: bool
) -> tuple[Settings | None, tuple[Examination, ...]]:
    """Each tenant's settings as if they were alone; then what is said of the process."""
    reading.findings.extend(division.findings)
    judged: list[tuple[Node, Settings]] = []
    for part in division.parts:
        with reading.telling(part.tenant.name):
            reading.findings.extend(part.findings)
            surroundings = replace(around, places=part.root.places("policy"), tenant=part.tenant)
            settings = reading.judge(part.root, surroundings, proxying=proxying) if part.public else None
        if settings is not None:
            judged.append((part.root, settings))
    each = tuple(settings for _, settings in judged)
    for position, problem in check_apart(each):
        tenant = each[position].tenant
        assert tenant is not None
        with reading.telling(tenant.name):
            reading.report(judged[position][0], problem)
    process = reading.judge(division.process, replace(around, each=each), proxying=False)
    return process, tuple(Examination(settings, (), (), root) for root, settings in judged)


def glance(path: Path, environment: Mapping[str, str], given: Sequence[str], *keys: KeyPath) -> tuple[str | None, ...]:
    """Single texts of a file that may otherwise be refused: for looking at a gateway that runs by older settings."""
    reading = Reading(environment)
    root = reading.file(path, Place(str(path)))
    if root is None:
        return (None,) * len(keys)
    reading.overlay(root, path.parent, given)
    found = (lookup(root, key) for key in keys)
    return tuple(node.content if node is not None and isinstance(node.content, str) else None for node in found)


def _refusal(findings: tuple[Finding, ...]) -> SettingsError:
    """The error with every finding, also as notes, so that a traceback shows them."""
    error = SettingsError("The settings are refused.", findings)
    for finding in findings:
        if finding.severity is Severity.ERROR:
            error.add_note(str(finding))
    return error
