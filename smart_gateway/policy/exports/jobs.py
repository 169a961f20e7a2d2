"""Bulk Data exports as values: the job, its files, and the rules of the answers that are about them. Spec: semantics 8."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from smart_gateway.request.path import EXPORT_FILE, EXPORT_STATUS

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One export: ``path`` and ``query`` are where the upstream tells of it, relative to its base; ``types`` what it exports; ``level`` the
    type that the kick-off's path named (Patient, Group or None), ``group`` the id of the Group."""

    path: tuple[str, ...]
    query: Pairs
    types: frozenset[str]
    level: str | None
    group: str | None = None


class FileKind(StrEnum):
    """The lists of files in a manifest. Spec: Bulk Data Access IG 2.0, "Bulk Data Output Manifest"."""

    OUTPUT = "output"
    DELETED = "deleted"
    ERROR = "error"


# What the lines of a file are, where it is not of the job's types.
LINE_TYPES = {FileKind.DELETED: "Bundle", FileKind.ERROR: "OperationOutcome"}


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of a job: ``job`` with the file's own path and query; each of its lines is a resource of ``type``."""

    job: ExportJob
    kind: FileKind
    type: str


@dataclass(frozen=True, slots=True)
class StartExport:
    """The answer must be the 202 of a job; its status URL is sealed with ``types``, ``level`` and ``group``."""

    types: frozenset[str]
    level: str | None
    group: str | None = None


class ExportPlace(StrEnum):
    """The operations of ours that sealed URLs lead to: a job's status, and one of its files."""

    JOB = EXPORT_STATUS
    FILE = EXPORT_FILE


@dataclass(frozen=True, slots=True)
class OpenExport:
    """A sealed URL, whose token the shell opens; ``policy.exports.planning`` then plans what it names."""

    place: ExportPlace
    token: str


@dataclass(frozen=True, slots=True)
class CheckExportStatus:
    """The answer must be the progress of ``job``, or its manifest, from which files of other types are left out."""

    job: ExportJob


@dataclass(frozen=True, slots=True)
class CancelExport:
    """The answer must be a 202: the job is no more."""


@dataclass(frozen=True, slots=True)
class CheckExportFile:
    """The answer must be NDJSON and streams, each line judged to be what ``file`` is said to hold. ``opened`` are the types that resources
    inside of a resource may have; None: all."""

    file: ExportFile
    opened: frozenset[str] | None


ExportRule = StartExport | OpenExport | CheckExportStatus | CancelExport | CheckExportFile
