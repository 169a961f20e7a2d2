"""Reading searchset Bundles, and the resources that resources carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from smart_gateway.fhir.members import Members, decode
from smart_gateway.fhir.strict_json import parse_json

# These hold resources that stand for themselves; what other types contain lives and leaves with its owner.
_CARRIERS = frozenset({"Bundle", "Parameters"})


class _Link(msgspec.Struct, gc=False, omit_defaults=True):
    relation: str = ""
    url: str = ""


class _Entry(msgspec.Struct, gc=False, omit_defaults=True, rename={"full_url": "fullUrl"}):
    full_url: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    resource: Members | msgspec.UnsetType = msgspec.UNSET
    search: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Bundle(msgspec.Struct, gc=False, omit_defaults=True, rename={"resource_type": "resourceType"}):
    """The order is FHIR's: a Bundle in this order, without further members, is proven whole by writing it again."""

    resource_type: str
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    timestamp: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    total: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    link: list[_Link] | msgspec.UnsetType = msgspec.UNSET
    entry: list[_Entry] | msgspec.UnsetType = msgspec.UNSET


class _RawEntry(msgspec.Struct, gc=False):
    resource: msgspec.Raw = msgspec.Raw(b"{}")


class _RawBundle(msgspec.Struct, gc=False):
    entry: list[_RawEntry] = []


_bundle = msgspec.json.Decoder(_Bundle)
_raw_bundle = msgspec.json.Decoder(_RawBundle)
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class FoundEntry:
    """One entry: the members of its resource, ``body`` which encodes to the bytes that came, ``full_url`` and ``search`` as raw JSON."""

    members: Members
    body: Members | msgspec.Raw
    full_url: msgspec.Raw | msgspec.UnsetType
    search: msgspec.Raw | msgspec.UnsetType


@dataclass(frozen=True, slots=True)
class Searchset:
    """A searchset as the upstream sent it, nothing in it judged. ``total``, ``id`` and ``meta`` are raw JSON; ``links`` (relation, URL)."""

    entries: tuple[FoundEntry, ...]
    links: tuple[tuple[str, str], ...]
    id: msgspec.Raw | msgspec.UnsetType
    meta: msgspec.Raw | msgspec.UnsetType
    total: msgspec.Raw | msgspec.UnsetType


def read_searchset(data: bytes) -> Searchset:
    """Raises JsonError for broken JSON and doubled keys, ValueError for what is not a searchset whose entries all hold a resource."""
    bundle: _Bundle = decode(_bundle, data)
    if bundle.resource_type != "Bundle" or bundle.type != "searchset":
        raise ValueError("not a Bundle of type searchset")
    found = bundle.entry or []
    if _encode(bundle) == data:
        entries = tuple(_entry(entry, None) for entry in found)
    else:
        parse_json(data)
        bodies: _RawBundle = decode(_raw_bundle, data)
        entries = tuple(_entry(entry, raw.resource) for entry, raw in zip(found, bodies.entry, strict=True))
    links = tuple((link.relation, link.url) for link in bundle.link or [])
    return Searchset(entries, links, bundle.id, bundle.meta, bundle.total)


def _entry(entry: _Entry, raw: msgspec.Raw | None) -> FoundEntry:
    members = entry.resource
    if members is msgspec.UNSET:
        raise ValueError("an entry without a resource")
    return FoundEntry(members, members if raw is None else raw, entry.full_url, entry.search)


def carried(type: str, members: Members) -> Iterator[Mapping[str, Any]]:
    """Every resource inside a resource that stands for itself: those of Bundle entries and Parameters, at any depth.

    Contained ones do not (FHIR R4 references.html 2.3.0.4), unless they are Bundle or Parameters themselves. Raises JsonError.
    """
    if type in _CARRIERS:
        yield from _inside({name: parse_json(bytes(raw)) for name, raw in members.items()})
    elif "contained" in members:
        yield from _inside({"contained": parse_json(bytes(members["contained"]))}, type)


def _inside(resource: Mapping[str, Any], type: str | None = None) -> Iterator[Mapping[str, Any]]:
    if (type or resource.get("resourceType")) in _CARRIERS:
        for name, value in resource.items():
            if name != "contained":
                yield from _standing(value)
    contained = resource.get("contained", ())
    for inner in contained if isinstance(contained, list) else [contained]:
        if isinstance(inner, dict):
            yield from _inside(inner)


def _standing(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _standing(item)
    elif isinstance(value, dict) and "resourceType" in value:
        yield value
        yield from _inside(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _standing(item)
