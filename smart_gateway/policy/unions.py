"""Searches made of several: which of them can be given as one, and the plan for it (semantics 4, compartments by ``union``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from smart_gateway.fhir.elements import top_members
from smart_gateway.fhir.vocabulary import ParameterKind, Vocabulary
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.parameters.summaries import staying
from smart_gateway.policy.plan import Branch, CheckUnion, Deny, SortKey, UpstreamRequest
from smart_gateway.request.model import FhirRequest

MOST_REQUESTS = 40  # upstream requests for one page of a union; what is left waits for the next page
MOST_MATCHES = 1000  # on one page of a union
_MOST_BRANCHES = 250  # more than the types of any release

_NO_COUNT = "This search is made of several: how many resources match cannot be told before all of them were read."
_NO_SUMMARY = "This search is made of several: their answers are put together by elements that this _summary may hide."
_NO_SORT = "This search is made of several: their answers can be merged by _lastUpdated and by parameters of type date only."
_SORTED_TOO_WIDE = f"A sorted search is made of at most {MOST_REQUESTS} searches: name fewer types."
_TOO_WIDE = f"A search is made of at most {_MOST_BRANCHES} searches: name fewer types."
_ALWAYS = frozenset({"resourceType", "id", "meta"})

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Searches:
    """The searches that answer a search of one type, and in words what is checked of their answers."""

    branches: tuple[Branch, ...]
    checks: tuple[str, ...]


def unite(request: FhirRequest, branches: tuple[Branch, ...], vocabulary: Vocabulary) -> CheckUnion | Deny:
    """One answer of all ``branches``, whose parameters were judged; Deny where pages, order or number of it could not be told."""
    given = {parameter.key: parameter.value for parameter in request.parameters}
    types = frozenset(_types(branches))
    if given.get("_summary") == "count":
        return _refuse("union-count", _NO_COUNT, "_summary")
    count = int(given["_count"]) if "_count" in given else None
    if count == 0:
        return _refuse("union-count", _NO_COUNT, "_count")
    sort = _sort_keys(given.get("_sort", ""), types, vocabulary)
    if sort is None:
        return _refuse("sort-not-mergeable", _NO_SORT, "_sort")
    if len(branches) > (MOST_REQUESTS if sort else _MOST_BRANCHES):
        return _refuse("too-many-searches", _SORTED_TOO_WIDE if sort else _TOO_WIDE, "_sort" if sort else "_type")
    summary = given.get("_summary", "false")
    if any(_hides_order(summary, branch, sort, vocabulary) for branch in branches):
        return _refuse("summary-hides-check", _NO_SUMMARY, "_summary")
    fitted = tuple(_fit(branch, _sorted_members(branch, sort, vocabulary)) for branch in branches)
    return CheckUnion(fitted, next(iter(types)) if len(types) == 1 and request.type is not None else None, count, sort)


def _types(branches: tuple[Branch, ...]) -> Iterator[str]:
    return (branch.rule.type for branch in branches if branch.rule.type is not None)


def _sort_keys(text: str, types: frozenset[str], vocabulary: Vocabulary) -> tuple[SortKey, ...] | None:
    """The keys of ``_sort``; None where one of them has no order that is the same everywhere: of strings, codes and references each
    server has its own."""
    rules = [rule for rule in text.split(",") if rule]
    keys = tuple(SortKey(rule.removeprefix("-"), rule.startswith("-")) for rule in rules)
    return keys if all(_is_time(key.code, type, vocabulary) for key in keys for type in types) else None


def _is_time(code: str, type: str, vocabulary: Vocabulary) -> bool:
    parameter = vocabulary.parameter(type, code)
    return parameter is not None and parameter.kind is ParameterKind.DATE and parameter.evaluable


def _sorted_members(branch: Branch, sort: tuple[SortKey, ...], vocabulary: Vocabulary) -> frozenset[str]:
    """The top-level members by which the answers are merged."""
    known = [vocabulary.parameter(branch.rule.type or "", key.code) for key in sort]
    return frozenset(name for parameter in known if parameter is not None for name in top_members(parameter))


def _hides_order(summary: str, branch: Branch, sort: tuple[SortKey, ...], vocabulary: Vocabulary) -> bool:
    """Whether ``summary`` may hide what tells the place of a match, or that another branch gives it."""
    type = branch.rule.type or ""
    stays = staying(summary, type, vocabulary)
    others = [vocabulary.parameter(type, filter.parameter) for filter in branch.unless]
    read = (top_members(parameter) for parameter in others if parameter is not None)
    return stays is not None and not stays.issuperset(_sorted_members(branch, sort, vocabulary).union(*read))


def _fit(branch: Branch, members: frozenset[str]) -> Branch:
    """``branch`` asked for pages that can be merged: without ``_total``, not too large, with the elements of ``_sort``."""
    upstream = branch.upstream
    pairs = upstream.query if upstream.form is None else upstream.form
    asked = next((value.split(",") for name, value in pairs if name == "_elements"), None)
    added = sorted(members - _ALWAYS - {name.rpartition(".")[2] for name in asked}) if asked is not None else []
    fitted = tuple(_fit_pair(name, value, added) for name, value in pairs if name != "_total")
    rule = replace(branch.rule, exact=False, drop_elements=(*branch.rule.drop_elements, *added))
    return replace(branch, upstream=_with_pairs(upstream, fitted), rule=rule)


def _fit_pair(name: str, value: str, added: list[str]) -> tuple[str, str]:
    if name == "_elements" and added:
        return name, ",".join((value, *added))
    return (name, str(min(int(value), MOST_MATCHES))) if name == "_count" else (name, value)


def _with_pairs(upstream: UpstreamRequest, pairs: Pairs) -> UpstreamRequest:
    return replace(upstream, query=pairs) if upstream.form is None else replace(upstream, form=pairs)


def _refuse(code: str, text: str, parameter: str) -> Deny:
    return Deny(403, (Denial(code, text, f"http.{parameter}"),))
