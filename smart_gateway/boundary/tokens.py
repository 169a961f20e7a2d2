"""Whether elements satisfy token values. Spec: FHIR R4 search, "token".

Codes are compared exactly. A code that differs in case only is uncertain: the specification leaves case to each code system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from smart_gateway.boundary.certainty import Test, any_of
from smart_gateway.boundary.strings import normalised, starts_with
from smart_gateway.fhir.elements import Element
from smart_gateway.fhir.search_values_tokens import TokenValue, TypedIdentifier
from smart_gateway.fhir.value_sets import Code

_PLAIN = frozenset({"code", "string", "id", "uri", "canonical", "url", "oid", "uuid", "markdown"})


class TokenSet:
    """Several token values at once, any of which may match: sets, so that a hundred codes cost what one does."""

    __slots__ = ("_codes", "_folded", "_folded_codes", "_pairs", "_systems")

    def __init__(self, values: Iterable[TokenValue]) -> None:
        values = tuple(values)
        self._codes = frozenset(v.code for v in values if v.system is None)
        self._pairs = frozenset((v.system, v.code) for v in values if v.system is not None and v.code is not None)
        self._systems = frozenset(v.system for v in values if v.code is None)
        self._folded = frozenset((v.system, v.code.casefold()) for v in values if v.code is not None)
        self._folded_codes = frozenset(code for _, code in self._folded)

    def holds(self, system: str, code: str) -> bool | None:
        """Whether a coding matches; an empty ``system`` means that it has none."""
        if code in self._codes or (system, code) in self._pairs or (system and system in self._systems):
            return True
        folded = code.casefold()
        return None if (None, folded) in self._folded or (system, folded) in self._folded else False

    def holds_plain(self, code: str) -> bool | None:
        """Whether an element without a system of its own matches: a system in the value leaves it uncertain."""
        if code in self._codes:
            return True
        return None if self._systems or code.casefold() in self._folded_codes else False


class _Members:
    """The codes of value sets. A coding without a system whose code is one of them is uncertain, and so is a plain code."""

    __slots__ = ("_folded", "_folded_codes", "_pairs")

    def __init__(self, codes: Iterable[Code]) -> None:
        self._pairs = frozenset(codes)
        self._folded = frozenset((system, code.casefold()) for system, code in self._pairs)
        self._folded_codes = frozenset(code for _, code in self._folded)

    def holds(self, system: str, code: str) -> bool | None:
        if (system, code) in self._pairs:
            return True
        if not system:
            return self.holds_plain(code)
        return None if (system, code.casefold()) in self._folded else False

    def holds_plain(self, code: str) -> bool | None:
        return None if code.casefold() in self._folded_codes else False


_Wanted = TokenSet | _Members


def token_test(values: Iterable[TokenValue]) -> Test:
    """The test of a token parameter without modifier; ``:not`` uses its certain False."""
    return _coded_test(TokenSet(values))


def member_test(codes: Iterable[Code]) -> Test:
    """The test of ``:in``: a coding among ``codes``; ``:not-in`` uses its certain False."""
    return _coded_test(_Members(codes))


def _coded_test(wanted: _Wanted) -> Test:
    def test(element: Element) -> bool | None:
        value = element.value
        if element.type in _PLAIN:
            return wanted.holds_plain(value) if isinstance(value, str) and value else None
        read = _CODED.get(element.type)
        return None if read is None else read(value, wanted)

    return test


def identifier_test(values: Iterable[TokenValue]) -> Test:
    """The test of ``:identifier``: a token among the identifier of a Reference, never its literal."""
    wanted = TokenSet(values)

    def test(element: Element) -> bool | None:
        reference = _member(element.value, "reference") if element.type == "CodeableReference" else element.value
        identifier = _member(reference, "identifier")
        return False if identifier is None else _pair(identifier, "value", wanted)

    return test


def typed_identifier_test(values: Iterable[TypedIdentifier]) -> Test:
    """The test of ``:of-type``: an Identifier whose type coding and value are the wanted ones."""
    wanted = frozenset((value.system, value.code, value.value) for value in values)

    def test(element: Element) -> bool | None:
        if element.type != "Identifier" or not isinstance(element.value, dict):
            return None
        value = element.value.get("value")
        codings = _codings(_member(element.value, "type")) or ()
        return any((c.get("system"), c.get("code"), value) in wanted for c in codings if _hashable(c, value))

    return test


def text_test(values: Iterable[str]) -> Test:
    """The test of ``:text``: the texts that go with a code begin with the wanted one."""
    wanted = tuple(filter(None, map(normalised, values)))

    def test(element: Element) -> bool | None:
        return any(starts_with(text, wanted) for text in _texts(element))

    return test


def _hashable(coding: dict[str, Any], value: Any) -> bool:
    return all(isinstance(part, str) for part in (coding.get("system"), coding.get("code"), value))


def _boolean(value: Any, wanted: _Wanted) -> bool | None:
    return wanted.holds_plain("true" if value else "false") if isinstance(value, bool) else None


def _pair(value: Any, member: str, wanted: _Wanted) -> bool | None:
    """A dict with a system and ``member``. Without the member it holds no code, hence does not match."""
    if not isinstance(value, dict):
        return None
    system, code = value.get("system", ""), value.get(member)
    if code is None and isinstance(system, str):
        return False
    return wanted.holds(system, code) if isinstance(system, str) and isinstance(code, str) else None


def _coding(value: Any, wanted: _Wanted) -> bool | None:
    return _pair(value, "code", wanted)


def _identifier(value: Any, wanted: _Wanted) -> bool | None:
    return _pair(value, "value", wanted)


def _concept(value: Any, wanted: _Wanted) -> bool | None:
    codings = _codings(value)
    return None if codings is None else any_of(_pair(coding, "code", wanted) for coding in codings)


def _codeable_reference(value: Any, wanted: _Wanted) -> bool | None:
    if not isinstance(value, dict):
        return None
    return _concept(value["concept"], wanted) if "concept" in value else False


def _contact(value: Any, wanted: _Wanted) -> bool | None:
    """Servers may ignore punctuation in contact points: a near miss is uncertain."""
    text = _member(value, "value")
    if not isinstance(text, str):
        return None
    exact = wanted.holds_plain(text)
    bare = "".join(filter(str.isalnum, text))
    return exact if exact is not False or bare == text else None


_CODED: dict[str, Callable[[Any, _Wanted], bool | None]] = {
    "Coding": _coding,
    "CodeableConcept": _concept,
    "CodeableReference": _codeable_reference,
    "Identifier": _identifier,
    "ContactPoint": _contact,
    "boolean": _boolean,
}


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _codings(concept: Any) -> list[dict[str, Any]] | None:
    """The codings of a CodeableConcept, none where it has text only; None where it is no CodeableConcept."""
    if not isinstance(concept, dict):
        return None
    codings = concept.get("coding", [])
    if not isinstance(codings, list) or not all(isinstance(coding, dict) for coding in codings):
        return None
    return codings


def _texts(element: Element) -> Iterator[str]:
    """The texts of a Coding, a CodeableConcept (of a CodeableReference, too) or an Identifier's type."""
    value = element.value
    if element.type == "CodeableReference":
        value = _member(value, "concept")
    if element.type == "Identifier":
        texts = [_member(_member(value, "type"), "text")]
    elif element.type == "Coding":
        texts = [_member(value, "display")]
    else:
        texts = [_member(value, "text"), *(_member(coding, "display") for coding in _codings(value) or ())]
    yield from (text for text in texts if isinstance(text, str))
