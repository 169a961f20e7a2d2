"""From settings to what checks who sends a token."""

from __future__ import annotations

from smart_gateway.gateway.snapshot import CertificateHeader
from smart_gateway.gateway.tls import ClientCertificates, TlsFiles
from smart_gateway.settings.model import Settings
from smart_gateway.settings.server import CertificateHeaderSettings, TlsSettings
from smart_gateway.tokens.terminators import Terminator

_USUAL_NAMES = {
    Terminator.ENVOY: "x-forwarded-client-cert",
    Terminator.NGINX: "ssl-client-cert",
    Terminator.TRAEFIK: "x-forwarded-tls-client-cert",
}


def build_tls(tls: TlsSettings, settings: Settings) -> TlsFiles:
    """The files of a listener's TLS."""
    return TlsFiles(
        certificate=settings.file(tls.certificate),
        key=settings.file(tls.key),
        client_ca=None if tls.client_ca is None else settings.file(tls.client_ca),
        client_certificates=ClientCertificates(tls.client_certificates),
    )


def build_certificate_header(header: CertificateHeaderSettings | None) -> CertificateHeader | None:
    """The header that tells clients' certificates; None where none is believed."""
    if header is None:
        return None
    terminator = Terminator(header.format)
    return CertificateHeader((header.name or _USUAL_NAMES[terminator]).lower().encode("ascii"), terminator)
