"""Elements of resources as policies name them (``birthDate``, ``name.family``, ``value[x]``, ``identifier.where(system='...')``), and
JSON without them, byte for byte the same otherwise.

What is left empty goes too: FHIR has no empty objects and arrays. The twins that hold a primitive's extensions go with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from smart_gateway.fhir.vocabulary import Step

_NAME = r"[a-z][A-Za-z0-9]*"
_STEP = re.compile(rf"({_NAME})(\[x\])?(?:\.where\(({_NAME}) ?= ?'([^']*)'\))?(?:\.|$)")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PLAIN = re.compile(rb"[^\s,\]}]+")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_SPACE = re.compile(rb"\s*")


@dataclass(frozen=True, slots=True)
class FieldStep:
    """One member; ``choice``: of any type (``value[x]``). ``where``: only items whose member has this text; also those of which that cannot
    be told, unless ``certain``."""

    name: str
    choice: bool = False
    where: tuple[str, str] | None = None
    certain: bool = False

    def matches(self, member: str) -> bool:
        """Whether a JSON member is this one, or holds its extensions."""
        plain = member.removeprefix("_")
        return plain == self.name or (self.choice and plain.startswith(self.name) and plain[len(self.name) : len(self.name) + 1].isupper())


@dataclass(frozen=True, slots=True)
class FieldPath:
    """An element and all below it. ``text`` is how the policy wrote it."""

    steps: tuple[FieldStep, ...]
    text: str

    @property
    def is_conditional(self) -> bool:
        return any(step.where is not None for step in self.steps)

    @property
    def certain(self) -> FieldPath:
        """The same, of such items only that are certainly meant."""
        return replace(self, steps=tuple(replace(step, certain=True) for step in self.steps))

    def meets(self, steps: tuple[Step, ...]) -> bool:
        """Whether a search parameter by ``steps`` may look at this element, at what is below it, or at the whole that it is part of."""
        return self.meets_names([step.name for step in steps])

    def meets_names(self, names: Sequence[str]) -> bool:
        return all(own.matches(name) for own, name in zip(self.steps, names, strict=False))

    def holds_names(self, names: Sequence[str]) -> bool:
        """Whether what lies at ``names`` is this element or below it."""
        return len(names) >= len(self.steps) and self.meets_names(names)


def parse_field(text: str) -> FieldPath:
    """Raises ValueError for what is no such path."""
    steps, place = [], 0
    while place < len(text):
        match = _STEP.match(text, place)
        if match is None or (match.end() == len(text) and text.endswith(".")):
            raise ValueError("no path of elements")
        where = (match[3], match[4]) if match[3] is not None else None
        steps.append(FieldStep(match[1], match[2] is not None, where))
        place = match.end()
    if not steps:
        raise ValueError("no path of elements")
    return FieldPath(tuple(steps), text)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a JSON object in ``data``: where its name begins, and its value begins and ends."""

    name: str
    start: int
    value: int
    end: int


def members_at(data: bytes, start: int) -> tuple[list[Member], int]:
    """The members of the object that begins at ``start``, and where it ends. ``data`` is known to be JSON."""
    found: list[Member] = []
    place = _skip(data, start + 1)
    while data[place : place + 1] == b'"':
        key = _STRING.match(data, place)
        assert key is not None  # INVARIANT: it was read as JSON before
        value = _skip(data, _skip(data, key.end()) + 1)
        end = _end(data, value)
        found.append(Member(json.loads(key[0]), place, value, end))
        place = _after(data, end)
    return found, place + 1


def items_at(data: bytes, start: int) -> tuple[list[tuple[int, int]], int]:
    """Where the items of the array that begins at ``start`` begin and end, and where it ends."""
    found: list[tuple[int, int]] = []
    place = _skip(data, start + 1)
    while data[place : place + 1] != b"]":
        end = _end(data, place)
        found.append((place, end))
        place = _after(data, end)
    return found, place + 1


def without(data: bytes, paths: tuple[FieldPath, ...]) -> bytes:
    """The JSON object ``data`` without the elements of ``paths``; ``{}`` where nothing is left."""
    start = _skip(data, 0)
    return data[:start] + (_object(data, start, [path.steps for path in paths]) or b"{}")


