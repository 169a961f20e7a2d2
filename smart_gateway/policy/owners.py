"""Whose records a boundary is about: the compartment owners that every region of it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from smart_gateway.boundary.model import Boundary
from smart_gateway.fhir.references import Reference


@dataclass(frozen=True, slots=True)
class Owners:
    """Owner ids by compartment type, for those types that bound *every* region; others are not bounded by an owner."""

    ids: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, boundary: Boundary) -> Owners:
        """The owners of ``boundary``; none for EVERYTHING and for filters alone."""
        if boundary.is_everything:
            return cls({})
        types = {c.type for region in boundary.regions for c in region.compartments}
        shared = [type for type in types if all(any(c.type == type for c in r.compartments) for r in boundary.regions)]
        return cls({t: frozenset(i for r in boundary.regions for c in r.compartments if c.type == t for i in c.ids) for t in shared})

    def excludes(self, type: str, id: str) -> bool:
        """Whether the boundary is about owners of ``type`` and ``id`` is none of them."""
        return type in self.ids and id not in self.ids[type]

    def only(self, searched: str) -> Reference | None:
        """The single owner, where there is just one and it is not of the searched type itself."""
        owners = [Reference(type, id) for type, ids in self.ids.items() for id in ids if type != searched]
        return owners[0] if len(owners) == 1 else None
