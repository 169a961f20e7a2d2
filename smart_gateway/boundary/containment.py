"""Whether all that one boundary holds lies in another: certain where it says so, and else perhaps not.

What it takes for contained is contained in every resource. What it cannot prove it takes for not contained; for compartments and filters
whose values are alternatives (all modifiers but those that deny) over elements that may repeat, that is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import prod

from smart_gateway.boundary.model import Boundary, Compartment, Filter, Region
from smart_gateway.fhir.search_values import ValueSyntaxError
from smart_gateway.fhir.search_values_tokens import parse_token

_DENYING = frozenset({"not", "not-in", "missing"})
_MOST = 4096  # parts that a region is taken apart into

Holds = Callable[[Compartment], bool]
"""Whether what is in a compartment of the one boundary is in the same compartment of the other, which may be defined otherwise."""
IsToken = Callable[[str], bool]
"""Whether a search parameter is one of kind token."""


def is_within(inner: Boundary, outer: Boundary, same: Holds = lambda _compartment: True, is_token: IsToken = lambda _code: False) -> bool:
    """Whether every resource that ``inner`` admits, ``outer`` admits too. EVERYTHING is in nothing but itself."""
    if outer.is_everything or inner.is_nothing:
        return True
    if inner.is_everything:
        return False
    return all(any(_implies(part, region, same, is_token) for region in outer.regions) for whole in inner.regions for part in _parts(whole))


def _parts(region: Region) -> Iterator[Region]:
    """``region`` taken apart so that no part has alternatives: each part is in a union only where it is in one of its regions."""
    owners = [[Compartment(c.type, (id,)) for id in c.ids] for c in region.compartments]
    filters = [_alternatives(filter) for filter in region.filters]
    if prod(map(len, owners)) * prod(map(len, filters)) > _MOST:
        yield region
        return
    for compartments in product(*owners):
        for chosen in product(*filters):
            yield Region(compartments, chosen, labels=region.labels)


def _alternatives(filter: Filter) -> list[Filter]:
    if filter.modifier in _DENYING:
        return [filter]
    return [Filter(filter.parameter, filter.modifier, (value,)) for value in filter.values]


def _implies(part: Region, region: Region, same: Holds, is_token: IsToken) -> bool:
    """Whether all that ``part`` asks for leaves nothing of what ``region`` asks for undecided."""
    return (
        all(
            any(held.type == owner.type and set(held.ids) <= set(owner.ids) and same(owner) for held in part.compartments)
            for owner in region.compartments
        )
        and all(any(_answers(held, filter, is_token) for held in part.filters) for filter in region.filters)
        and all(any(held.implies(limit) for held in part.labels) for limit in region.labels)
    )


def _answers(held: Filter, filter: Filter, is_token: IsToken) -> bool:
    """Whether whatever satisfies ``held`` satisfies ``filter``."""
    if (held.parameter, held.modifier) != (filter.parameter, filter.modifier):
        return False
    if held.modifier in {"not", "not-in"}:
        return set(held.values) >= set(filter.values)
    if set(held.values) <= set(filter.values):
        return True
    plain = held.modifier is None and is_token(held.parameter)
    return plain and all(any(_is_such(value, wanted) for wanted in filter.values) for value in held.values)


def _is_such(value: str, wanted: str) -> bool:
    """Whether a token by ``value`` is one by ``wanted``: ``system|code`` is by ``code`` and ``system|``. Spec: FHIR R4 search, token."""
    try:
        one, other = parse_token(value), parse_token(wanted)
    except ValueSyntaxError:
        return value == wanted
    return other.system in (None, one.system) and other.code in (None, one.code)
