"""The elements that a release defines, and whether a path of elements, as policies name them, leads to any.

Only rules on elements ask, so the table is read when the first one does; ``data/README.md`` says how it is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from smart_gateway.fhir.fields import FieldPath, FieldStep
from smart_gateway.fhir.releases import Release

_CHOICE = "[x]"
_OPEN = ("Extension", "value[x]")
_HELD = "Resource"  # a resource in another, of any type
_RESOURCES = ("+DomainResource", "+Resource")
_PRIMITIVE = "Element"  # what a primitive has below it: id and extension
_NO_TEXT = frozenset({"boolean", "decimal", "integer", "positiveInt", "unsignedInt"})  # in JSON; integer64 is a text

Places = frozenset[str]
"""Where an element may be: types (``HumanName``, ``code``) and elements with elements of their own (``Patient.contact``)."""


@dataclass(frozen=True, slots=True)
class UnknownElement:
    """A path that leads nowhere: ``name`` is what is not there, ``text`` says so, and ``valid`` are the paths with another name in its
    place, by that name; by ``name`` itself the path where it is (or is no) choice, or is found one element further down."""

    name: str
    text: str
    valid: Mapping[str, str]


class Structures:
    """The elements of one release. Made by ``load_structures``."""

    def __init__(self, rows: Mapping[str, str], release: Release) -> None:
        """``rows``: the content of one ``.elements.json``."""
        self._rows = rows
        self._release = release
        self._built: dict[str, Mapping[str, Places]] = {}

    def unknown(self, path: FieldPath, types: Iterable[str]) -> UnknownElement | None:
        """The first name in ``path`` that none of ``types`` has; None where it leads to an element of one of them at least."""
        places = frozenset(types)
        above = next(iter(places)) if len(places) == 1 else ""
        for index, step in enumerate(path.steps):
            below = self._down(places, step)
            if not below:
                return self._missing(path, index, places, above)
            above = f"{above}.{step.name}" if above else step.name
            if step.where is not None and not self._has_text(below, step.where[0]):
                text = f"FHIR {self._release}: {above} has no element {step.where[0]} that is a text"
                named = {other: _spelled(path, index, replace(step, where=(other, step.where[1]))) for other in self._texts(below)}
                return UnknownElement(step.where[0], text, named)
            places = below
        return None

    def _missing(self, path: FieldPath, index: int, places: Places, above: str) -> UnknownElement:
        step = path.steps[index]
        name = f"{step.name}{_CHOICE if step.choice else ''}"
        text = f"FHIR {self._release}: {above or 'no type'} has {'no' if above else 'an'} element {name}"
        valid = {known: _spelled(path, index, _step(known, step.where)) for place in self._spread(places) for known in self._names(place)}
        other = step.name if step.choice else f"{step.name}{_CHOICE}"
        between = next(self._between(places, step), None)
        if other in valid:
            valid[name] = valid[other]
        elif between is not None:
            valid[name] = _spelled(path, index, _step(between), step)
        return UnknownElement(name, text, valid)

    def _between(self, places: Places, step: FieldStep) -> Iterator[str]:
        """The elements directly below which there is one by ``step``."""
        for place in sorted(places):
            yield from (name for name, below in self._below(place).items() if _HELD not in below and self._down(below, step))

    def _down(self, places: Places, step: FieldStep) -> Places:
        return frozenset().union(*(self._one_down(place, step) for place in self._spread(places)))

    def _one_down(self, place: str, step: FieldStep) -> Places:
        below = self._below(place)
        known = below.get(f"{step.name}{_CHOICE if step.choice else ''}")
        if known is not None or step.choice:
            return known or frozenset()
        return frozenset(type for name, types in below.items() for type in types if step.name == _typed(name, type))

    def _names(self, place: str) -> Iterator[str]:
        """The names of what is directly below ``place``, a choice also by each of its types."""
        for name, types in self._below(place).items():
            yield name
            yield from (typed for type in types if (typed := _typed(name, type)) is not None)

    def _has_text(self, places: Places, name: str) -> bool:
        return any(self._is_text(type) for type in self._down(places, FieldStep(name)))

    def _texts(self, places: Places) -> Iterator[str]:
        return (name for place in sorted(places) for name in self._names(place) if self._has_text(frozenset({place}), name))

    def _is_text(self, type: str) -> bool:
        return type not in self._rows and type not in _NO_TEXT

    def _spread(self, places: Places) -> Places:
        """With every resource type for a resource in another."""
        return places if _HELD not in places else places | {place for place, row in self._rows.items() if row.startswith(_RESOURCES)}

    def _below(self, place: str) -> Mapping[str, Places]:
        """What lies directly below ``place``: by name (``value[x]``), where that may be."""
        built = self._built.get(place)
        if built is None:
            built = self._built[place] = dict(self._read(place))
        return built

    def _read(self, place: str) -> Iterator[tuple[str, Places]]:
        for word in self._rows.get(place, self._rows[_PRIMITIVE]).split():
            name, _, types = word.partition(":")
            if word.startswith("+"):
                yield from self._below(word[1:]).items()
            elif types == "*":
                yield name, self._below(_OPEN[0])[_OPEN[1]]
            else:
                yield name, frozenset({f"{place}.{name}"} if types == "." else (types or "string").split(","))


@cache
def load_structures(release: Release) -> Structures:
    """The elements of ``release``, read once and kept."""
    table = files(__package__).joinpath("data", f"{release.value.lower()}.elements.json").read_bytes()
    return Structures(json.loads(table), release)


def _typed(name: str, type: str) -> str | None:
    """The JSON name of a choice ``name`` where it is of ``type``; None where it is no choice."""
    return f"{name.removesuffix(_CHOICE)}{type[:1].upper()}{type[1:]}" if name.endswith(_CHOICE) else None


def _step(name: str, where: tuple[str, str] | None = None) -> FieldStep:
    return FieldStep(name.removesuffix(_CHOICE), name.endswith(_CHOICE), where)


def _spelled(path: FieldPath, index: int, *steps: FieldStep) -> str:
    """``path`` with ``steps`` in the place of one of its own."""
    return ".".join(map(_text, (*path.steps[:index], *steps, *path.steps[index + 1 :])))


def _text(step: FieldStep) -> str:
    where = f".where({step.where[0]}='{step.where[1]}')" if step.where is not None else ""
    return f"{step.name}{_CHOICE if step.choice else ''}{where}"
