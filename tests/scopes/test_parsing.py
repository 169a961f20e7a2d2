"""Scope strings and how they are read: the table of vectors, and that no text at all breaks the reader."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smart_gateway.scopes.parsing import URI_PREFIX, parse_scope
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, MalformedScope, PlainScope, ResourceScope, ScopeKind, Syntax
from smart_gateway.scopes.spelling import spell_scope

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "scopes.json").read_text())
LETTERS = [letters for n in range(1, 32) if (letters := Permission(n).letters)]
TYPES = st.sampled_from(["*", "Observation", "Patient", "Nosuch"])
NAMES = st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=12)
# Any character that can stand in a value at all: no control characters, no surrogates.
VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=20)


def test_there_are_enough_vectors() -> None:
    assert len(VECTORS) >= 250
    assert len({vector["scope"] for vector in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: ascii(v["scope"]))
def test_vector(vector: dict[str, Any]) -> None:
    scope = parse_scope(vector["scope"])
    match scope:
        case ResourceScope():
            assert vector["kind"] == "resource"
            assert (scope.context, scope.type, scope.permissions.letters) == (vector["context"], vector["type"], vector["permissions"])
            assert [list(param) for param in scope.params] == vector["params"]
            assert scope.syntax == vector["syntax"]
        case PlainScope():
            assert scope.kind == vector["kind"]
        case MalformedScope():
            assert vector["kind"] == "malformed"
            assert scope.reason.endswith(".")
    assert scope.text == vector["scope"]


@pytest.mark.parametrize(("v1_write", "letters"), [("cud", "cud"), ("cu", "cu")])
def test_v1_write_is_configured(v1_write: str, letters: str) -> None:
    scope = parse_scope("user/Observation.write", v1_write=v1_write)
    assert isinstance(scope, ResourceScope)
    assert scope.permissions.letters == letters
    assert scope.syntax is Syntax.V1


@pytest.mark.parametrize("letters", LETTERS)
def test_every_subset_of_cruds_in_order(letters: str) -> None:
    scope = parse_scope(f"system/Encounter.{letters}")
    assert isinstance(scope, ResourceScope)
    assert scope.permissions.letters == letters


@given(st.text())
@example("patient/")
@example("patient/\ud800.rs")
@example("\ud800patient/Observation.rs")
@example("patient/Observation.rs?a=\ud800")
@example("pat\u0130ent/Observation.rs")
def test_no_text_breaks_it(text: str) -> None:
    assert parse_scope(text).text == text


@given(st.text(alphabet="patientusersystem/*.cruds?&=%2C\\|,: \n\u200b", max_size=60))
def test_no_near_miss_grants_beyond_the_grammar(rest: str) -> None:
    scope = parse_scope("patient/" + rest)
    assert not isinstance(scope, PlainScope)
    if isinstance(scope, ResourceScope):
        assert parse_scope(spell_scope(scope.context, scope.type, scope.permissions, scope.params)) == ResourceScope(
            scope.context,
            scope.type,
            scope.permissions,
            scope.params,
            Syntax.V2,
            spell_scope(scope.context, scope.type, scope.permissions, scope.params),
        )


@given(st.sampled_from(Context), TYPES, st.sampled_from(LETTERS), st.lists(st.tuples(NAMES, VALUES), max_size=3), st.booleans())
def test_spelled_and_read_again(context: Context, type: str, letters: str, params: list[tuple[str, str]], uri: bool) -> None:
    permissions = Permission.of(letters)
    assert permissions is not None
    text = (URI_PREFIX if uri else "") + spell_scope(context, type, permissions, tuple(params))
    assert parse_scope(text) == ResourceScope(context, type, permissions, tuple(params), Syntax.V2, text)


@pytest.mark.parametrize(
    "long",
    [
        "patient/Observation.rs?" + "&".join(f"code={n}" for n in range(20_000)),
        "patient/Observation.rs?code=" + "%41" * 100_000,
        "patient/Observation.rs?code=" + "\\" * 200_000,
        "patient/" + "A" * 300_000 + ".rs",
        "patient/Observation." + "r" * 300_000,
        " " * 300_000 + "patient/Observation.rs",
        "/" * 300_000,
        "patient/" * 50_000,
        "-" * 300_000 + "patient/Observation.rs",
    ],
    ids=lambda text: text[:32],
)
def test_long_strings_are_read_at_once(long: str) -> None:
    assert parse_scope(long).text == long  # a quadratic reader would not come back


def test_kinds_of_plain_scopes_are_never_resource_or_malformed() -> None:
    kinds = {scope.kind for vector in VECTORS if isinstance(scope := parse_scope(vector["scope"]), PlainScope)}
    assert kinds == {ScopeKind.CONTEXT, ScopeKind.IDENTITY, ScopeKind.REFRESH, ScopeKind.EXTENSION}
