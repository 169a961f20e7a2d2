"""The modifiers that FHIR defines, by kind of parameter."""

from __future__ import annotations

from collections.abc import Mapping

from smart_gateway.fhir.vocabulary import ParameterKind

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
