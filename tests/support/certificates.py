"""Certificates of every kind that tests need, made on the spot: an authority, servers, clients."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LIFE = timedelta(days=30)


@dataclass(frozen=True)
class Certified:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """``name.pem`` and ``name.key`` in ``folder``."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.write_bytes(self.key_pem)
        return certificate, key

    def issue(self, name: str, **choices: bool) -> Certified:
        """A certificate by this authority."""
        return _make(name, self, **choices)


def authority(name: str = "Test CA") -> Certified:
    """A certificate authority."""
    return _make(name, None, ca=True)


def self_signed(name: str) -> Certified:
    """A certificate that nobody vouches for."""
    return _make(name, None)


def trusting(authority: Certified, client: Certified | None, folder: Path) -> ssl.SSLContext:
    """A client's TLS: it believes servers of ``authority``, and shows ``client`` where asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.pem.decode())
    if client is not None:
        context.load_cert_chain(*client.write(folder, f"client-{client.certificate.serial_number}"))
    return context


def _make(name: str, issuer: Certified | None, *, ca: bool = False, ended: bool = False) -> Certified:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "smart-test"), x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime.now(UTC) - (_LIFE if ended else timedelta(hours=1))
    names = [x509.DNSName("localhost"), x509.DNSName(f"{name.replace(' ', '-').lower()}.example"), x509.IPAddress(ip_address("127.0.0.1"))]
    public = key.public_key()
    by = public if issuer is None else issuer.key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=1) if ended else begins + _LIFE)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by), critical=False)
    )
    if not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Certified(builder.sign(key if issuer is None else issuer.key, SHA256()), key)
