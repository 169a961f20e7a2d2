"""``server:`` and ``upstream:``: the two sides of the gateway."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from smart_gateway.fhir.releases import Release
from smart_gateway.settings.sections.addresses import BaseUrl, HeaderName, Listen, NetworkText, Origin
from smart_gateway.settings.sections.credentials import Authorization
from smart_gateway.settings.sections.identity_headers import IdentityHeaderSettings
from smart_gateway.settings.sections.listeners import ListenerSettings, TlsSettings
from smart_gateway.settings.sections.quantities import Duration, Size
from smart_gateway.settings.sections.secret import Secret
from smart_gateway.settings.sections.section import Section
from smart_gateway.settings.sections.shared_cache import SharedCacheSettings
from smart_gateway.settings.sections.smart_configuration import SmartConfigurationSettings

DEFAULT_LISTEN = "127.0.0.1:8080"


class CorsSettings(Section):
    """Browser apps that may call the gateway from pages of other origins."""

    origins: Annotated[list[Origin], Field(min_length=1)]
    """Origins such as `https://app.example`, each spelled whole."""


class SealingSettings(Section):
    """How paging links are sealed, so that a client can neither read, change nor pass them on."""

    keys: Annotated[list[Secret], Field(min_length=1)] | None = None
    """Secrets of 32 random bytes in base64 (`openssl rand -base64 32`), the same on every replica: the first seals, all open.
    Absent: a key is made at start, and paging links end with the process."""
    lifetime: Duration = Field(default="15m", validate_default=True)
    """How long a paging link can be followed."""


class CertificateHeaderSettings(Section):
    """The header in which a TLS terminator in front tells the certificate of its client. It must set or remove it in every request."""

    format: Literal["envoy", "nginx", "traefik"]
    """How it is written: Envoy's `x-forwarded-client-cert` with `Cert`, nginx' `$ssl_client_escaped_cert`, Traefik's `passTLSClientCert`
    with `pem`."""
    name: HeaderName | None = None
    """Absent: `X-Forwarded-Client-Cert` for `envoy`, `ssl-client-cert` for `nginx`, `X-Forwarded-Tls-Client-Cert` for `traefik`."""


class ServerSettings(Section):
    """What clients see and where the gateway listens."""

    listen: Listen = DEFAULT_LISTEN
    """Address and port for FHIR requests; IPv6 addresses in brackets."""
    public_url: BaseUrl
    """The FHIR base URL that clients use. Its path is the only one that is served."""
    management: Listen | None = None
    """Address and port of the health endpoints and the explain page, never proxied; they are off without it."""
    explain: bool = False
    """The explain page there, and its JSON twin: for whoever can open a connection on this machine. Only where `management` is at a
    loopback address."""
    trusted_proxies: list[NetworkText] = Field(default=[])
    """Networks (`10.1.0.0/16`) whose forwarding headers are believed."""
    client_certificate_header: CertificateHeaderSettings | None = None
    """Believed from `trusted_proxies`; a request that has it from anywhere else is refused (400)."""
    cors: CorsSettings | None = None
    """Absent: no other origin may call."""
    sealing: SealingSettings = SealingSettings()
    """How paging links are sealed."""
    shared_cache: SharedCacheSettings | None = None
    """What workers and replicas know together. Absent: each process knows its own."""
    compression: Literal["none", "gzip"] = "none"
    """`gzip`: answers of 1 KiB and more are compressed for clients that accept it. Not the default: it costs CPU that a proxy in front
    of the gateway has to spare, and an answer that holds both a secret and what an attacker chose tells of the secret by its length
    (BREACH)."""
    tls: TlsSettings | None = None
    """Absent: plain HTTP."""
    smart_configuration: SmartConfigurationSettings = SmartConfigurationSettings()
    """What clients are told of the authorization server besides what it says itself."""
    listeners: Annotated[list[ListenerSettings], Field(min_length=1)] | None = None
    """Several places to listen, each with what it makes of certificates and tokens. Beside them, `listen` counts only where it is said."""

    @property
    def listens(self) -> bool:
        """Whether `listen` is one of the places."""
        return self.listeners is None or "listen" in self.model_fields_set


class UpstreamSettings(Section):
    """The FHIR server behind the gateway."""

    url: BaseUrl | None = None
    """Its FHIR base URL. Left out only where the gateway is middleware around the server itself."""
    fhir_version: Release = Field(strict=False)
    """`R4`, `R4B` or `R5`."""
    allow_http: bool = False
    """Plain http to an address that is not loopback."""
    authorization: Authorization = "none"
    """What the upstream gets in `Authorization`: nothing, the client's own token (`forward`), or `{bearer: SECRET}`,
    `{client_credentials: ...}` or `{token_exchange: ...}`."""
    identity_headers: IdentityHeaderSettings | None = None
    """Absent: no header tells the upstream who asks."""
    compartment_search: Literal["parameter", "compartment", "union"] = "parameter"
    """How a compartment is searched upstream: by the type's preferred parameter (`patient`), as `Patient/[id]/[type]` where the
    upstream has that, or by each of its parameters side by side (`union`: finds every member on any server)."""
    conditions: Literal["headers", "hapi"] | None = None
    """How a write is held to the version that was checked: by `If-Match` and `If-None-Match` (`headers`), or as HAPI keeps it, which
    ignores the first on a delete and the second on an update (`hapi`). Absent: what its CapabilityStatement's software name says."""
    answer_size: Size = Field(default="64MiB", validate_default=True)
    """The largest answer that is checked in memory; larger ones are refused with 502."""
    answer_time: Duration = Field(default="60s", validate_default=True)
    """How long the upstream may take."""
