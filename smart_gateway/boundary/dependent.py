"""Types whose place in a compartment depends on other resources: Provenance, AuditEvent, Binary.

Spec: semantics 3 (Provenance, AuditEvent) and 5 (Binary).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smart_gateway.boundary.model import Boundary, Region
from smart_gateway.boundary.verdict import INSIDE, OUTSIDE, Depends, Verdict
from smart_gateway.fhir.references import Bases, Reference, parse_reference
from smart_gateway.fhir.strays import STRUCTURES

MEMBERS: Mapping[str, frozenset[str]] = {
    "Provenance": frozenset({"target", "entity"}),
    "AuditEvent": frozenset({"entity"}),
    "Binary": frozenset({"securityContext"}),
}
# The one of them that makes a resource a member where no compartment's definition does.
_PLACING = {"Provenance": "target", "Binary": "securityContext"}
_MOST_REFERENCES = 50


def applies(type: str, region: Region) -> bool:
    """Whether other resources have a say in ``region`` of ``type``: in a compartment and where labels may hide them, and of a Binary,
    whose place nothing else tells, everywhere."""
    return type in MEMBERS and (bool(region.compartments or region.labels) or type == "Binary")


def judge(resource: Mapping[str, Any], type: str, region: Region, member: bool, bases: Bases) -> Verdict:
    """The verdict of a region to which this ``applies`` on a resource of one of these types; ``member``: by the definition."""
    placed = named_by(resource, _PLACING[type], bases) if type in _PLACING else ()
    references = references_of(resource, type, bases)
    if references is None or not (member or placed):
        return OUTSIDE
    foreign = not_owners(references, region)
    if len(foreign) > _MOST_REFERENCES:
        return OUTSIDE
    return Depends(foreign) if foreign else INSIDE


def references_of(resource: Mapping[str, Any], type: str, bases: Bases) -> tuple[Reference, ...] | None:
    """The resources on which the place of ``resource`` depends; None where one of them is no literal reference of this server."""
    named = [named_by(resource, member, bases) for member in sorted(MEMBERS[type], reverse=True)]
    literal = tuple(dict.fromkeys(reference for found in named for reference in found or ()))
    return literal if None not in named else None


def named_by(resource: Mapping[str, Any], member: str, bases: Bases) -> tuple[Reference, ...] | None:
    """Those of them that ``member`` names; None where one is no literal reference of this server."""
    found = [_literal(value, bases) for value in _values(resource, member)]
    literal = tuple(dict.fromkeys(reference for reference in found if reference is not None))
    return literal if None not in found else None


def not_owners(references: Iterable[Reference], region: Region) -> tuple[Reference, ...]:
    """Those that are not the owner of every compartment of the region; without a compartment, all of them."""
    owners = region.compartments
    return tuple(r for r in references if not owners or not all(c.type == r.type and r.id in c.ids for c in owners))


def depended_on(boundary: Boundary, resource: Mapping[str, Any], type: str, bases: Bases) -> Mapping[Reference, bool]:
    """What must be found inside before ``resource`` may be written in a compartment, or within labels, and whether it is what places it
    there; nothing where that would be too many. A Binary is never written there."""
    references = references_of(resource, type, bases) if type in MEMBERS and type != "Binary" else None
    placing = (named_by(resource, _PLACING[type], bases) or ()) if type in _PLACING else ()
    regions = [region for region in boundary.regions if region.compartments or region.labels]
    owned = any(region.compartments for region in regions)
    found = {reference: owned and reference in placing for region in regions for reference in not_owners(references or (), region)}
    return found if len(found) <= _MOST_REFERENCES else {}


def _values(resource: Mapping[str, Any], member: str) -> Iterable[Any]:
    """The Reference values that count; what has the wrong shape comes as it is, to be found not literal."""
    items = _items(resource.get(member, []))
    if member != "entity":
        return items
    return [item["what"] if isinstance(item, dict) else item for item in items if not isinstance(item, dict) or "what" in item]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _literal(value: Any, bases: Bases) -> Reference | None:
    """The resource that a Reference names; None also where its own ``type`` contradicts it."""
    text = value.get("reference") if isinstance(value, dict) else None
    named = parse_reference(text, bases) if isinstance(text, str) else None
    if named is None or value.get("type") not in (None, named.type, STRUCTURES + named.type):
        return None
    return Reference(named.type, named.id)
