"""One release's vocabulary: types, search parameters with compiled paths, compartments, operations.

The tables are generated (``tools/generate_tables.py``); ``data/README.md`` says how they are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from smart_gateway.fhir.releases import Release


class ParameterKind(StrEnum):
    """Spec: https://hl7.org/fhir/R4/valueset-search-param-type.html"""

    NUMBER = "number"
    DATE = "date"
    STRING = "string"
    TOKEN = "token"  # noqa: S105 (a kind of parameter, no secret)
    REFERENCE = "reference"
    COMPOSITE = "composite"
    QUANTITY = "quantity"
    URI = "uri"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class Step:
    """One step down: the JSON member ``name``; where ``where`` is set only items whose member has that string value."""

    name: str
    where: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ElementPath:
    """A typed way from a resource (or, in a component, from an element) to values: ``steps``, the FHIR type found there
    (``CodeableConcept``, ``Reference``, ...) and, for references, the only target types that count (empty: all)."""

    steps: tuple[Step, ...]
    type: str
    targets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite parameter: a kind and paths relative to the composite's own elements, or, where ``of_resource`` is
    set (HL7's ``%resource``), to the resource."""

    kind: ParameterKind
    paths: tuple[ElementPath, ...]
    of_resource: bool = False


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter of one type. ``paths`` is empty where the expression cannot be evaluated (``evaluable`` is then false
    and the parameter can never be used as a constraint); ``components`` only for composites."""

    code: str
    kind: ParameterKind
    targets: frozenset[str]
    paths: tuple[ElementPath, ...]
    components: tuple[Component, ...] = ()

    @property
    def evaluable(self) -> bool:
        """Whether the parameter's values can be read from a resource in memory. Those of kind special have a meaning of their own."""
        return bool(self.paths) and self.kind is not ParameterKind.SPECIAL


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation definition: ``name`` without ``$``, levels, the types it is defined on (``Resource``: any), and whether it
    changes state."""

    name: str
    system: bool
    type: bool
    instance: bool
    resources: frozenset[str]
    affects_state: bool

    def merge(self, other: Operation) -> Operation:
        """Both definitions of one name as one: wherever either may be called, and changing state where either does."""
        return Operation(
            self.name,
            self.system or other.system,
            self.type or other.type,
            self.instance or other.instance,
            self.resources | other.resources,
            self.affects_state or other.affects_state,
        )


class Vocabulary:
    """What one release defines. Made by ``load_vocabulary``; immutable; parameters of a type are built on first use.

    ``types`` are the concrete resource types, ``compartments`` the five: Patient, Encounter, RelatedPerson, Practitioner, Device.
    """

    def __init__(self, release: Release, table: Mapping[str, Any]) -> None:
        """``table``: the content of one file of ``data/``."""
        self.release = release
        self.types: frozenset[str] = frozenset(table["types"])
        self.compartments: frozenset[str] = frozenset(table["compartments"])
        self._not_domain_resources = frozenset(table["not_domain_resources"])
        self._rows: Mapping[str, Mapping[str, Any]] = table["parameters"]
        self._inclusions: Mapping[str, Mapping[str, list[str]]] = table["compartments"]
        self._summaries: Mapping[str, Mapping[str, list[str]]] = table["summaries"]
        self._operations = tuple(_operation(row) for row in table["operations"])
        self._parameters: dict[str, Mapping[str, SearchParameter]] = {}

    def parameter(self, type: str, code: str) -> SearchParameter | None:
        """The parameter ``code`` (without modifier) of ``type``, those of Resource and DomainResource included."""
        return self.parameters(type).get(code)

    def parameters(self, type: str) -> Mapping[str, SearchParameter]:
        """All parameters of ``type`` by code; none of a type that the release does not have."""
        built = self._parameters.get(type)
        if built is None:
            if type not in self.types:
                return _NO_PARAMETERS
            built = self._parameters[type] = MappingProxyType(self._build(type))
        return built

    def inclusion(self, compartment: str, type: str) -> tuple[str, ...]:
        """The inclusion parameters by which ``type`` is in ``compartment``; empty where it is not. ``{def}`` is left out:
        the compartment's own type is a member by its id (semantics 3)."""
        codes = self._inclusions.get(compartment, {}).get(type, ())
        return tuple(code for code in codes if code != "{def}")

    def summary_members(self, summary: str, type: str) -> frozenset[str]:
        """The top-level members that stay for sure under ``_summary=true`` or ``text``, of those that parameters of ``type`` look at;
        what is not among them may be hidden. ``resourceType``, ``id`` and ``meta`` always stay and are not listed."""
        return frozenset(self._summaries.get(summary, {}).get(type, ()))

    def operation(self, name: str, type: str | None = None) -> Operation | None:
        """The definition of operation ``name`` (without ``$``) as it is for ``type``; without ``type``, all of that name as one."""
        result = None
        for found in self._operations:
            if found.name == name and (type is None or not found.resources.isdisjoint({type, "Resource"})):
                result = found if result is None else result.merge(found)
        return result

    def _build(self, type: str) -> dict[str, SearchParameter]:
        bases = ("Resource", type) if type in self._not_domain_resources else ("Resource", "DomainResource", type)
        rows = {code: row for base in bases for code, row in self._rows.get(base, {}).items()}
        return {code: self._parameter(code, row) for code, row in rows.items()}

    def _parameter(self, code: str, row: Mapping[str, Any]) -> SearchParameter:
        targets = row.get("targets", ())
        return SearchParameter(
            code,
            ParameterKind(row["kind"]),
            self.types if targets == ["*"] else frozenset(targets),
            _paths(row.get("paths", ())),
            tuple(_component(part) for part in row.get("components", ())),
        )


@cache
def load_vocabulary(release: Release) -> Vocabulary:
    """The vocabulary of ``release``, loaded once and kept."""
    table = files(__package__).joinpath("data", f"{release.value.lower()}.json").read_bytes()
    return Vocabulary(release, json.loads(table))


_NO_PARAMETERS: Mapping[str, SearchParameter] = MappingProxyType({})
_STEP = re.compile(r"(\w+)(?:\[(\w+)=([^\]]*)\])?(?:\.|$)")


def _paths(texts: Iterable[str]) -> tuple[ElementPath, ...]:
    return tuple(_path(text) for text in texts)


def _path(text: str) -> ElementPath:
    """``telecom[system=phone]:ContactPoint`` or ``subject:Reference@Patient`` as a value."""
    steps, _, leaf = text.rpartition(":")
    type, _, targets = leaf.partition("@")
    found = tuple(Step(name, (member, value) if member else None) for name, member, value in _STEP.findall(steps))
    return ElementPath(found, type, frozenset(targets.split(",")) if targets else frozenset())


def _component(row: Mapping[str, Any]) -> Component:
    return Component(ParameterKind(row["kind"]), _paths(row["paths"]), row.get("of_resource", False))


def _operation(row: Mapping[str, Any]) -> Operation:
    levels = row["levels"]
    return Operation(
        row["code"], "system" in levels, "type" in levels, "instance" in levels, frozenset(row["resources"]), row["affects_state"]
    )
