"""TLS of our own: the context that a listener serves with, and what a connection's client has shown. Spec: RFC 8705 section 3."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class ClientCertificates(Enum):
    """Whether clients are asked for a certificate, and whether they must have one."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


_ASKED = {
    ClientCertificates.NONE: ssl.CERT_NONE,
    ClientCertificates.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientCertificates.REQUIRED: ssl.CERT_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a listener's TLS is made of, all in PEM: ``certificate`` with its chain, its ``key``, and the authorities in
    ``client_ca`` that clients' certificates must come from."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_certificates: ClientCertificates = ClientCertificates.NONE


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """The context of a listener. Raises OSError (ssl.SSLError is one) for files that cannot be read or do not fit together.

    No session is resumed: a certificate counts for the handshake in which it was verified, and for no later one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    context.load_cert_chain(files.certificate, files.key, password=_no_password)
    if files.client_certificates is not ClientCertificates.NONE:
        if files.client_ca is None:
            raise OSError("clients' certificates cannot be verified without client_ca")
        context.load_verify_locations(files.client_ca)
    context.verify_mode = _ASKED[files.client_certificates]
    return context


def _no_password() -> str:
    """Without it OpenSSL would ask the terminal."""
    raise ssl.SSLError("the key is encrypted")


class ServedTls:
    """The TLS of a listener whose files may change: ``context`` is what it serves with for as long as it is there.

    Each handshake takes certificate, key and authorities from the newest state; whether clients are asked for a certificate stays.
    """

    def __init__(self, files: TlsFiles) -> None:
        self.context = tls_context(files)
        self._newest = self.context
        self.context.sni_callback = self._choose

    def renew(self, context: ssl.SSLContext) -> None:
        """Serves with ``context``, what the files hold now."""
        self._newest = context

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL asks at each ClientHello, also at one that names no server."""
        connection.context = self._newest


def tls_extension(transport: asyncio.BaseTransport) -> Mapping[str, Any]:
    """The ASGI ``extensions`` of requests on a connection: none for one without TLS. Spec: ASGI TLS Extension."""
    connection = transport.get_extra_info("ssl_object")
    if connection is None:
        return {}
    der = connection.getpeercert(binary_form=True)
    return {
        "tls": {
            "server_cert": None,
            "client_cert_chain": [] if der is None else [ssl.DER_cert_to_PEM_cert(der)],
            "client_cert_name": None,
            "client_cert_error": None,
            "tls_version": _VERSIONS.get(connection.version()),
            "cipher_suite": None,
        }
    }


def certificate_shown(extensions: Mapping[str, Any] | None) -> bytes | None:
    """The client's certificate in DER, as the server that spoke TLS with it says; None where it showed none or one that was not verified.

    Raises ValueError for what is no certificate.
    """
    tls = (extensions or {}).get("tls") or {}
    chain = tuple(tls.get("client_cert_chain") or ())
    if not chain or tls.get("client_cert_error"):
        return None
    return ssl.PEM_cert_to_DER_cert(chain[0])
