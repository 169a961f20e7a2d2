"""Answers without the elements that the policy hides, tagged ``SUBSETTED`` and byte for byte the same otherwise. Spec: semantics 9.

Whatever a rule is for is tagged, be the element there or not: the tag must not tell that it was. The narrative goes along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.bundles import resources_in
from smart_gateway.fhir.fields import FieldPath, Member, items_at, members_at, without
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.policy.access import Access
from smart_gateway.policy.rules.fielding import NARRATIVE, FieldBounds
from smart_gateway.request.operations import holds_resource

_SUBSETTED = b'{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}'
_DEEPEST = 256  # a Bundle of batches of Bundles
_Rewrite = Callable[[bytes], bytes]
_Holders = tuple[Mapping[str, Any], ...]  # the resources that contain one, whose labels are its own
_UNTOLD: Mapping[str, Any] = {"meta": None}  # labels that cannot be read


def masked(body: bytes, access: Access) -> bytes:
    """``body``, FHIR JSON of any resource that may leave, without what is hidden of it and of all resources in it.

    Raises UpstreamError where it cannot be read.
    """
    fields = access.restrictions.fields
    if not fields.hides or not body:
        return body
    try:
        data = body.strip(b" \t\r\n")
        return _masked(data, parse_json(data, max_depth=_DEEPEST), fields)
    except (JsonError, RecursionError):
        raise UpstreamError("The upstream's answer cannot be read, and elements of it are to be hidden.") from None


def masked_version(body: bytes, today: Mapping[str, Any] | None, access: Access) -> bytes:
    """``body``, one version of a resource, without what is hidden by the labels that it has ``today``, as if they were this version's too.

    None: today's may not be read, or is gone: its labels count as all that decide. Raises UpstreamError.
    """
    try:
        value = parse_json(body)
        assert isinstance(value, dict)  # INVARIANT: it was judged before
        return _resource(body, value, access.restrictions.fields, (_UNTOLD if today is None else today,), tag=True)
    except (JsonError, RecursionError):
        raise UpstreamError("The upstream's answer cannot be read, and elements of it are to be hidden.") from None


def _masked(data: bytes, value: Any, fields: FieldBounds, holders: _Holders = ()) -> bytes:
    """``data``, which decodes to ``value``, with every resource in it masked, wherever it stands: a server may put one anywhere."""
    if isinstance(value, list):
        spans, _ = items_at(data, 0)
        return _spliced(data, spans, [_masked(data[a:b], one, fields, holders) for (a, b), one in zip(spans, value, strict=True)])
    if not isinstance(value, dict):
        return data
    if "resourceType" not in value:
        return _inside(data, value, fields, holders)
    return _resource(data, value, fields, holders, tag=not holders)


def _resource(data: bytes, value: dict[str, Any], fields: FieldBounds, holders: _Holders, *, tag: bool) -> bytes:
    """One resource, which ``value`` is decoded."""
    hidden = _hidden(value, fields, holders)
    data = _inside(data, value, fields, (), (*holders, value))
    if not hidden:
        return data
    return _tagged(without(data, hidden)) if tag else without(data, hidden)


def _hidden(resource: dict[str, Any], fields: FieldBounds, holders: _Holders) -> tuple[FieldPath, ...]:
    """What is hidden of it; its narrative also where something is of what it contains, for that has none of its own."""
    own = fields.hidden_in(resource, _type(resource), *holders)
    if own:
        return own
    contained = resources_in(resource.get("contained"))
    return (NARRATIVE,) if any(fields.hidden_in(one, _type(one), *holders, resource) for one in contained) else ()


def _type(resource: Mapping[str, Any]) -> str:
    type = resource["resourceType"]
    return type if isinstance(type, str) else ""


def _inside(data: bytes, value: dict[str, Any], fields: FieldBounds, holders: _Holders, containing: _Holders = ()) -> bytes:
    """The object with the resources in its members masked; ``containing`` hold those of ``contained``."""
    names = {name for name, inner in value.items() if holds_resource(inner)}
    if not names:
        return data
    members = [member for member in members_at(data, 0)[0] if member.name in names]
    held = [containing if member.name == "contained" else holders for member in members]
    made = [_masked(data[m.value : m.end], value[m.name], fields, by) for m, by in zip(members, held, strict=True)]
    return _spliced(data, [(member.value, member.end) for member in members], made)


def _spliced(raw: bytes, spans: list[tuple[int, int]], made: list[bytes]) -> bytes:
    """``raw`` with other parts in the place of ``spans``."""
    parts, place = [], 0
    for (start, end), part in zip(spans, made, strict=True):
        parts += [raw[place:start], part]
        place = end
    return b"".join((*parts, raw[place:]))


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
