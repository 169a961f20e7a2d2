"""Whether elements satisfy string values. Spec: FHIR R4 search, "string"."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from smart_gateway.boundary.certainty import Test
from smart_gateway.fhir.elements import Element

_PARTS = {
    "HumanName": ("text", "family", "given", "prefix", "suffix"),
    "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
}
_PLAIN = frozenset({"string", "markdown"})


def string_test(modifier: str | None, values: Iterable[str]) -> Test:
    """The test of a string parameter: begins with, without regard to case and accents; ``exact``; ``contains``."""
    compare = _COMPARE[modifier]
    # INVARIANT: every text begins with the empty one, so nothing that normalises to it is ever wanted.
    wanted = tuple(values) if modifier == "exact" else tuple(filter(None, map(normalised, values)))

    def test(element: Element) -> bool | None:
        return any(compare(text, wanted) for text in _texts(element))

    return test


def starts_with(text: str, wanted: tuple[str, ...]) -> bool:
    """Whether ``text`` begins with one of ``wanted`` (normalised), case, accents and runs of spaces aside."""
    return normalised(text).startswith(wanted)


def normalised(text: str) -> str:
    """Without case, combining marks and superfluous spaces."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(c for c in decomposed if not unicodedata.combining(c)).split())


def _contains(text: str, wanted: tuple[str, ...]) -> bool:
    normal = normalised(text)
    return any(value in normal for value in wanted)


def _is_exactly(text: str, wanted: tuple[str, ...]) -> bool:
    return text in wanted


_COMPARE: dict[str | None, Callable[[str, tuple[str, ...]], bool]] = {None: starts_with, "contains": _contains, "exact": _is_exactly}


def _texts(element: Element) -> Iterator[str]:
    value = element.value
    if element.type in _PLAIN:
        yield from _strings(value)
    elif isinstance(value, dict):
        for part in _PARTS.get(element.type, ()):
            yield from _strings(value.get(part))


def _strings(value: Any) -> Iterator[str]:
    yield from (item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str))
