"""What a boundary says of a resource."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.fhir.references import Reference


@dataclass(frozen=True, slots=True)
class Inside:
    """The boundary admits the resource."""


@dataclass(frozen=True, slots=True)
class Outside:
    """It does not, or that cannot be told."""


@dataclass(frozen=True, slots=True)
class Depends:
    """Inside if and only if every one of ``references`` (1 to 50, without versions) may be read or searched by this token.

    A referenced resource that is itself only ``Depends`` counts as not readable: one hop, never a chain.
    """

    references: tuple[Reference, ...]


Verdict = Inside | Outside | Depends
INSIDE = Inside()
OUTSIDE = Outside()
