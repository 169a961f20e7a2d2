"""Why a resource may not be written within a boundary: the rule for writes, in sentences that name elements, never ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smart_gateway.boundary import dependent
from smart_gateway.boundary.filters import Predicate
from smart_gateway.boundary.model import Boundary, Compartment, Filter, Region
from smart_gateway.fhir.compartments import CompartmentRules
from smart_gateway.fhir.references import Bases


class Writing:
    """The rule for writes. Spec: semantics 6."""

    __slots__ = ("_bases", "_filter", "_rules")

    def __init__(self, rules: CompartmentRules, bases: Bases, filter: Callable[[Filter, str], Predicate]) -> None:
        self._rules = rules
        self._bases = bases
        self._filter = filter

    def objections(self, boundary: Boundary, resource: Mapping[str, Any], type: str) -> tuple[str, ...]:
        """Those of the region that has the fewest; empty where one region has none."""
        if boundary.is_everything:
            return ()
        if resource.get("resourceType") != type:
            return (f"The resource is not of type {type}.",)
        found = [self._region(region, resource, type) for region in boundary.regions]
        return min(found, key=len, default=(f"No {type} may be written.",))

    def _region(self, region: Region, resource: Mapping[str, Any], type: str) -> tuple[str, ...]:
        if region.compartments and type == "Binary":
            return (f"A Binary is never written in the {region.compartments[0].type} compartment.",)
        sentences = [s for compartment in region.compartments for s in self._compartment(compartment, resource, type)]
        if dependent.applies(type, region):
            sentences += self._dependencies(region, resource, type)
        sentences += [f"The resource does not satisfy {f.key}." for f in region.filters if not self._filter(f, type)(resource)]
        return tuple(dict.fromkeys(sentences))

    def _compartment(self, compartment: Compartment, resource: Mapping[str, Any], type: str) -> list[str]:
        rules, owner, ids = self._rules, compartment.type, frozenset(compartment.ids)
        if not rules.covers(owner, type):
            return [f"{type} is in no {owner} compartment."]
        sentences = []
        if not rules.is_member(resource, owner, ids, self._bases):
            sentences.append(self._absence(owner, type))
        strays = rules.strays(resource, owner, ids, self._bases)
        return sentences + [f"The element {name} names another {owner}, or one that cannot be told." for name in strays]

    def _absence(self, owner: str, type: str) -> str:
        if owner == type:
            return f"The {type} is not the one that the token is for."
        by = " or ".join(self._rules.inclusion(owner, type))
        return f"The {type} is not in the {owner} compartment that the token is for: it must name it by {by}."

    def _dependencies(self, region: Region, resource: Mapping[str, Any], type: str) -> list[str]:
        """What it refers to must be the compartment's owner: others would have to be fetched, which a write's body check does not."""
        (name,) = dependent.MEMBERS[type]
        held = dependent.references_of(resource, type, self._bases)
        if held is None or dependent.not_owners(held, region):
            return [f"The element {name} names a resource that is not shown to be inside."]
        return []
