"""A boundary said as search parameters: what narrows the query before it leaves, and whether that says all of it.

Spec: semantics 4. Narrowing is for speed and right paging; every answer is judged in memory all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from smart_gateway.boundary import dependent
from smart_gateway.boundary.model import Boundary, Compartment, Filter, Region
from smart_gateway.fhir.compartments import CompartmentRules
from smart_gateway.fhir.search_values import escape, names_value_sets, unescape
from smart_gateway.fhir.value_sets import NO_VALUE_SETS, ValueSets
from smart_gateway.fhir.vocabulary import ParameterKind, Vocabulary

Supports = Callable[[str, str], bool]  # (type, code): can the upstream be asked by it?

# Kinds that servers compare as our matcher does. Dates, numbers, quantities and strings are widened by each server in its own way,
# and so is what a modifier means: the query may then return what the check takes out again.
_EXACT_KINDS = frozenset({ParameterKind.TOKEN, ParameterKind.REFERENCE, ParameterKind.URI})
_MOST_CODES = 50  # of a value set, said one by one: beyond that, servers refuse the URL


@dataclass(frozen=True, slots=True)
class Narrowing:
    """``parameters`` are (name, value) pairs to add; ``exact``: a query with them can return nothing outside the boundary.

    One of several ways to ask leaves to those before it what they find: every resource that one of ``unless`` selects.
    """

    parameters: tuple[tuple[str, str], ...]
    exact: bool
    unless: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Narrower:
    """Says boundaries as parameters of one upstream."""

    vocabulary: Vocabulary
    rules: CompartmentRules
    supports: Supports
    value_sets: ValueSets = NO_VALUE_SETS

    def narrow(self, boundary: Boundary, type: str) -> Narrowing:
        """The parameters that all regions of ``boundary`` share, and an OR where they differ in one parameter's values only."""
        conditions, rest_exact = self._conditions(boundary)
        pairs = [self._parameter(condition, type) for condition in conditions]
        said = tuple(pair for pair, _ in pairs if pair is not None)
        labels = self._labels(boundary, type)
        exact = rest_exact and all(exact for _, exact in pairs) and labels.exact and not _depends(boundary, type)
        return Narrowing(tuple(dict.fromkeys((*said, *labels.parameters))), exact)

    def narrow_each(self, boundary: Boundary, type: str) -> tuple[Narrowing, ...]:
        """``narrow`` for each inclusion parameter of its compartments: the queries together find every member that the upstream can find,
        each by the first of the parameters that selects it."""
        conditions, rest_exact = self._conditions(boundary)
        exact = rest_exact and not _depends(boundary, type)
        labels = (self._labels(boundary, type),)
        chosen = product(*(self._ways(condition, type) for condition in conditions), labels)
        return tuple(_together(ways, exact=exact) for ways in chosen)

    def compartment_ways(self, compartment: Compartment, type: str, *, preferred: bool = False) -> tuple[Narrowing, ...]:
        """Each way to ask for the members of ``compartment``, or the ``preferred`` one; none where the upstream has no parameter for it."""
        first = self.compartment_parameter(compartment.type, type)
        if first is None:
            return ()
        codes = (first,) if preferred else self._inclusion(compartment.type, type, first)
        asked = [Filter(code, None, _owners(compartment, code)) for code in codes]
        return tuple(Narrowing(((f.key, ",".join(f.values)),), True, tuple(asked[:place])) for place, f in enumerate(asked))

    def _inclusion(self, compartment: str, type: str, preferred: str) -> tuple[str, ...]:
        """Every inclusion parameter that the upstream has; ``patient`` for one that it does not have, where that reads the same element."""
        if compartment == type:
            return (preferred,)
        codes = tuple(code for code in self.rules.inclusion(compartment, type) if self._names(compartment, type, code))
        had = tuple(code for code in codes if self.supports(type, code))
        return had if preferred in had or had == codes else (preferred, *had)

    def _names(self, compartment: str, type: str, code: str) -> bool:
        """Whether the parameter can name an owner at all."""
        parameter = self.vocabulary.parameter(type, code)
        return parameter is not None and parameter.kind is ParameterKind.REFERENCE and compartment in parameter.targets

    def compartment_parameter(self, compartment: str, type: str) -> str | None:
        """The preferred inclusion parameter of ``type`` that the upstream has: ``patient`` before ``subject`` before the first.

        ``patient`` counts also where it is no inclusion parameter itself but one's element restricted to Patient.
        """
        if compartment == type:
            return "_id"
        codes = self.rules.inclusion(compartment, type)
        if compartment == "Patient" and "patient" not in codes and self._restricts_one(type, codes):
            codes = ("patient", *codes)
        ordered = sorted(codes, key=lambda code: (code != "patient", code != "subject"))
        return next((code for code in ordered if self.supports(type, code)), None)

    def _restricts_one(self, type: str, codes: tuple[str, ...]) -> bool:
        """Whether the parameter ``patient`` reads only elements that an inclusion parameter of ``codes`` reads too."""
        patient = self.vocabulary.parameter(type, "patient")
        if patient is None or patient.kind is not ParameterKind.REFERENCE or not patient.evaluable:
            return False
        known = [self.vocabulary.parameter(type, code) for code in codes]
        steps = {path.steps for parameter in known if parameter is not None for path in parameter.paths}
        return all(path.steps in steps for path in patient.paths)

    def _conditions(self, boundary: Boundary) -> tuple[list[Compartment | Filter], bool]:
        """What holds in all of ``boundary``, and whether that says all of it."""
        if boundary.is_everything:
            return [], True
        if boundary.is_nothing:
            raise ValueError("NOTHING cannot become a query")  # INVARIANT: authorize has refused before
        return self._alternatives(*_shared(boundary.regions))

    def _labels(self, boundary: Boundary, type: str) -> Narrowing:
        """The limits on security labels that all regions have, and whether that says all of them."""
        held = [region.labels for region in boundary.regions]
        shared = tuple(limit for limit in held[0] if all(limit in others for others in held)) if held else ()
        complete = all(set(limits) == set(shared) for limits in held)
        if not shared or not self.supports(type, "_security"):
            return Narrowing((), complete and not shared)
        said = [limit.parameters() for limit in shared]
        return Narrowing(tuple(pair for pairs, _ in said for pair in pairs), complete and all(exact for _, exact in said))

    def _ways(self, condition: Compartment | Filter, type: str) -> tuple[Narrowing, ...]:
        ways = self.compartment_ways(condition, type) if isinstance(condition, Compartment) else ()
        if ways:
            return ways
        pair, exact = self._parameter(condition, type)
        return (Narrowing((pair,) if pair is not None else (), exact),)

    def _alternatives(self, shared: Region, rests: list[Region]) -> tuple[list[Compartment | Filter], bool]:
        """All conditions that hold in every region, one of them an OR where that says the rest, and whether it does."""
        conditions: list[Compartment | Filter] = [*shared.compartments, *shared.filters]
        if not rests:
            return conditions, True
        merged = _merge(rests)
        return ([*conditions, merged], True) if merged is not None else ([*conditions, *_cover(rests)], False)

    def _parameter(self, condition: Compartment | Filter, type: str) -> tuple[tuple[str, str] | None, bool]:
        if isinstance(condition, Filter):
            return self._filter(condition, type)
        code = self.compartment_parameter(condition.type, type)
        if code is None:
            return None, False
        return (code, ",".join(_owners(condition, code))), True

    def _filter(self, condition: Filter, type: str) -> tuple[tuple[str, str] | None, bool]:
        if not self.supports(type, condition.parameter):
            return None, False
        parameter = self.vocabulary.parameter(type, condition.parameter)
        if parameter is not None and names_value_sets(parameter, condition.modifier):
            return self._value_sets(condition), False
        exact = parameter is not None and parameter.kind in _EXACT_KINDS and condition.modifier is None
        return (condition.key, ",".join(condition.values)), exact

    def _value_sets(self, condition: Filter) -> tuple[str, str] | None:
        """The codes themselves where they are few: any server takes them. Else the name of the sets, to a server that has them."""
        canonicals = [unescape(value) for value in condition.values]
        codes = self.value_sets.together(canonicals) or ()
        if condition.modifier == "in" and 0 < len(codes) <= _MOST_CODES:
            return condition.parameter, ",".join(sorted(f"{escape(system)}|{escape(code)}" for system, code in codes))
        return (condition.key, ",".join(condition.values)) if self.value_sets.at_upstream.issuperset(canonicals) else None


