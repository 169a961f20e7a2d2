"""Security labels: what ``meta.security`` may say of a resource that is inside. Spec: semantics 9; FHIR R4 security-labels.html.

What cannot be read counts against the resource: it is outside. The labels of contained resources count as those of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.fhir.search_values import escape
from smart_gateway.fhir.search_values_tokens import TokenValue, parse_token

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
LADDER = ("U", "L", "M", "N", "R", "V")
"""From unrestricted to very restricted. Spec: HL7 v3 Confidentiality."""
MEMBERS = frozenset({"meta", "contained"})

_HIGHEST = LADDER[-1]
_V3 = "http://terminology.hl7.org/CodeSystem/v3-"
_OLD_V3 = "http://hl7.org/fhir/v3/"  # as DSTU2 and STU3 named the code systems of v3
_OIDS = {
    "2.16.840.1.113883.5.4": f"{_V3}ActCode",
    "2.16.840.1.113883.5.8": f"{_V3}ActReason",
    "2.16.840.1.113883.5.25": CONFIDENTIALITY,
    "2.16.840.1.113883.5.1063": f"{_V3}ObservationValue",
}
_MOST_SAID = 20  # codes of one kind that are said to the upstream


@dataclass(frozen=True, slots=True, order=True)
class LabelLimit:
    """What labels may say: confidentiality up to ``ceiling``, that of a resource without such a label taken for ``unlabelled``; none of
    ``forbidden``, all of ``required`` (both as ``system|code``; forbidden also ``system|`` and ``code``)."""

    ceiling: str = _HIGHEST
    unlabelled: str = _HIGHEST
    forbidden: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    @property
    def is_trivial(self) -> bool:
        """Whether it leaves everything, labels that cannot be read too."""
        return self.ceiling == _HIGHEST and not self.forbidden and not self.required

    @property
    def hides_unlabelled(self) -> bool:
        return _rank(self.unlabelled) > _rank(self.ceiling)

    @property
    def text(self) -> str:
        """In words, to follow ``with``."""
        parts = []
        if self.ceiling != _HIGHEST:
            parts.append(f"confidentiality up to {self.ceiling} (without a label: {self.unlabelled})")
        parts += [f"no label {code}" for code in self.forbidden]
        parts += [f"the label {code}" for code in self.required]
        return " and ".join(parts) or "any label"

    def implies(self, other: LabelLimit) -> bool:
        """Whether what is inside of this limit is certainly inside of ``other``."""
        if not set(other.forbidden) <= set(self.forbidden) or not set(other.required) <= set(self.required):
            return False
        if other.ceiling == _HIGHEST:
            return True
        unlabelled = self.hides_unlabelled or not other.hides_unlabelled
        return _rank(self.ceiling) <= _rank(other.ceiling) and unlabelled

    def admits(self, resource: Mapping[str, Any]) -> bool:
        """Whether the labels of ``resource``, decoded JSON, are within this limit."""
        return self._holds_required(resource) and self._holds_nothing_else(resource)

    def _holds_required(self, resource: Mapping[str, Any]) -> bool:
        own = tuple(filter(None, _labels(resource))) if self.required else ()
        return all(any(_is_same(label, pattern) for label in own) for pattern in map(parse_token, self.required))

    def _holds_nothing_else(self, resource: Mapping[str, Any]) -> bool:
        if self.ceiling == _HIGHEST and not self.forbidden:
            return True
        found = (*_labels(resource), *_contained_labels(resource))
        labels = tuple(filter(None, found))
        forbidden = (_is_hit(label, pattern) for pattern in map(parse_token, self.forbidden) for label in labels)
        return len(labels) == len(found) and self._admits_confidentiality(labels) and not any(forbidden)

    def _admits_confidentiality(self, labels: tuple[_Label, ...]) -> bool:
        if self.ceiling == _HIGHEST:
            return True
        told = [rank for rank in map(_confidentiality, labels) if rank is not None]
        return max(told, default=_rank(self.unlabelled)) <= _rank(self.ceiling)

    def parameters(self) -> tuple[tuple[tuple[str, str], ...], bool]:
        """As parameters of a search, and whether that says all of it.

        Never where a label may be one that only the check understands. Each ``:not`` is a parameter of its own: what several values of
        one mean, servers do not agree on.
        """
        said = [("_security", _tokens(code)) for code in self.required]
        if self.ceiling != _HIGHEST:
            above = LADDER[_rank(self.ceiling) + 1 :]
            said += [("_security:not", _confidentiality_token(code)) for code in above]
            if self.hides_unlabelled:
                said.append(("_security", ",".join(_tokens(_confidentiality_token(code)) for code in LADDER if code not in above)))
        pairs = [code for code in self.forbidden if all(part is not None for part in _pair(code))]
        said += [("_security:not", _token(code)) for code in pairs[:_MOST_SAID]]
        return tuple(said), self.ceiling == _HIGHEST and not self.forbidden


@dataclass(frozen=True, slots=True)
class _Label:
    """A coding; ``system`` None where it does not say."""

    system: str | None
    code: str


def _labels(resource: Mapping[str, Any]) -> Iterator[_Label | None]:
    """The labels of the resource itself; None for what is there and cannot be read."""
    meta = resource.get("meta", {})
    security = meta.get("security", []) if isinstance(meta, Mapping) else None
    if not isinstance(security, list):
        yield None
        return
    for coding in security:
        system, code = (coding.get("system"), coding.get("code")) if isinstance(coding, Mapping) else (None, None)
        if isinstance(code, str) and code and isinstance(system, str | None):
            yield _Label(_system(system) if system else None, code)
        else:
            yield None


def _contained_labels(resource: Mapping[str, Any]) -> Iterator[_Label | None]:
    """A contained resource must not have labels (dom-5); where one does, they count."""
    contained = resource.get("contained", [])
    for inner in contained if isinstance(contained, list) else [None]:
        if isinstance(inner, Mapping):
            yield from _labels(inner)
            yield from _contained_labels(inner)
        else:
            yield None


def _system(text: str) -> str:
    """The code systems of v3 have several names: URLs of two kinds, and OIDs."""
    known = _OIDS.get(text.strip().removeprefix("urn:oid:"))
    if known is not None:
        return known
    plain = f"http{text[5:]}" if text.startswith("https://") else text
    return _V3 + plain[len(_OLD_V3) :] if plain.startswith(_OLD_V3) else plain


def _names(system: str) -> tuple[str, ...]:
    """What a server may have stored a code system as: a search by one name does not find what has another."""
    system = _system(system)
    if not system.startswith(_V3):
        return (system,)
    oids = tuple(f"urn:oid:{oid}" for oid, named in _OIDS.items() if named == system)
    return (system, _OLD_V3 + system.removeprefix(_V3), *oids)


def _confidentiality(label: _Label) -> int | None:
    """How confidential ``label`` makes a resource; None where it says nothing of that. What is not known is the highest."""
    if label.system == CONFIDENTIALITY and label.code in LADDER:
        return _rank(label.code)
    if label.system is None or "confidentiality" in label.system.casefold() or "113883.5.25" in label.system:
        return _rank(_HIGHEST)
    return None


def _is_hit(label: _Label, pattern: TokenValue) -> bool:
    """Whether ``label`` may be what ``pattern`` forbids: a system that it does not name could be that one."""
    if pattern.code is not None and label.code.strip().casefold() != pattern.code.casefold():
        return False
    return not pattern.system or label.system is None or _folded(label.system) == _folded(_system(pattern.system))


def _folded(system: str) -> str:
    return system.strip().rstrip("/").casefold()


def _is_same(label: _Label, pattern: TokenValue) -> bool:
    return label.code == pattern.code and label.system == _system(pattern.system or "")


def _rank(code: str) -> int:
    return LADDER.index(code)


def _pair(code: str) -> tuple[str | None, str | None]:
    value = parse_token(code)
    return value.system or None, value.code


def _token(code: str) -> str:
    system, plain = _pair(code)
    return f"{escape(system or '')}|{escape(plain or '')}"


def _tokens(code: str) -> str:
    """The same code under each name of its system, as alternatives."""
    system, plain = _pair(code)
    return ",".join(f"{escape(name)}|{escape(plain or '')}" for name in _names(system or ""))


def _confidentiality_token(code: str) -> str:
    return f"{CONFIDENTIALITY}|{code}"
