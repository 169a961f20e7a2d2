"""Types whose place in a compartment depends on other resources: Provenance, AuditEvent, Binary.

Spec: semantics 3 (Provenance, AuditEvent) and 5 (Binary).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smart_gateway.boundary.model import Region
from smart_gateway.boundary.verdict import INSIDE, OUTSIDE, Depends, Verdict
from smart_gateway.fhir.references import Bases, Reference, parse_reference
from smart_gateway.fhir.strays import STRUCTURES

MEMBERS: Mapping[str, frozenset[str]] = {
    "Provenance": frozenset({"target"}),
    "AuditEvent": frozenset({"entity"}),
    "Binary": frozenset({"securityContext"}),
}
_MOST_REFERENCES = 50


def applies(type: str, region: Region) -> bool:
    """Whether other resources have a say in ``region`` of ``type``: in a compartment, and of a Binary, whose place nothing else tells,
    everywhere."""
    return type in MEMBERS and (bool(region.compartments) or type == "Binary")


def judge(resource: Mapping[str, Any], type: str, region: Region, member: bool, bases: Bases) -> Verdict:
    """The verdict of a region to which this ``applies`` on a resource of one of these types; ``member``: by the definition."""
    if type == "AuditEvent" and not member:
        return OUTSIDE
    references = references_of(resource, type, bases)
    if references is None:
        return OUTSIDE
    foreign = not_owners(references, region)
    if not references and not member:
        return OUTSIDE
    if len(foreign) > _MOST_REFERENCES:
        return OUTSIDE
    return Depends(foreign) if foreign else INSIDE


def references_of(resource: Mapping[str, Any], type: str, bases: Bases) -> tuple[Reference, ...] | None:
    """The resources on which the place of ``resource`` depends; None where one of them is no literal reference of this server."""
    values = list(_values(resource, type))
    found = [_literal(value, bases) for value in values]
    literal = tuple(dict.fromkeys(reference for reference in found if reference is not None))
    return literal if None not in found else None


def not_owners(references: Iterable[Reference], region: Region) -> tuple[Reference, ...]:
    """Those that are not the owner of every compartment of the region; without a compartment, all of them."""
    owners = region.compartments
    return tuple(r for r in references if not owners or not all(c.type == r.type and r.id in c.ids for c in owners))


def _values(resource: Mapping[str, Any], type: str) -> Iterable[Any]:
    """The Reference values that count; what has the wrong shape comes as it is, to be found not literal."""
    if type == "Provenance":
        return _items(resource.get("target", []))
    if type == "Binary":
        return _items(resource.get("securityContext", []))
    entities = _items(resource.get("entity", []))
    return [
        entity["what"] if isinstance(entity, dict) else entity for entity in entities if not isinstance(entity, dict) or "what" in entity
    ]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _literal(value: Any, bases: Bases) -> Reference | None:
    """The resource that a Reference names; None also where its own ``type`` contradicts it."""
    text = value.get("reference") if isinstance(value, dict) else None
    named = parse_reference(text, bases) if isinstance(text, str) else None
    if named is None or value.get("type") not in (None, named.type, STRUCTURES + named.type):
        return None
    return Reference(named.type, named.id)
