"""Reference values of a search as the upstream knows them: absolute URLs under either base become relative."""

from __future__ import annotations

from smart_gateway.fhir.references import Bases, parse_reference
from smart_gateway.fhir.search_values import split_values
from smart_gateway.fhir.vocabulary import ParameterKind, SearchParameter
from smart_gateway.policy.model import Policy
from smart_gateway.request.model import FhirRequest, QueryParameter


def local_pairs(request: FhirRequest, policy: Policy) -> tuple[tuple[str, str], ...]:
    """All parameters of an unlimited search, in order; ``_format`` goes into ``Accept``."""
    return tuple((p.key, _local(p, request.type, policy)) for p in request.parameters if p.key != "_format")


def holds_references(parameter: SearchParameter) -> bool:
    """Whether values name resources of servers: a canonical that begins with one of our bases is still no reference."""
    return parameter.kind is ParameterKind.REFERENCE and all(path.type not in {"canonical", "uri"} for path in parameter.paths)


def local_value(value: str, parameter: SearchParameter, bases: Bases) -> str:
    """One value: ``https://public/fhir/Patient/1`` is ``Patient/1``; everything else stays."""
    if not value.startswith((bases.public, bases.upstream)) or not holds_references(parameter):
        return value
    reference = parse_reference(value, bases)
    return str(reference) if reference is not None else value


def _local(parameter: QueryParameter, type: str | None, policy: Policy) -> str:
    known = policy.vocabulary.parameter(type, parameter.name) if type is not None else None
    if known is None or known.kind is not ParameterKind.REFERENCE or policy.bases.public not in parameter.value:
        return parameter.value
    return ",".join(local_value(value, known, policy.bases) for value in split_values(parameter.value))
