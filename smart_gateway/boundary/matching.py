"""Does a boundary admit this resource, in memory? One compiled judge for each (boundary, type), kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from smart_gateway.boundary import dependent, labels
from smart_gateway.boundary.filters import Predicate, compile_filter
from smart_gateway.boundary.model import Boundary, Compartment, Filter, Region
from smart_gateway.boundary.objections import Objection, Writing
from smart_gateway.boundary.verdict import INSIDE, OUTSIDE, Depends, Inside, Outside, Verdict
from smart_gateway.fhir.compartments import CompartmentRules
from smart_gateway.fhir.elements import top_members
from smart_gateway.fhir.references import Bases, Reference
from smart_gateway.fhir.value_sets import NO_VALUE_SETS, ValueSets
from smart_gateway.fhir.vocabulary import SearchParameter, Vocabulary

__all__ = ["INSIDE", "OUTSIDE", "Depends", "Inside", "Matcher", "Outside", "Verdict"]

_KEPT = 4096
_ALWAYS = frozenset({"resourceType", "id"})
_Judge = Callable[[Mapping[str, Any]], Verdict]


class Matcher:
    """Matches resources of one release against boundaries. Immutable but for its caches; safe to share between threads."""

    __slots__ = ("_bases", "_filter", "_judge", "_last", "_rules", "_value_sets", "_vocabulary", "_writing")

    def __init__(self, vocabulary: Vocabulary, rules: CompartmentRules, bases: Bases, value_sets: ValueSets = NO_VALUE_SETS) -> None:
        self._vocabulary = vocabulary
        self._rules = rules
        self._bases = bases
        self._value_sets = value_sets
        self._judge = lru_cache(_KEPT)(self._compile)
        self._filter = lru_cache(_KEPT)(self._compile_filter)
        self._last: tuple[Boundary, str, _Judge] | None = None
        self._writing = Writing(rules, bases, self._filter, self._members)

    def admits(self, boundary: Boundary, resource: Mapping[str, Any], type: str) -> Verdict:
        """Whether ``resource``, decoded JSON of ``type``, lies inside ``boundary``. Spec: semantics 3 and 5."""
        last = self._last
        # Hashing a boundary costs more than judging by it: entries of one Bundle meet the same object again and again.
        if last is not None and last[0] is boundary and last[1] == type:
            return last[2](resource)
        judge = self._judge(boundary, type)
        self._last = (boundary, type, judge)
        return judge(resource)

    def judge(self, boundary: Boundary, type: str) -> Callable[[Mapping[str, Any]], Verdict]:
        """``admits`` of one boundary and type, for those who keep it: finding it costs more than asking it."""
        return self._judge(boundary, type)

    def objections_to_write(
        self, boundary: Boundary, resource: Mapping[str, Any], type: str, known: Collection[Reference] = ()
    ) -> tuple[Objection, ...]:
        """Why ``resource`` may not be written by the rule for writes; empty where it may. Sentences name elements, never ids.
        ``known`` are those of ``depended_on`` that were found inside.

        Spec: semantics 6: inside, and every owner that its membership elements name is the caller's.
        """
        return self._writing.objections(boundary, resource, type, known)

    def depended_on(self, boundary: Boundary, resource: Mapping[str, Any], type: str) -> Mapping[Reference, bool]:
        """The resources that must be inside, so that a Provenance or AuditEvent may be written, and whether they place it in its
        compartment. Spec: semantics 3."""
        return dependent.depended_on(boundary, resource, type, self._bases)

    def could_hold(self, boundary: Boundary, type: str, id: str) -> bool:
        """False only where the id alone says that ``type/id`` is outside."""
        return boundary.is_everything or any(self._could(region, type, id) for region in boundary.regions)

    def members_read(self, boundary: Boundary, type: str) -> frozenset[str] | None:
        """The top-level JSON members that ``admits`` looks at; None where it cannot be said and all must be decoded."""
        members = _ALWAYS
        for region in boundary.regions:
            if region.labels:
                members |= labels.MEMBERS
            if dependent.applies(type, region):
                members |= dependent.MEMBERS[type]
            for compartment in region.compartments:
                members |= self._rules.members_read(compartment.type, type)
            for filter in region.filters:
                members |= self._members(filter, type)
        return members

    def _members(self, filter: Filter, type: str) -> frozenset[str]:
        parameter = self._vocabulary.parameter(type, filter.parameter)
        return top_members(parameter) if parameter is not None else frozenset()

    def _compile(self, boundary: Boundary, type: str) -> _Judge:
        if boundary.is_everything:
            return lambda _resource: INSIDE
        judges = [self._region_judge(region, type) for region in boundary.regions if self._covers(region, type)]

        def judge(resource: Mapping[str, Any]) -> Verdict:
            if resource.get("resourceType") != type:
                return OUTSIDE
            verdict: Verdict = OUTSIDE
            for region_judge in judges:
                found = region_judge(resource)
                if found is INSIDE:
                    return INSIDE
                verdict = _better(verdict, found)
            return verdict

        return judge

    def _region_judge(self, region: Region, type: str) -> _Judge:
        limits: tuple[Predicate, ...] = tuple(limit.admits for limit in region.labels)
        filters = (*limits, *(self._filter(filter, type) for filter in region.filters))
        member = self._membership(region.compartments, type)
        bases = self._bases
        if dependent.applies(type, region):

            def judge_dependent(resource: Mapping[str, Any]) -> Verdict:
                if not all(holds(resource) for holds in filters):
                    return OUTSIDE
                return dependent.judge(resource, type, region, member(resource), bases)

            return judge_dependent
        return lambda resource: INSIDE if member(resource) and all(holds(resource) for holds in filters) else OUTSIDE

    def _membership(self, compartments: tuple[Compartment, ...], type: str) -> Predicate:
        rules, bases = self._rules, self._bases
        owners = [(compartment.type, frozenset(compartment.ids)) for compartment in compartments]
        if type == "Binary":
            return lambda _resource: not owners
        return lambda resource: all(rules.is_member(resource, owner, ids, bases) for owner, ids in owners)

    def _covers(self, region: Region, type: str) -> bool:
        return type == "Binary" or all(self._rules.covers(compartment.type, type) for compartment in region.compartments)

    def _could(self, region: Region, type: str, id: str) -> bool:
        if not self._covers(region, type) or any(c.type == type and id not in c.ids for c in region.compartments):
            return False
        if not region.filters:
            return True
        stub = {"resourceType": type, "id": id}
        return all(self._filter(filter, type)(stub) for filter in region.filters if filter.parameter == "_id")

    def _compile_filter(self, filter: Filter, type: str) -> Predicate:
        parameter: SearchParameter | None = self._vocabulary.parameter(type, filter.parameter)
        if parameter is None:
            return lambda _resource: False
        return compile_filter(parameter, filter.modifier, filter.values, self._bases, self._value_sets)


def _better(a: Verdict, b: Verdict) -> Verdict:
    """Of two verdicts that are not INSIDE, the one with less to depend on."""
    if not isinstance(a, Depends):
        return b
    return b if isinstance(b, Depends) and len(b.references) < len(a.references) else a
