"""Which client a certificate is of: by its fingerprint, its whole subject, or a name that it vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cachetools import LRUCache
from cryptography import x509

from smart_gateway.tokens.certificates import alternative_names, read_certificate


@dataclass(frozen=True, slots=True)
class CertificateName:
    """One way in which a client's certificate is known; every part that is set must hold.

    ``sha256`` is the fingerprint of the DER in lower-case hex; ``subject`` the subject as RFC 4514 writes it, compared whole; ``dns`` a
    subjectAltName of type DNS, without regard to case.
    """

    sha256: str | None = None
    subject: str | None = None
    dns: str | None = None


class ClientCertificates:
    """The clients of ``names``, by id. Certificates come again and again: the last ``size`` are not read anew."""

    def __init__(self, names: Mapping[str, tuple[CertificateName, ...]], size: int = 1_000) -> None:
        self._names = dict(names)
        self._known: LRUCache[bytes, str | None] = LRUCache(size)

    def client(self, der: bytes) -> str | None:
        """Whose certificate it is; None for nobody's, for one that cannot be read, and for one that would be of several clients."""
        if der not in self._known:
            self._known[der] = self._find(der)
        return self._known[der]

    def _find(self, der: bytes) -> str | None:
        try:
            certificate = read_certificate(der)
            subject, names = certificate.subject.rfc4514_string(), _dns_names(certificate)
        except ValueError:
            return None
        fingerprint = hashlib.sha256(der).hexdigest()
        found = [client for client, ways in self._names.items() if any(_is_named(way, fingerprint, subject, names) for way in ways)]
        return found[0] if len(found) == 1 else None


def _is_named(way: CertificateName, fingerprint: str, subject: str, names: frozenset[str]) -> bool:
    pairs = ((way.sha256, way.sha256 == fingerprint), (way.subject, way.subject == subject), (way.dns, (way.dns or "").lower() in names))
    said = [holds for wanted, holds in pairs if wanted is not None]
    return bool(said) and all(said)


def _dns_names(certificate: x509.Certificate) -> frozenset[str]:
    return frozenset(name.lower() for name in alternative_names(certificate, x509.DNSName))
