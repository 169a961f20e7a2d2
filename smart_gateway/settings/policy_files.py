"""Settings to try a policy by: of a whole file, of a policy alone, or the defaults; and the same with one rule taken away."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smart_gateway.errors import SettingsError
from smart_gateway.settings.checks.contradictions import check
from smart_gateway.settings.findings import KeyPath, Place, Severity, spell_key
from smart_gateway.settings.loading import Examination, examine
from smart_gateway.settings.model import Settings
from smart_gateway.settings.reading.document import MAX_BYTES, read_document
from smart_gateway.settings.sections.policy import PolicySettings
from smart_gateway.settings.sections.secret import Surroundings

_AROUND: Mapping[str, Any] = {
    "server": {"public_url": "http://localhost/fhir"},
    "upstream": {"url": "http://localhost:8090/fhir", "fhir_version": "R4"},
    "issuers": [{"issuer": "https://issuer.invalid"}],
}
# They say how large and how fast, and who gets to know: no case can tell them.
_NO_RULES = frozenset({"limits", "audit"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One key, or one item of a list, of a policy as it is written."""

    path: KeyPath
    place: Place
    text: str

    @property
    def name(self) -> str:
        return spell_key(self.path[1:])


def examine_policy(source: Path | None, tenant: str | None = None) -> Examination:
    """The settings of a file, which may also be a policy alone, for an R4 upstream then; without a file, an empty policy.

    ``tenant``: of which tenant. Raises SettingsError with every finding.
    """
    if source is None:
        found = examine(_AROUND, {})
    elif source.exists() and not (source.is_file() or source.is_dir()):
        raise SettingsError(f"{source} is neither a file nor a directory, and is read more than once: save it to a file.")
    elif is_policy(source):
        found = _alone(source)
    else:
        found = examine(source, os.environ)
    if found.settings is None:
        raise SettingsError(f"{source} is refused.", found.findings)
    return found.of(tenant)


def _alone(source: Path) -> Examination:
    """A policy in invented surroundings: with one issuer, or those that its clients name; nothing is said of the surroundings."""
    around = {**_AROUND, "policy": source.name}
    found = examine(around, {}, directory=source.parent)
    if issuers := _issuers_named(found):
        found = examine({**around, "issuers": [{"issuer": name} for name in issuers]}, {}, directory=source.parent)
    return replace(found, findings=tuple(finding for finding in found.findings if not finding.key.startswith(tuple(_AROUND))))


def _issuers_named(found: Examination) -> list[str]:
    policy = found.root.child("policy") if found.root is not None else None
    clients = policy.child("clients") if policy is not None else None
    named = (node.content for path, node in (clients.walk() if clients is not None else ()) if len(path) == 3 and path[1] == "issuers")
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))


def rules(examination: Examination) -> Iterator[Rule]:
    """Every rule of the policy: each key and each item of a list, whatever is below it counting for itself too."""
    policy = examination.root.child("policy") if examination.root is not None else None
    if policy is None:
        return
    for path, node in policy.walk(("policy",)):
        if len(path) > 1 and path[1] not in _NO_RULES:
            text = node.content if isinstance(node.content, str) else ""
            yield Rule(path, node.place, text)


def without(examination: Examination, rule: Rule) -> Settings | None:
    """The settings without one rule; None where they would be refused so."""
    assert examination.root is not None
    assert examination.settings is not None
    root = examination.root.copy()
    above = root
    for part in rule.path[:-1]:
        above = above.child(part) or above
    above.remove(rule.path[-1])
    root.number()
    try:
        settings = Settings.model_validate(root.plain(), context=Surroundings(examination.settings.file("."), os.environ))
    except ValidationError:
        return None
    return None if any(problem.severity is Severity.ERROR for problem in check(settings)) else settings


def is_policy(source: Path) -> bool:
    """Whether a file holds the keys of a policy and none of a whole configuration; a directory is one that is put together."""
    if source.is_dir():
        return True
    try:
        with source.open("rb") as stream:
            root = read_document(stream.read(MAX_BYTES + 1), str(source)).root
    except OSError:
        return False  # said with the settings
    keys = set(root.content) if root is not None and isinstance(root.content, dict) else set()
    return bool(keys & _keys(PolicySettings)) and not keys & _keys(Settings)


def _keys(model: type[PolicySettings] | type[Settings]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}
