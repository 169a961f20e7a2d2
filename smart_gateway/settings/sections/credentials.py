"""``upstream.authorization`` and ``upstream.identity_headers``: what the FHIR server gets to know of the gateway and of who asks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Field, Tag

from smart_gateway.errors import SettingsError
from smart_gateway.gateway.credentials import (
    Credentials,
    ExchangedAuthorization,
    FixedToken,
    ForwardedToken,
    IdentityHeaders,
    NoAuthorization,
    OwnAuthorization,
    UpstreamAuthorization,
)
from smart_gateway.settings.findings import KeyPath
from smart_gateway.settings.problems import Problem
from smart_gateway.settings.sections.addresses import FetchedUrl, IssuerUrl, is_plain_http_elsewhere
from smart_gateway.settings.sections.client_authentication import ClientAuthenticationSettings, build_client, check_client
from smart_gateway.settings.sections.identity_headers import build_identity, check_identity
from smart_gateway.settings.sections.secret import Secret
from smart_gateway.settings.sections.section import Section, Text, shape, spelled
from smart_gateway.tokens.discovery import Discovery
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.own_token import OwnToken
from smart_gateway.tokens.refreshing import Freshness
from smart_gateway.tokens.token_endpoint import TokenEndpoint
from smart_gateway.tokens.token_exchange import ExchangedTokens, ExchangeTerms
from smart_gateway.tokens.transport import HttpTransport

if TYPE_CHECKING:
    from smart_gateway.settings.model import Settings

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_PATH: KeyPath = ("upstream", "authorization")

OneScope = Annotated[
    Text, spelled(lambda text: text.isprintable() and text.isascii() and " " not in text, "scope", "must be one scope, without spaces")
]


class TokenRequestSettings(ClientAuthenticationSettings):
    """A token endpoint, who the gateway is there, and what it asks for."""

    issuer: IssuerUrl | None = None
    """The authorization server; its token endpoint is found by discovery. Absent: the first of `issuers`."""
    token_endpoint: FetchedUrl | None = None
    """The token endpoint itself, in place of discovery."""
    scope: list[OneScope] = Field(default=[])
    """The scopes to ask for. Empty: those that the authorization server gives by itself."""
    audience: Text | None = None
    """The `audience` to ask for (RFC 8693; of some servers also for client credentials)."""
    resource: Text | None = None
    """The `resource` to ask for (RFC 8707)."""
    allow_http: bool = False
    """Plain http to an address that is not loopback."""


class ClientCredentialsSettings(TokenRequestSettings):
    """The gateway's own token, by client credentials (RFC 6749 section 4.4): kept, and renewed before it expires."""


class TokenExchangeSettings(TokenRequestSettings):
    """The client's token exchanged for one that the FHIR server takes (RFC 8693), kept no longer than either lasts."""

    subject_issuers: list[IssuerUrl] | None = None
    """The issuers whose tokens are shown to the token endpoint; requests with tokens of others are refused. Absent: `issuer` alone."""
    actor: bool = False
    """Whether the gateway shows a token of its own as `actor_token`: a delegation, in place of an impersonation."""


class AuthorizationSettings(Section):
    """One of these."""

    bearer: Secret | None = None
    """Sent as `Authorization: Bearer ...` in place of the client's token."""
    client_credentials: ClientCredentialsSettings | None = None
    """The gateway's own token."""
    token_exchange: TokenExchangeSettings | None = None
    """What the client's token is exchanged for."""


Authorization = Annotated[
    Annotated[Literal["none", "forward"], Tag("word")] | Annotated[AuthorizationSettings, Tag("mapping")],
    Discriminator(shape),
]


