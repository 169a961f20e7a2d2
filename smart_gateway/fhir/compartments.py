"""Compartments: whose record a resource belongs to, exactly as the release's CompartmentDefinition says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.fhir.elements import elements
from smart_gateway.fhir.references import Bases, parse_reference
from smart_gateway.fhir.strays import STRUCTURES, Owner, is_stray, values_at
from smart_gateway.fhir.vocabulary import ElementPath, ParameterKind, Vocabulary


@dataclass(frozen=True, slots=True)
class _Membership:
    """How a type is in a compartment: by references in top-level members (``flat``) and below them (``deep``)."""

    codes: tuple[str, ...]
    paths: tuple[ElementPath, ...]
    flat: tuple[str, ...]
    deep: tuple[ElementPath, ...]
    members: frozenset[str]


class CompartmentRules:
    """The five compartments of a release. ``additions`` (type -> reference parameters) join the Patient compartment as if its
    definition listed them; an addition that the release does not have as a reference to Patient adds nothing.

    A compartment's own type is a member by its id alone. Spec: semantics 3; https://hl7.org/fhir/R4/compartmentdefinition.html
    """

    __slots__ = ("_additions", "_kept", "_vocabulary")

    def __init__(self, vocabulary: Vocabulary, additions: Mapping[str, tuple[str, ...]]) -> None:
        self._vocabulary = vocabulary
        self._additions = dict(additions)
        self._kept: dict[tuple[str, str], _Membership] = {}

    def inclusion(self, compartment: str, type: str) -> tuple[str, ...]:
        """The parameters by which ``type`` is in ``compartment``, additions last; none for the compartment's own type."""
        return self._membership(compartment, type).codes

    def covers(self, compartment: str, type: str) -> bool:
        """Whether resources of ``type`` can be in ``compartment`` at all; its own type can."""
        own = type == compartment and compartment in self._vocabulary.compartments
        return own or bool(self._membership(compartment, type).codes)

    def members_read(self, compartment: str, type: str) -> frozenset[str]:
        """The top-level JSON members that ``is_member`` looks at, besides ``resourceType``."""
        return frozenset({"id"}) if type == compartment else self._membership(compartment, type).members

    def is_member(self, resource: Mapping[str, Any], compartment_type: str, ids: frozenset[str] | tuple[str, ...], bases: Bases) -> bool:
        """Whether ``resource`` is in the compartment of one of ``ids``: any inclusion element holds a literal reference to it.

        Contained, identifier-only and display-only references, other servers' URLs, and a reference whose ``type`` says another type
        do not count.
        """
        type = resource.get("resourceType")
        if not isinstance(type, str):
            return False
        if type == compartment_type:
            id = resource.get("id")
            return isinstance(id, str) and id in ids and type in self._vocabulary.compartments
        membership = self._kept.get((compartment_type, type)) or self._membership(compartment_type, type)
        for name in membership.flat:
            value = resource.get(name)
            if value is None:
                continue
            for item in value if isinstance(value, list) else (value,):
                if _names(item, compartment_type, ids, bases):
                    return True
        if not membership.deep:
            return False
        return any(_names(element.value, compartment_type, ids, bases) for element in elements(resource, membership.deep))

    def strays(
        self, resource: Mapping[str, Any], compartment_type: str, ids: frozenset[str] | tuple[str, ...], bases: Bases
    ) -> tuple[str, ...]:
        """The top-level members whose inclusion elements name another owner than one of ``ids``, or somebody who cannot be told:
        another server's URL, a conditional or ``urn:`` reference, an identifier, a contained resource, a wrong JSON shape, unless
        another type is shown. Spec: semantics 6.
        """
        type = resource.get("resourceType")
        if not isinstance(type, str) or type == compartment_type:
            return ()
        owner = Owner(compartment_type, ids, bases, self._vocabulary.types)
        found: dict[str, None] = {}
        for path in self._membership(compartment_type, type).paths:
            names = tuple(step.name for step in path.steps)
            if any(is_stray(value, owner, resource) for value in values_at(resource, names)):
                found[names[0]] = None
        return tuple(found)

    def _membership(self, compartment: str, type: str) -> _Membership:
        """The membership of ``type``, kept for the types that the release has; without parameters for others."""
        kept = self._kept.get((compartment, type))
        if kept is None:
            if compartment not in self._vocabulary.compartments or type not in self._vocabulary.types or type == compartment:
                return _NONE
            kept = self._kept[compartment, type] = self._build(compartment, type)
        return kept

    def _build(self, compartment: str, type: str) -> _Membership:
        added = self._additions.get(type, ()) if compartment == "Patient" else ()
        said = self._vocabulary.inclusion(compartment, type)
        codes = tuple(dict.fromkeys((*said, *(code for code in added if self._paths(compartment, type, code)))))
        paths = tuple(dict.fromkeys(path for code in codes for path in self._paths(compartment, type, code)))
        flat = tuple(path.steps[0].name for path in paths if _is_flat(path))
        members = frozenset(path.steps[0].name for path in paths)
        return _Membership(codes, paths, flat, tuple(path for path in paths if not _is_flat(path)), members)

    def _paths(self, compartment: str, type: str, code: str) -> tuple[ElementPath, ...]:
        """The paths of a parameter to References that may name the owner."""
        parameter = self._vocabulary.parameter(type, code)
        if parameter is None or parameter.kind is not ParameterKind.REFERENCE or compartment not in parameter.targets:
            return ()
        return tuple(path for path in parameter.paths if path.type == "Reference" and (not path.targets or compartment in path.targets))


_NONE = _Membership((), (), (), (), frozenset())


def _is_flat(path: ElementPath) -> bool:
    return len(path.steps) == 1 and path.steps[0].where is None


def _names(value: Any, owner: str, ids: frozenset[str] | tuple[str, ...], bases: Bases) -> bool:
    """Whether a Reference names the ``owner`` with one of ``ids``."""
    if not isinstance(value, dict):
        return False
    text = value.get("reference")
    if not isinstance(text, str) or owner not in text:
        return False
    said = value.get("type")
    if said is not None and said not in (owner, STRUCTURES + owner):
        return False
    type, _, id = text.partition("/")
    if type == owner and id in ids:
        return True
    reference = parse_reference(text, bases)
    return reference is not None and reference.type == owner and reference.id in ids
