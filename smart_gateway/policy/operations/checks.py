"""How the answers to operations are checked, where they are no searchsets (semantics 8)."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.boundary.model import Boundary


@dataclass(frozen=True, slots=True)
class CheckMeta:
    """The answer must be the resource ``type/id`` inside ``boundary``; of it only ``meta`` leaves, as ``$meta`` answers it."""

    type: str
    id: str
    boundary: Boundary


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """The answer must be an OperationOutcome; of its issues severity, code and expression leave, with our own text (semantics 7)."""


@dataclass(frozen=True, slots=True)
class CheckTerms:
    """The answer must be Parameters or one of ``types``; every resource in it is one that the token may read, outcomes are made anew.

    One of ``types`` without an id was worked out for this answer, and stands for nothing stored.
    """

    types: frozenset[str]


@dataclass(frozen=True, slots=True)
class CheckOpened:
    """The answer to an operation of the policy: every resource in it must be one that the token may read. Entries of a Bundle that are
    not go, unless ``refuse``; any other answer that holds such is refused."""

    refuse: bool


OperationCheck = CheckMeta | CheckOutcome | CheckTerms | CheckOpened
