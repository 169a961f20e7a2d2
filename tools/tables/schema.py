"""The element tables of one release: which members an element has in JSON, and of which types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tables.sources import Definition, Definitions, flag, many, one

_SYSTEM = "http://hl7.org/fhirpath/System."
_FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"


@dataclass(frozen=True)
class Place:
    """An element as reached: the JSON ``member`` it has, its FHIR ``type``, and the element path ``at`` whose children it has."""

    member: str
    type: str
    at: str


@dataclass(frozen=True)
class Element:
    """What is defined of an element; ``reference`` is the path of the one whose children it has (contentReference)."""

    types: tuple[str, ...]
    reference: str | None
    in_summary: bool
    mandatory: bool


class Schema:
    """All elements of a release by path, such as ``Observation.value[x]``."""

    def __init__(self, definitions: Definitions) -> None:
        self._elements: dict[str, Element] = {}
        self._below: dict[str, list[str]] = {}
        self._primitive: set[str] = set()
        self.concrete: list[str] = []
        self.abstract: list[str] = []
        self.roots: dict[str, str] = {}  # resource type -> the abstract type it is derived from
        for structure in definitions.structures:
            if one(structure, "derivation") != "constraint":
                self._add(structure)

    def _add(self, structure: Definition) -> None:
        name = one(structure, "type")
        if one(structure, "kind") == "resource":
            (self.abstract if flag(structure, "abstract") else self.concrete).append(name)
            self.roots[name] = str(one(structure, "baseDefinition", "")).rpartition("/")[2]
        if one(structure, "kind") == "primitive-type":
            self._primitive.add(name)
        for element in many(one(structure, "snapshot"), "element"):
            reference = one(element, "contentReference")
            types = tuple(_type_code(kind) for kind in many(element, "type"))
            path = one(element, "path")
            if path == f"{name}.id" and one(structure, "kind") == "resource":
                types = ("id",)
            mandatory = int(one(element, "min", 0)) > 0
            self._elements[path] = Element(types, reference and reference.rpartition("#")[2], flag(element, "isSummary"), mandatory)
            parent, _, last = path.rpartition(".")
            self._below.setdefault(parent, []).append(last)

    def children(self, at: str, name: str) -> list[Place]:
        """The places that ``name`` under ``at`` may mean: one, or for a choice one of each type; none when it does not exist."""
        path = f"{at}.{name}"
        if path in self._elements:
            return [self._place(name, path, kind) for kind in self._elements[path].types or ("",)]
        choice = self._elements.get(f"{path}[x]")
        if choice is None:
            return []
        return [Place(name + kind[0].upper() + kind[1:], kind, kind) for kind in choice.types]

    def members(self, at: str) -> list[str]:
        """All members that an element path or type has in JSON, each type of a choice as its own."""
        return [place.member for name in self._below.get(at, ()) for place in self.children(at, name.removesuffix("[x]"))]

    def below(self, at: str) -> dict[str, Element]:
        """The elements directly below an element path or type, by name; a choice is one, ``value[x]``."""
        return {name: self._elements[f"{at}.{name}"] for name in self._below.get(at, ())}

    def types(self, path: str) -> tuple[str, ...]:
        """The types that the element at ``path`` may have."""
        return self._elements[path].types

    def in_summary(self, at: str, member: str) -> str | None:
        """What the JSON ``member`` of ``at`` leads to, where it is marked isSummary; else None."""
        found = self._named(at, member)
        return found[1].at if found is not None and found[0].in_summary else None

    def is_mandatory(self, at: str, member: str) -> bool:
        """Whether the JSON ``member`` is, or is a type of, an element that there must be."""
        found = self._named(at, member)
        return found is not None and found[0].mandatory

    def is_primitive(self, type: str) -> bool:
        """Whether ``type`` is a primitive type."""
        return type in self._primitive

    def is_domain_resource(self, type: str) -> bool:
        """Whether the resource type ``type`` is derived from DomainResource: all are that are not derived from Resource directly."""
        return self.roots[type] != "Resource"

    def _named(self, at: str, member: str) -> tuple[Element, Place] | None:
        """The element that has the JSON name ``member`` under ``at``."""
        for name in self._below.get(at, ()):
            for place in self.children(at, name.removesuffix("[x]")):
                if place.member == member:
                    return self._elements[f"{at}.{name}"], place
        return None

    def _place(self, member: str, path: str, kind: str) -> Place:
        reference = self._elements[path].reference
        if reference is not None:
            return Place(member, "BackboneElement", reference)
        own_children = kind in {"BackboneElement", "Element"}
        return Place(member, kind, path if own_children else kind)


def _type_code(kind: Definition) -> str:
    code = str(one(kind, "code"))
    if not code.startswith(_SYSTEM):
        return code
    for extension in _fhir_types(many(kind, "extension")):
        return extension
    return code.removeprefix(_SYSTEM).lower()


def _fhir_types(extensions: Iterable[Definition]) -> Iterable[str]:
    for extension in extensions:
        if one(extension, "url") == _FHIR_TYPE:
            yield str(one(extension, "valueUrl") or one(extension, "valueUri"))
