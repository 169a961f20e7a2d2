"""Whether resources that an answer depends on may be read: each is fetched and judged, one hop and no further. Spec: semantics 3, 5."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from smart_gateway.answers.confine import Confined, confine_resource
from smart_gateway.answers.judging import Pending
from smart_gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from smart_gateway.fhir.references import Reference
from smart_gateway.gateway.subrequest import Inner
from smart_gateway.policy.access import Access
from smart_gateway.policy.plan import CheckResource, UpstreamRequest

T = TypeVar("T")
Known = Mapping[Reference, bool]

_AT_ONCE = 4


async def settle(judge: Callable[[Known], T | Pending], access: Access, inner: Inner) -> T:
    """What ``judge`` says once it knows enough: what it waits for is fetched, and it is asked again. It bounds how much it asks for."""
    known: dict[Reference, bool] = {}
    while isinstance(verdict := judge(known), Pending):
        asked = [reference for reference in verdict.references if reference not in known]
        if not asked:
            raise UpstreamError("The answer cannot be judged by what it refers to.")
        for start in range(0, len(asked), _AT_ONCE):
            known |= await _fetch(asked[start : start + _AT_ONCE], access, inner)
    return verdict


async def _fetch(references: Sequence[Reference], access: Access, inner: Inner) -> dict[Reference, bool]:
    """Whether each may be read or searched. Raises UpstreamError when one cannot be asked for."""
    found = await asyncio.gather(*(_readable(reference, access, inner) for reference in references), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return {reference: one is True for reference, one in zip(references, found, strict=True)}


async def _readable(reference: Reference, access: Access, inner: Inner) -> bool:
    boundary = access.readable(reference.type)
    if not access.matcher.could_hold(boundary, reference.type, reference.id):
        return False
    answer = await inner.collect(UpstreamRequest("GET", (reference.type, reference.id)))
    if answer.status != 200:
        return False
    body = answer.require_json(access.policy.vocabulary.release.version)
    try:
        judged = confine_resource(body, CheckResource(reference.type, reference.id, boundary), access, {})
    except (UpstreamTimeout, UpstreamUnavailable):
        raise
    except UpstreamError:
        return False
    return isinstance(judged, Confined)
