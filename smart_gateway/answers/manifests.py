"""The manifest of an export, built anew: files of the job's types alone, their URLs sealed.

Spec: Bulk Data Access IG 2.0, "Bulk Data Output Manifest"; semantics 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from smart_gateway.answers.confine import Confined
from smart_gateway.answers.jobs import JobSealer, locate
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.query import encode_query
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.fhir.versions import is_instant
from smart_gateway.policy.exports.jobs import LINE_TYPES, ExportFile, ExportJob, FileKind

_MOST_BYTES = 8 * 1024 * 1024
_MOST_FILES = 10_000
_MOST_COUNT = 10**15

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class _Listed:
    """One file as the manifest has it."""

    kind: FileKind
    type: str
    url: str
    count: int | None


def confine_manifest(raw: bytes, job: ExportJob, links: JobSealer) -> Confined:
    """The manifest of ``job`` as it may leave; files of other types are left out and counted.

    Raises UpstreamError for what is no manifest, and where a file of the job lies elsewhere than below the upstream's base: its URL would
    be no use to the client, and none of ours could lead there.
    """
    try:
        found = _manifest(raw)
        listed = _listed(found)
        kept = [(file, _sealed(file, job, links)) for file in listed if _is_of(file, job)]
        made = {"transactionTime": found["transactionTime"], "request": _request(found, job, links), "requiresAccessToken": True}
        return Confined(_encode(made | _lists(kept)), len(listed) - len(kept))
    except (JsonError, ValueError):
        raise UpstreamError("The FHIR server's answer is no manifest of an export whose files can be given out here.") from None


def _manifest(raw: bytes) -> Mapping[str, Any]:
    found = parse_json(raw) if len(raw) <= _MOST_BYTES else None
    time = found.get("transactionTime") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not is_instant(time) or found.get("link"):
        raise ValueError("no manifest, or one that goes on elsewhere")
    return found


def _listed(found: Mapping[str, Any]) -> list[_Listed]:
    lists = [(kind, found.get(kind, [])) for kind in FileKind]
    if not all(isinstance(files, list) for _, files in lists) or sum(len(files) for _, files in lists) > _MOST_FILES:
        raise ValueError("no lists of files, or too long ones")
    return [_read(kind, file) for kind, files in lists for file in files]


def _read(kind: FileKind, file: Any) -> _Listed:
    match file:
        case {"type": str(type), "url": str(url)}:
            count = file.get("count")
            known = isinstance(count, int) and not isinstance(count, bool) and 0 <= count < _MOST_COUNT
            return _Listed(kind, type, url, count if known else None)
        case _:
            raise ValueError("a file without type or URL")


def _is_of(file: _Listed, job: ExportJob) -> bool:
    return file.type in job.types if file.kind is FileKind.OUTPUT else file.type == LINE_TYPES[file.kind]


def _sealed(file: _Listed, job: ExportJob, links: JobSealer) -> str:
    place = locate(file.url, links.access.policy.bases)
    if place is None or not place[0]:
        raise ValueError("a file elsewhere")
    return links.file_url(ExportFile(replace(job, path=place[0], query=place[1]), file.kind, file.type))


def _lists(kept: list[tuple[_Listed, str]]) -> dict[str, Any]:
    """``output`` and ``error`` are always there, ``deleted`` where there is any."""
    lists: dict[str, list[dict[str, Any]]] = {"output": [], "error": []}
    for file, url in kept:
        counted = {} if file.count is None else {"count": file.count}
        lists.setdefault(file.kind, []).append({"type": file.type, "url": url, **counted})
    return lists


def _request(found: Mapping[str, Any], job: ExportJob, links: JobSealer) -> str:
    """The kick-off's URL as the upstream has it, in the public base; where it has none that is below the base, its path."""
    bases, url = links.access.policy.bases, found.get("request")
    place = locate(_escaped(url), bases) if isinstance(url, str) else None
    if place is None:
        return "/".join([bases.public, *((job.level,) if job.level == "Patient" else ()), "$export"])
    path = "/".join([bases.public, *place[0]])
    return f"{path}?{encode_query(place[1])}" if place[1] else path


def _escaped(url: str) -> str:
    """Servers write the request with what it was decoded to: a further question mark is part of a value."""
    path, mark, query = url.partition("?")
    return path + mark + query.replace("?", "%3F")
