"""The Bundle of permitted entries that goes upstream, built from what was parsed. Spec: FHIR R4 bundle.html, Bundle.entry.request."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from smart_gateway.fhir.media import JSON_PATCH
from smart_gateway.gateway.preparing import Outgoing
from smart_gateway.policy.plan import UpstreamRequest
from smart_gateway.policy.writes.writing import in_bundle
from smart_gateway.request.model import BatchEntry

# The headers that a plan sets, as an entry has them.
_CONDITIONS = {"If-Match": "ifMatch", "If-None-Match": "ifNoneMatch", "If-None-Exist": "ifNoneExist"}
_WISHES = ("return=representation", "return=OperationOutcome", "return=minimal")  # one for the whole Bundle: the first that somebody has
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_encode = msgspec.json.Encoder().encode


def bundle_of(entries: Iterable[tuple[BatchEntry, Outgoing]], *, transaction: bool) -> bytes:
    """A batch or transaction of ``entries``."""
    made = [_entry(entry, outgoing) for entry, outgoing in entries]
    return _encode({"resourceType": "Bundle", "type": "transaction" if transaction else "batch", "entry": made})


def wish_of(entries: Iterable[tuple[BatchEntry, Outgoing]]) -> tuple[tuple[str, str], ...]:
    """``Prefer: return`` for the Bundle; what a token may not read of the answers is left out of them."""
    wished = {value for _, outgoing in entries for name, value in outgoing.request.headers if name == "Prefer"}
    return tuple([("Prefer", wish) for wish in _WISHES if wish in wished][:1])


def as_entry(upstream: UpstreamRequest) -> UpstreamRequest:
    """A search by POST is one by GET here: an entry has no form. Spec: semantics 4, "one thing"."""
    if upstream.form is None:
        return upstream
    return replace(upstream, method="GET", path=upstream.path[:-1], query=upstream.form, form=None)


def _entry(entry: BatchEntry, outgoing: Outgoing) -> dict[str, Any]:
    upstream = in_bundle(as_entry(outgoing.request), outgoing.updated)
    request: dict[str, str] = {"method": upstream.method, "url": upstream.target.removeprefix("/"), **_conditions(upstream.headers)}
    made: dict[str, Any] = {} if entry.full_url is None else {"fullUrl": entry.full_url}
    body = _body(outgoing) if upstream.method in _WITH_BODY else b""
    if body:
        made["resource"] = msgspec.Raw(body)
    return {**made, "request": request}


def _body(outgoing: Outgoing) -> bytes:
    """A patch that was judged goes in a Binary of its own, which holds nothing but what was parsed; all else as it was judged."""
    if outgoing.request.content is not None:
        return outgoing.request.content
    body = outgoing.read() or b""
    if outgoing.content_type != JSON_PATCH.encode():
        return body
    return _encode({"resourceType": "Binary", "contentType": JSON_PATCH, "data": base64.b64encode(body).decode("ascii")})


def _conditions(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    return {_CONDITIONS[name]: value for name, value in headers if name in _CONDITIONS}
