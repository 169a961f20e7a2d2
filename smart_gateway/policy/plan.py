"""The answer of ``authorize``: a plan to carry out, or a refusal. Values only; the shell carries them out.

A plan names the request to send, what must hold before it is sent and what must hold of the answer. Every kind of check the
gateway knows is a value of this module: ``gateway.enforcement`` matches on them and ends with ``assert_never``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from smart_gateway.boundary.model import Boundary, Filter
from smart_gateway.errors import RequestError
from smart_gateway.policy.causes import Denial, Missing
from smart_gateway.policy.exports.jobs import ExportRule
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.operations.checks import OperationCheck
from smart_gateway.policy.upstream import UpstreamRequest as UpstreamRequest  # noqa: PLC0414 - part of a plan, and had from here
from smart_gateway.request.model import BatchEntry


@dataclass(frozen=True, slots=True)
class StoredCheck:
    """The stored resource must lie in ``boundary`` before anything is written; absent or outside, the refusal is the same.

    ``must_own`` is true for writes: every Patient reference among its membership elements must be the caller's (semantics 6).
    ``if_match`` is the client's own If-Match to be compared with the stored version. ``create_allowed``: an absent resource
    may be created by this PUT (``If-None-Match: *`` is then sent), else it is a 404. ``for_write``: the rule for writes holds, and the
    request carries the version that was judged; else the resource must only be one that may be read (operations on an instance).
    ``only_new``: the client's own ``If-None-Match: *``, which a stored resource does not satisfy.
    """

    type: str
    id: str
    boundary: Boundary
    if_match: str | None = None
    create_allowed: bool = False
    for_write: bool = True
    only_new: bool = False


@dataclass(frozen=True, slots=True)
class Criteria:
    """A conditional write names its resource by a search: ``search`` finds it, narrowed exactly to what the token may search and judged by
    ``rule``. What it finds is then asked for by id, as an interaction of its own. Spec: semantics 6; FHIR R4 http.html 3.1.0.7.1."""

    search: UpstreamRequest
    rule: CheckSearchset


@dataclass(frozen=True, slots=True)
class BodyCheck:
    """The body must be a resource of ``type`` (with ``id``, when set) inside ``boundary`` by the rule for writes.

    ``judged``: it was judged with the request, as what is given to an operation is, and goes as it came.
    """

    type: str
    id: str | None
    boundary: Boundary
    judged: bool = False


@dataclass(frozen=True, slots=True)
class PatchCheck:
    """The body must be a JSON Patch (RFC 6902) of the stored resource, and what it makes of it must lie in ``boundary`` as a body must.

    ``readable``: its ``test`` operations need the stored resource in this boundary (permission ``r``). Spec: semantics 6.
    """

    type: str
    id: str
    boundary: Boundary
    readable: Boundary


@dataclass(frozen=True, slots=True)
class Stream:
    """Pass the answer on as it comes: nothing in it needs to be judged."""


@dataclass(frozen=True, slots=True)
class CheckResource:
    """The answer must be one resource of ``type`` with ``id`` (and ``version``) inside ``boundary``; else it looks absent.

    ``content``: what then leaves is not the resource, a Binary, but its content.
    """

    type: str
    id: str
    boundary: Boundary
    version: str | None = None
    content: bool = False


@dataclass(frozen=True, slots=True)
class CheckSearchset:
    """The answer must be a searchset of ``type``; every entry is judged by the boundary of its own type.

    Matches by ``boundary`` (permission ``s`` on ``type``), includes by the boundary of their own type for ``r`` or ``s``, as is
    everything where there is neither ``type`` nor ``boundary``: that is a record (``$everything``), for which nothing was searched.
    ``exact`` says whether the narrowed query can return nothing outside, so that ``total`` may stay. ``count_only``: ``_summary=count``.
    ``drop_elements``: elements that were added to ``_elements`` for the check and go on the way back. ``includes``: the ``_include``
    and ``_revinclude`` that were sent, as names and values: what came along must have come by them. ``extent``: where resources come in
    parts, what was seen to be enough of them (``policy.extents``): for another access it may not be.
    """

    type: str | None
    boundary: Boundary | None
    exact: bool
    count_only: bool = False
    drop_elements: tuple[str, ...] = ()
    includes: tuple[tuple[str, str], ...] = ()
    extent: str = ""

    @property
    def is_record(self) -> bool:
        return self.type is None


@dataclass(frozen=True, slots=True)
class CheckHistory:
    """The answer must be a history Bundle: of the instance ``type/id``, of ``type``, or of all types.

    Every version is judged by itself, by ``boundary`` (of an instance ``r``, of a type ``s``; None: over all types, by ``s`` on its own);
    deletions go, and a history without a version left is absent. Spec: semantics 5.
    """

    type: str | None
    id: str | None
    boundary: Boundary | None


@dataclass(frozen=True, slots=True)
class Branch:
    """One of the searches of a union, and the rule of its answer.

    ``unless``: a resource that one of these selects is left to the branch that asks by it. ``skip``: so many matches of the page that
    ``upstream`` asks for were given on an earlier page of the union.
    """

    upstream: UpstreamRequest
    rule: CheckSearchset
    unless: tuple[Filter, ...] = ()
    skip: int = 0


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of ``_sort``: a parameter of kind date, which every one of the searched types has."""

    code: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class CheckUnion:
    """One searchset of the answers to all ``branches``, without duplicates, merged by ``sort``. Spec: semantics 4.

    ``type`` is the one type searched, None for several; ``count`` is the client's ``_count``.
    """

    branches: tuple[Branch, ...]
    type: str | None = None
    count: int | None = None
    sort: tuple[SortKey, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenPage:
    """A sealed paging link: opened by the shell, which knows the keys and the clock; ``policy.paging`` then plans what it holds."""

    type: str | None


@dataclass(frozen=True, slots=True)
class EntryDecision:
    """One entry of a batch and what was decided of it."""

    entry: BatchEntry
    decision: Permit | Deny | RequestError


@dataclass(frozen=True, slots=True)
class CheckBatch:
    """The permitted entries go upstream as one Bundle; each answer is judged by the rule of its own entry. Spec: semantics 7."""

    entries: tuple[EntryDecision, ...]
    transaction: bool


@dataclass(frozen=True, slots=True)
class AnswerToWrite:
    """The answer to a write: status, Location and ETag; the body only where ``boundary`` (permission ``r``) admits it.

    ``found`` is set for a create with ``If-None-Exist``: what it found instead of creating (status 200) must lie in this boundary.
    """

    type: str
    boundary: Boundary
    id: str | None = None
    found: Boundary | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """The upstream's CapabilityStatement, with ``rest.security`` and its URLs set."""


@dataclass(frozen=True, slots=True)
class SmartConfiguration:
    """``.well-known/smart-configuration``: nothing is sent upstream."""


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """RFC 9728 metadata: nothing is sent upstream."""


@dataclass(frozen=True, slots=True)
class EmptySearchset:
    """An empty searchset, made here: nothing is sent upstream (policy ``foreign_patient_search: empty``)."""

    type: str | None


AnswerRule = (
    Stream
    | CheckResource
    | CheckSearchset
    | CheckUnion
    | CheckHistory
    | CheckBatch
    | OpenPage
    | AnswerToWrite
    | Capability
    | SmartConfiguration
    | ProtectedResource
    | EmptySearchset
    | ExportRule
    | OperationCheck
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a permitted interaction, in this order: ``criteria``, ``stored``, ``body``, ``upstream``, ``answer``.

    ``inside`` are stored resources that a request names and that must be inside, before all of these.
    ``checks`` say in words what is checked, for ``explain``. ``upstream`` is None where the answer is made here, or of several requests.
    """

    answer: AnswerRule
    upstream: UpstreamRequest | None = None
    stored: StoredCheck | None = None
    body: BodyCheck | PatchCheck | None = None
    criteria: Criteria | None = None
    inside: tuple[StoredCheck, ...] = ()
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Permit:
    """The interaction is permitted as ``plan`` says."""

    plan: Plan
    grounds: tuple[Ground, ...] = ()


@dataclass(frozen=True, slots=True)
class Deny:
    """The interaction is refused with ``status`` (403 or 404; broken requests raise RequestError instead, but for a transaction
    whose entries are broken: 400).

    ``missing`` is what would help, empty when nothing would (then no hint is given: ``hint`` is false). ``entries`` are those of a
    refused transaction.
    """

    status: int
    causes: tuple[Denial, ...]
    missing: tuple[Missing, ...] = ()
    grounds: tuple[Ground, ...] = field(default=())
    entries: tuple[EntryDecision, ...] = field(default=(), compare=False, repr=False)

    @property
    def hint(self) -> bool:
        return bool(self.missing)


Decision = Permit | Deny
