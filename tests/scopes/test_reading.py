"""Scope claims: a string, an array of strings, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.scopes.reading import read_scope, read_scopes
from smart_gateway.scopes.replacement import Replacement
from smart_gateway.scopes.scope import MalformedScope, PlainScope, ResourceScope
from smart_gateway.scopes.scopeset import ScopeSet

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def read(claim: object, replacement: Replacement | None = None) -> ScopeSet:
    return read_scopes(claim, replacement=replacement, v1_write="cud")


@pytest.mark.parametrize(
    ("claim", "resources", "plain", "malformed"),
    [
        ("openid patient/*.rs launch/patient", ["patient/*.rs"], ["openid", "launch/patient"], []),
        ("  openid   patient/*.rs ", ["patient/*.rs"], ["openid"], []),
        ("patient/*.rs patient/*.rs", ["patient/*.rs"], [], []),
        (["openid", "patient/*.rs"], ["patient/*.rs"], ["openid"], []),
        (("openid", "patient/*.rs"), ["patient/*.rs"], ["openid"], []),
        (["patient/Observation.rs patient/*.rs"], [], [], ["patient/Observation.rs patient/*.rs"]),
        (["patient/Observation.rs?code:text=heart rate"], [], [], ["patient/Observation.rs?code:text=heart rate"]),
        ("patient/Observation.rs\npatient/*.rs", [], [], ["patient/Observation.rs\npatient/*.rs"]),
        ("patient/Observation.rs,patient/*.rs", [], [], ["patient/Observation.rs,patient/*.rs"]),
        ([""], [], [], []),
        ("", [], [], []),
        ([], [], [], []),
        (None, [], [], []),
        (7, [], [], []),
        (True, [], [], []),
        (b"patient/*.rs", [], [], []),
        ({"patient/*.rs": True}, [], [], []),
        ([["patient/*.rs"]], [], [], []),
        (["patient/*.rs", 7], [], [], []),
        (["patient/*.rs", None], [], [], []),
    ],
)
def test_claim(claim: object, resources: list[str], plain: list[str], malformed: list[str]) -> None:
    scopes = read(claim)
    assert [scope.text for scope in scopes.resources] == resources
    assert [scope.text for scope in scopes.plain] == plain
    assert [scope.text for scope in scopes.malformed] == malformed


@given(JSON)
def test_no_claim_breaks_it(claim: Any) -> None:
    scopes = read(claim)
    assert isinstance(claim, str | list) or scopes == ScopeSet()


def test_v1_write_reaches_the_scopes() -> None:
    (scope,) = read_scopes("user/*.write", replacement=None, v1_write="cu").resources
    assert scope.permissions.letters == "cu"


def test_replaced_characters_are_restored_and_texts_stay_as_the_token_had_them() -> None:
    scopes = read(["patient-Observation.rs", "launch-patient", "patient-Observation.sr", r"patient\q"], Replacement(slash="-"))
    assert [(scope.text, scope.type) for scope in scopes.resources] == [("patient-Observation.rs", "Observation")]
    assert [scope.text for scope in scopes.plain] == ["launch/patient"]  # policies ask for it by SMART's name
    assert [scope.text for scope in scopes.malformed] == ["patient-Observation.sr", r"patient\q"]


@pytest.mark.parametrize(("text", "kind"), [("patient/*.rs", ResourceScope), ("openid", PlainScope), ("patient/x", MalformedScope)])
def test_one_scope(text: str, kind: type) -> None:
    assert isinstance(read_scope(text, replacement=None, v1_write="cud"), kind)
