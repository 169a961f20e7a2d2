"""The elements of a release as they are named: every resource, data type and backbone with what lies directly below it."""

from __future__ import annotations

from tables.schema import Element, Schema

# Whose elements are said by name where all of them are there too, the largest first.
_BASES = ("DomainResource", "Resource", "BackboneElement", "Element")
_NO_TEXT = frozenset({"boolean", "decimal", "integer", "positiveInt", "unsignedInt"})
_OWN = frozenset({"BackboneElement", "Element"})
_OPEN = "Extension.value[x]"


def structures(schema: Schema) -> dict[str, str]:
    """Place -> its elements, for all that can be reached from a resource; ``data/README.md`` says how they are written."""
    found: dict[str, str] = {}
    ahead = [*sorted(schema.concrete), *_BASES]
    while ahead:
        place = ahead.pop(0)
        if place in found or schema.is_primitive(place):
            continue
        found[place] = " ".join(_words(schema, place))
        ahead += sorted(next_place for name in schema.below(place) for next_place in _next(schema, place, name))
    return dict(sorted(found.items()))


def _words(schema: Schema, place: str) -> list[str]:
    words = _all_words(schema, place)
    for base in _BASES:
        inherited = _all_words(schema, base)
        if base != place and set(inherited) <= set(words):
            return [f"+{base}", *(word for word in words if word not in inherited)]
    return words


def _all_words(schema: Schema, place: str) -> list[str]:
    return [_word(schema, place, name, element) for name, element in schema.below(place).items()]


def _word(schema: Schema, place: str, name: str, element: Element) -> str:
    if element.reference is not None:
        return f"{name}:{element.reference}"
    if name.endswith("[x]"):
        is_open = f"{place}.{name}" != _OPEN and set(element.types) == set(schema.types(_OPEN))
        return f"{name}:{'*' if is_open else ','.join(element.types)}"
    (type,) = element.types
    if type in _OWN:
        return f"{name}:."
    return name if schema.is_primitive(type) and type not in _NO_TEXT else f"{name}:{type}"


def _next(schema: Schema, place: str, name: str) -> list[str]:
    """The places of the element ``name``."""
    element = schema.below(place)[name]
    if element.reference is not None:
        return [element.reference]
    return [f"{place}.{name}" if type in _OWN else type for type in element.types]