def _owners(compartment: Compartment, code: str) -> tuple[str, ...]:
    """The values by which parameter ``code`` asks for the owners."""
    return compartment.ids if code == "_id" else tuple([f"{compartment.type}/{id}" for id in compartment.ids])


def _together(ways: tuple[Narrowing, ...], *, exact: bool) -> Narrowing:
    """One way of each condition: a resource is found by the first way of each that selects it."""
    parameters = tuple(dict.fromkeys(pair for way in ways for pair in way.parameters))
    return Narrowing(parameters, exact and all(way.exact for way in ways), tuple(filter for way in ways for filter in way.unless))


def _depends(boundary: Boundary, type: str) -> bool:
    """Whether the place of a resource depends on others too: a parameter that finds one of its targets says nothing of the rest."""
    return any(dependent.applies(type, region) for region in boundary.regions)


def _shared(regions: tuple[Region, ...]) -> tuple[Region, list[Region]]:
    """The conditions that all regions have, and what each has beside them; no rests where one region has nothing beside."""
    first, *others = regions
    compartments = tuple(c for c in first.compartments if all(c in o.compartments for o in others))
    filters = tuple(f for f in first.filters if all(f in o.filters for o in others))
    rests = [
        Region(tuple(c for c in r.compartments if c not in compartments), tuple(f for f in r.filters if f not in filters)) for r in regions
    ]
    return Region(compartments, filters), [] if Region() in rests else rests


