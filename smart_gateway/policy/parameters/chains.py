"""Chained parameters and ``_has``: they select by other resources, so each of those types must be open without bounds.

A match tells about the linked resource, even when it is not returned. Spec: semantics 4; FHIR R4 search.html 3.1.1.5.6.
"""

from __future__ import annotations

import re
from collections.abc import Set

from smart_gateway.fhir.vocabulary import ParameterKind, SearchParameter
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.parameters.controls import CONTROLS
from smart_gateway.policy.parameters.modifiers import is_known, reaches_outside
from smart_gateway.policy.parameters.verdicts import Keep, Refuse, Search, Verdict, malformed_parameter
from smart_gateway.request.model import QueryParameter
from smart_gateway.scopes.permissions import Permission

_MOST_LINKS = 16  # of all chains of a search, more than any sensible one has: each may lead to every type
_LINK = re.compile(r"([A-Za-z_][A-Za-z0-9_\-]*)(?::([A-Za-z\-]+))?")


def judge_chain(parameter: QueryParameter, search: Search) -> Verdict:
    """``subject:Patient.name=x``, with any number of links."""
    _require_short(parameter, search)
    head = parameter.name if parameter.modifier is None else f"{parameter.name}:{parameter.modifier}"
    return _open_all(parameter, search, _chained({search.type}, (head, *parameter.chain), parameter, search))


def judge_has(parameter: QueryParameter, search: Search) -> Verdict:
    """``_has:Observation:patient:code=x``, nested too."""
    _require_short(parameter, search)
    return _open_all(parameter, search, _reversed(parameter.key.removeprefix("_has:"), parameter, search))


def _require_short(parameter: QueryParameter, search: Search) -> None:
    chains = [p.key for p in search.request.parameters if p.chain or p.name == "_has"]
    if sum(key.count(".") + key.count("_has:") for key in chains) > _MOST_LINKS:
        raise malformed_parameter(parameter, f"The chains of this search have more than {_MOST_LINKS} links.")


def _open_all(parameter: QueryParameter, search: Search, types: Set[str]) -> Verdict:
    closed = sorted(type for type in types if not search.access.boundary(type, Permission.SEARCH).is_everything)
    if not closed:
        return Keep(parameter.key, parameter.value)
    text = f"The search would select by {', '.join(closed)}, which this token may not search without bounds."
    unheld = [type for type in closed if search.access.boundary(type, Permission.SEARCH).is_nothing]
    missing = search.missing(unheld) if unheld == closed else ()
    return Refuse(Denial("chain-not-allowed", text, f"http.{parameter.key}"), missing)


def _chained(types: Set[str], links: tuple[str, ...], parameter: QueryParameter, search: Search) -> Set[str]:
    """All types that a chain steps into, those of a ``_has`` at its end among them."""
    passed: set[str] = set()
    for link in links[:-1]:
        types = frozenset[str]().union(*(_step(type, link, parameter, search) for type in types))
        if not types:
            raise malformed_parameter(parameter, "The chain has a link that is no reference parameter.")
        passed |= types
    return passed | _ended(types, links[-1], parameter, search)


def _ended(types: Set[str], link: str, parameter: QueryParameter, search: Search) -> Set[str]:
    """What selects at the end: a parameter that is known for one of ``types``, or again ``_has:...``."""
    if link.startswith("_has:"):
        return _reversed(link.removeprefix("_has:"), parameter, search)
    if not any(_selects(type, link, search) for type in types):
        raise malformed_parameter(parameter, "The chain does not end in a parameter, and modifier, known for what it leads to.")
    return frozenset()


def _selects(type: str, link: str, search: Search) -> bool:
    code, _, modifier = link.partition(":")
    known = search.vocabulary.parameter(type, code)
    if known is None:
        return not (code.startswith("_") or modifier) and search.access.policy.capabilities.names(type, code)
    chosen = modifier or None
    release = search.vocabulary.release
    return code not in CONTROLS and is_known(chosen, known, release) and not reaches_outside(chosen, known)


def _step(type: str, link: str, parameter: QueryParameter, search: Search) -> Set[str]:
    """The types that ``link`` leads to from ``type``; none where that has no such reference."""
    match = _LINK.fullmatch(link)
    if match is None:
        raise malformed_parameter(parameter, "The chain has a malformed link.")
    known = search.vocabulary.parameter(type, match[1])
    if known is None or known.kind is not ParameterKind.REFERENCE:
        return frozenset()
    reached = targets(known, search)
    return reached if match[2] is None else reached & {match[2]}


def targets(known: SearchParameter, search: Search) -> frozenset[str]:
    """The types that a reference parameter may lead to; a parameter that names none may lead anywhere.

    Where its elements count for some types only (``patient``: ``subject.where(resolve() is Patient)``), to those alone.
    """
    counting = [path.targets for path in known.paths]
    named = frozenset[str]().union(*counting) if counting and all(counting) else known.targets
    return (named & search.vocabulary.types) or search.vocabulary.types


def _reversed(text: str, parameter: QueryParameter, search: Search) -> Set[str]:
    """``Type:reference:rest``; ``rest`` is a parameter of Type, perhaps chained, or again ``_has:...``."""
    type, _, after = text.partition(":")
    reference, _, rest = after.partition(":")
    known = search.vocabulary.parameter(type, reference) if type in search.vocabulary.types else None
    if known is None or known.kind is not ParameterKind.REFERENCE or not rest:
        raise malformed_parameter(parameter, "_has is Type:reference:parameter with a known type and reference parameter.")
    links = (rest,) if rest.startswith("_has:") else tuple(rest.split("."))
    return {type} | _chained({type}, links, parameter, search)
