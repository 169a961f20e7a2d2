"""Answers without the elements that the policy hides, tagged ``SUBSETTED`` and byte for byte the same otherwise. Spec: semantics 9.

Whatever a rule is for is tagged, be the element there or not: the tag must not tell that it was. The narrative goes along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.fields import Member, items_at, members_at, without
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.policy.access import Access
from smart_gateway.policy.rules.fielding import FieldBounds

_SUBSETTED = b'{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}'
# Where resources are in others: by type, the array, and the member of its items.
_HELD = {"Bundle": (("entry", "resource"),), "Parameters": (("parameter", "resource"),)}
_DEEPEST = 256  # a Bundle of batches of Bundles
_Rewrite = Callable[[bytes], bytes]


def masked(body: bytes, access: Access) -> bytes:
    """``body``, FHIR JSON of any resource that may leave, without what is hidden of it and of all resources in it.

    Raises UpstreamError where it cannot be read.
    """
    fields = access.restrictions.fields
    if not fields.hides or not body:
        return body
    try:
        return _inner(body.strip(b" \t\r\n"), fields)
    except (JsonError, RecursionError):
        raise UpstreamError("The upstream's answer cannot be read, and elements of it are to be hidden.") from None


def _resource(data: bytes, value: dict[str, Any], fields: FieldBounds, *, tag: bool) -> bytes:
    """One resource; ``value`` is what ``data`` decodes to."""
    type = value.get("resourceType")
    name = type if isinstance(type, str) else ""
    if isinstance(value.get("contained"), list):
        data = _rewrite_member(data, "contained", lambda raw: _each(raw, value["contained"], fields, tag=False))
    for array, member in _HELD.get(name, ()):
        data = _held(data, array, member, fields)
    hidden = fields.hidden_in(value, name)
    if not hidden:
        return data
    data = without(data, hidden)
    return _tagged(data) if tag else data


def _each(raw: bytes, values: list[Any], fields: FieldBounds, *, tag: bool) -> bytes:
    """Every resource of an array."""
    spans, _ = items_at(raw, 0)
    made = [_resource(raw[a:b], v, fields, tag=tag) if isinstance(v, dict) else raw[a:b] for (a, b), v in zip(spans, values, strict=True)]
    return _spliced(raw, spans, made)


def _spliced(raw: bytes, spans: list[tuple[int, int]], made: list[bytes]) -> bytes:
    """``raw`` with other parts in the place of ``spans``."""
    parts, place = [], 0
    for (start, end), part in zip(spans, made, strict=True):
        parts += [raw[place:start], part]
        place = end
    return b"".join((*parts, raw[place:]))


def _held(data: bytes, array: str, member: str, fields: FieldBounds) -> bytes:
    """The resources in the items of ``array``, and in the parts of a parameter, however deep; and what an entry answers beside them."""

    def rewrite_items(raw: bytes) -> bytes:
        if not raw.startswith(b"["):
            return raw
        spans, _ = items_at(raw, 0)
        return _spliced(raw, spans, [rewrite_item(raw[start:end]) for start, end in spans])

    def rewrite_item(raw: bytes) -> bytes:
        if not raw.startswith(b"{"):
            return raw
        raw = _rewrite_member(raw, member, lambda inner: _inner(inner, fields))
        return _rewrite_member(raw, "part", rewrite_items)

    return _rewrite_member(data, array, rewrite_items)


def _inner(data: bytes, fields: FieldBounds) -> bytes:
    value = parse_json(data, max_depth=_DEEPEST)
    return _resource(data, value, fields, tag=True) if isinstance(value, dict) else data


def _rewrite_member(data: bytes, name: str, rewrite: _Rewrite) -> bytes:
    found = _find(data, name)
    return data if found is None else data[: found.value] + rewrite(data[found.value : found.end]) + data[found.end :]


def _find(data: bytes, name: str) -> Member | None:
    return next((member for member in members_at(data, 0)[0] if member.name == name), None)


def _tagged(data: bytes) -> bytes:
    """With the tag in ``meta``, where it is not yet."""
    meta = _find(data, "meta")
    if meta is None:
        return _with_member(data, b'"meta":{"tag":[' + _SUBSETTED + b"]}")
    return _rewrite_member(data, "meta", _tagged_meta)


def _tagged_meta(meta: bytes) -> bytes:
    value = parse_json(meta)
    if not isinstance(value, dict) or not isinstance(value.get("tag", []), list):
        raise JsonError("syntax")
    if "tag" not in value:
        return _with_member(meta, b'"tag":[' + _SUBSETTED + b"]")
    if any(isinstance(tag, dict) and tag.get("code") == "SUBSETTED" for tag in value["tag"]):
        return meta
    return _rewrite_member(meta, "tag", lambda raw: raw[:-1] + (b"," if value["tag"] else b"") + _SUBSETTED + b"]")


def _with_member(data: bytes, member: bytes) -> bytes:
    members, _ = members_at(data, 0)
    if not members:
        return b"{" + member + b"}"
    last = members[-1].end
    return data[:last] + b"," + member + data[last:]
