"""What is asked: one request as parsed. After this room nobody looks at a path string again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smart_gateway.errors import RequestError
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.references import Reference


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """One search or control parameter.

    ``name`` is the code (``subject``, ``_count``, ``_has``); ``modifier`` what follows its first colon (``Patient``,
    ``exact``; for ``_has`` the whole rest); ``chain`` what follows a dot (``("patient", "name")`` for ``encounter.patient.name``
    without its first link), each link with its own ``:Type`` kept in the text; ``value`` is decoded once, FHIR's own escapes
    stay. ``key`` is the decoded name as the client wrote it: what is sent upstream again.
    """

    key: str
    name: str
    value: str
    modifier: str | None = None
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preferences:
    """Headers that steer the answer, as parsed; anything else in them was refused or dropped.

    ``media`` is ``json``, ``xml``, ``turtle``, ``csv``, ``ndjson``, ``raw`` (Binary content), ``any``, or ``other`` for what no FHIR server
    gives.
    ``accept`` is the media type to ask the upstream for when nothing is checked. ``if_match`` and friends are the raw header
    values, already checked for syntax.
    ``prefer_return``: ``minimal``, ``representation``, ``OperationOutcome`` or None; ``prefer_handling``: ``strict``, ``lenient`` or None.
    """

    media: str = "json"
    accept: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_none_exist: str | None = None
    prefer_return: str | None = None
    prefer_handling: str | None = None
    respond_async: bool = False


@dataclass(frozen=True, slots=True)
class FhirRequest:
    """One interaction: the type, id, version, compartment or operation that its path names, its parameters and preferences.

    ``method`` is GET, HEAD, POST, PUT, PATCH or DELETE. ``compartment`` is set for compartment searches (``type`` is None for
    ``*``). ``operation`` includes the ``$``. ``page`` is the sealed token of a paging link. ``parameters`` hold query and form body
    together, in order; for a POST ``_search`` whose body was not read yet ``form_pending`` is true and only the query is there.
    ``content_type`` is the media type of the body in lower case, or None; of its parameters only a charset other than UTF-8 and a
    ``fhirVersion`` other than ours are kept, so that such a body equals no type that can be read.
    ``body_pending``: the body decides what is asked (a batch, an operation by POST) and was not read yet; ``request.completing`` reads
    it into ``entries`` or ``resource``.
    """

    interaction: Interaction
    method: str
    type: str | None = None
    id: str | None = None
    version: str | None = None
    compartment: Reference | None = None
    operation: str | None = None
    parameters: tuple[QueryParameter, ...] = ()
    preferences: Preferences = field(default_factory=Preferences)
    page: str | None = None
    content_type: str | None = None
    form_pending: bool = False
    body_pending: bool = False
    resource: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    batch: Batch | None = field(default=None, compare=False, repr=False)

    @property
    def is_head(self) -> bool:
        """HEAD is a GET without its body (semantics 5)."""
        return self.method == "HEAD"


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """One entry of a batch or transaction: an interaction of its own, or what is wrong with it.

    ``full_url`` is ``Bundle.entry.fullUrl`` as it came; ``resource`` its decoded resource, ``raw`` the same as the JSON that came;
    ``method`` and ``url`` are those of ``entry.request``, for words only. Spec: FHIR R4 http.html 3.1.0.11; semantics 7.
    """

    request: FhirRequest | RequestError
    method: str = ""
    url: str = ""
    full_url: str | None = None
    resource: Mapping[str, Any] | None = field(default=None, repr=False)
    raw: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """The entries of a Bundle posted to the base, in order; ``transaction``: all or none of them."""

    entries: tuple[BatchEntry, ...]
    transaction: bool