def check_credentials(settings: Settings) -> Iterator[Problem]:
    """What is wrong with what the FHIR server gets to know."""
    authorization = settings.upstream.authorization
    if isinstance(authorization, AuthorizationSettings):
        given = [name for name in type(authorization).model_fields if getattr(authorization, name) is not None]
        if len(given) != 1:
            yield Problem(_PATH, "needs one of bearer, client_credentials and token_exchange")
        if authorization.bearer is not None and not _TOKEN.fullmatch(authorization.bearer.reveal()):
            yield Problem((*_PATH, "bearer"), "holds characters that no bearer token has (RFC 6750)")
        for name in ("client_credentials", "token_exchange"):
            asking = getattr(authorization, name)
            if asking is not None:
                yield from _check_request(asking, settings, (*_PATH, name))
    if settings.upstream.identity_headers is not None:
        yield from check_identity(settings.upstream.identity_headers, settings.file, ("upstream", "identity_headers"))


def _check_request(asking: TokenRequestSettings, settings: Settings, path: KeyPath) -> Iterator[Problem]:
    yield from check_client(asking, path, settings.file)
    key, url = ("token_endpoint", asking.token_endpoint) if asking.token_endpoint is not None else ("issuer", _issuer(asking, settings))
    if is_plain_http_elsewhere(str(url)) and not asking.allow_http:
        yield Problem((*path, key), "plain http to an address that is not loopback: use https, or set allow_http here: true")
    trusted = [issuer.issuer for issuer in settings.issuers]
    named = asking.subject_issuers if isinstance(asking, TokenExchangeSettings) else None
    for index, name in enumerate(named or ()):
        if name not in trusted:
            yield Problem((*path, "subject_issuers", index), "is none of issuers: its tokens do not count here")
    if isinstance(asking, TokenExchangeSettings) and named is None and _issuer(asking, settings) not in trusted:
        yield Problem((*path, "subject_issuers"), "is missing: tokens of issuer itself do not count here")
    if named == []:
        yield Problem((*path, "subject_issuers"), "must not be empty: no token could be exchanged")


def _issuer(asking: TokenRequestSettings, settings: Settings) -> str:
    return asking.issuer or settings.issuers[0].issuer


def build_credentials(settings: Settings) -> Credentials:
    """What the FHIR server gets to know. Raises SettingsError for what ``check_credentials`` objects to."""
    headers = settings.upstream.identity_headers
    identity = IdentityHeaders() if headers is None else build_identity(headers, settings)
    return Credentials(_authorization(settings), identity)


def _authorization(settings: Settings) -> UpstreamAuthorization:
    match settings.upstream.authorization:
        case "none":
            return NoAuthorization()
        case "forward":
            return ForwardedToken()
        case AuthorizationSettings(bearer=Secret() as bearer):
            return FixedToken(bearer.reveal())
        case AuthorizationSettings(client_credentials=ClientCredentialsSettings() as asking):
            return OwnAuthorization(OwnToken(_endpoint(asking, settings), _more(asking)))
        case AuthorizationSettings(token_exchange=TokenExchangeSettings() as asking):
            return ExchangedAuthorization(ExchangedTokens(_endpoint(asking, settings), _terms(asking, settings)))
    raise SettingsError("The settings say in no way what the upstream gets in Authorization.")


def _terms(asking: TokenExchangeSettings, settings: Settings) -> ExchangeTerms:
    issuers = frozenset(asking.subject_issuers or (_issuer(asking, settings),))
    return ExchangeTerms(issuers, _more(asking), OwnToken(_endpoint(asking, settings), {}) if asking.actor else None)


def _more(asking: TokenRequestSettings) -> dict[str, str]:
    asked = {"scope": " ".join(asking.scope) or None, "audience": asking.audience, "resource": asking.resource}
    return {name: value for name, value in asked.items() if value is not None}


def _endpoint(asking: TokenRequestSettings, settings: Settings) -> TokenEndpoint:
    """Each has connections of its own, and closes them."""
    transport, issuer = HttpTransport(), _issuer(asking, settings)
    config = IssuerConfig(issuer, (settings.server.public_url,), allow_http=asking.allow_http)
    discovery = Discovery(config, transport, Freshness()) if asking.token_endpoint is None else None
    client = build_client(asking, settings.file)
    return TokenEndpoint(transport, client, url=asking.token_endpoint, discovery=discovery, allow_http=asking.allow_http)
