"""The parameters that steer a search rather than select: ``_count``, ``_sort``, ``_summary``, ... (semantics 4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from smart_gateway.fhir.releases import Release
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.parameters.summaries import hides_check, is_summary
from smart_gateway.policy.parameters.verdicts import Drop, Keep, Refuse, Search, Verdict, malformed_parameter, unknown_parameter
from smart_gateway.request.model import QueryParameter
from smart_gateway.request.parameters import are_elements

Judge = Callable[[QueryParameter, Search], Verdict]

_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_CONTAINED = frozenset({"true", "both"})
_CONTAINED_TYPES = frozenset({"container", "contained"})
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


def wants_count(parameter: QueryParameter) -> bool:
    """Whether only the number of matches is asked for. Spec: FHIR R4 search.html 3.1.1.5.3: ``_count=0`` is ``_summary=count``."""
    return parameter.value == "count" if parameter.key == "_summary" else parameter.key == "_count" and not parameter.value.strip("0")


def _whole_number(parameter: QueryParameter, search: Search) -> Verdict:
    _once(parameter, search)
    if _COUNT.fullmatch(parameter.value) is None:
        raise malformed_parameter(parameter, f"{parameter.name} is a whole number.")
    return Keep(parameter.key, str(int(parameter.value)))


def _count(parameter: QueryParameter, search: Search) -> Verdict:
    verdict = _whole_number(parameter, search)
    return verdict if search.exact or not wants_count(parameter) else _inexact_count(parameter)


def _inexact_count(parameter: QueryParameter) -> Verdict:
    text = "The bounds of this token cannot be said as search parameters: a count could be of others too."
    return _refuse("inexact-count", text, parameter)


def _sort(parameter: QueryParameter, search: Search) -> Verdict:
    """Sorting tells the order of values that the token sees anyway; chains would tell of others."""
    _once(parameter, search)
    for rule in parameter.value.split(","):
        code = rule.removeprefix("-")
        if code != "_score" and not _sortable(code, search):
            raise malformed_parameter(parameter, "_sort names a search parameter that is not known for this type.")
    return Keep(parameter.key, parameter.value)


def _sortable(code: str, search: Search) -> bool:
    """A parameter that selects by an element; those that steer, or lead to other resources, give no order of one's own."""
    if code in CONTROLS or code == "_has":
        return False
    policy = search.access.policy
    if search.vocabulary.parameter(search.type, code) is not None or policy.capabilities.names(search.type, code):
        return True
    return not code.startswith("_") and policy.lets_through(search.type, code) is not None


def _summary(parameter: QueryParameter, search: Search) -> Verdict:
    _once(parameter, search)
    if not is_summary(parameter.value):
        raise malformed_parameter(parameter, "_summary is one of true, text, data, count and false.")
    if parameter.value == "count":
        return Keep(parameter.key, parameter.value) if search.exact else _inexact_count(parameter)
    if hides_check(parameter.value, search.boundary, search.type, search.access):
        return _refuse("summary-hides-check", "This _summary may hide elements that must be checked under this token.", parameter)
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
    if not are_elements(parameter.value):
        raise malformed_parameter(parameter, "_elements is a comma-separated list of element names.")
    return Drop()


def _contained(parameter: QueryParameter, search: Search) -> Verdict:
    _once(parameter, search)
    if parameter.value == "false":
        return Drop()
    if parameter.value not in _CONTAINED:
        raise malformed_parameter(parameter, "_contained is one of false, true and both.")
    return _refuse("parameter-not-allowed", "Contained resources have no boundary of their own: _contained is refused.", parameter)


def _contained_type(parameter: QueryParameter, search: Search) -> Verdict:
    """It says what ``_contained`` answers with; that is false or refused."""
    _once(parameter, search)
    if parameter.value not in _CONTAINED_TYPES:
        raise malformed_parameter(parameter, "_containedType is container or contained.")
    return Drop()


def _of_r5(judge: Judge) -> Judge:
    """What older releases do not define is unknown there, as any other name is."""

    def judge_of_r5(parameter: QueryParameter, search: Search) -> Verdict:
        if search.vocabulary.release is not Release.R5:
            raise unknown_parameter(parameter, search.type)
        return judge(parameter, search)

    return judge_of_r5


def _score(parameter: QueryParameter, search: Search) -> Verdict:
    if parameter.value not in {"true", "false"}:
        raise malformed_parameter(parameter, "_score is true or false.")
    return _keep(parameter, search)


def _reaching(parameter: QueryParameter, _search: Search) -> Verdict:
    return _refuse("parameter-not-allowed", f"{parameter.name} can reach outside this token's bounds and is refused.", parameter)


def _refuse(code: str, text: str, parameter: QueryParameter) -> Verdict:
    return Refuse(Denial(code, text, f"http.{parameter.name}"))


CONTROLS: Mapping[str, Judge] = {
    "_format": _drop,
    "_pretty": _keep,
    "_count": _count,
    "_sort": _sort,
    "_summary": _summary,
    "_total": _total,
    "_elements": _elements,
    "_contained": _contained,
    "_containedType": _contained_type,
    "_score": _of_r5(_score),
    "_maxresults": _of_r5(_whole_number),
    **dict.fromkeys(("_filter", "_query", "_list", "_in", "_type", "_graph"), _reaching),
}
