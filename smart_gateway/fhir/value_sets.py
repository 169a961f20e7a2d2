"""Value sets as the codes that they hold: what ``:in`` and ``:not-in`` of a scope go by.

A set counts only where all of its codes are listed, in an expansion or in an enumerated ``compose``: half a set would make ``:not-in``
admit what is in the other half. Spec: FHIR R4 valueset.html 4.9.5, valueset-operation-expand.html; semantics 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Code = tuple[str, str]  # system and code, both present
Codes = frozenset[Code]

_UNFINISHED = frozenset({"valueset-toocostly", "valueset-unclosed"})  # extensions: there is more than is listed
_PARTIAL = frozenset({"filter", "property", "limitedExpansion"})  # parameters of an expansion that leave codes out


class ValueSetError(ValueError):
    """The resource is no value set whose codes are all known; the argument says why."""


@dataclass(frozen=True, slots=True)
class ValueSet:
    """One value set. ``url`` is its canonical URL."""

    url: str
    version: str | None
    codes: Codes


@dataclass(frozen=True, slots=True)
class ValueSets:
    """Codes by canonical: ``url``, or ``url|version``. ``at_upstream``: the canonicals that the FHIR server expands itself."""

    codes: Mapping[str, Codes] = field(default_factory=dict)
    at_upstream: frozenset[str] = frozenset()

    @classmethod
    def of(cls, sets: Iterable[ValueSet], at_upstream: frozenset[str] = frozenset()) -> ValueSets:
        """Raises ValueSetError where one canonical is given twice. Of several versions none is the one meant by the bare URL."""
        codes: dict[str, Codes] = {}
        versions: dict[str, list[Codes]] = {}
        for one in sets:
            name = one.url if one.version is None else f"{one.url}|{one.version}"
            if name in codes:
                raise ValueSetError(f"the value set {name} is given twice")
            codes[name] = one.codes
            versions.setdefault(one.url, []).append(one.codes)
        return cls({**{url: found[0] for url, found in versions.items() if len(found) == 1}, **codes}, at_upstream)

    def together(self, canonicals: Iterable[str]) -> Codes | None:
        """The codes of all of these sets; None where one of them is not known."""
        found = [self.codes.get(canonical) for canonical in canonicals]
        known = [codes for codes in found if codes is not None]
        return Codes().union(*known) if len(known) == len(found) else None


NO_VALUE_SETS = ValueSets()


def read_value_set(resource: Any) -> ValueSet:
    """A ValueSet resource with an expansion or an enumerated ``compose``. Raises ValueSetError."""
    if not isinstance(resource, Mapping) or resource.get("resourceType") != "ValueSet":
        raise ValueSetError("it is no ValueSet")
    url, version = resource.get("url"), resource.get("version")
    if not isinstance(url, str) or not url or not isinstance(version, str | None):
        raise ValueSetError("it has no canonical URL, or an unreadable version")
    return ValueSet(url, version, codes_of(resource))


def codes_of(resource: Mapping[str, Any]) -> Codes:
    """All codes of a ValueSet resource. Raises ValueSetError where they are not all listed."""
    if "expansion" in resource:
        return Codes(_expanded(_object(resource["expansion"])))
    compose = _object(resource.get("compose"))
    excluded = _enumerated(compose.get("exclude", []), whole_systems=True)
    return Codes(
        code
        for code in _enumerated(compose.get("include", []), whole_systems=False)
        if code not in excluded and (code[0], "") not in excluded
    )


def _expanded(expansion: Mapping[str, Any]) -> list[Code]:
    contains = list(_contained(expansion.get("contains", [])))
    parameters = {p.get("name"): p.get("valueInteger") for p in map(_object, _list(expansion.get("parameter", [])))}
    extensions = {str(_object(e).get("url")).rpartition("/")[2] for e in _list(expansion.get("extension", []))}
    if parameters.keys() & _PARTIAL or extensions & _UNFINISHED or expansion.get("offset", 0) != 0:
        raise ValueSetError("its expansion is a part of it")
    total = expansion.get("total")
    if total is None and "count" in parameters and not _is_below(len(contains), parameters["count"]):
        raise ValueSetError("its expansion may be a page of it: it is as long as it may be, and says no total")
    if total is not None and total != len(contains):
        raise ValueSetError("its expansion does not list as many codes as it counts")
    return [_code(found) for found in contains if found.get("abstract") is not True]


def _is_below(listed: int, most: Any) -> bool:
    """Whether a page was not filled."""
    return isinstance(most, int) and listed < most


def _contained(contains: Any) -> Iterator[Mapping[str, Any]]:
    """Every entry of an expansion, those below others too. Groups without a code hold nothing themselves."""
    waiting = _list(contains)
    while waiting:
        found = _object(waiting.pop())
        waiting.extend(_list(found.get("contains", [])))
        if "code" in found:
            yield found


def _enumerated(parts: Any, *, whole_systems: bool) -> Codes:
    """The codes that ``include`` or ``exclude`` list; for a whole system, where that may be, the pair ``(system, "")``."""
    found: set[Code] = set()
    for part in map(_object, _list(parts)):
        if "filter" in part or "valueSet" in part or (not whole_systems and not part.get("concept")):
            raise ValueSetError("its compose does not list each code: give an expansion")
        concepts = _list(part.get("concept", []))
        found.update(_code({**_object(concept), "system": part.get("system")}) for concept in concepts)
        if not concepts:
            found.add((_text(part.get("system")), ""))
    return Codes(found)


def _code(found: Mapping[str, Any]) -> Code:
    return _text(found.get("system")), _text(found.get("code"))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueSetError("one of its codes has no system or no code")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueSetError("it has no codes, or cannot be read")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueSetError("it cannot be read")
    return list(value)
