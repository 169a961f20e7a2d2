"""What no single key shows of TLS and of whose word counts for a client's certificate."""

from __future__ import annotations

from collections.abc import Iterator

from smart_gateway.errors import SettingsError
from smart_gateway.gateway.edge.tls import TlsFiles, tls_context
from smart_gateway.settings.building.senders import build_tls
from smart_gateway.settings.files import read_named
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.model import Settings
from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.sections.listeners import TlsSettings

_LARGEST = 8 * 1024 * 1024  # bytes; a file with every authority of the web has a quarter of a mebibyte


def check_senders(settings: Settings) -> Iterator[Problem]:
    """Everything across keys that has to do with who sends a token."""
    if settings.server.tls is not None:
        yield from check_tls(settings.server.tls, settings, ("server", "tls"))
    for index, listener in enumerate(settings.server.listeners or ()):
        if listener.tls is not None:
            yield from check_tls(listener.tls, settings, ("server", "listeners", index, "tls"))
    if settings.server.tls is not None and settings.server.public_url.startswith("http:"):
        yield warning(("server", "public_url"), "is plain http, while the gateway itself speaks TLS only")
    if settings.server.client_certificate_header is not None and not settings.server.trusted_proxies:
        path = ("server", "client_certificate_header")
        yield Problem(path, "is believed from nobody: name the terminators in server.trusted_proxies")


def check_tls(tls: TlsSettings, settings: Settings, path: KeyPath) -> Iterator[Problem]:
    """``path`` is where ``tls`` is written."""
    asks = tls.client_certificates != "none"
    if asks and tls.client_ca is None:
        yield Problem((*path, "client_certificates"), "needs client_ca: the authorities that clients' certificates must come from")
        return
    if tls.client_ca is not None and not asks:
        yield Problem((*path, "client_ca"), "has no effect without client_certificates: optional or required")
    files = build_tls(tls, settings)
    unreadable = tuple(_unreadable(files, path))
    yield from unreadable
    if not unreadable:
        yield from _unfit(files, path)


def _unreadable(files: TlsFiles, path: KeyPath) -> Iterator[Problem]:
    for key in ("certificate", "key", "client_ca"):
        file = getattr(files, key)
        try:
            if file is not None:
                read_named(file, str(file), _LARGEST)
        except SettingsError as error:
            yield Problem((*path, key), error.text)


def _unfit(files: TlsFiles, path: KeyPath) -> Iterator[Problem]:
    try:
        tls_context(files)
    except OSError:
        text = "certificate, key and client_ca are not what TLS can be spoken with: PEM, the key unencrypted and that of the certificate"
        yield Problem((*path, "certificate"), text)
