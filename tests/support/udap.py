"""A certifier of clients: an authority, a signer below it with its URI, and statements that it signs."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.support.issuer import SigningKey, encode

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
IAT = int((BEGUN + timedelta(days=10)).timestamp())
CERTIFIER = "https://certifier.example"
_OTHER_USES = "content_commitment key_encipherment data_encipherment key_agreement crl_sign encipher_only decipher_only"
_ONLY_SIGNS = dict.fromkeys(_OTHER_USES.split(), False)


@dataclass(frozen=True)
class Signer:
    """A certificate, its key, and the certificates above it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    above: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def x5c(self) -> list[str]:
        return [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in (self.certificate, *self.above)]

    def issue(self, name: str, **choices: Any) -> Signer:
        """A certificate below this one; an authority of its own with ``ca=True``."""
        above = (self.certificate, *self.above) if self.certificate.issuer != self.certificate.subject else ()
        return make(name, self, above=above, **choices)


def make(
    name: str,
    issuer: Signer | None = None,
    *,
    ca: bool = False,
    uris: Sequence[str] = (CERTIFIER,),
    days: int = 365,
    begun: datetime = BEGUN,
    above: tuple[x509.Certificate, ...] = (),
) -> Signer:
    """A certificate by ``issuer``, or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begun)
        .not_valid_after(begun + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, **_ONLY_SIGNS), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if not ca:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Signer(builder.sign(by, SHA256()), key, above)


def statement(signer: Signer, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A certification of one client; ``header`` and ``claims`` are set over the usual ones, ``...`` takes one away."""
    parameters = {"alg": "ES256", "typ": "JWT", "x5c": signer.x5c, **(header or {})}
    usual = {
        "iss": CERTIFIER,
        "sub": "https://client.example",
        "iat": IAT,
        "exp": IAT + 86_400 * 100,
        "jti": "1",
        "certification_name": "Good apps",
        "scope": "system/Observation.rs system/Patient.r launch openid",
    }
    parts = [{name: value for name, value in part.items() if value is not ...} for part in (parameters, {**usual, **claims})]
    signed = ".".join(encode(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{encode(SigningKey('ES256', None, signer.key).sign(signed.encode()))}"
