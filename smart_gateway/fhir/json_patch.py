"""JSON Patch, read strictly and applied to a value that stays as it was. Spec: RFC 6902.

Faults name the operation and its member (``patch[3].path``), never a value. All work is bounded: operations are counted, copies are
weighed, and every container that is written anew or looked into is paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from smart_gateway.errors import RequestError, Unprocessable
from smart_gateway.fhir.json_pointer import Nowhere, Pointer, changed, parse_pointer, value_at, with_addition, with_replacement, without
from smart_gateway.fhir.strict_json import JsonError, parse_json

MOST_OPERATIONS = 1000
MOST_COPIED = 1024 * 1024  # bytes, about: what all copies of one patch may add
_MOST_WORK = 10_000_000  # items of containers written anew, about a tenth of a second
_NODE = 10  # what it costs to look at one value, in the same unit
_NODE_SIZE = 8  # what a value weighs besides its text, in bytes

_members = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_encode = msgspec.json.Encoder().encode


class Verb(StrEnum):
    """What an operation does."""

    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"
    MOVE = "move"
    COPY = "copy"
    TEST = "test"


_WITH_VALUE = frozenset({Verb.ADD, Verb.REPLACE, Verb.TEST})
_WITH_SOURCE = frozenset({Verb.MOVE, Verb.COPY})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``source`` is its ``from``, for move and copy; ``value`` is there for add, replace and test."""

    verb: Verb
    path: Pointer
    source: Pointer | None = None
    value: Any = None


@dataclass(frozen=True, slots=True)
class JsonPatch:
    """The operations in order, and ``text``: them alone, written anew, each value with the very bytes that came."""

    operations: tuple[Operation, ...]
    text: bytes


def read_json_patch(value: object, data: bytes) -> JsonPatch:
    """The patch that ``data``, a strict JSON text, holds; ``value`` is what it was parsed into.

    Members that an operation does not have are ignored (RFC 6902 section 4): they are not in ``text``. Raises RequestError.
    """
    if not isinstance(value, list):
        raise RequestError("A JSON Patch is an array of operations.", reason="malformed-patch", expression="patch")
    if len(value) > MOST_OPERATIONS:
        raise RequestError(f"The patch has more than {MOST_OPERATIONS} operations.", reason="too-many-operations", expression="patch")
    operations = tuple(_operation(item, f"patch[{index}]") for index, item in enumerate(value))
    raw = _members.decode(data)
    return JsonPatch(operations, _encode([_written(operation, members) for operation, members in zip(operations, raw, strict=True)]))


def apply_json_patch(document: Any, patch: JsonPatch, *, max_depth: int, max_size: int) -> Any:
    """What ``patch`` makes of ``document``, a value as ``parse_json`` gives it.

    Raises Unprocessable where an operation cannot be carried out, a test fails, or the result is nested deeper than ``max_depth`` or
    larger than ``max_size`` bytes.
    """
    work = _Work()
    for index, operation in enumerate(patch.operations):
        try:
            document = _applied(document, operation, work)
        except _Fault as fault:
            raise Unprocessable(fault.text, reason=fault.reason, expression=f"patch[{index}].{fault.member}") from None
    return _bounded(document, max_depth, max_size)


class _Fault(Exception):
    """An operation cannot be carried out; ``member`` is the one that says what cannot be done."""

    def __init__(self, text: str, member: str, reason: str = "patch-failed") -> None:
        super().__init__(text)
        self.text, self.member, self.reason = text, member, reason


class _Work:
    """What one patch has cost so far."""

    __slots__ = ("_copied", "_spent")

    def __init__(self) -> None:
        self._spent = 0
        self._copied = 0

    def spend(self, amount: int) -> None:
        self._spent += amount
        if self._spent > _MOST_WORK:
            raise _Fault("The patch takes more work than one request may cause.", "path", "patch-limit")

    def weigh(self, value: Any) -> None:
        """Counts ``value`` as copied. Copies share what they copy until the result is written: doubled often enough, that would be huge."""
        pending = [value]
        while pending:
            value = pending.pop()
            self.spend(_NODE)
            self._copied += _NODE_SIZE + (len(value) if isinstance(value, str) else 0)
            if isinstance(value, dict):
                self._copied += sum(map(len, value))
                pending.extend(value.values())
            elif isinstance(value, list):
                pending.extend(value)
            if self._copied > MOST_COPIED:
                raise _Fault("The patch copies more than one request may.", "from", "patch-limit")


