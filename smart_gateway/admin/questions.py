"""What is posted to ``/explain``: a JSON object, read without doubt or not at all."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.gateway.explaining import Invented, Question, UnusableQuestion, ask

_DEPTH = 20
_KEYS = frozenset({"method", "target", "headers", "body", "body_base64", "token", "principal", "tenant"})
_WHO = frozenset({"scope", "patient", "fhir_user", "client", "claims"})


@dataclass(frozen=True, slots=True)
class Asking:
    """A request to be explained, who asks (the bearer of ``token``, or where that is None an invented one), and which tenant."""

    question: Question
    token: str | None
    who: Invented
    tenant: str | None

    def __repr__(self) -> str:
        return "Asking(...)"  # never the token


def read_question(raw: bytes) -> Asking:
    """What ``raw`` asks. Raises UnusableQuestion, whose text repeats nothing of it."""
    try:
        said = parse_json(raw, max_depth=_DEPTH)
    except JsonError:
        raise UnusableQuestion("the question is no JSON that can be read in one way only") from None
    said = _object(said, _KEYS, "the question")
    if "token" in said and "principal" in said:
        raise UnusableQuestion("either a token or a principal, not both")
    token = _text(said, "token", required="token" in said)
    method, target = _text(said, "method", required=True), _text(said, "target", required=True)
    question = ask(method or "", target or "", _lines(said.get("headers", [])), _body(said))
    return Asking(question, token, _who(said.get("principal", {})), _text(said, "tenant"))


def _who(said: object) -> Invented:
    who = _object(said, _WHO, "principal")
    claims = who.get("claims", {})
    if not isinstance(claims, dict):
        raise UnusableQuestion("claims is an object")
    return Invented(_text(who, "scope") or "", _text(who, "patient"), _text(who, "fhir_user"), _text(who, "client"), claims)


def _object(said: object, known: frozenset[str], name: str) -> Mapping[str, Any]:
    if not isinstance(said, dict):
        raise UnusableQuestion(f"{name} is an object")
    if not said.keys() <= known:
        raise UnusableQuestion(f"{name} holds nothing but " + ", ".join(sorted(known)))
    return said


def _text(said: Mapping[str, Any], key: str, *, required: bool = False) -> str | None:
    """An absent text is None. One that is required is not empty."""
    value = said.get(key)
    if (value is not None and not isinstance(value, str)) or (required and not value):
        raise UnusableQuestion(f"{key} is a text")
    return value


def _lines(said: object) -> list[str]:
    if not isinstance(said, list) or not all(isinstance(line, str) for line in said):
        raise UnusableQuestion("headers is a list of NAME:VALUE")
    return said


def _body(said: Mapping[str, Any]) -> bytes | None:
    text, encoded = _text(said, "body"), _text(said, "body_base64")
    if text is not None and encoded is not None:
        raise UnusableQuestion("either body or body_base64, not both")
    if encoded is None:
        return None if text is None else text.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise UnusableQuestion("body_base64 is base64") from None
