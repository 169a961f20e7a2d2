"""JSON Pointer: where a value lies in a JSON document, and documents with another value there. Spec: RFC 6901.

Documents are never changed: a changed one shares with the old one whatever stayed the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Pointer = tuple[str, ...]
Container = dict[str, Any] | list[Any]
Change = Callable[[Container, str], Container]

_WRONG_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # without leading zeros; no document has a thousand million items
_END = "-"


class Nowhere(ValueError):
    """The document has no such place."""


def parse_pointer(text: str) -> Pointer | None:
    """The unescaped reference tokens of ``text``; None where it is no pointer. The empty text is the whole document."""
    if text == "":
        return ()
    if not text.startswith("/") or _WRONG_ESCAPE.search(text) is not None:
        return None
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text[1:].split("/"))


def value_at(document: Any, pointer: Pointer) -> Any:
    """The value at ``pointer``. Raises Nowhere."""
    for token in pointer:
        document = _member(document, token)
    return document


def changed(document: Any, pointer: Pointer, change: Change, spend: Callable[[int], None]) -> Any:
    """``document`` with the container of the place that ``pointer``, which is not empty, names as ``change`` makes it.

    ``spend`` is told the size of each container that must be written anew. Raises Nowhere.
    """
    trail: list[tuple[Container, str]] = []
    for token in pointer[:-1]:
        trail.append((document, token))
        document = _member(document, token)
    if not isinstance(document, dict | list):
        raise Nowhere
    spend(len(document))
    document = change(document, pointer[-1])
    for container, token in reversed(trail):
        spend(len(container))
        document = with_value(container, token, document)
    return document


def with_addition(value: Any) -> Change:
    """Adds ``value``: as a member, whatever it was before, or between the items of an array. Spec: RFC 6902 section 4.1."""

    def add(container: Container, token: str) -> Container:
        if isinstance(container, dict):
            return {**container, token: value}
        index = len(container) if token == _END else _index(token)
        if index > len(container):
            raise Nowhere
        return [*container[:index], value, *container[index:]]

    return add


def with_replacement(value: Any) -> Change:
    """Puts ``value`` in the place of what is there."""

    def replace(container: Container, token: str) -> Container:
        _member(container, token)
        return with_value(container, token, value)

    return replace


def without(container: Container, token: str) -> Container:
    """Takes away what is there."""
    _member(container, token)
    if isinstance(container, dict):
        return {name: value for name, value in container.items() if name != token}
    index = int(token)
    return [*container[:index], *container[index + 1 :]]


def with_value(container: Container, token: str, value: Any) -> Container:
    """``container`` with ``value`` at a place that it has."""
    if isinstance(container, dict):
        return {**container, token: value}
    index = int(token)
    return [*container[:index], value, *container[index + 1 :]]


def _member(container: Any, token: str) -> Any:
    if isinstance(container, dict) and token in container:
        return container[token]
    if isinstance(container, list) and (index := _index(token)) < len(container):
        return container[index]
    raise Nowhere


def _index(token: str) -> int:
    if _INDEX.fullmatch(token) is None:
        raise Nowhere
    return int(token)
