"""Why a resource may not be written within a boundary: the rule for writes, in sentences that name elements, never ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.boundary import dependent
from smart_gateway.boundary.filters import Predicate
from smart_gateway.boundary.model import Boundary, Compartment, Filter, Region
from smart_gateway.fhir.compartments import CompartmentRules
from smart_gateway.fhir.references import Bases, Reference


@dataclass(frozen=True, slots=True)
class Objection:
    """One reason: ``element`` is the member of the resource that it lies in, None where it is not a single one."""

    text: str
    element: str | None = None


class Writing:
    """The rule for writes. Spec: semantics 6."""

    __slots__ = ("_bases", "_filter", "_members", "_rules")

    def __init__(
        self,
        rules: CompartmentRules,
        bases: Bases,
        filter: Callable[[Filter, str], Predicate],
        members: Callable[[Filter, str], frozenset[str]],
    ) -> None:
        self._rules = rules
        self._bases = bases
        self._filter = filter
        self._members = members

    def objections(self, boundary: Boundary, resource: Mapping[str, Any], type: str, known: Collection[Reference]) -> tuple[Objection, ...]:
        """Those of the region that has the fewest; empty where one region has none. ``known`` were found inside."""
        if boundary.is_everything:
            return ()
        if resource.get("resourceType") != type:
            return (Objection(f"The resource is not of type {type}.", "resourceType"),)
        found = [self._region(region, resource, type, known) for region in boundary.regions]
        return min(found, key=len, default=(Objection(f"No {type} may be written."),))

    def _region(self, region: Region, resource: Mapping[str, Any], type: str, known: Collection[Reference]) -> tuple[Objection, ...]:
        if region.compartments and type == "Binary":
            return (Objection(f"A Binary is never written in the {region.compartments[0].type} compartment."),)
        depending = self._dependencies(region, resource, type, known) if dependent.applies(type, region) else []
        placed = type == "Provenance" and bool(resource.get("target")) and not depending  # by its targets, which are inside
        found = [o for compartment in region.compartments for o in self._compartment(compartment, resource, type, placed=placed)]
        found += depending
        found += [self._unsatisfied(f, type) for f in region.filters if not self._filter(f, type)(resource)]
        if not all(limit.admits(resource) for limit in region.labels):
            found.append(Objection("The security labels of the resource are not within those that the policy opens.", "meta"))
        return tuple(dict.fromkeys(found))

    def _unsatisfied(self, filter: Filter, type: str) -> Objection:
        return Objection(f"The resource does not satisfy {filter.key}.", _single(self._members(filter, type)))

    def _compartment(self, compartment: Compartment, resource: Mapping[str, Any], type: str, *, placed: bool) -> Iterator[Objection]:
        rules, owner, ids = self._rules, compartment.type, frozenset(compartment.ids)
        if not rules.covers(owner, type):
            yield Objection(f"{type} is in no {owner} compartment.")
            return
        if not placed and not rules.is_member(resource, owner, ids, self._bases):
            yield self._absence(owner, type)
        for name in rules.strays(resource, owner, ids, self._bases):
            yield Objection(f"The element {name} names another {owner}, or one that cannot be told.", name)

    def _absence(self, owner: str, type: str) -> Objection:
        if owner == type:
            return Objection(f"The {type} is not the one that the token is for.", "id")
        by = " or ".join(self._rules.inclusion(owner, type))
        text = f"The {type} is not in the {owner} compartment that the token is for: it must name it by {by}."
        return Objection(text, _single(self._rules.members_read(owner, type)))

    def _dependencies(self, region: Region, resource: Mapping[str, Any], type: str, known: Collection[Reference]) -> list[Objection]:
        """What it refers to must be the compartment's owner, or be ``known`` to be inside."""
        found = {name: dependent.named_by(resource, name, self._bases) for name in sorted(dependent.MEMBERS[type])}
        beyond = [name for name, held in found.items() if held is None or set(dependent.not_owners(held, region)) - set(known)]
        return [Objection(f"The element {name} names a resource that is not shown to be inside.", name) for name in beyond]


def _single(members: frozenset[str]) -> str | None:
    return next(iter(members)) if len(members) == 1 else None
