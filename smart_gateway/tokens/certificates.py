"""X.509 certificates as they are shown: read, or refused by one exception. Spec: RFC 5280 section 4.

The library has exceptions of its own for what is odd in a certificate, and they are no ValueErrors: here they become one."""

from __future__ import annotations

from cryptography import x509


def read_certificate(der: bytes) -> x509.Certificate:
    """Raises ValueError for what is no certificate."""
    try:
        return x509.load_der_x509_certificate(der)
    except x509.InvalidVersion:
        raise ValueError("the certificate is of a version that there is not") from None


def read_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """All of a PEM file. Raises ValueError where there is none, or one that is none."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except x509.InvalidVersion:
        raise ValueError("a certificate is of a version that there is not") from None


def alternative_names(certificate: x509.Certificate, kind: type[x509.DNSName | x509.UniformResourceIdentifier]) -> tuple[str, ...]:
    """The subjectAltNames of one kind. Raises ValueError where the extensions cannot be read without doubt."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ValueError("the certificate has an extension twice, or names of a kind that cannot be read") from None
    return tuple(names.get_values_for_type(kind))
