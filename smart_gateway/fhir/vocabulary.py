"""One release's vocabulary: types, search parameters with compiled paths, compartments, operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from smart_gateway.fhir.releases import Release


class ParameterKind(StrEnum):
    """Spec: https://hl7.org/fhir/R4/valueset-search-param-type.html"""

    NUMBER = "number"
    DATE = "date"
    STRING = "string"
    TOKEN = "token"
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
    """One part of a composite parameter: a kind and paths relative to the composite's own elements."""

    kind: ParameterKind
    paths: tuple[ElementPath, ...]


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
        """Whether the parameter's values can be read from a resource in memory."""
        return bool(self.paths)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation definition: ``name`` without ``$``, levels, the types it is defined on, and whether it changes state."""

    name: str
    system: bool
    type: bool
    instance: bool
    resources: frozenset[str]
    affects_state: bool


class Vocabulary:
    """What one release defines. Built by ``load_vocabulary``; immutable; parameters of a type are built on first use."""

    release: Release
    types: frozenset[str]
    compartments: frozenset[str]  # the five: Patient, Encounter, RelatedPerson, Practitioner, Device

    def parameter(self, type: str, code: str) -> SearchParameter | None:
        """The parameter ``code`` (without modifier) of ``type``, those of Resource and DomainResource included."""
        raise NotImplementedError

    def parameters(self, type: str) -> Mapping[str, SearchParameter]:
        """All parameters of ``type`` by code."""
        raise NotImplementedError

    def inclusion(self, compartment: str, type: str) -> tuple[str, ...]:
        """The inclusion parameters by which ``type`` is in ``compartment``; empty where it is not. ``{def}`` is left out:
        the compartment's own type is a member by its id (semantics 3)."""
        raise NotImplementedError

    def operation(self, name: str) -> Operation | None:
        """The definition of operation ``name`` (without ``$``)."""
        raise NotImplementedError


def load_vocabulary(release: Release) -> Vocabulary:
    """The vocabulary of ``release``, loaded once and kept."""
    raise NotImplementedError
