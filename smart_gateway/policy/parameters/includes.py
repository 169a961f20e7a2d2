"""``_include`` and ``_revinclude``: what no scope can read is not asked for; what arrives is judged by its own type (semantics 4)."""

from __future__ import annotations

from smart_gateway.boundary.model import Region
from smart_gateway.fhir.vocabulary import ParameterKind
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.parameters.chains import targets
from smart_gateway.policy.parameters.summaries import hides_check
from smart_gateway.policy.parameters.verdicts import Drop, Keep, Search, Verdict, malformed_parameter
from smart_gateway.request.model import QueryParameter

INCLUDES = frozenset({"_include", "_revinclude"})
_MODIFIERS = frozenset({None, "iterate", "recurse"})  # recurse: as STU3 called it, and servers take it still


def judge_include(parameter: QueryParameter, search: Search) -> Verdict:
    """``Source:parameter[:Target]`` or a wildcard."""
    if parameter.modifier not in _MODIFIERS or parameter.chain:
        raise malformed_parameter(parameter, f"{parameter.name} takes the modifier iterate only.")
    if parameter.value == "*":
        return Keep(parameter.key, "*")
    source, code, target = _parts(parameter, search)
    if not _wanted(parameter, search, source, code, target).isdisjoint(_readable(search)):
        return Keep(parameter.key, parameter.value)
    return Drop(f"{parameter.name}={parameter.value} is not sent: no scope can read what it includes")


def included_types(search: Search) -> frozenset[str] | None:
    """The types that the includes of ``search`` bring along, as far as the token may see them; None: any."""
    included: frozenset[str] = frozenset()
    for parameter in search.request.parameters:
        if parameter.name in INCLUDES:
            if parameter.value == "*" or ":*" in parameter.value:
                return None
            included |= _wanted(parameter, search, *_parts(parameter, search)) & _readable(search)
    return included


def hidden_by_summary(search: Search) -> tuple[Denial, ...]:
    """The refusal of a ``_summary`` under which a resource that comes along could not be judged: it would be left out without a word."""
    value = next((parameter.value for parameter in search.request.parameters if parameter.key == "_summary"), "false")
    if value in {"false", "count"}:
        return ()
    included = included_types(search)
    types = _readable(search) if included is None else included
    hidden = sorted(type for type in types if hides_check(value, search.access.readable(type), type, search.access))
    text = "This _summary may hide elements that must be checked of what an include brings along: {}."
    return (Denial("summary-hides-check", text.format(", ".join(hidden)), "http._summary"),) if hidden else ()


def tells_of_others(search: Search) -> bool:
    """Whether an include may bring what is removed again and no match names: what refers to a match, or comes by way of another include.

    That something was removed would then tell that somebody's resource refers to one of ours.
    """
    reaching = [p for p in search.request.parameters if p.name == "_revinclude" or (p.name == "_include" and p.modifier is not None)]
    return any(not _is_open(type, search) for parameter in reaching for type in _brought(parameter, search))


def _brought(parameter: QueryParameter, search: Search) -> frozenset[str]:
    return search.vocabulary.types if parameter.value == "*" else _wanted(parameter, search, *_parts(parameter, search))


def _is_open(type: str, search: Search) -> bool:
    """Whether nothing of ``type`` is ever removed."""
    readable = search.access.readable(type)
    return readable.is_everything or Region() in readable.regions


def _readable(search: Search) -> frozenset[str]:
    """The types of which the token may see something."""
    access, types = search.access, search.vocabulary.types
    return access.remembered(("readable", "types"), lambda: frozenset(type for type in types if not access.readable(type).is_nothing))


def _parts(parameter: QueryParameter, search: Search) -> tuple[str, str, str | None]:
    parts = parameter.value.split(":")
    known = search.vocabulary.types
    if len(parts) not in (2, 3) or parts[0] not in known or (len(parts) == 3 and parts[2] not in known):
        raise malformed_parameter(parameter, f"{parameter.name} is Source:parameter, perhaps with :Target, or '*'.")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else None


def _wanted(parameter: QueryParameter, search: Search, source: str, code: str, target: str | None) -> frozenset[str]:
    """The types that the include could add."""
    known = search.vocabulary.parameter(source, code)
    any_type = code == "*" or (known is None and search.access.policy.capabilities.names(source, code))
    if not any_type and (known is None or known.kind is not ParameterKind.REFERENCE):
        raise malformed_parameter(parameter, f"{parameter.name} names no reference parameter of its source type.")
    if parameter.name == "_revinclude":
        return frozenset({source})
    if target is not None:
        return frozenset({target})
    return targets(known, search) if known is not None else search.vocabulary.types
