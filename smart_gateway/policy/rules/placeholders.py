"""Placeholders in rules of the policy: ``${claim.organization}``, ``${fhir_user}``, ``${patient}``, filled in from who asks.

What fills them in is data of an issuer's: it can be one value, or several as alternatives, and never says more than the value itself.
Where there is nothing to fill in, or it is no text, the rule gives nothing (semantics 0.7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from smart_gateway.fhir.references import Bases, is_id, parse_reference
from smart_gateway.fhir.search_values import escape, is_type, split_values
from smart_gateway.fhir.vocabulary import ParameterKind, Vocabulary
from smart_gateway.principal import Principal
from smart_gateway.scopes.claim_paths import find_claim
from smart_gateway.scopes.scope import ResourceScope

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_KNOWN = frozenset({"fhir_user", "fhir_user.id", "patient"})
_CLAIM = "claim."
_MOST_VALUES, _MOST_CHARACTERS = 100, 512
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TEXT_KINDS = frozenset({ParameterKind.TOKEN, ParameterKind.STRING, ParameterKind.URI})
_MODIFIERS = frozenset({None, "not", "exact", "identifier"})


def has_placeholder(text: str) -> bool:
    """Whether ``text`` has a place to be filled in, or something that begins like one."""
    return "${" in text


def claim_texts(value: object) -> tuple[str, ...] | None:
    """The values of a claim: a text, a number, a boolean, or several of them; None where it is anything else, empty, or too much."""
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    texts = tuple(_text(one) for one in values)
    if not texts or len(texts) > _MOST_VALUES or None in texts:
        return None
    return tuple(dict.fromkeys(text for text in texts if text is not None))


def fill_scope(scope: ResourceScope, principal: Principal, vocabulary: Vocabulary, bases: Bases) -> ResourceScope | None:
    """``scope`` for ``principal``; None where a placeholder in it cannot be filled in."""
    if not any(has_placeholder(value) for _, value in scope.params):
        return scope
    params = []
    for name, value in scope.params:
        filled = _fill_value(name, value, scope.type, principal, vocabulary, bases)
        if not filled:
            return None
        params.append((name, ",".join(filled)))
    return replace(scope, params=tuple(params))


def fill_owners(compartment: str, principal: Principal, bases: Bases) -> tuple[str, ...]:
    """The ids of the owners that ``compartment`` (``Type/${claim.x}``) names; none where they cannot be told."""
    type, _, id = compartment.partition("/")
    match = _PLACEHOLDER.fullmatch(id)
    if match is None:
        return (id,) if is_id(id) else ()
    return ids_of(type, _values(match[1], principal), bases) or ()


def ids_of(type: str, texts: tuple[str, ...] | None, bases: Bases) -> tuple[str, ...] | None:
    """The ids that ``texts`` name, each an id or a literal reference to a ``type``; None where one of them is anything else."""
    ids = [_id(type, text, bases) for text in texts or ()]
    return tuple(dict.fromkeys(id for id in ids if id is not None)) if ids and None not in ids else None


def objection_to_placeholders(scope: ResourceScope, vocabulary: Vocabulary) -> str | None:
    """Why the placeholders of ``scope`` cannot be filled in for anybody; None where they can."""
    for name, text in scope.params:
        for value in split_values(text):
            reason = _objection(name, value, scope.type, vocabulary) if has_placeholder(value) else None
            if reason is not None:
                return reason
    return None


def claims_named(text: str) -> tuple[str, ...]:
    """The paths of the claims whose values fill in the placeholders of ``text``."""
    return tuple(match[1].removeprefix(_CLAIM) for match in _PLACEHOLDER.finditer(text) if match[1].startswith(_CLAIM))


def objection_to_compartment(compartment: str) -> str | None:
    """Why ``compartment`` names no owner."""
    type, slash, id = compartment.partition("/")
    match = _PLACEHOLDER.fullmatch(id)
    if not slash or not is_type(type) or not (match or _is_usable_id(id)):
        return "must be Type/id, or Type/${claim.NAME}"
    return _unknown(match[1]) if match else None


def sample(text: str) -> str:
    """``text`` as it would be with something filled in: to judge all else that it says."""
    return _PLACEHOLDER.sub(lambda match: "Practitioner/x" if match[1] == "fhir_user" else "x", text)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > _MOST_CHARACTERS or _UNREADABLE.search(value):
        return None
    return value


def _values(name: str, principal: Principal) -> tuple[str, ...] | None:
    """What stands for the placeholder ``name``."""
    user = principal.fhir_user
    match name:
        case "fhir_user":
            return None if user is None else (str(user),)
        case "fhir_user.id":
            return None if user is None else (user.id,)
        case "patient":
            return None if principal.patient is None else (principal.patient,)
        case _ if name.startswith(_CLAIM):
            return claim_texts(find_claim(principal.claims, (name.removeprefix(_CLAIM),)))
        case _:
            return None


def _fill_value(name: str, text: str, type: str, principal: Principal, vocabulary: Vocabulary, bases: Bases) -> tuple[str, ...]:
    """The alternatives of one search value; none where one of them cannot be told."""
    filled: list[str] = []
    for value in split_values(text):
        alternatives = (value,) if not has_placeholder(value) else tuple(_fill(name, value, type, principal, vocabulary, bases))
        if not alternatives:
            return ()
        filled += alternatives
    return tuple(dict.fromkeys(filled))


def _fill(name: str, value: str, type: str, principal: Principal, vocabulary: Vocabulary, bases: Bases) -> Iterator[str]:
    match = _PLACEHOLDER.search(value)
    if match is None or _objection(name, value, type, vocabulary) is not None:
        return
    before, after = value[: match.start()], value[match.end() :]
    texts = _values(match[1], principal)
    if not _takes_references(name, type, vocabulary):
        yield from (f"{before}{escape(text)}{after}" for text in texts or ())
    elif before:
        yield from (f"{before}{id}" for id in ids_of(before.removesuffix("/"), texts, bases) or ())
    elif texts is not None and all(_names_one(text, bases) for text in texts):
        yield from texts


def _names_one(text: str, bases: Bases) -> bool:
    reference = parse_reference(text, bases)
    return _is_usable_id(text) or (reference is not None and reference.version is None)


def _id(type: str, text: str, bases: Bases) -> str | None:
    if _is_usable_id(text):
        return text
    reference = parse_reference(text, bases)
    return reference.id if reference is not None and reference.version is None and reference.type == type else None


def _is_usable_id(text: str) -> bool:
    return is_id(text) and text not in {".", ".."}


def _takes_references(name: str, type: str, vocabulary: Vocabulary) -> bool:
    code, _, modifier = name.partition(":")
    return _kind(code, type, vocabulary) is ParameterKind.REFERENCE and modifier != "identifier"


def _kind(code: str, type: str, vocabulary: Vocabulary) -> ParameterKind | None:
    """Of all types, only what every type has can be told: ``_tag``, ``_id``."""
    if type == "*" and not code.startswith("_"):
        return None
    parameter = vocabulary.parameter("Patient" if type == "*" else type, code)
    return parameter.kind if parameter is not None else None


def _objection(name: str, value: str, type: str, vocabulary: Vocabulary) -> str | None:
    code, colon, modifier = name.partition(":")
    match, kind = _PLACEHOLDER.search(value), _kind(code, type, vocabulary)
    if match is None or has_placeholder(value[: match.start()] + value[match.end() :]):
        return "A value has one placeholder, ${claim.NAME}."
    unknown = _unknown(match[1])
    if unknown is not None:
        return unknown
    references = kind is ParameterKind.REFERENCE
    if (kind not in _TEXT_KINDS and not references) or not (
        (modifier if colon else None) in _MODIFIERS or (references and is_type(modifier))
    ):
        return f"{name} of {type} takes no placeholder."
    if references and modifier != "identifier":
        before, after = value[: match.start()], value[match.end() :]
        if after or (before and (not before.endswith("/") or not is_type(before[:-1]) or modifier)):
            return f"{name} takes a placeholder alone, or after a type: Organization/${{claim.NAME}}."
    return None


def _unknown(name: str) -> str | None:
    if name in _KNOWN or (name.startswith(_CLAIM) and len(name) > len(_CLAIM)):
        return None
    return f"There is no placeholder ${{{name}}}: claim.NAME, fhir_user, fhir_user.id and patient can be filled in."
