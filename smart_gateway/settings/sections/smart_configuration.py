"""``server.smart_configuration:``: what clients are told of the authorization server besides what it says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from smart_gateway.answers.smart_configuration import CAPABILITIES, Declared
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.sections.addresses import FetchedUrl, IssuerUrl
from smart_gateway.settings.sections.section import Section, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smart_gateway.settings.model import Settings

_NOT_MEMBERS = {"issuer", "capabilities"}


class BrandIdentifierSettings(Section):
    """The identifier of the primary entry in the Brand Bundle."""

    system: Text | None = None
    """Its system."""
    value: Text
    """Its value."""


class AssociatedEndpointSettings(Section):
    """An endpoint that shares this one's authorization."""

    url: FetchedUrl
    """Its address."""
    capabilities: Annotated[list[Text], Field(min_length=1)]
    """Its SMART capabilities."""


class SmartConfigurationSettings(Section):
    """What `.well-known/smart-configuration`, the CapabilityStatement and RFC 9728 say of the authorization server. Each key stands in for
    what the issuer's discovery document says; `capabilities` come beside those that can be told from it."""

    issuer: IssuerUrl | None = None
    """Which of `issuers` is described: clients are told of one. Absent: the first."""
    capabilities: list[Text] = Field(default=[])
    """SMART capabilities that no OAuth metadata tell, such as `launch-standalone`, `context-standalone-patient` or `client-public`; those
    that are not SMART's own are URIs."""
    authorization_endpoint: FetchedUrl | None = None
    """Where apps send users to."""
    token_endpoint: FetchedUrl | None = None
    """Where apps get tokens."""
    jwks_uri: FetchedUrl | None = None
    """The keys of its ID tokens."""
    registration_endpoint: FetchedUrl | None = None
    """Dynamic client registration."""
    management_endpoint: FetchedUrl | None = None
    """Where users see and end the access that they gave."""
    introspection_endpoint: FetchedUrl | None = None
    """Token introspection."""
    revocation_endpoint: FetchedUrl | None = None
    """Token revocation."""
    scopes_supported: Annotated[list[Text], Field(min_length=1)] | None = None
    """Scopes that a client may ask for."""
    grant_types_supported: Annotated[list[Literal["authorization_code", "client_credentials"]], Field(min_length=1)] | None = None
    """Grant types."""
    token_endpoint_auth_methods_supported: (
        Annotated[list[Literal["client_secret_post", "client_secret_basic", "private_key_jwt"]], Field(min_length=1)] | None
    ) = None
    """How clients authenticate."""
    token_endpoint_auth_signing_alg_values_supported: Annotated[list[Text], Field(min_length=1)] | None = None
    """The algorithms of their assertions."""
    user_access_brand_bundle: FetchedUrl | None = None
    """A Brand Bundle (User Access Brands)."""
    user_access_brand_identifier: BrandIdentifierSettings | None = None
    """The primary entry of the Brand Bundle."""
    associated_endpoints: Annotated[list[AssociatedEndpointSettings], Field(min_length=1)] | None = None
    """Endpoints that share the authorization of this one."""

    def declared(self) -> Declared:
        """What is declared here."""
        members: dict[str, Any] = self.model_dump(exclude=_NOT_MEMBERS, exclude_none=True)
        return Declared(members, tuple(self.capabilities))


def check_smart_configuration(settings: Settings) -> Iterator[Problem]:
    """Names that would be published and mean nothing."""
    chosen = settings.server.smart_configuration
    path = ("server", "smart_configuration")
    if chosen.issuer is not None and chosen.issuer not in {issuer.issuer for issuer in settings.issuers}:
        yield Problem((*path, "issuer"), "is none of issuers")
    for index, capability in enumerate(chosen.capabilities):
        if capability not in CAPABILITIES and ":" not in capability:
            yield Problem((*path, "capabilities", index), f'"{capability}" is no SMART capability, and no URI')
