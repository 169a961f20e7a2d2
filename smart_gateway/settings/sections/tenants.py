"""``tenants:``: several FHIR servers behind one gateway, each with settings of its own, and nothing shared between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from smart_gateway.settings.problems import Problem, warning
from smart_gateway.settings.sections.hooks import HooksSettings
from smart_gateway.settings.sections.issuers import IssuerSettings
from smart_gateway.settings.sections.listeners import Limit, SentTokenSettings, ShownCertificateSettings
from smart_gateway.settings.sections.policy import PolicySettings
from smart_gateway.settings.sections.revocation import RevocationSettings
from smart_gateway.settings.sections.section import Section, Text
from smart_gateway.settings.sections.server import CorsSettings, SealingSettings, UpstreamSettings
from smart_gateway.settings.sections.smart_configuration import SmartConfigurationSettings
from smart_gateway.settings.sections.tenant_names import TenantNaming

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

# A path is read in before the model sees it; the schema shows editors that both are allowed.
PolicyOrPath = Annotated[PolicySettings, BeforeValidator(lambda value: value, json_schema_input_type=Text | PolicySettings)]


class TenantListenerSettings(Section):
    """What one of `server.listeners` makes of certificates and tokens for this tenant; what is not said is as it is there."""

    name: Text
    """The listener's name."""
    certificate: ShownCertificateSettings | None = None
    """Without a certificate, or with one of nobody."""
    token: SentTokenSettings | None = None
    """Without a token, or with one that does not count."""
    limit: Limit | None = None
    """What `limit` leaves."""


class TenantSettings(TenantNaming):
    """One FHIR server, and everything that is judged by in front of it. It has a `path`, a `host`, or both."""

    upstream: UpstreamSettings
    """Its FHIR server. Several tenants may have the same one."""
    issuers: Annotated[list[IssuerSettings], Field(min_length=1)]
    """The authorization servers whose tokens count here: a closed list."""
    revocation: RevocationSettings = RevocationSettings()
    """Tokens that do not count here although they verify."""
    policy: PolicyOrPath = PolicySettings()
    """What narrows the scopes: a mapping, or the path of a file or directory."""
    hooks: HooksSettings | None = None
    """Your own code that refuses, limits or adds to who comes."""
    listeners: Annotated[list[TenantListenerSettings], Field(min_length=1)] | None = None
    """At which of `server.listeners` the tenant is there, and by which rules. Absent: at each place, by the rules of the place;
    `server.listen` is no place to name."""
    cors: CorsSettings | None = None
    """In place of `server.cors`."""
    sealing: SealingSettings | None = None
    """In place of `server.sealing`. Whichever keys count, each tenant seals by its own, which are made of them and its name."""
    smart_configuration: SmartConfigurationSettings | None = None
    """In place of `server.smart_configuration`."""


TenantOrPath = Annotated[TenantSettings, BeforeValidator(lambda value: value, json_schema_input_type=Text | TenantSettings)]

OVERRIDES = ("cors", "sealing", "smart_configuration")
"""Keys of ``server`` that a tenant may have for itself."""
LISTENER_KEYS = frozenset(TenantListenerSettings.model_fields)
TENANT_KEYS = frozenset(TenantSettings.model_fields)


def check_apart(each: Sequence[Settings]) -> Iterator[tuple[int, Problem]]:
    """What tenants share by what their settings say; with the position of the later one of two."""
    for position, settings in enumerate(each):
        for other in each[:position]:
            yield from ((position, problem) for problem in _shared_tokens(settings, other))


def _shared_tokens(settings: Settings, other: Settings) -> Iterator[Problem]:
    known = {issuer.issuer: _audiences(other, issuer) for issuer in other.issuers}
    name = other.tenant.name if other.tenant is not None else ""
    for index, issuer in enumerate(settings.issuers):
        if _audiences(settings, issuer) & known.get(issuer.issuer, set()):
            yield warning(
                ("issuers", index, "audiences"), f"the same tokens count at the tenant {name}: their issuer and audience are the same"
            )


def _audiences(settings: Settings, issuer: IssuerSettings) -> set[str]:
    return {settings.server.public_url} if issuer.audiences is None else set(issuer.audiences)
