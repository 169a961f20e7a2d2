"""Security labels, written from "Security labels" of docs/policies.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.integration.policed.rules import LADDER
from tests.integration.policed.world import CONFIDENTIALITY, OLDER, Resource


def labels_of(resource: Resource) -> list[dict[str, str]]:
    inner = [label for one in resource.get("contained", []) for label in one.get("meta", {}).get("security", [])]
    return [*resource.get("meta", {}).get("security", []), *inner]


def confidentiality(labels: list[dict[str, str]], unlabelled: str) -> int:
    ranks = [
        LADDER.index(label["code"]) if label["code"] in LADDER and "system" in label else len(LADDER) - 1
        for label in labels
        if label.get("system", CONFIDENTIALITY) in (CONFIDENTIALITY, OLDER)
    ]
    return max(ranks) if ranks else LADDER.index(unlabelled)


def is_labelled(labels: list[dict[str, str]], code: str) -> bool:
    """By ``system|code``, ``system|`` or a code; a label without a system, and one in other case, counts too."""
    system, bar, wanted = code.rpartition("|")
    for label in labels:
        same = not wanted or label["code"].lower() == wanted.lower()
        if same and (not bar or label.get("system", system) == system):
            return True
    return False


def concerns(limit: Mapping[str, Any], letter: str, type: str) -> bool:
    return letter in limit.get("permissions", "cruds") and ("types" not in limit or type in limit["types"])