Steps = tuple[FieldStep, ...]


def _object(data: bytes, start: int, paths: list[Steps]) -> bytes | None:
    """The object without what ``paths`` lead to; None where it is empty then."""
    members, end = members_at(data, start)
    kept = [(member, value) for member in members if (value := _member(data, member, paths)) is not None]
    if not kept and (members or not paths):
        return None
    spans = [(member.start, member.end, data[member.start : member.value] + value) for member, value in kept]
    return _joined(data, start, end, [(member.start, member.end) for member in members], spans)


def _member(data: bytes, member: Member, paths: list[Steps]) -> bytes | None:
    below = [steps for steps in paths if steps[0].matches(member.name)]
    if not below:
        return data[member.value : member.end]
    if any(len(steps) == 1 and steps[0].where is None for steps in below):
        return None
    if data[member.value : member.value + 1] == b"[":
        return _array(data, member.value, below)
    return _item(data, member.value, member.end, below)


def _array(data: bytes, start: int, below: list[Steps]) -> bytes | None:
    items, end = items_at(data, start)
    kept = [(first, last, value) for first, last in items if (value := _item(data, first, last, below)) is not None]
    if not kept and items:
        return None
    return _joined(data, start, end, items, kept)


def _item(data: bytes, start: int, end: int, below: list[Steps]) -> bytes | None:
    """One value of a member, without what the paths through it lead to; None where all of it goes."""
    if data[start : start + 1] == b"[":  # an array in an array is no FHIR
        return data[start:end] if any(steps[0].certain for steps in below) else _array(data, start, below)
    if data[start : start + 1] != b"{":
        return data[start:end]  # a primitive has nothing below it
    meant = [steps for steps in below if steps[0].where is None or _holds(data, start, steps[0].where, certain=steps[0].certain)]
    if not meant:
        return data[start:end]
    if any(len(steps) == 1 for steps in meant):
        return None
    return _object(data, start, [steps[1:] for steps in meant])


def _holds(data: bytes, start: int, where: tuple[str, str], *, certain: bool) -> bool:
    """Whether a member has this text; also where it is there and is no text, unless that must be ``certain``."""
    values = [json.loads(data[m.value : m.end]) for m in members_at(data, start)[0] if m.name == where[0]]
    return any(value == where[1] or (not certain and not isinstance(value, str)) for value in values)


def _joined(data: bytes, start: int, end: int, all_spans: list[tuple[int, int]], kept: list[tuple[int, int, bytes]]) -> bytes:
    """The container from ``start`` to ``end`` with the parts that are kept, and the white space and commas that stood before each."""
    if not all_spans:
        return data[start:end]
    before = {first: data[previous[1] : first] for previous, (first, _) in pairwise(all_spans)}
    parts = [data[start : all_spans[0][0]]]
    for number, (first, _, value) in enumerate(kept):
        parts += [before[first] if number else b"", value]
    return b"".join((*parts, data[all_spans[-1][1] : end]))


def _skip(data: bytes, place: int) -> int:
    match = _SPACE.match(data, place)
    return match.end() if match is not None else place


def _after(data: bytes, end: int) -> int:
    """Where what follows a comma begins, or the closing bracket."""
    place = _skip(data, end)
    return _skip(data, place + 1) if data[place : place + 1] == b"," else place


def _end(data: bytes, start: int) -> int:
    """Where the value that begins at ``start`` ends."""
    first = data[start : start + 1]
    if first == b'"':
        match = _STRING.match(data, start)
    elif first in (b"{", b"["):
        return _closing(data, start)
    else:
        match = _PLAIN.match(data, start)
    assert match is not None  # INVARIANT: it was read as JSON before
    return match.end()


def _closing(data: bytes, start: int) -> int:
    depth = 0
    for found in _brackets(data, start):
        depth += 1 if found[0] in (b"{", b"[") else -1
        if depth == 0:
            return found.end()
    raise AssertionError("it was read as JSON before")


def _brackets(data: bytes, start: int) -> Iterator[re.Match[bytes]]:
    return (found for found in _NESTING.finditer(data, start) if not found[0].startswith(b'"'))
