"""From the scope claim of a token to its scopes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.replacement import Replacement
from smart_gateway.scopes.scope import MalformedScope, ResourceScope, Scope
from smart_gateway.scopes.scopeset import ScopeSet


def read_scopes(claim: object, *, replacement: Replacement | None, v1_write: str) -> ScopeSet:
    """The scopes of a claim that is a string (joined by spaces) or an array of strings; anything else holds none.

    An item of an array is one scope, never split: a space in it makes it malformed, for what a split leaves of a filter may be
    wider than the filter. Spec: RFC 6749 section 3.3, RFC 9068 section 2.2.3; semantics 2.
    """
    return ScopeSet.of(read_scope(text, replacement=replacement, v1_write=v1_write) for text in _texts(claim))


def read_scope(text: str, *, replacement: Replacement | None, v1_write: str) -> Scope:
    """One scope string of a token, replaced characters restored; ``text`` of a resource scope stays as the token had it."""
    restored = text if replacement is None else replacement.restore(text)
    if isinstance(restored, MalformedScope):
        return restored
    scope = parse_scope(restored, v1_write=v1_write)
    return replace(scope, text=text) if isinstance(scope, ResourceScope | MalformedScope) else scope


def _texts(claim: object) -> Iterator[str]:
    if isinstance(claim, str):
        yield from (text for text in claim.split(" ") if text)
    # INVARIANT: a list with anything but strings in it is no scope claim; reading half of it would be guessing.
    elif isinstance(claim, list | tuple) and all(isinstance(item, str) for item in claim):
        yield from (item for item in claim if item)
