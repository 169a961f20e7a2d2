"""Whether elements satisfy reference values. Spec: FHIR R4 search, "reference"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from smart_gateway.boundary.certainty import Test
from smart_gateway.fhir.elements import Element
from smart_gateway.fhir.references import Bases, parse_reference
from smart_gateway.fhir.search_values_references import ReferenceValue
from smart_gateway.fhir.strays import STRUCTURES


def reference_test(values: Iterable[ReferenceValue], bases: Bases) -> Test:
    """The test of a reference parameter: literal references and canonicals, never identifiers or displays.

    A versioned reference counts as its resource. An absolute URL counts as a resource of this server under its bases only;
    elsewhere both sides must be the same URL. A reference whose own ``type`` contradicts it does not count.
    """
    resources, urls = _sorted(values, bases)

    def literal(value: Any, element: Element) -> bool:
        text = value.get("reference") if isinstance(value, dict) else None
        if not isinstance(text, str):
            return False
        named = parse_reference(text, bases)
        if named is None:
            return text in urls
        if value.get("type") not in (None, named.type, STRUCTURES + named.type):
            return False
        return (named.type, named.id) in resources and (not element.targets or named.type in element.targets)

    def test(element: Element) -> bool | None:
        value = element.value
        if element.type == "Reference":
            return literal(value, element)
        if element.type == "CodeableReference":
            return literal(value.get("reference") if isinstance(value, dict) else None, element)
        if element.type in {"canonical", "uri"}:
            return isinstance(value, str) and any(_same_canonical(value, url) for url in urls)
        return None

    return test


def _sorted(values: Iterable[ReferenceValue], bases: Bases) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """(type, id) of this server's resources, and URLs as written (a canonical may begin with one of our bases)."""
    resources: set[tuple[str, str]] = set()
    urls: set[str] = set()
    for value in values:
        if value.url is None:
            resources.add((value.type, value.id))
            continue
        urls.add(value.url)
        named = parse_reference(value.url, bases)
        if named is not None and named.version is None:
            resources.add((named.type, named.id))
    return frozenset(resources), frozenset(urls)


def _same_canonical(canonical: str, wanted: str) -> bool:
    """Without a version in ``wanted`` any version matches; with one, the same only."""
    return canonical == wanted or ("|" not in wanted and canonical.partition("|")[0] == wanted)
