"""Search in the embedded FHIR server, by the release's own search parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from smart_gateway.boundary.filters import Predicate, compile_filter, split_values, undecidable
from smart_gateway.demo.store import Resource, Store
from smart_gateway.errors import RequestError
from smart_gateway.fhir.elements import elements
from smart_gateway.fhir.references import Bases, Reference, parse_reference
from smart_gateway.fhir.vocabulary import Vocabulary

_DEFAULT_COUNT = 20
_SILENT = frozenset({"_format", "_pretty", "_total", "_sort", "_contained", "_containedType"})


@dataclass(slots=True)
class Criteria:
    """A search as read: predicates that all must hold, includes as (reverse, type, parameter, target), and how to answer."""

    predicates: list[Predicate] = field(default_factory=list)
    includes: list[tuple[bool, str, str, str | None]] = field(default_factory=list)
    count: int = _DEFAULT_COUNT
    elements: frozenset[str] | None = None
    count_only: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """All matches, and for any of them what was asked to come along."""

    matches: tuple[Resource, ...]
    criteria: Criteria


class Searcher:
    """Searches ``store``; ``bases`` are the server's own, for absolute references. Like HAPI it refuses what it does not know."""

    def __init__(self, store: Store, vocabulary: Vocabulary, bases: Bases) -> None:
        self._store = store
        self._vocabulary = vocabulary
        self._bases = bases

    def search(self, type: str, pairs: Sequence[tuple[str, str]]) -> Found:
        """The matches on ``type``. Raises RequestError for what cannot be searched by."""
        criteria = Criteria()
        for name, value in pairs:
            self._read(criteria, type, name, value)
        matches = (r for r in self._store.all(type) if all(holds(r) for holds in criteria.predicates))
        return Found(tuple(matches), criteria)

    def included(self, page: Sequence[Resource], criteria: Criteria) -> list[Resource]:
        """What ``_include`` and ``_revinclude`` bring along with ``page``, each resource once."""
        found: dict[tuple[str, str], Resource] = {}
        for reverse, type, code, target in criteria.includes:
            for resource in self._referring(page, type, code) if reverse else self._referred(page, type, code, target):
                found[resource["resourceType"], resource["id"]] = resource
        matched = {(resource["resourceType"], resource["id"]) for resource in page}
        return [resource for key, resource in found.items() if key not in matched]

    def _read(self, criteria: Criteria, type: str, name: str, value: str) -> None:
        code, _, modifier = name.partition(":")
        match code:
            case "_include" | "_revinclude":
                criteria.includes.append(_include(code == "_revinclude", value))
            case "_count":
                criteria.count = int(value) if value.isdecimal() and len(value) < 5 else _DEFAULT_COUNT
            case "_elements":
                criteria.elements = frozenset(value.split(","))
            case "_summary":
                criteria.count_only = value == "count"
            case _ if code not in _SILENT:
                criteria.predicates.append(self._predicate(type, code, modifier or None, value))

    def _predicate(self, type: str, code: str, modifier: str | None, value: str) -> Predicate:
        parameter = self._vocabulary.parameter(type, code)
        if parameter is None:
            raise RequestError(f"{type} has no such search parameter.", reason="unknown-parameter")
        values = split_values(value)
        if undecidable(parameter, modifier, values) is not None:
            raise RequestError("This server cannot search by that modifier or value.", reason="unknown-modifier")
        return compile_filter(parameter, modifier, values, self._bases)

    def _referred(self, page: Sequence[Resource], type: str, code: str, target: str | None) -> Iterator[Resource]:
        for reference in (r for resource in page if resource["resourceType"] == type for r in self._references(resource, code)):
            version = self._store.current(reference.type, reference.id)
            if version is not None and version.resource is not None and target in {None, reference.type}:
                yield version.resource

    def _referring(self, page: Sequence[Resource], type: str, code: str) -> Iterator[Resource]:
        wanted = {(resource["resourceType"], resource["id"]) for resource in page}
        for resource in self._store.all(type):
            if any((reference.type, reference.id) in wanted for reference in self._references(resource, code)):
                yield resource

    def _references(self, resource: Resource, code: str) -> Iterator[Reference]:
        parameter = self._vocabulary.parameter(resource["resourceType"], code)
        for element in elements(resource, parameter.paths) if parameter is not None else ():
            text = element.value.get("reference") if isinstance(element.value, dict) else None
            reference = parse_reference(text, self._bases) if isinstance(text, str) else None
            if reference is not None and (not element.targets or reference.type in element.targets):
                yield reference


def _include(reverse: bool, value: str) -> tuple[bool, str, str, str | None]:
    parts = value.split(":")
    if len(parts) not in {2, 3}:
        raise RequestError("An include names a type and a parameter.", reason="unknown-parameter")
    return reverse, parts[0], parts[1], parts[2] if len(parts) == 3 else None


def only(resource: Resource, names: frozenset[str] | None) -> dict[str, Any]:
    """``resource`` with no more than these elements, marked as such. Spec: FHIR R4 search.html, _elements."""
    if names is None:
        return resource
    tag = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
    kept = {name: value for name, value in resource.items() if name in names | {"resourceType", "id"}}
    return {**kept, "meta": {**resource["meta"], "tag": [tag]}}
