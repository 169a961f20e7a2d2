"""All scopes of one token, sorted."""

from __future__ import annotations

import pytest

from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.reading import read_scopes
from smart_gateway.scopes.scope import Syntax


@pytest.mark.parametrize(
    ("claim", "syntax"),
    [
        ("patient/*.read", Syntax.V1),
        ("patient/*.read user/*.write openid", Syntax.V1),
        ("patient/*.read user/*.rs", Syntax.V2),
        ("patient/*.rs", Syntax.V2),
        ("openid", Syntax.V2),
        ("", Syntax.V2),
    ],
)
def test_the_spelling_to_answer_in(claim: str, syntax: Syntax) -> None:
    assert read_scopes(claim, replacement=None, v1_write="cud").syntax is syntax


def test_plain_scopes_are_asked_for_whole() -> None:
    scopes = read_scopes("__break-glass patient/*.rs", replacement=None, v1_write="cud")
    assert scopes.has("__break-glass")
    assert not scopes.has("__break")
    assert not scopes.has("patient/*.rs")


@pytest.mark.parametrize("letters", ["", "x", "sr", "rr", "RS", "cruds "])
def test_no_permissions(letters: str) -> None:
    assert Permission.of(letters) is None
