"""Reading searchsets and histories, and the resources that resources carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from smart_gateway.fhir.members import Members, decode
from smart_gateway.fhir.strict_json import parse_json

# These hold resources that stand for themselves; what other types contain lives and leaves with its owner.
CARRIERS = frozenset({"Bundle", "Parameters"})


class _Link(msgspec.Struct, gc=False, omit_defaults=True):
    relation: str = ""
    url: str = ""


class FoundEntry(msgspec.Struct, gc=False, omit_defaults=True, rename={"full_url": "fullUrl"}):
    """One entry as it came; ``resource`` is empty where there is none: in a deletion of a history, never in a searchset."""

    full_url: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    resource: Members = msgspec.field(default_factory=dict)
    search: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    request: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    response: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Bundle(msgspec.Struct, gc=False, omit_defaults=True, rename={"resource_type": "resourceType"}):
    """The order is FHIR's: a Bundle in this order, without further members, is proven whole by writing it again."""

    resource_type: str
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    timestamp: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    total: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    link: list[_Link] | msgspec.UnsetType = msgspec.UNSET
    entry: list[FoundEntry] | msgspec.UnsetType = msgspec.UNSET


class _RawEntry(msgspec.Struct, gc=False):
    resource: msgspec.Raw = msgspec.Raw(b"{}")


class _RawBundle(msgspec.Struct, gc=False):
    entry: list[_RawEntry] = []


_bundle = msgspec.json.Decoder(_Bundle)
_raw_bundle = msgspec.json.Decoder(_RawBundle)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Searchset:
    """A searchset or a history as the upstream sent it, nothing in it judged.

    ``bodies`` are the resources of ``entries``, each a value that encodes to the bytes that came. ``total``, ``id`` and ``meta`` are raw
    JSON; ``links`` are (relation, URL).
    """

    entries: Sequence[FoundEntry]
    bodies: Sequence[Members | msgspec.Raw]
    links: tuple[tuple[str, str], ...]
    id: msgspec.Raw | msgspec.UnsetType
    meta: msgspec.Raw | msgspec.UnsetType
    total: msgspec.Raw | msgspec.UnsetType


def read_searchset(data: bytes) -> Searchset:
    """Raises JsonError for broken JSON and doubled keys, ValueError for what is not a searchset whose entries all hold a resource."""
    found = _read(data, "searchset")
    if not all(entry.resource for entry in found.entries):
        raise ValueError("an entry without a resource")
    return found


def read_history(data: bytes) -> Searchset:
    """A history, read as a searchset is. Raises JsonError, and ValueError for what is not a history."""
    return _read(data, "history")


def _read(data: bytes, type: str) -> Searchset:
    bundle: _Bundle = decode(_bundle, data)
    entries = bundle.entry or []
    if bundle.resource_type != "Bundle" or bundle.type != type:
        raise ValueError(f"not a Bundle of type {type}")
    bodies: Sequence[Members | msgspec.Raw] = [entry.resource for entry in entries]
    if _encode(bundle) != data:
        parse_json(data)
        raw: _RawBundle = decode(_raw_bundle, data)
        bodies = [entry.resource for entry in raw.entry]
    links = tuple((link.relation, link.url) for link in bundle.link or [])
    return Searchset(entries, bodies, links, bundle.id, bundle.meta, bundle.total)


def carried(type: str, members: Members) -> Iterator[Mapping[str, Any]]:
    """Every resource inside a resource that stands for itself: those of Bundle entries and Parameters, at any depth.

    Contained ones do not (FHIR R4 references.html 2.3.0.4), unless they are Bundle or Parameters themselves. Raises JsonError.
    """
    if type in CARRIERS:
        yield from _inside({name: parse_json(bytes(raw)) for name, raw in members.items()})
    elif "contained" in members:
        yield from _inside({"contained": parse_json(bytes(members["contained"]))}, type)


def standing(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The same of a resource that was decoded."""
    return _inside(resource)


def resources_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a decoded JSON value that says that it is a resource, itself among them, wherever it stands."""
    if isinstance(value, dict):
        if "resourceType" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for below in value:
            yield from resources_in(below)


def _inside(resource: Mapping[str, Any], type: str | None = None) -> Iterator[Mapping[str, Any]]:
    if (type or resource.get("resourceType")) in CARRIERS:
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
