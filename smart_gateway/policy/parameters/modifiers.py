"""The modifiers that FHIR defines, by kind of parameter and release."""

from __future__ import annotations

from collections.abc import Mapping

from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import ParameterKind, SearchParameter

# Spec: FHIR R4 search.html 3.1.1.5.5. For references each target type is a modifier too. `text` of strings is R5's; servers had it before.
MODIFIERS: Mapping[ParameterKind, frozenset[str]] = {
    ParameterKind.STRING: frozenset({"missing", "exact", "contains", "text"}),
    ParameterKind.TOKEN: frozenset({"missing", "text", "not", "above", "below", "in", "not-in", "of-type"}),
    ParameterKind.REFERENCE: frozenset({"missing", "identifier", "above", "below"}),
    ParameterKind.URI: frozenset({"missing", "above", "below"}),
    ParameterKind.DATE: frozenset({"missing"}),
    ParameterKind.NUMBER: frozenset({"missing"}),
    ParameterKind.QUANTITY: frozenset({"missing"}),
    ParameterKind.COMPOSITE: frozenset({"missing"}),
    ParameterKind.SPECIAL: frozenset({"missing"}),
}

# Spec: FHIR R5 search.html 3.2.1.5.5: what it adds.
ADDED_BY_R5: Mapping[ParameterKind, frozenset[str]] = {
    ParameterKind.TOKEN: frozenset({"code-text", "text-advanced"}),
    ParameterKind.REFERENCE: frozenset({"code-text", "text", "text-advanced"}),
    ParameterKind.URI: frozenset({"contains"}),
}

# These go by what another resource says: a List, a Group or a ValueSet of references, or the parents of the one referred to.
REACHING = frozenset({"in", "not-in", "above", "below", "contains"})

VALUE_SET = frozenset({"in", "not-in"})  # of tokens: their values name value sets


def defined(kind: ParameterKind, release: Release) -> frozenset[str]:
    """The modifiers that ``release`` defines for a kind, the types of references left out."""
    added = ADDED_BY_R5.get(kind, frozenset()) if release is Release.R5 else frozenset()
    return MODIFIERS[kind] | added


def is_known(modifier: str | None, parameter: SearchParameter, release: Release) -> bool:
    """Whether FHIR defines ``modifier`` for ``parameter``; unknown ones may mean anything to the upstream (semantics 0.2)."""
    if modifier is None or modifier in defined(parameter.kind, release):
        return True
    return parameter.kind is ParameterKind.REFERENCE and modifier in parameter.targets


def is_judged(modifier: str | None, parameter: SearchParameter, release: Release) -> bool:
    """Whether ``parameter`` with ``modifier`` is judged by what FHIR says of it: no policy lets it through otherwise."""
    return is_known(modifier, parameter, release) or reaches_outside(modifier, parameter)


def reaches_outside(modifier: str | None, parameter: SearchParameter) -> bool:
    """Whether a match would tell about a resource that was not judged, as ``_list`` and ``_in`` do. Spec: semantics 4; FHIR R5
    search.html 3.2.1.5.5. HAPI finds nothing by ``_id:not`` of an id that nobody has, and everything else by one that somebody has."""
    if parameter.code == "_id" and modifier == "not":
        return True
    return modifier in REACHING and (parameter.kind is ParameterKind.REFERENCE or parameter.code == "_id")
