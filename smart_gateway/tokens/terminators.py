"""The client's certificate as TLS terminators write it into a header: what each of them documents, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from smart_gateway.tokens.certificates import read_certificate

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----\r?\n?")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SPACE = re.compile(rb"[\r\n]")
# Envoy: "If , ; or = appear in a value, the value should be double-quoted. Double-quotes in the value should be replaced by \\\"."
_XFCC_PAIR = re.compile(rb'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))')
_XFCC_ONCE = frozenset({b"hash", b"cert", b"chain", b"subject"})  # By, URI and DNS may come several times


class Terminator(Enum):
    """Who writes the header, and so how."""

    ENVOY = "envoy"
    NGINX = "nginx"
    TRAEFIK = "traefik"


class MalformedCertificate(Exception):
    """The header is not what the terminator writes."""


@lru_cache(1024)  # clients come again, and their certificates with every request
def read_forwarded(value: bytes, terminator: Terminator) -> bytes | None:
    """The client's certificate in DER; None where the header says that the client showed none. Raises MalformedCertificate."""
    if not value:
        return None
    match terminator:
        case Terminator.ENVOY:
            return _envoy(value)
        case Terminator.NGINX:
            return _pem(_unescape(value))
        case Terminator.TRAEFIK:
            return _traefik(value)


def _envoy(value: bytes) -> bytes | None:
    """One element of ``key=value`` pairs, ``Cert`` the certificate in URL-encoded PEM, ``Hash`` its SHA-256.

    Several elements tell of several proxies, of which the first may be the client's own invention: not believed. An element without a
    certificate is what Envoy makes of a connection without one. Spec: Envoy, "HTTP header manipulation", x-forwarded-client-cert.
    """
    pairs = tuple(_pairs(value))
    for name in _XFCC_ONCE:
        if sum(key == name for key, _ in pairs) > 1:
            raise MalformedCertificate
    found = dict(pairs)
    if b"cert" not in found:
        if b"hash" in found or b"chain" in found or b"subject" in found:
            raise MalformedCertificate  # there was a certificate, and Envoy was not told to pass it on
        return None
    der = _pem(_unescape(found[b"cert"]))
    if b"hash" in found and found[b"hash"].lower() != hashlib.sha256(der).hexdigest().encode():
        raise MalformedCertificate
    return der


def _pairs(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while True:
        match = _XFCC_PAIR.match(value, at)
        if match is None:
            raise MalformedCertificate
        quoted = match[2]
        yield match[1].lower(), match[3] if quoted is None else quoted.replace(rb"\"", b'"')
        at = match.end()
        if at == len(value):
            return
        if value[at : at + 1] != b";":
            raise MalformedCertificate  # a comma begins another element
        at += 1


def _traefik(value: bytes) -> bytes:
    """The base64 of the PEM without its delimiters and line ends, the client's certificate first, then its chain; older versions escape
    it. Spec: Traefik, PassTLSClientCert, ``pem``."""
    return _der(_unescape(value).split(b",")[0])


def _unescape(value: bytes) -> bytes:
    """Spec: nginx, ``$ssl_client_escaped_cert`` ("urlencoded"); a plus sign is itself, for none of them writes a space so."""
    if _BROKEN_ESCAPE.search(value) is not None:
        raise MalformedCertificate
    return unquote_to_bytes(value)


def _pem(text: bytes) -> bytes:
    """The one certificate of a PEM text. Spec: RFC 7468 section 5."""
    match = _PEM.fullmatch(text)
    if match is None:
        raise MalformedCertificate
    return _der(_SPACE.sub(b"", match[1]))


def _der(text: bytes) -> bytes:
    try:
        der = base64.b64decode(text, validate=True)
        read_certificate(der)
    except ValueError:
        raise MalformedCertificate from None
    return der
