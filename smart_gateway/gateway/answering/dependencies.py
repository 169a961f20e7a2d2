"""Whether resources that an answer depends on may be read: each is fetched and judged, one hop and no further. Spec: semantics 3, 5."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from smart_gateway.answers.confine import Confined, confine_resource
from smart_gateway.answers.judging import Known, Pending
from smart_gateway.boundary.model import Boundary, Region
from smart_gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from smart_gateway.fhir.references import Reference
from smart_gateway.fhir.strict_json import parse_json
from smart_gateway.gateway.subrequest import Inner
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import CheckResource, UpstreamRequest

T = TypeVar("T")

_AT_ONCE = 4


async def settle(judge: Callable[[Known], T | Pending], access: Access, inner: Inner) -> T:
    """What ``judge`` says once it knows enough: what it waits for is fetched, and it is asked again. It bounds how much it asks for."""
    known: dict[Reference, bytes | None] = {}
    while isinstance(verdict := judge(known), Pending):
        asked = [reference for reference in verdict.references if reference not in known]
        if not asked:
            raise UpstreamError("The answer cannot be judged by what it refers to.")
        for start in range(0, len(asked), _AT_ONCE):
            known |= await _read(asked[start : start + _AT_ONCE], access, inner)
    return verdict


async def inside(boundary: Boundary, resource: Mapping[str, Any], type: str, access: Access, inner: Inner) -> Collection[Reference]:
    """Of what ``resource``, to be written in ``boundary``, depends on: what may be read; and where that is what places it in a compartment,
    is in one by the rule for writes. Raises UpstreamError when something cannot be asked for."""
    depended = access.matcher.depended_on(boundary, resource, type)
    owned = Boundary.of([Region(region.compartments) for region in boundary.regions if region.compartments])
    asked, found = list(depended), []
    for start in range(0, len(asked), _AT_ONCE):
        for reference, body in (await _read(asked[start : start + _AT_ONCE], access, inner)).items():
            if body is not None and not (
                depended[reference] and access.matcher.objections_to_write(owned, parse_json(body), reference.type)
            ):
                found.append(reference)
    return found


async def _read(references: Sequence[Reference], access: Access, inner: Inner) -> dict[Reference, bytes | None]:
    """Each that may be read or searched. Raises UpstreamError when one cannot be asked for."""
    found = await asyncio.gather(*(_readable(reference, access, inner) for reference in references), return_exceptions=True)
    bodies: dict[Reference, bytes | None] = {}
    for reference, one in zip(references, found, strict=True):
        if isinstance(one, BaseException):
            raise one
        bodies[reference] = one
    return bodies


async def _readable(reference: Reference, access: Access, inner: Inner) -> bytes | None:
    boundary = access.readable(reference.type)
    if not access.matcher.could_hold(boundary, reference.type, reference.id):
        return None
    answer = await inner.collect(UpstreamRequest("GET", (reference.type, reference.id)))
    if answer.status != 200:
        return None
    body = answer.require_json(access.policy.vocabulary.release.version)
    try:
        judged = confine_resource(body, CheckResource(reference.type, reference.id, boundary), access, {})
    except (UpstreamTimeout, UpstreamUnavailable):
        raise
    except UpstreamError:
        return None
    return judged.body if isinstance(judged, Confined) else None
