"""Judges the parameters of a bounded search, one by one (semantics 4): kept, dropped, or the reason for a refusal."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smart_gateway.boundary.model import Boundary
from smart_gateway.errors import RequestError
from smart_gateway.fhir.references import parse_reference
from smart_gateway.fhir.search_values import split_values
from smart_gateway.fhir.vocabulary import ParameterKind, SearchParameter
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial, Missing
from smart_gateway.policy.localising import local_value
from smart_gateway.policy.owners import Owners
from smart_gateway.policy.parameters.chains import judge_chain, judge_has
from smart_gateway.policy.parameters.controls import CONTROLS, wants_count
from smart_gateway.policy.parameters.elements import elements
from smart_gateway.policy.parameters.includes import INCLUDES, hidden_by_summary, judge_include, tells_of_others
from smart_gateway.policy.parameters.modifiers import VALUE_SET, is_known, reaches_outside
from smart_gateway.policy.parameters.revealing import revealing
from smart_gateway.policy.parameters.verdicts import (
    Drop,
    Foreign,
    Keep,
    Refuse,
    Search,
    Verdict,
    let_through,
    malformed_parameter,
    unknown_parameter,
)
from smart_gateway.request.model import FhirRequest, QueryParameter


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on all parameters. ``pairs`` go upstream; ``foreign`` is set where nobody but others was asked for. ``exact``: the
    number of matches may be told."""

    pairs: tuple[tuple[str, str], ...]
    denials: tuple[Denial, ...]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    foreign: Foreign | None
    count_only: bool
    exact: bool
    added_elements: tuple[str, ...]

    @property
    def includes(self) -> tuple[tuple[str, str], ...]:
        """Those of ``pairs`` that bring along what did not match."""
        return tuple([(key, value) for key, value in self.pairs if key.partition(":")[0] in INCLUDES])


def judge(request: FhirRequest, access: Access, boundary: Boundary, owners: Owners, *, exact: bool) -> Judgement:
    """Every parameter of ``request``; raises RequestError for those that are unknown or broken."""
    search = Search(request, access, boundary, exact and _is_understood(request, access))
    verdicts = [_judge_one(parameter, search, owners) for parameter in request.parameters]
    kept = [v for v in verdicts if isinstance(v, Keep)]
    others = [v for v in verdicts if not isinstance(v, Keep)]
    refused = [v for v in others if isinstance(v, Refuse)]
    chosen = elements(search)
    count_only = any(wants_count(p) for p in request.parameters)
    return Judgement(
        pairs=(*[(v.key, v.value) for v in kept], *chosen.pairs),
        denials=tuple(dict.fromkeys((*[v.denial for v in refused], *hidden_by_summary(search), *revealing(search, owners)))),
        missing=tuple(dict.fromkeys(m for v in refused for m in v.missing)),
        notes=(*[v.note for v in kept if v.note], *[v.note for v in others if isinstance(v, Drop) and v.note]),
        foreign=next((v for v in others if isinstance(v, Foreign)), None),
        count_only=count_only,
        exact=search.exact and (count_only or not tells_of_others(search)),
        added_elements=chosen.added,
    )


def _is_understood(request: FhirRequest, access: Access) -> bool:
    """Whether nothing is among the parameters that only the policy knows."""
    policy, type = access.policy, request.type or ""
    return not policy.search_parameters or not any(let_through(parameter, type, policy) for parameter in request.parameters)


_CANONICAL = re.compile(r"https?://[^/]|urn:(?:uuid|oid):[0-9A-Fa-f]")

_SPECIAL: Mapping[str, Callable[[QueryParameter, Search], Verdict]] = {
    **CONTROLS,
    "_include": judge_include,
    "_revinclude": judge_include,
    "_has": judge_has,
}


def _judge_one(parameter: QueryParameter, search: Search, owners: Owners) -> Verdict:
    special = _SPECIAL.get(parameter.name)
    if special is not None:
        return special(parameter, search)
    known = search.vocabulary.parameter(search.type, parameter.name)
    entry = let_through(parameter, search.type, search.access.policy)
    if entry is not None:
        return Keep(parameter.key, parameter.value, f"{parameter.key} is sent as it came, by policy.search.parameters.{entry}")
    if known is None:
        return _judge_custom(parameter, search)
    if parameter.chain:
        return judge_chain(parameter, search)
    if parameter.modifier is not None:
        if reaches_outside(parameter.modifier, known):
            return _refuse_modifier(parameter)
        _check_modifier(parameter, known, search)
    if known.kind is ParameterKind.REFERENCE or parameter.name == "_id":
        return _judge_reference(parameter, known, search, owners)
    return Keep(parameter.key, parameter.value)


