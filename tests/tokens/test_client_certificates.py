"""Whose certificate it is: by fingerprint, whole subject or DNS name; of nobody where it could be of two."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

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


def doubled_names() -> bytes:
    """A certificate with two subjectAltName extensions, of which readers take one or the other."""
    names = [x509.SubjectAlternativeName([x509.DNSName("lab.example")]), x509.IssuerAlternativeName([x509.DNSName("evil.example")])]
    return odd(*names).replace(bytes.fromhex("0603551d12"), bytes.fromhex("0603551d11"))


def odd(*extensions: x509.ExtensionType) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lab"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "smart-test")])
    begun = datetime(2025, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(begun).not_valid_after(begun + timedelta(days=3650))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


def names_of_other_kinds() -> bytes:
    return odd(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("3006a30402020101")))  # x400Address


@pytest.mark.parametrize("make", [doubled_names, names_of_other_kinds])
def test_a_certificate_whose_names_cannot_be_read_without_doubt_is_nobodys(make: Callable[[], bytes]) -> None:
    der = make()
    ways = (CertificateName(hashlib.sha256(der).hexdigest()), CertificateName(dns="lab.example"))
    assert ClientCertificates({"lab": ways}).client(der) is None
