"""Searches that would tell of elements that the policy hides: by a parameter, an order, an include or a compartment. Spec: semantics 4."""

from __future__ import annotations

from collections.abc import Iterator

from smart_gateway.policy.causes import Denial
from smart_gateway.policy.owners import Owners
from smart_gateway.policy.parameters.controls import CONTROLS
from smart_gateway.policy.parameters.includes import INCLUDES
from smart_gateway.policy.parameters.verdicts import Search, let_through
from smart_gateway.request.model import QueryParameter

_TEXT = "The search would tell of elements that the policy of this gateway hides."


def revealing(search: Search, owners: Owners) -> tuple[Denial, ...]:
    """One cause for each parameter of ``search`` that would tell of what is hidden."""
    if not search.access.restrictions.fields.hides:
        return ()
    told = [f"http.{p.key}" for p in search.request.parameters if any(_tells(type, code, search) for type, code in _read(p, search))]
    asked = search.request.compartment
    if asked is not None and asked != owners.only(search.type) and _tells_of_owner(asked.type, search):
        told.append("http.path")
    return tuple(Denial("hidden-elements", _TEXT, place) for place in dict.fromkeys(told))


def _read(parameter: QueryParameter, search: Search) -> Iterator[tuple[str, str]]:
    """The types and search parameters that ``parameter`` selects, orders or follows by; a type of ``*`` is any."""
    if parameter.name in INCLUDES:
        source, _, rest = parameter.value.partition(":")
        yield source, rest.partition(":")[0] or "*"
    elif parameter.name == "_sort":
        for rule in parameter.value.split(","):
            if rule.removeprefix("-") != "_score":
                yield search.type, rule.removeprefix("-")
    elif parameter.name not in CONTROLS and parameter.name != "_has":  # which needs other types without any bound
        # What a modifier of the server's own looks at, the parameter does not say.
        let = let_through(parameter, search.type, search.access.policy)
        yield search.type, parameter.name if let is None else parameter.key


def _tells(type: str, code: str, search: Search) -> bool:
    fields = search.access.restrictions.fields
    if "*" in (type, code):
        return bool(fields.hidden(type)) if type != "*" else fields.hides
    return fields.tells(type, search.vocabulary.parameter(type, code))


def _tells_of_owner(owner: str, search: Search) -> bool:
    """Whether the search of a compartment tells who a resource belongs to, where that is hidden."""
    codes = search.access.policy.rules.inclusion(owner, search.type)
    return any(_tells(search.type, code, search) for code in codes if code != "{def}")