def _cover(rests: list[Region]) -> list[Compartment | Filter]:
    """Conditions that hold in every one of ``rests``, though elsewhere too: each kind that all have, with the values of all."""
    first = rests[0]
    owners = [[c for rest in rests for c in rest.compartments if c.type == held.type] for held in first.compartments]
    plain = [[f for rest in rests for f in rest.filters if f.key == held.parameter] for held in first.filters if held.modifier is None]
    found: list[Compartment | Filter] = [
        Compartment(c[0].type, tuple(dict.fromkeys(id for each in c for id in each.ids))) for c in owners if len(c) == len(rests)
    ]
    for same in plain:
        if all(any(f in rest.filters for f in same) for rest in rests):
            found.append(Filter(same[0].parameter, None, tuple(dict.fromkeys(value for each in same for value in each.values))))
    return found


def _merge(rests: list[Region]) -> Compartment | Filter | None:
    """One condition that holds wherever any of ``rests`` does and nowhere else; None where there is none.

    A modifier may turn a comma into AND (``:not``), so only plain parameters are merged.
    """
    conditions = [(*rest.compartments, *rest.filters) for rest in rests]
    if any(len(condition) != 1 for condition in conditions):
        return None
    singles = [condition[0] for condition in conditions]
    filters = [single for single in singles if isinstance(single, Filter)]
    if len(filters) == len(singles) and len({(f.parameter, f.modifier) for f in filters}) == 1 and filters[0].modifier is None:
        return Filter(filters[0].parameter, None, tuple(dict.fromkeys(v for f in filters for v in f.values)))
    owners = [single for single in singles if isinstance(single, Compartment)]
    if len(owners) == len(singles) and len({owner.type for owner in owners}) == 1:
        return Compartment(owners[0].type, tuple(dict.fromkeys(i for owner in owners for i in owner.ids)))
    return None
