"""Calls of operations that would tell of elements that the policy hides: by what they choose, order and look up.

Spec: semantics 4 and 9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from smart_gateway.fhir.references import Reference
from smart_gateway.fhir.vocabulary import ParameterKind
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.operations.arguments import Judged
from smart_gateway.policy.operations.table import Answers, OperationRule
from smart_gateway.policy.owners import Owners
from smart_gateway.request.model import FhirRequest

_TEXT = "The operation would tell of elements that the policy of this gateway hides."
_TERMS = {
    "ValueSet": ("url", "version", "status", "compose", "expansion"),
    "CodeSystem": ("url", "version", "status", "hierarchyMeaning", "filter", "property", "concept"),
    "ConceptMap": ("url", "version", "status", "sourceUri", "sourceCanonical", "targetUri", "targetCanonical", "group"),
}
_EFFECTIVE = ("effectiveDateTime", "effectivePeriod", "effectiveTiming", "effectiveInstant")
# By type, the elements that an operation goes by of itself; search parameters given to it are judged as those of a search.
_GOES_BY: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "$lastn": {"Observation": ("code", *_EFFECTIVE)},
    "$docref": {"DocumentReference": ("status", "type", "subject", "date", "context", "period")},
}
_UPDATED = "_lastUpdated"


def revealing_call(request: FhirRequest, rule: OperationRule, judged: Judged, access: Access) -> tuple[Denial, ...]:
    """One cause for each part of the call that would tell of what is hidden."""
    if not access.restrictions.fields.hides:
        return ()
    return tuple([Denial("hidden-elements", _TEXT, place) for place in dict.fromkeys(_telling(request, rule, judged, access))])


def _telling(request: FhirRequest, rule: OperationRule, judged: Judged, access: Access) -> Iterator[str]:
    fields, keys = access.restrictions.fields, [argument.parameter.key for argument in judged.given]
    named = _TERMS if rule.answers is Answers.TERMS else _GOES_BY.get(rule.name, {})
    if any(path.meets_names([name]) for type, names in named.items() for name in names for path in fields.hidden(type)):
        yield "http.path"
    if rule.answers is Answers.RECORD:
        yield from (f"http.{key}" for key in keys if key in {"start", "end"} and _tells_dates(access))
        if _tells_members(request, access):
            yield "http.path"
    if rule.answers is Answers.OUTCOME and "resource" not in keys:  # what is stored is validated: its faults are places in it
        yield "http.path"


def _tells_dates(access: Access) -> bool:
    """Whether a date of anything in a record is hidden."""
    fields, vocabulary = access.restrictions.fields, access.policy.vocabulary
    dates = (
        (type, known)
        for type in vocabulary.types
        if fields.hides_of(type)
        for known in vocabulary.parameters(type).values()
        if known.kind is ParameterKind.DATE and known.code != _UPDATED
    )
    return any(fields.tells(type, known) for type, known in dates)


def _tells_members(request: FhirRequest, access: Access) -> bool:
    """Whether the record shows whose a resource is, where that is hidden; who sees nobody else's knows that."""
    fields, policy, owner = access.restrictions.fields, access.policy, Reference(request.type or "", request.id or "")
    for type in policy.vocabulary.types:
        boundary = access.readable(type)
        if not fields.hides_of(type) or boundary.is_nothing or Owners.of(boundary).only(type) == owner:
            continue
        codes = [code for code in policy.rules.inclusion(owner.type, type) if code != "{def}"]
        if any(fields.tells(type, policy.vocabulary.parameter(type, code)) for code in codes):
            return True
    return False
