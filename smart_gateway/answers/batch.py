"""The Bundle that answers a batch: read entry by entry as it comes, built anew as it leaves. Spec: FHIR R4 http.html 3.1.0.11.4."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

import msgspec

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.issues import judged_outcome
from smart_gateway.answers.rewriting import public_location
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.members import members_of
from smart_gateway.fhir.references import Bases, is_id, parse_reference
from smart_gateway.fhir.strict_json import parse_json
from smart_gateway.fhir.versions import is_instant
from smart_gateway.request.model import FhirRequest

_REMARK = "The FHIR server made a remark on this entry; its words are withheld."
_STATUS = re.compile(r"([1-5]\d\d)(?: .*)?", re.DOTALL)
_READS = frozenset({Interaction.READ, Interaction.VREAD})
_WRITES = frozenset({Interaction.CREATE, Interaction.UPDATE, Interaction.PATCH, Interaction.DELETE})
_SETS = {
    **dict.fromkeys((Interaction.SEARCH_TYPE, Interaction.SEARCH_COMPARTMENT, Interaction.SEARCH_SYSTEM), ("searchset",)),
    **dict.fromkeys((Interaction.HISTORY_INSTANCE, Interaction.HISTORY_TYPE, Interaction.HISTORY_SYSTEM), ("history",)),
    Interaction.PAGE: ("searchset", "history"),
}
_SUCCESS = range(200, 300)


class _Response(msgspec.Struct, gc=False):
    status: str
    location: str | None = None
    etag: str | None = None
    last_modified: str | None = msgspec.field(default=None, name="lastModified")
    outcome: msgspec.Raw = msgspec.Raw(b"")


class _Entry(msgspec.Struct, gc=False):
    response: _Response
    resource: msgspec.Raw = msgspec.Raw(b"")


class _Bundle(msgspec.Struct, gc=False):
    resource_type: str = msgspec.field(name="resourceType")
    type: str
    entry: list[_Entry] = []


class _Meta(msgspec.Struct, gc=False):
    version: str | None = msgspec.field(default=None, name="versionId")
    updated: str | None = msgspec.field(default=None, name="lastUpdated")


class _Named(msgspec.Struct, gc=False):
    """What a resource says that it is."""

    resource_type: str | None = msgspec.field(default=None, name="resourceType")
    id: str | None = None
    type: Any = None
    meta: _Meta = msgspec.field(default_factory=_Meta)


_bundle = msgspec.json.Decoder(_Bundle)
_named = msgspec.json.Decoder(_Named)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class EntryAnswer:
    """One entry of the upstream's answer, nothing in it judged: ``headers`` as if it had been answered by itself; ``modified`` is an
    instant; ``outcome`` the upstream's own remark as raw JSON, empty without one."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    modified: str | None
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Leaving:
    """One entry as it leaves: ``answer`` was judged, ``found`` tells when it was changed and what the upstream remarked."""

    answer: Answer
    found: EntryAnswer | None = None
    is_head: bool = False


def read_answers(raw: bytes, asked: list[FhirRequest], *, transaction: bool, bases: Bases) -> list[EntryAnswer]:
    """The answers to ``asked``, in order.

    Raises UpstreamError where the Bundle is not the answer: another type or count, unreadable, or an entry that answers another question.
    """
    fault = UpstreamError("The FHIR server's answer does not answer the batch, entry by entry.")
    try:
        parse_json(raw)
        bundle = _bundle.decode(raw)
        kind = "transaction-response" if transaction else "batch-response"
        if bundle.resource_type != "Bundle" or bundle.type != kind:
            raise fault
        pairs = list(zip(asked, bundle.entry, strict=True))
        answers = [_entry(request, entry) for request, entry in pairs]
        fits = all(_answers(request, answer, bases) for request, answer in zip(asked, answers, strict=True))
    except (ValueError, OverflowError):
        raise fault from None
    if not fits:
        raise fault
    return answers


def batch_response(leaving: Iterable[Leaving], *, transaction: bool) -> bytes:
    """The answer to a batch."""
    kind = "transaction-response" if transaction else "batch-response"
    entries = [_leaving(entry) for entry in leaving]
    return _encode({"resourceType": "Bundle", "type": kind, **({"entry": entries} if entries else {})})


def _entry(request: FhirRequest, entry: _Entry) -> EntryAnswer:
    """Raises ValueError for an entry whose status cannot be read."""
    response = entry.response
    status = _STATUS.fullmatch(response.status)
    if status is None:
        raise ValueError("no status")
    body, outcome = bytes(entry.resource), bytes(response.outcome)
    body = b"" if body == b"null" else body
    # Servers leave these out for what was only read: the resource says them too.
    meta = _named.decode(body).meta if body and request.interaction in _READS else _Meta()
    version, modified = response.etag or meta.version, response.last_modified or meta.updated
    headers = {b"content-type": b"application/fhir+json"}
    if version is not None and version.isascii():
        headers[b"etag"] = (f'W/"{version}"' if is_id(version) else version).encode()
    if response.location is not None and response.location.isascii():
        headers[b"location"] = response.location.encode()
    moment = _moment(modified)
    if moment is not None:
        headers[b"last-modified"] = format_datetime(moment, usegmt=True).encode()
    return EntryAnswer(int(status[1]), headers, body, modified if b"last-modified" in headers else None, outcome)


def _moment(text: str | None) -> datetime | None:
    """The moment that an instant names; None for what names none, the thirtieth of February among them."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if is_instant(text) else None
    except (ValueError, OverflowError):
        return None


def _answers(request: FhirRequest, answer: EntryAnswer, bases: Bases) -> bool:
    """Whether an entry can be the answer to ``request``, by what it says that it is."""
    if answer.status not in _SUCCESS:
        return True
    if request.interaction in _WRITES:
        return _is_location_of(request, answer, bases)
    if not answer.body:
        return request.interaction not in _READS and request.interaction not in _SETS
    named = _named.decode(answer.body)
    if request.interaction in _READS:
        return (named.resource_type, named.id) == (request.type, request.id)
    wanted = _SETS.get(request.interaction)
    return wanted is None or (named.resource_type == "Bundle" and isinstance(named.type, str) and named.type in wanted)


def _is_location_of(request: FhirRequest, answer: EntryAnswer, bases: Bases) -> bool:
    """A write names what it wrote; where that cannot be read, it is left out."""
    given = answer.headers.get(b"location")
    location = public_location(given.decode(), bases) if given is not None else None
    named = parse_reference(location, bases) if location is not None else None
    return named is None or (named.type == request.type and request.id in (None, named.id))


def _leaving(entry: Leaving) -> dict[str, Any]:
    answer = entry.answer
    headers = dict(answer.headers)
    response: dict[str, Any] = {"status": _status(answer.status)}
    response |= {name: headers[name.encode()].decode() for name in ("location", "etag") if name.encode() in headers}
    if answer.status not in _SUCCESS:
        return {"response": response | ({"outcome": msgspec.Raw(answer.body)} if answer.body else {})}
    if entry.found is not None:
        response |= {"lastModified": entry.found.modified} if entry.found.modified is not None and b"last-modified" in headers else {}
        response |= _remark(entry.found.outcome)
    made: dict[str, Any] = {"response": response}
    return made if entry.is_head or not answer.body else {"resource": msgspec.Raw(answer.body), **made}


def _remark(outcome: bytes) -> dict[str, Any]:
    """The upstream's remark without its words."""
    try:
        judged = judged_outcome(members_of(outcome), _REMARK) if outcome else None
    except ValueError:
        judged = None
    return {"outcome": judged} if judged is not None else {}


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
