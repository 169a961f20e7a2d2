"""What the model says of a tree, in words for people: the place, the key, the valid name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from smart_gateway.settings.findings import Finding, KeyPath, Place, spell_key
from smart_gateway.settings.model import Settings
from smart_gateway.settings.reading.tree import Node

_TEXTS: Mapping[str, str] = {
    "extra_forbidden": "unknown key",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_too_short": "must not be empty",
    "string_too_long": "must be one character",
}
_KINDS = {dict: "a mapping", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number", type(None): "nothing"}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One error of the model. ``path`` leads to the value in the tree as it was judged, ``written`` is its path in the file;
    ``missing`` is the key that is not there. ``wants_text``: a text would do, and this is a number or a boolean."""

    path: KeyPath
    written: KeyPath
    finding: Finding
    missing: str | None = None
    wants_text: bool = False


def complaints(error: ValidationError, root: Node, model: type[BaseModel] = Settings) -> list[Complaint]:
    """All errors of one validation by ``model``, in its order."""
    return [_complaint(detail, root, model) for detail in error.errors(include_url=False, include_input=False)]


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid name that ``word`` was probably meant to be."""
    candidates = sorted(set(valid))
    by_case = [candidate for candidate in candidates if candidate.lower() == word.lower()]
    return next(iter(by_case or get_close_matches(word, candidates, n=1, cutoff=0.6)), None)


def _complaint(detail: ErrorDetails, root: Node, model: type[BaseModel]) -> Complaint:
    path, node, key_place = _follow(detail["loc"], root)
    kind = detail["type"]
    if kind == "missing":
        key = str(detail["loc"][-1])
        return Complaint(path, (*node.path, key), Finding(node.place, spell_key((*node.path, key)), "is missing"), missing=key)
    if kind == "extra_forbidden":
        guess = nearest(str(path[-1]), _valid_keys(path[:-1], model))
        return Complaint(path, node.path, Finding(key_place, spell_key(node.path), _TEXTS[kind], guess))
    text, guess = _describe(detail, node)
    wants_text = isinstance(node.content, (bool, int, float)) and kind not in {"int_type", "bool_type", "list_type", "dict_type"}
    return Complaint(path, node.path, Finding(node.place, spell_key(node.path), text, guess), wants_text=wants_text)


def _follow(loc: tuple[str | int, ...], root: Node) -> tuple[KeyPath, Node, Place]:
    """The part of ``loc`` that is in the tree (the rest are names of the model's alternatives), its node and its key's place."""
    path: KeyPath = ()
    node, place = root, root.place
    for part in loc:
        below = node.child(part)
        if below is None:
            continue
        place = node.content[str(part)].place if isinstance(node.content, dict) else below.place
        node, path = below, (*path, part)
    return path, node, place


def _describe(detail: ErrorDetails, node: Node) -> tuple[str, str | None]:
    kind, context = detail["type"], detail.get("ctx", {})
    match kind:
        case "literal_error" | "enum":
            return _one_of(context["expected"], node)
        case "union_tag_invalid":
            return f"must not be {_KINDS[type(node.content)]}", None
        case "too_short":
            return "must not be empty", None
        case "greater_than":
            return "must be more than zero", None
        case "greater_than_equal":
            return f"must be at least {context['ge']}", None
        case "less_than_equal":
            return f"must be at most {context['le']}", None
        case _ if kind in _TEXTS:
            return f"{_TEXTS[kind]}, not {_KINDS.get(type(node.content), 'this')}", None
        case _:  # our own validators: their sentences are for people
            return detail["msg"], None


def _one_of(expected: str, node: Node) -> tuple[str, str | None]:
    """``expected`` is pydantic's enumeration: ``'a', 'b' or 'c'``."""
    words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    guess = nearest(node.content, words) if isinstance(node.content, str) else None
    listed = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
    if guess == node.content:  # the number that it is, in quotes
        return f"must be {listed}, without quotes", None
    return f"must be {listed}", guess


def _valid_keys(path: KeyPath, model: type[BaseModel]) -> set[str]:
    """The keys that the mapping at ``path`` may have, those of later versions left out."""
    schemas: list[Mapping[str, Any]] = [_schema(model)]
    for part in path:
        schemas = [found for schema in schemas for found in _below(schema, part, model)]
    keys: set[str] = set()
    for schema in schemas:
        keys.update(key for key, value in schema.get("properties", {}).items() if "not" not in value)
    return keys


def _below(schema: Mapping[str, Any], part: str | int, model: type[BaseModel]) -> list[Mapping[str, Any]]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    found: Any = schema.get("items") if isinstance(part, int) else properties.get(part, schema.get("additionalProperties"))
    return _alternatives(found, model) if isinstance(found, dict) else []


def _alternatives(schema: Mapping[str, Any], model: type[BaseModel]) -> list[Mapping[str, Any]]:
    """``schema`` with its reference resolved and its alternatives apart."""
    if "$ref" in schema:
        return [_schema(model)["$defs"][schema["$ref"].rpartition("/")[2]]]
    branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return [found for branch in branches for found in _alternatives(branch, model)] if branches else [schema]


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)
