"""From settings to where the gateway listens, and whose certificates it knows."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.gateway.callers.listeners import Choice, Choices, Listener, Listeners
from smart_gateway.settings.building.policy import build_scopes
from smart_gateway.settings.model import Settings
from smart_gateway.settings.sections.addresses import ListenAddress, parse_listen
from smart_gateway.settings.sections.listeners import ListenerSettings, TlsSettings
from smart_gateway.tokens.client_certificates import CertificateName, ClientCertificates


@dataclass(frozen=True, slots=True)
class Door:
    """One place where the gateway listens; ``name`` is empty for that of ``server.listen``."""

    name: str
    address: ListenAddress
    tls: TlsSettings | None = None


def build_doors(settings: Settings) -> tuple[Door, ...]:
    """Every place where the gateway listens for FHIR requests."""
    server = settings.server
    doors = tuple(Door(listener.name, parse_listen(listener.listen), listener.tls) for listener in server.listeners or ())
    return (Door("", parse_listen(server.listen), server.tls), *doors) if server.listens else doors


def build_listeners(settings: Settings) -> Listeners:
    """What each listener makes of certificates and tokens."""
    if settings.server.listeners is None:
        return Listeners()
    named = tuple(_listener(listener) for listener in settings.server.listeners)
    return Listeners(Listener(), *named) if settings.server.listens else Listeners(*named)


def _listener(listener: ListenerSettings) -> Listener:
    return Listener(
        listener.name,
        Choices(Choice(listener.certificate.missing), Choice(listener.certificate.unknown)),
        Choices(Choice(listener.token.missing), Choice(listener.token.unknown)),
        None if isinstance(listener.limit, str) else build_scopes(listener.limit),
    )


def build_client_certificates(settings: Settings) -> ClientCertificates:
    """Whose certificates are known."""
    clients = settings.policy.clients or {}
    named = {
        name: tuple(CertificateName(one.fingerprint, one.subject, one.dns) for one in client.certificates)
        for name, client in clients.items()
        if client.certificates is not None
    }
    return ClientCertificates(named)