def _operation(item: object, place: str) -> Operation:
    if not isinstance(item, dict):
        raise _malformed("An operation is a JSON object.", place)
    name = item.get("op")
    verb = next((verb for verb in Verb if verb == name), None) if isinstance(name, str) else None
    if verb is None:
        raise _malformed("The operation is none of add, remove, replace, move, copy and test.", f"{place}.op")
    path = _pointer(item, "path", place)
    if verb in _WITH_VALUE and "value" not in item:
        raise _malformed("This operation needs a value.", f"{place}.value")
    source = _pointer(item, "from", place) if verb in _WITH_SOURCE else None
    if verb is Verb.MOVE and source is not None and len(source) < len(path) and path[: len(source)] == source:
        raise _malformed("A value cannot be moved into itself.", f"{place}.path")
    if verb is Verb.REMOVE and not path:
        raise _malformed("A patch cannot remove the whole resource.", f"{place}.path")
    return Operation(verb, path, source, item["value"] if verb in _WITH_VALUE else None)


def _pointer(item: Mapping[str, Any], member: str, place: str) -> Pointer:
    text = item.get(member)
    pointer = parse_pointer(text) if isinstance(text, str) else None
    if pointer is None:
        raise _malformed(f"The operation needs a JSON Pointer in '{member}'.", f"{place}.{member}")
    return pointer


def _written(operation: Operation, members: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    names = ["op", "path"]
    if operation.verb in _WITH_SOURCE:
        names.append("from")
    if operation.verb in _WITH_VALUE:
        names.append("value")
    return {name: members[name] for name in names}


def _malformed(text: str, place: str) -> RequestError:
    return RequestError(text, reason="malformed-patch", expression=place)


def _applied(document: Any, operation: Operation, work: _Work) -> Any:
    """``document`` after one operation. Spec: RFC 6902 section 4."""
    value = operation.value
    if operation.source is not None:
        value = _found(document, operation.source, "from")
    match operation.verb:
        case Verb.COPY:
            work.weigh(value)
        case Verb.MOVE if operation.source == operation.path:
            return document
        case Verb.MOVE if operation.source is not None:  # never the whole document: nothing lies outside of it
            document = changed(document, operation.source, without, work.spend)
        case Verb.TEST:
            if not _equal(_found(document, operation.path, "path"), value, work):
                raise _Fault("The value is not the one that the test names.", "value", "patch-test-failed")
            return document
        case _:
            pass
    return _placed(document, operation, value, work)


def _placed(document: Any, operation: Operation, value: Any, work: _Work) -> Any:
    """``document`` with ``value`` where the operation puts it, or without what it removes."""
    if not operation.path:
        return value
    try:
        match operation.verb:
            case Verb.REMOVE:
                return changed(document, operation.path, without, work.spend)
            case Verb.REPLACE:
                return changed(document, operation.path, with_replacement(value), work.spend)
            case _:
                return changed(document, operation.path, with_addition(value), work.spend)
    except Nowhere:
        raise _Fault("The resource has no such place.", "path") from None


def _found(document: Any, pointer: Pointer, member: str) -> Any:
    try:
        return value_at(document, pointer)
    except Nowhere:
        raise _Fault("The resource has no such place.", member) from None


def _equal(a: Any, b: Any, work: _Work) -> bool:
    """Equality of JSON values: numbers by value, and true is not 1. Spec: RFC 6902 section 4.6."""
    pending = [(a, b)]
    while pending:
        a, b = pending.pop()
        work.spend(_NODE)
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pending.extend((a[name], b[name]) for name in a)
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pending.extend(zip(a, b, strict=True))
        elif isinstance(a, bool) is not isinstance(b, bool) or a != b:
            return False
    return True


def _bounded(document: Any, max_depth: int, max_size: int) -> Any:
    """``document`` written and read again: what was deeper or larger than any body may be is found without walking it in Python."""
    try:
        text = _encode(document)
        if len(text) > max_size:
            raise Unprocessable("The patch would make the resource larger than this gateway accepts.", reason="patch-limit")
        return parse_json(text, max_depth=max_depth)
    except (JsonError, RecursionError):
        raise Unprocessable("The patch would nest the resource too deeply.", reason="json-depth") from None
