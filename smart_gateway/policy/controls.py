"""The parameters that steer a search rather than select: ``_count``, ``_sort``, ``_summary``, ... (semantics 4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from smart_gateway.policy.plan import Denial
from smart_gateway.policy.summaries import hides_check, is_summary
from smart_gateway.policy.verdicts import Drop, Keep, Refuse, Search, Verdict, malformed_parameter
from smart_gateway.request.model import QueryParameter

_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*(?:\[x\])?")
_TOTALS = frozenset({"none", "estimate", "accurate"})


def _drop(_parameter: QueryParameter, _search: Search) -> Verdict:
    return Drop()


def _keep(parameter: QueryParameter, search: Search) -> Verdict:
    _once(parameter, search)
    return Keep(parameter.key, parameter.value)


def _once(parameter: QueryParameter, search: Search) -> None:
    """Which of two values a server takes is its own secret."""
    _plain(parameter)
    if sum(other.name == parameter.name for other in search.request.parameters) > 1:
        raise malformed_parameter(parameter, f"{parameter.name} is given more than once.")


def _plain(parameter: QueryParameter) -> None:
    if parameter.modifier is not None or parameter.chain:
        raise malformed_parameter(parameter, f"{parameter.name} takes neither modifier nor chain.")


def _count(parameter: QueryParameter, search: Search) -> Verdict:
    _once(parameter, search)
    if _COUNT.fullmatch(parameter.value) is None:
        raise malformed_parameter(parameter, "_count is a whole number.")
    return Keep(parameter.key, str(int(parameter.value)))


def _sort(parameter: QueryParameter, search: Search) -> Verdict:
    """Sorting tells the order of values that the token sees anyway; chains would tell of others."""
    _once(parameter, search)
    for rule in parameter.value.split(","):
        code = rule.removeprefix("-")
        if code != "_score" and search.vocabulary.parameter(search.type, code) is None and not _capable(code, search):
            raise malformed_parameter(parameter, "_sort names a search parameter that is not known for this type.")
    return Keep(parameter.key, parameter.value)


def _capable(code: str, search: Search) -> bool:
    return search.access.policy.capabilities.names(search.type, code)


def _summary(parameter: QueryParameter, search: Search) -> Verdict:
    _once(parameter, search)
    if not is_summary(parameter.value):
        raise malformed_parameter(parameter, "_summary is one of true, text, data, count and false.")
    if parameter.value == "count":
        if search.exact:
            return Keep(parameter.key, parameter.value)
        return _refuse(
            "inexact-count", "The bounds of this token cannot be said as search parameters: a count could be of others too.", parameter
        )
    if hides_check(parameter.value, search.members_read()):
        return _refuse("summary-hides-check", "This _summary hides elements that must be checked under this token.", parameter)
    return Keep(parameter.key, parameter.value)


def _total(parameter: QueryParameter, search: Search) -> Verdict:
    _once(parameter, search)
    if parameter.value not in _TOTALS:
        raise malformed_parameter(parameter, "_total is one of none, estimate and accurate.")
    if not search.exact:
        return Drop("_total is not sent: the bounds of this token cannot be said as search parameters alone")
    return Keep(parameter.key, parameter.value)


def _elements(parameter: QueryParameter, _search: Search) -> Verdict:
    """Collected by ``Search.elements``, which adds what the check needs."""
    _plain(parameter)
    if any(_ELEMENT.fullmatch(name) is None for name in parameter.value.split(",")):
        raise malformed_parameter(parameter, "_elements is a comma-separated list of element names.")
    return Drop()


def _contained(parameter: QueryParameter, search: Search) -> Verdict:
    _once(parameter, search)
    if parameter.value == "false":
        return Drop()
    return _refuse("parameter-not-allowed", "Contained resources have no boundary of their own: _contained is refused.", parameter)


def _reaching(parameter: QueryParameter, _search: Search) -> Verdict:
    return _refuse("parameter-not-allowed", f"{parameter.name} can reach outside this token's bounds and is refused.", parameter)


def _refuse(code: str, text: str, parameter: QueryParameter) -> Verdict:
    return Refuse(Denial(code, text, f"http.{parameter.name}"))


CONTROLS: Mapping[str, Callable[[QueryParameter, Search], Verdict]] = {
    "_format": _drop,
    "_pretty": _keep,
    "_count": _count,
    "_sort": _sort,
    "_summary": _summary,
    "_total": _total,
    "_elements": _elements,
    "_contained": _contained,
    **dict.fromkeys(("_containedType", "_filter", "_query", "_list", "_in", "_type", "_graph"), _reaching),
}
