"""Certified statements: who signed, by which certificate, up to which anchor, and from when until when."""

from __future__ import annotations

import base64
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from smart_gateway.tokens.udap import StatementRefused, read_anchors, verify_statement
from tests.support.issuer import encode
from tests.support.udap import BEGUN, CERTIFIER, IAT, Signer, make, statement

DAY = 86_400


@cache
def root() -> Signer:
    return make("Root", ca=True, days=3650)


@cache
def signer() -> Signer:
    return root().issue("Intermediate", ca=True).issue("Certifier", days=60)


def verify(text: str, *anchors: Signer) -> Any:
    return verify_statement(text, [anchor.certificate for anchor in anchors or (root(),)])


def test_a_statement_says_which_scopes_and_until_when() -> None:
    said = verify(statement(signer()))
    assert (said.certifier, said.subject, said.scope.split()[0]) == (CERTIFIER, "https://client.example", "system/Observation.rs")
    assert (said.since, said.until) == (IAT, (BEGUN + timedelta(days=60)).timestamp())
    assert verify(statement(signer(), exp=IAT + DAY)).until == IAT + DAY
    assert verify(statement(signer(), iat=IAT - 300 * DAY)).since == BEGUN.timestamp()


def test_a_line_end_of_the_file_is_no_part_of_it() -> None:
    assert verify(statement(signer()) + "\n").certifier == CERTIFIER


def test_any_of_several_anchors() -> None:
    assert verify(statement(signer()), make("Other", ca=True), root()).certifier == CERTIFIER
    assert len(read_anchors(root().pem + make("Other", ca=True).pem)) == 2


def test_a_chain_to_nobody_certifies_nothing() -> None:
    others = make("Root", ca=True, days=3650)
    with pytest.raises(StatementRefused, match="none of the anchors"):
        verify(statement(signer()), others)
    with pytest.raises(StatementRefused, match="none of the anchors"):
        verify(statement(others.issue("Certifier")))
    with pytest.raises(StatementRefused, match="none of the anchors"):
        verify(statement(make("Certifier")))
    with pytest.raises(StatementRefused, match="none of the anchors"):
        verify(statement(signer(), {"x5c": signer().x5c[:1]}))


def test_a_certificate_that_is_no_authority_issues_nothing() -> None:
    leaf = root().issue("Leaf")
    below = make("Certifier", leaf, above=(leaf.certificate,))
    with pytest.raises(StatementRefused, match="none of the anchors"):
        verify(statement(below))


def test_a_chain_that_had_ended_when_the_statement_began() -> None:
    ended = root().issue("Certifier", days=5)
    with pytest.raises(StatementRefused):
        verify(statement(ended))


def test_a_key_that_is_not_the_certificates_signs_nothing() -> None:
    with pytest.raises(StatementRefused, match="not signed by the key"):
        verify(statement(root().issue("Other"), {"x5c": signer().x5c}))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "RS256"},
        {"alg": ...},
        {"crit": ["exp"]},
        {"b64": False},
        {"x5c": ...},
        {"x5c": []},
        {"x5c": "MII"},
        {"x5c": [5]},
        {"x5c": ["***"]},
        {"x5c": ["AAAA"]},
        {"x5c": ["AAAA"] * 11},
        {"x5c": ..., "x5u": "http://127.0.0.1:1/chain.pem"},
        {"x5c": ..., "jku": "http://127.0.0.1:1/keys", "kid": "k"},
    ],
    ids=str,
)
def test_headers_that_are_refused(header: dict[str, Any]) -> None:
    with pytest.raises(StatementRefused):
        verify(statement(signer(), header))


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": CERTIFIER + "/"},
        {"iss": ...},
        {"sub": ...},
        {"scope": ...},
        {"scope": ""},
        {"scope": ["system/*.rs"]},
        {"iat": ...},
        {"exp": ...},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": IAT},
        {"exp": 10**30},
        {"iat": -1},
        {"iat": IAT + 300 * DAY},
    ],
    ids=str,
)
def test_claims_that_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(StatementRefused):
        verify(statement(signer(), **claims))


def test_a_changed_payload_is_not_what_was_signed() -> None:
    head, payload, signature = statement(signer()).split(".")
    widened = base64.urlsafe_b64decode(payload + "==").replace(b"system/Patient.r ", b"system/*.cruds    ")
    with pytest.raises(StatementRefused, match="not signed"):
        verify(f"{head}.{encode(widened)}.{signature}")


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c.d.e", "{}"])
def test_what_is_no_statement(text: str) -> None:
    with pytest.raises(StatementRefused):
        verify(text)


def test_anchors_that_cannot_be_read() -> None:
    with pytest.raises(StatementRefused):
        read_anchors(b"nothing")
