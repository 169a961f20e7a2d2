"""The URLs of exports: those of the upstream read, those of ours sealed for one client and subject, and opened again. Spec: semantics 8."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from smart_gateway.answers.sealing import NONCE_BYTES, Sealer
from smart_gateway.errors import PageExpired, PageRefused, RequestError
from smart_gateway.fhir.query import decode_query
from smart_gateway.fhir.references import Bases
from smart_gateway.policy.access import Access
from smart_gateway.policy.exports.jobs import ExportFile, ExportJob, ExportPlace, FileKind, Pairs
from smart_gateway.policy.exports.planning import TOKEN_PARAMETERS

LIFETIME = 24 * 3600.0  # seconds; a job outlives pages and tokens
_SEGMENT = re.compile(r"(?!\.{1,2}$)[$A-Za-z0-9_\-.~]{1,256}")
_MOST_SEGMENTS = 16
_MOST_PARAMETERS = 100
_ALL = ("*",)  # every type of the release

_T = TypeVar("_T")


class _Job(msgspec.Struct, array_like=True):
    path: tuple[str, ...]
    query: Pairs
    types: tuple[str, ...]
    level: str | None
    group: str | None = None


class _File(msgspec.Struct, array_like=True):
    job: _Job
    kind: FileKind
    type: str


_job = msgspec.json.Decoder(_Job)
_file = msgspec.json.Decoder(_File)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class JobSealer:
    """Makes the URLs of one answer. ``now`` is in seconds since the epoch, ``entropy(n)`` gives n random bytes."""

    access: Access
    sealer: Sealer
    now: float
    entropy: Callable[[int], bytes]

    def job_url(self, job: ExportJob) -> str:
        """The status URL of ``job``."""
        return self._url(ExportPlace.JOB, _encode(self._job(job)))

    def file_url(self, file: ExportFile) -> str:
        """Where ``file`` is had."""
        return self._url(ExportPlace.FILE, _encode(_File(self._job(file.job), file.kind, file.type)))

    def _job(self, job: ExportJob) -> _Job:
        types = _ALL if job.types == self.access.policy.vocabulary.types else tuple(sorted(job.types))
        return _Job(job.path, job.query, types, job.level, job.group)

    def _url(self, place: ExportPlace, payload: bytes) -> str:
        context = _context(place, self.access)
        token = self.sealer.seal(payload, context, self.now, self.entropy(NONCE_BYTES), lifetime=LIFETIME)
        return f"{self.access.policy.bases.public}/{place}?{TOKEN_PARAMETERS[place]}={token}"


def open_job(token: str, access: Access, sealer: Sealer, now: float) -> ExportJob:
    """The job that ``token`` names. Raises PageRefused for what was not sealed for this client and subject, PageExpired for what was."""
    return _opened(_unseal(ExportPlace.JOB, token, _job, access, sealer, now), access)


def open_file(token: str, access: Access, sealer: Sealer, now: float) -> ExportFile:
    """The file that ``token`` names. Raises PageRefused, PageExpired."""
    held = _unseal(ExportPlace.FILE, token, _file, access, sealer, now)
    return ExportFile(_opened(held.job, access), held.kind, held.type)


def locate_job(url: str, bases: Bases, types: frozenset[str]) -> tuple[tuple[str, ...], Pairs] | None:
    """Path and query of a status URL, absolute or from the root of the host, below the upstream's base (or ours); else None.

    One that is the address of a resource, of a type or of the base itself is none: to end a job is to DELETE there.
    """
    own_path = urlsplit(bases.upstream).path + "/"
    if url.startswith(own_path) and not url.startswith("//"):
        url = f"{bases.upstream}/{url[len(own_path) :]}"
    found = locate(url, bases)
    if found is None:
        return None
    named = found[0][0] if found[0] else None
    is_resource = named is None or (named in types and not any(segment.startswith("$") for segment in found[0]))
    return None if is_resource else found


def locate(url: str, bases: Bases) -> tuple[tuple[str, ...], Pairs] | None:
    """Path and query of ``url`` below the upstream's base (or ours); None for every other URL, and for one that two readers could read in
    two ways."""
    base = next(
        (base for base in (bases.upstream, bases.public) if url.startswith(base) and url[len(base) : len(base) + 1] in {"/", "?"}), ""
    )
    if not base:
        return None
    path, _, query = url[len(base) :].partition("?")
    segments = tuple(path.replace("%24", "$").split("/")[1:])
    if len(segments) > _MOST_SEGMENTS or any(_SEGMENT.fullmatch(segment) is None for segment in segments):
        return None
    try:
        return segments, tuple(decode_query(query.encode("ascii"), _MOST_PARAMETERS))
    except (UnicodeEncodeError, RequestError):
        return None


def _context(place: ExportPlace, access: Access) -> bytes:
    """Whom a URL is bound to, and at which base; not to the token's scopes, which are judged anew at each use: a job outlives its token."""
    who, bases = access.principal, access.policy.bases
    bound = (who.issuer, who.subject, who.client_id, who.tenant, bases.public, bases.upstream)
    return hashlib.sha256(b"export" + _encode((place, bound))).digest()


def _unseal(place: ExportPlace, token: str, decoder: msgspec.json.Decoder[_T], access: Access, sealer: Sealer, now: float) -> _T:
    named = f"http.{TOKEN_PARAMETERS[place]}"
    try:
        return decoder.decode(sealer.open(token, _context(place, access), now))
    except PageExpired:
        text = "This address of an export has expired: export again."
        raise PageExpired(text, reason="export-expired", expression=named) from None
    except (PageRefused, msgspec.DecodeError):
        text = "This address was not given to this client by this gateway: export again."
        raise PageRefused(text, reason="foreign-export", expression=named) from None


def _opened(held: _Job, access: Access) -> ExportJob:
    types = access.policy.vocabulary.types if held.types == _ALL else frozenset(held.types)
    return ExportJob(held.path, held.query, types, held.level, held.group)
