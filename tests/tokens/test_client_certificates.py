"""Whose certificate it is: by fingerprint, whole subject or DNS name; of nobody where it could be of two."""

from __future__ import annotations

import hashlib
from functools import cache

import pytest

from smart_gateway.tokens.client_certificates import CertificateName, ClientCertificates
from tests.support.certificates import Certified, authority

SUBJECT = "CN=Lab,O=smart-test"


@cache
def lab() -> Certified:
    return authority().issue("Lab")


def fingerprint() -> str:
    return hashlib.sha256(lab().der).hexdigest()


@pytest.mark.parametrize(
    ("name", "known"),
    [
        (CertificateName(sha256="-"), True),
        (CertificateName(sha256="0" * 64), False),
        (CertificateName(subject=SUBJECT), True),
        (CertificateName(subject="CN=Lab"), False),
        (CertificateName(subject="O=smart-test,CN=Lab"), False),
        (CertificateName(dns="LAB.example"), True),
        (CertificateName(dns="example"), False),
        (CertificateName(dns="127.0.0.1"), False),
        (CertificateName(subject=SUBJECT, dns="lab.example"), True),
        (CertificateName(subject=SUBJECT, dns="other.example"), False),
        (CertificateName(), False),
    ],
    ids=str,
)
def test_names(name: CertificateName, *, known: bool) -> None:
    name = CertificateName(fingerprint()) if name.sha256 == "-" else name
    assert (ClientCertificates({"lab": (CertificateName(sha256="1" * 64), name)}).client(lab().der) == "lab") is known


def test_a_certificate_of_two_clients_is_nobodys() -> None:
    both = ClientCertificates({"a": (CertificateName(subject=SUBJECT),), "b": (CertificateName(dns="lab.example"),)})
    assert both.client(lab().der) is None


def test_what_is_no_certificate_is_nobodys() -> None:
    known = ClientCertificates({"a": (CertificateName(sha256=hashlib.sha256(b"junk").hexdigest()),)})
    assert known.client(b"junk") is None
    assert known.client(b"junk") is None
    assert ClientCertificates({}).client(lab().der) is None
