"""The boundary: what a token may touch for one (type, permission). The one value behind narrowing, admission, policy and hints.

A boundary is a union of regions; a region is an intersection of compartments and filters. NOTHING has no region. EVERYTHING is a
value of its own that only ``everything()`` makes: no computation on regions ends there (semantics 0.7).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import combinations

from smart_gateway.boundary.labels import LabelLimit


@dataclass(frozen=True, slots=True, order=True)
class Compartment:
    """Membership in the compartment of any of ``ids`` (not empty) of type ``type`` (Patient, Encounter, ...)."""

    type: str
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        # INVARIANT: a compartment names somebody; an empty list would read as "all" somewhere downstream.
        if not self.ids:
            raise ValueError("a compartment without ids")


@dataclass(frozen=True, slots=True, order=True)
class Filter:
    """One search-parameter constraint: any of ``values`` (FHIR-escaped, already split at unescaped commas)."""

    parameter: str
    modifier: str | None
    values: tuple[str, ...]

    @property
    def key(self) -> str:
        """The name as a query has it, such as ``code:not``."""
        return self.parameter if self.modifier is None else f"{self.parameter}:{self.modifier}"

    @property
    def text(self) -> str:
        """``category=a,b``."""
        return f"{self.key}={','.join(self.values)}"


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """All of ``compartments``, all of ``filters`` and all of ``labels`` at once. Without any it is the whole type, inside a bounded
    boundary.

    ``sources`` are the rules (scope strings, policy rules) that made it: for explanations only, no part of equality.
    """

    compartments: tuple[Compartment, ...] = ()
    filters: tuple[Filter, ...] = ()
    sources: tuple[str, ...] = field(default=(), compare=False)
    labels: tuple[LabelLimit, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole type."""
        return not (self.compartments or self.filters or self.labels)


@dataclass(frozen=True, slots=True)
class Boundary:
    """A union of regions, or EVERYTHING. Use ``Boundary.of``, ``NOTHING`` and ``everything()``; never the constructor."""

    regions: tuple[Region, ...] = ()
    unlimited: bool = False

    @classmethod
    def of(cls, regions: Iterable[Region]) -> Boundary:
        """The union of ``regions``; without any, NOTHING. Regions held whole by another one are dropped."""
        unique = tuple(dict.fromkeys(regions))
        if len(unique) == 1:
            return cls(unique)
        by_conditions: dict[frozenset[Condition], Region] = {}
        for region in unique:
            by_conditions.setdefault(_conditions(region), region)
        return cls(tuple(region for wanted, region in by_conditions.items() if not _is_held(wanted, by_conditions)))

    @classmethod
    def union_of(cls, boundaries: Iterable[Boundary]) -> Boundary:
        """The union of any number of boundaries."""
        boundaries = tuple(boundaries)
        if any(boundary.unlimited for boundary in boundaries):
            return everything()
        return cls.of(region for boundary in boundaries for region in boundary.regions)

    @property
    def is_nothing(self) -> bool:
        return not self.unlimited and not self.regions

    @property
    def is_everything(self) -> bool:
        return self.unlimited

    def union(self, other: Boundary) -> Boundary:
        return Boundary.union_of((self, other))

    def intersect(self, other: Boundary) -> Boundary:
        if self.unlimited:
            return other
        if other.unlimited:
            return self
        pairs = (_meet(a, b) for a in self.regions for b in other.regions)
        return Boundary.of(region for region in pairs if region is not None)


NOTHING = Boundary()
Condition = Compartment | Filter | LabelLimit
_FEW = 6  # conditions; a region of more of them has too many subsets to look up


def everything() -> Boundary:
    """The explicit absence of a bound: the only way to make one."""
    return Boundary(unlimited=True)


def _conditions(region: Region) -> frozenset[Condition]:
    return frozenset((*region.compartments, *region.filters, *region.labels))


def _is_held(wanted: frozenset[Condition], others: Collection[frozenset[Condition]]) -> bool:
    """Whether one of ``others`` asks for less than ``wanted``, and for nothing else, so that it holds all of it."""
    if len(wanted) > _FEW:
        return any(other < wanted for other in others)
    # A token may bring hundreds of regions of a condition or two: looking up what would hold one compares it with few, not with all.
    return any(frozenset(less) in others for size in range(len(wanted)) for less in combinations(wanted, size))


def _meet(a: Region, b: Region) -> Region | None:
    """Both at once; None where two compartments of one type have no id in common.

    A resource may lie in two patients' compartments; that does not put it into the intersection of two tokens' bounds: the
    safer reading keeps only ids that both sides name.
    """
    ids: dict[str, tuple[str, ...]] = {}
    for compartment in (*a.compartments, *b.compartments):
        held = ids.get(compartment.type)
        kept = compartment.ids if held is None else tuple(i for i in held if i in compartment.ids)
        if not kept:
            return None
        ids[compartment.type] = kept
    compartments = tuple(Compartment(type, kept) for type, kept in sorted(ids.items()))
    filters = tuple(dict.fromkeys((*a.filters, *b.filters)))
    labels = tuple(dict.fromkeys((*a.labels, *b.labels)))
    return Region(compartments, filters, tuple(dict.fromkeys((*a.sources, *b.sources))), labels)
