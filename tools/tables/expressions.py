"""Reads the FHIRPath of search parameters, as far as it is paths, and compiles it to typed JSON paths.

Read: dotted paths, unions, ``as``/``as()``/``ofType()``, ``where(member = 'text')``, ``where(resolve() is T)``,
parentheses and a leading ``%resource``. Everything else raises ``Unsupported``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from tables.schema import Place, Schema

_TOKEN = re.compile(r"\s*(?:(?P<string>'[^']*')|(?P<name>%?[A-Za-z_]\w*)|(?P<symbol>[|().=]))")


class Unsupported(Exception):
    """The expression is more than paths; the text says what was met."""


@dataclass(frozen=True)
class Name:
    text: str


@dataclass(frozen=True)
class OfType:
    type: str


@dataclass(frozen=True)
class Where:
    member: str
    value: str


@dataclass(frozen=True)
class Target:
    type: str


Branch = tuple[Name | OfType | Where | Target, ...]


@dataclass(frozen=True)
class Path:
    """A compiled path; ``str()`` of it is how the tables write it: ``telecom[system=phone]:ContactPoint``, ``subject:Reference@Patient``.

    ``at`` is the element path or type whose children the values have.
    """

    steps: tuple[str, ...]
    type: str
    targets: frozenset[str] = field(default_factory=frozenset)
    at: str = field(default="", compare=False)

    def __str__(self) -> str:
        targets = "@" + ",".join(sorted(self.targets)) if self.targets else ""
        return f"{'.'.join(self.steps)}:{self.type}{targets}"


def branches(expression: str) -> list[Branch]:
    """The branches of the union that ``expression`` is; raises Unsupported."""
    reader = _Reader(expression)
    result = reader.union()
    reader.end()
    return result


def compile_branch(branch: Branch, schema: Schema, at: str) -> list[Path]:
    """The paths of ``branch`` from the element path or type ``at``; none when there is no such element."""
    found = [Path((), at, at=at)]
    for index, op in enumerate(branch):
        match op:
            case Name(text):
                found = [_down(path, place) for path in found for place in schema.children(path.at, text)]
            case OfType(type):
                found = [path for path in found if path.type.lower() == type.lower()]
            case Where(member, value):
                found = [_narrow(path, member, value) for path in found if schema.children(path.at, member)]
            case Target(type):
                if index != len(branch) - 1:
                    raise Unsupported("a path through resolve()")
                found = [replace(path, targets=path.targets | {type}) for path in found]
    return found


def _down(path: Path, place: Place) -> Path:
    if place.member == "resource" and place.type == "Resource":
        raise Unsupported("a resource inside the resource")
    return Path((*path.steps, place.member), place.type, at=place.at)


def _narrow(path: Path, member: str, value: str) -> Path:
    if path.steps[-1].endswith("]") or re.search(r"[\]\[]", value):
        raise Unsupported("where() twice")
    return replace(path, steps=(*path.steps[:-1], f"{path.steps[-1]}[{member}={value}]"))


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        place = 0
        text = text.rstrip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise Unsupported(f"`{text[place:].strip()[:12]}`")
            self._tokens.append(match[0].strip())
            place = match.end()
        self._tokens.append("")

    def end(self) -> None:
        if self._tokens[0]:
            raise Unsupported(f"`{self._tokens[0]}`")

    def union(self) -> list[Branch]:
        result = self._cast()
        while self._skip("|"):
            result += self._cast()
        return result

    def _cast(self) -> list[Branch]:
        found = self._postfix()
        if self._skip("as"):
            found = [(*branch, OfType(self._tokens[0])) for branch in found]
            self._name()
        return found

    def _postfix(self) -> list[Branch]:
        if self._skip("("):
            found = self.union()
            self._expect(")")
        else:
            found = [(Name(self._name()),)]
        while self._skip("."):
            segment = self._segment()
            found = [(*branch, segment) for branch in found]
        return found

    def _segment(self) -> Name | OfType | Where | Target:
        name = self._name()
        if not self._skip("("):
            return Name(name)
        if name in {"as", "ofType"}:
            result: OfType | Where | Target = OfType(self._name())
        elif name == "where":
            result = self._condition()
        else:
            raise Unsupported(f"{name}()")
        self._expect(")")
        return result

    def _condition(self) -> Where | Target:
        name = self._name()
        if name == "resolve":
            for symbol in ("(", ")", "is"):
                self._expect(symbol)
            return Target(self._name())
        self._expect("=")
        value = self._tokens.pop(0)
        if not value.startswith("'"):
            raise Unsupported(f"where({name} = {value})")
        return Where(name, value.strip("'"))

    def _name(self) -> str:
        token = self._tokens.pop(0)
        if not re.fullmatch(r"%?\w+", token):
            raise Unsupported(f"`{token}`")
        return token

    def _skip(self, token: str) -> bool:
        if self._tokens[0] != token:
            return False
        self._tokens.pop(0)
        return True

    def _expect(self, token: str) -> None:
        if not self._skip(token):
            raise Unsupported(f"`{self._tokens[0]}`")
