"""Whether elements satisfy uri values. Spec: FHIR R4 search, "uri": compared exactly; ``:above`` and ``:below`` by path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from smart_gateway.boundary.certainty import Test
from smart_gateway.fhir.elements import Element

_TYPES = frozenset({"uri", "url", "canonical", "oid", "uuid"})
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/]")


def uri_test(modifier: str | None, values: Iterable[str]) -> Test:
    """The test of a uri parameter."""
    wanted = tuple(values)
    compare: Callable[[str, str], bool] = {None: str.__eq__, "below": _is_below, "above": _is_above}[modifier]

    def test(element: Element) -> bool | None:
        value = element.value
        if element.type not in _TYPES or not isinstance(value, str):
            return None
        return any(compare(value, item) for item in wanted)

    return test


def _is_below(url: str, root: str) -> bool:
    """Whether ``url`` is ``root`` or lies under it, by whole segments of the path."""
    return url == root or (_URL.match(root) is not None and url.startswith(root if root.endswith("/") else root + "/"))


def _is_above(url: str, leaf: str) -> bool:
    return _is_below(leaf, url)
