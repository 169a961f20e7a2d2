"""What is left of a resource without some elements, on decoded JSON; written from "Elements" of docs/policies.md."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

SUBSETTED = "SUBSETTED"
_GONE = object()


def steps(path: str) -> list[tuple[str, tuple[str, str] | None]]:
    """``identifier.where(system='urn:own').value`` as its members, each perhaps with a condition."""
    found: list[tuple[str, tuple[str, str] | None]] = []
    for part in re.findall(r"where\([^)]*\)|[^.]+", path):
        condition = re.fullmatch(r"where\((\w+)='([^']*)'\)", part)
        if condition is None:
            found.append((part, None))
        else:
            found[-1] = (found[-1][0], (condition[1], condition[2]))
    return found


def is_named(member: str, name: str) -> bool:
    plain = member.lstrip("_")
    if name.endswith("[x]"):
        rest = plain.removeprefix(name[:-3])
        return plain.startswith(name[:-3]) and (rest == "" or rest[0].isupper())
    return plain == name


def without(value: Any, paths: Iterable[str]) -> Any:
    """``value`` without the elements of ``paths``; what is left empty goes too."""
    for path in paths:
        value = _cut(value, steps(path))
    return {} if value is _GONE else value


def _cut(value: Any, path: list[tuple[str, tuple[str, str] | None]]) -> Any:
    if not isinstance(value, dict):
        return value
    name, condition = path[0]
    kept: dict[str, Any] = {}
    for member, inner in value.items():
        left = _below(inner, path[1:], condition) if is_named(member, name) else inner
        if left is not _GONE:
            kept[member] = left
    return kept or _GONE


def _below(inner: Any, rest: list[tuple[str, tuple[str, str] | None]], condition: tuple[str, str] | None) -> Any:
    if isinstance(inner, list):
        left = [one for one in (_below(item, rest, condition) for item in inner) if one is not _GONE]
        return left or _GONE
    if condition is not None and (not isinstance(inner, dict) or inner.get(condition[0]) != condition[1]):
        return inner
    return _GONE if not rest else _cut(inner, rest)


def untagged(resource: dict[str, Any]) -> dict[str, Any]:
    """Without the tag ``SUBSETTED``, and without what is empty then."""
    meta = dict(resource.get("meta", {}))
    tags = [tag for tag in meta.pop("tag", []) if tag.get("code") != SUBSETTED]
    meta |= {"tag": tags} if tags else {}
    rest = {name: value for name, value in resource.items() if name != "meta"}
    if "contained" in rest:  # which HAPI tags too
        rest["contained"] = [untagged(one) for one in rest["contained"]]
    return {**rest, "meta": meta} if meta else rest


def is_tagged(resource: dict[str, Any]) -> bool:
    return any(tag.get("code") == SUBSETTED for tag in resource.get("meta", {}).get("tag", []))


def is_part(given: Any, whole: Any) -> bool:
    """Whether ``given`` holds nothing that ``whole`` has not, in its place."""
    if isinstance(given, dict):
        return isinstance(whole, dict) and all(name in whole and is_part(value, whole[name]) for name, value in given.items())
    if isinstance(given, list):
        return isinstance(whole, list) and len(given) <= len(whole) and all(any(is_part(one, other) for other in whole) for one in given)
    return bool(given == whole)
