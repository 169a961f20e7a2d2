"""An operation as it is called upstream: with inputs that were judged, or as it came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from smart_gateway.boundary.model import everything
from smart_gateway.policy.plan import BodyCheck, UpstreamRequest
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.operations import Argument

_NO_INPUT: Mapping[str, Any] = {"resourceType": "Parameters"}
_encode = msgspec.json.Encoder().encode

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """The operation as it is called upstream; ``body`` where the client's own goes along."""

    upstream: UpstreamRequest
    body: BodyCheck | None = None


def asking(request: FhirRequest, given: Iterable[Argument]) -> Call:
    """The call with inputs that were judged one by one: each where the client had it, in the query or in a Parameters resource."""
    path = _path(request)
    if request.method != "POST":
        return Call(UpstreamRequest("GET", path, tuple([(a.parameter.key, a.parameter.value) for a in given])))
    query = tuple([(a.parameter.key, a.parameter.value) for a in given if a.member is None])
    inputs = [{"name": a.parameter.key, a.member: a.content} for a in given if a.member is not None]
    content = _encode({**_NO_INPUT, "parameter": inputs} if inputs else _NO_INPUT)
    return Call(UpstreamRequest("POST", path, query, content=content))


def as_it_came(request: FhirRequest, query: Pairs) -> Call:
    """The call with the body that the client sent, which was judged or need not be."""
    path = _path(request)
    if request.method != "POST":
        return Call(UpstreamRequest("GET", path, query))
    if request.resource is None:
        return Call(UpstreamRequest("POST", path, query, content=_encode(_NO_INPUT)))
    return Call(UpstreamRequest("POST", path, query), BodyCheck(request.resource["resourceType"], None, everything(), judged=True))


def _path(request: FhirRequest) -> tuple[str, ...]:
    return tuple(part for part in (request.type, request.id, request.operation) if part is not None)