def _judge_custom(parameter: QueryParameter, search: Search) -> Verdict:
    """A parameter that FHIR does not define but the upstream's CapabilityStatement names: plain values only."""
    if parameter.name.startswith("_") or parameter.chain or parameter.modifier is not None:
        raise unknown_parameter(parameter, search.type)
    if not search.access.policy.capabilities.names(search.type, parameter.name):
        raise unknown_parameter(parameter, search.type)
    return Keep(parameter.key, parameter.value)


def _check_modifier(parameter: QueryParameter, known: SearchParameter, search: Search) -> None:
    """Unknown modifiers may mean anything to the upstream (semantics 0.2), and so may a value of ``:in`` that is no ValueSet."""
    if parameter.modifier in VALUE_SET and not all(_is_value_set(value, search) for value in split_values(parameter.value)):
        raise malformed_parameter(parameter, f"The modifier :{parameter.modifier} takes the URL of a ValueSet, or ValueSet/[id].")
    if not is_known(parameter.modifier, known, search.vocabulary.release):
        raise RequestError(
            "A modifier that FHIR does not define for this parameter is refused under a bounded token.",
            reason="unknown-modifier",
            expression=f"http.{parameter.key}",
        )


def _is_value_set(value: str, search: Search) -> bool:
    """A canonical URL, wherever it points (it is a name), or a ValueSet of this server; never another of its resources."""
    reference = parse_reference(value, search.access.policy.bases)
    return reference.type == "ValueSet" if reference is not None else _CANONICAL.match(value) is not None


def _refuse_modifier(parameter: QueryParameter) -> Verdict:
    text = f"The modifier :{parameter.modifier} can reach outside this token's bounds and is refused."
    return Refuse(Denial("parameter-not-allowed", text, f"http.{parameter.key}"))


def _judge_reference(parameter: QueryParameter, known: SearchParameter, search: Search, owners: Owners) -> Verdict:
    """Values that name other owners than the boundary's are taken out; where nothing else was asked for, the search is foreign."""
    if parameter.modifier is not None and parameter.modifier not in known.targets:
        return Keep(parameter.key, parameter.value)
    bases = search.access.policy.bases
    values = split_values(parameter.value)
    owner = next((type for type in owners.ids if _names_owner(parameter.name, type, known, search)), None)
    if owner is None:
        return Keep(parameter.key, ",".join(local_value(value, known, bases) for value in values))
    said = [value for value in values if value]
    kept = [value for value in said if not _names_other(value, parameter, known, owner, owners, search)]
    if not kept:
        return Foreign(f"http.{parameter.key}") if said else Drop(f"{parameter.key} has no value and is not sent")
    return Keep(parameter.key, ",".join(local_value(value, known, bases) for value in kept))


def _names_owner(name: str, owner: str, known: SearchParameter, search: Search) -> bool:
    """Whether the parameter asks for whom a resource belongs to: an inclusion parameter, or ``patient`` or ``subject`` beside one."""
    if search.type == owner:
        return name == "_id"
    if known.kind is not ParameterKind.REFERENCE or owner not in known.targets:
        return False
    return name in search.access.policy.rules.inclusion(owner, search.type) or name in {owner.lower(), "subject"}


def _names_other(value: str, parameter: QueryParameter, known: SearchParameter, owner: str, owners: Owners, search: Search) -> bool:
    if parameter.name == "_id":
        return owners.excludes(owner, value)
    reference = parse_reference(value, search.access.policy.bases)
    if reference is not None:
        return owners.excludes(reference.type, reference.id) if reference.type == owner else False
    if "/" in value or ":" in value or not owners.excludes(owner, value):
        return False
    # A bare id may be anybody of the parameter's types: of `performer` a practitioner, say. These names mean whose record it is.
    meant = parameter.name in {"subject", owner.lower()} or known.targets == {owner}
    return parameter.modifier == owner or (parameter.modifier is None and meant)
