"""The modifiers that FHIR defines, by kind of parameter."""

from __future__ import annotations

from collections.abc import Mapping

from smart_gateway.fhir.vocabulary import ParameterKind, SearchParameter

# Spec: FHIR R4 search.html 3.1.1.5.5 and R5 search.html 3.2.1.5.5. For references each target type is a modifier too.
MODIFIERS: Mapping[ParameterKind, frozenset[str]] = {
    ParameterKind.STRING: frozenset({"missing", "exact", "contains", "text"}),
    ParameterKind.TOKEN: frozenset({"missing", "text", "not", "above", "below", "in", "not-in", "of-type", "code-text", "text-advanced"}),
    ParameterKind.REFERENCE: frozenset(
        {"missing", "identifier", "above", "below", "code-text", "text", "in", "not-in", "text-advanced", "contains"}
    ),
    ParameterKind.URI: frozenset({"missing", "above", "below", "contains"}),
    ParameterKind.DATE: frozenset({"missing"}),
    ParameterKind.NUMBER: frozenset({"missing"}),
    ParameterKind.QUANTITY: frozenset({"missing"}),
    ParameterKind.COMPOSITE: frozenset({"missing"}),
    ParameterKind.SPECIAL: frozenset({"missing"}),
}

# These go by what another resource says: a List, a Group or a ValueSet of references, or the parents of the one referred to.
_REACHING = frozenset({"in", "not-in", "above", "below", "contains"})


def is_known(modifier: str | None, parameter: SearchParameter) -> bool:
    """Whether FHIR defines ``modifier`` for ``parameter``; unknown ones may mean anything to the upstream (semantics 0.2)."""
    if modifier is None or modifier in MODIFIERS[parameter.kind]:
        return True
    return parameter.kind is ParameterKind.REFERENCE and modifier in parameter.targets


def reaches_outside(modifier: str | None, parameter: SearchParameter) -> bool:
    """Whether a match would tell about a resource that was not judged, as ``_list`` and ``_in`` do. Spec: semantics 4; FHIR R5
    search.html 3.2.1.5.5."""
    return modifier in _REACHING and (parameter.kind is ParameterKind.REFERENCE or parameter.code == "_id")
