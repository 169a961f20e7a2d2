"""``policy.value_sets``: the value sets that scopes may name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from smart_gateway.errors import SettingsError
from smart_gateway.fhir.strict_json import parse_json
from smart_gateway.fhir.value_sets import Codes, ValueSet, ValueSetError, ValueSets, read_value_set
from smart_gateway.settings.files import read_named
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.sections.quantities import Duration
from smart_gateway.settings.sections.section import Section, Text, spelled

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

_MOST_BYTES = 16 * 1024 * 1024
_CANONICAL = re.compile(r"(?:https?://|urn:)[!-{}~]+(?:\|[!-{}~]*)?")
Canonical = Annotated[Text, spelled(_CANONICAL.fullmatch, "canonical", "must be the canonical URL of a value set, perhaps with |version")]


class ValueSetSettings(Section):
    """The value sets that scopes may name with `:in` and `:not-in`. A scope that names another one grants nothing."""

    files: list[Text] = Field(default=[])
    """ValueSet resources (JSON), each with its expansion or with every code listed in `compose`."""
    from_upstream: list[Canonical] = Field(default=[])
    """Canonical URLs of value sets that the FHIR server expands (`ValueSet/$expand`): asked for at start and every `refresh`. Until a set
    was had, and once it could not be had again for a day, its scopes grant nothing."""
    refresh: Duration = Field(default="1h", validate_default=True)
    """How long an expansion of the FHIR server is kept."""


def read_file(settings: Settings, name: str) -> ValueSet:
    """One file of ``files``. Raises SettingsError, and ValueSetError for one that holds no whole value set."""
    data = read_named(settings.file(name), name, _MOST_BYTES)
    try:
        resource = parse_json(data)
    except ValueError as error:
        raise ValueSetError(f"it is no JSON: {error}") from None
    return read_value_set(resource)


def read_files(settings: Settings) -> tuple[ValueSet, ...]:
    """All files of ``files``. Raises as ``read_file`` does."""
    return tuple(read_file(settings, name) for name in settings.policy.value_sets.files)


def foreseen(settings: Settings) -> tuple[ValueSets, tuple[Problem, ...]]:
    """The value sets that scopes may name, those of the FHIR server without codes, and what is wrong with the files."""
    chosen, path = settings.policy.value_sets, ("policy", "value_sets")
    known = ValueSets.of(ValueSet(*_split(canonical), frozenset()) for canonical in dict.fromkeys(chosen.from_upstream))
    problems: list[Problem] = []
    for index, name in enumerate(chosen.files):
        try:
            known = ValueSets({**known.codes, **_alone(read_file(settings, name), known)})
        except SettingsError as error:
            problems.append(Problem((*path, "files", index), error.text))
        except ValueSetError as error:
            problems.append(Problem((*path, "files", index), f"the file {name} cannot count: {error}"))
    return known, tuple(problems)


def _alone(one: ValueSet, known: ValueSets) -> Mapping[str, Codes]:
    """``one`` by its names. Raises ValueSetError where it is known already."""
    names = ValueSets.of([one]).codes
    doubled = [name for name in names if name in known.codes]
    if doubled:
        raise ValueSetError(f"the value set {doubled[0]} is given twice")
    return names


def _split(canonical: str) -> tuple[str, str | None]:
    url, _, version = canonical.partition("|")
    return url, version or None
