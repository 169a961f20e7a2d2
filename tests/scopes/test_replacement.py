"""Replaced characters: what an escaping encoder wrote comes back whole, and what is not certain grants nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.replacement import Replacement
from smart_gateway.scopes.scope import MalformedScope, ResourceScope

DASH = Replacement(slash="-", star="all", strip_prefix="api://app/")
SIGNS = Replacement(slash="-", star="$")
PLAIN = Replacement(
    slash="-", star="all", strip_prefix="api://app/", escapes="none", known_urls=("http://x/y", "http://z/a-b", "http://z/a/b")
)
DOT = Replacement(slash=".", star="all", escapes="none", known_urls=("http://x.org/y",))


@pytest.mark.parametrize(
    ("replacement", "text", "restored"),
    [
        (DASH, r"patient-Observation.r?_id=Id\-With\-Dashes", "patient/Observation.r?_id=Id-With-Dashes"),
        (DASH, r"patient-Observation.r?_id=Id\\With\\BackwardSlash", r"patient/Observation.r?_id=Id\With\BackwardSlash"),
        (DASH, "user-*.read", "user/*.read"),
        (DASH, "user-all.read", "user/*.read"),
        (DASH, "user-all.all", "user/*.*"),
        (DASH, "api://app/patient-Observation.rs", "patient/Observation.rs"),
        (DASH, "api://app/openid", "openid"),
        (DASH, "api://app/api://app/patient-Observation.rs", "///"),
        (DASH, "patient/Observation.read", "patient/Observation.read"),
        (DASH, "patient-Observation.rs?category=http:--x\\-y|lab\\-1", "patient/Observation.rs?category=http://x-y|lab-1"),
        (DASH, "patient-Observation.rs?category=all", "patient/Observation.rs?category=all"),
        (DASH, "launch-patient", "launch/patient"),
        (DASH, r"__break\-glass", "__break-glass"),
        (DASH, "offline_access", "offline_access"),
        (DASH, r"patient-a\,b", None),
        (DASH, "patient-Observation.rs\\", None),
        (SIGNS, "patient-$.read", "patient/*.read"),
        (SIGNS, r"patient-Observation.rs?x=a\$b", "patient/Observation.rs?x=a$b"),
        (SIGNS, r"patient-\$.read", "patient/$.read"),
        (PLAIN, "patient-Observation.rs?category=http:--x-y|lab-1", "patient/Observation.rs?category=http://x/y|lab-1"),
        (PLAIN, "patient-Observation.rs?category=http:--x-y|a,http:--x-y|b", "patient/Observation.rs?category=http://x/y|a,http://x/y|b"),
        (PLAIN, "patient-Observation.rs?category=http%3A--x-y|lab-1", "patient/Observation.rs?category=http://x/y|lab-1"),
        (PLAIN, "patient-Observation.rs?category=http:--unknown|lab-1", None),
        (PLAIN, "patient-Observation.rs?category=http:--z-a-b|lab-1", None),
        (PLAIN, "patient-Observation.rs?category=http:--x-y-lab-1", None),
        (PLAIN, "patient-Observation.rs?category=http:--x-y%7Clab", None),
        (PLAIN, "patient-Observation.rs?_id=Id-With-Dashes", "patient/Observation.rs?_id=Id-With-Dashes"),
        (PLAIN, "api://app/patient-all.read", "patient/*.read"),
        (PLAIN, "launch-patient", "launch/patient"),
        (PLAIN, "my-own-scope", "my-own-scope"),
        (PLAIN, "patient-Observation-x.rs", "patient/Observation-x.rs"),
        (DOT, "patient.Observation.read", "patient/Observation.read"),
        (DOT, "user.all.all", "user/*.*"),
        (DOT, "patient.Observation.rs?category=http:..x.org.y|lab", "patient/Observation.rs?category=http://x.org/y|lab"),
        (DOT, "patient.Observation.rs?category=http:%2f%2fx.org%2fy|lab", "patient/Observation.rs?category=http:%2f%2fx.org%2fy|lab"),
        (Replacement(strip_prefix="api://app/"), r"api://app/patient/Observation.rs?code=a\,b", r"patient/Observation.rs?code=a\,b"),
        (Replacement(star="all"), "patient/all.rs", "patient/*.rs"),
    ],
)
def test_restored(replacement: Replacement, text: str, restored: str | None) -> None:
    found = replacement.restore(text)
    if restored is None:
        assert isinstance(found, MalformedScope)
        assert found.text == text
    elif "///" not in restored:
        assert found == restored
    else:  # the prefix is stripped once: what is left is no scope for resources
        assert not isinstance(parse_scope(str(found)), ResourceScope)


def test_a_known_url_stands_for_itself_whatever_it_holds() -> None:
    replacement = Replacement(slash="-", escapes="none", known_urls=("http://x/a,b",))
    # A comma separates alternatives before anything is looked up, so such a URL is never found.
    assert isinstance(replacement.restore("patient-Observation.rs?category=http:--x-a,b|c"), MalformedScope)


@pytest.mark.parametrize(
    "wrong",
    [
        {"slash": ""},
        {"slash": "--"},
        {"slash": "a"},
        {"slash": "\\"},
        {"slash": "%"},
        {"slash": "-", "star": "-"},
        {"star": ""},
        {"star": "a"},
        {"star": "a1"},
    ],
)
def test_settings_that_cannot_be_undone_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one character"):
        Replacement(**wrong)


def encode(text: str, slash: str, star: str) -> str:
    """What an escaping encoder does: the special characters behind a backslash, then ``/`` and ``*`` replaced."""
    out = []
    for character in text:
        if character in (slash, star, "\\"):
            out.append("\\" + character)
        else:
            out.append({"/": slash, "*": star}.get(character, character))
    return "".join(out)


@given(st.text(alphabet="patient/*.rs?_id=-$\\|,~!"), st.sampled_from(["-", "~", "!"]), st.sampled_from(["$", ";"]))
def test_replaced_and_restored(text: str, slash: str, star: str) -> None:
    assert Replacement(slash=slash, star=star).restore(encode(text, slash, star)) == text


@given(st.text(), st.sampled_from([DASH, SIGNS, PLAIN, DOT]))
def test_no_text_breaks_it(text: str, replacement: Replacement) -> None:
    assert isinstance(replacement.restore(text), str | MalformedScope)


@given(st.text(alphabet="patientuser-/*.allrs?_id=\\|,:%24&"), st.sampled_from([DASH, SIGNS, PLAIN, DOT]))
def test_near_misses_do_not_break_it(text: str, replacement: Replacement) -> None:
    assert isinstance(replacement.restore("patient-" + text), str | MalformedScope)
