"""How scopes, claims and references are read: the small words of the judge."""

from __future__ import annotations

import re
from typing import Any

from tests.integration.policed.world import Resource


def context(scope: str) -> str:
    return scope.partition("/")[0]


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def among(value: str, wanted: Any) -> bool:
    return wanted is None or value in listed(wanted)


def literal(kind: str, values: list[Any] | None) -> list[str] | None:
    """The ids that ids and literal references to ``kind`` name; None where one is anything else."""
    if not values or not all(isinstance(one, str) for one in values):
        return None
    ids = [one.removeprefix(f"{kind}/") for one in values]
    return ids if all(re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", id) for id in ids) else None


def references(resource: Resource, path: str) -> list[str]:
    found: list[Any] = [resource]
    for name in path.split("."):
        found = [inner for one in found for inner in listed(one.get(name, []))]
    return [one["reference"] for one in found if "reference" in one]
