"""``issuers:``: whose tokens count."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from smart_gateway.scopes.claim_paths import is_path
from smart_gateway.scopes.replacement import Replacement
from smart_gateway.settings.sections.addresses import BaseUrl, FetchedUrl, IssuerUrl
from smart_gateway.settings.sections.introspection import IntrospectionSettings
from smart_gateway.settings.sections.quantities import Duration, Leeway, ProofAge
from smart_gateway.settings.sections.section import Section, Text, spelled
from smart_gateway.settings.sections.uma import UmaSettings

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

ClaimPath = Annotated[
    list[Annotated[Text, spelled(is_path, "claim_path", 'is no claim path: name, name.name, name[0], ["name with dots"].name')]],
    Field(max_length=16),
]


class ClaimSettings(Section):
    """Where the tokens of this issuer say what: claim paths, tried in order; the first that is present counts, whatever its value.

    A path is a claim's name (`patient`, `https://example.org/patient`) or a way down: `ext.patient`, `identities[0].id`,
    `["https://example.org/claims"].patient`; a text that holds JSON is walked into."""

    patient: ClaimPath = Field(default=["patient"])
    """The patient in context: one FHIR id."""
    fhir_user: ClaimPath = Field(default=["fhirUser"])
    """Who is logged in: `Practitioner/id` or its URL."""
    scope: ClaimPath = Field(default=["scope", "scp"])
    """The scopes: a text or a list."""
    client: ClaimPath = Field(default=["client_id", "azp", "appid"])
    """The client's id."""
    encounter: ClaimPath = Field(default=["encounter"])
    """The encounter in context."""
    fhir_context: ClaimPath = Field(default=["fhirContext"])
    """Further context."""
    tenant: ClaimPath = Field(default=[])
    """The organisation that the token belongs to: for the record and for hooks; it limits nothing by itself."""
    audience: Annotated[ClaimPath, Field(min_length=1)] = Field(default=["aud"])
    """What the token is for. Another claim than `aud` only where the issuer has none, as Cognito for its machine clients."""


class ScopeFormatSettings(Section):
    """How this issuer spells scopes whose characters it cannot carry (Microsoft Entra ID and others)."""

    slash: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """The character that stands for `/`."""
    star: Text | None = None
    """The character or word that stands for `*`."""
    strip_prefix: Text | None = None
    """What stands before every scope, such as `api://app/`."""
    escapes: Literal["backslash", "none"] = "backslash"
    """Whether the issuer escapes the characters themselves by a backslash. With `none` only the separator between context and
    type is read back, and URLs in values are looked up in `known_urls`."""
    known_urls: list[Text] = Field(default=[])
    """With `escapes: none`: the URLs that may stand in values, as they really are."""

    def replacement(self) -> Replacement:
        """How replaced characters are restored; raises ValueError for characters that scopes need themselves."""
        return Replacement(self.slash or "/", self.star, self.strip_prefix or "", self.escapes, tuple(self.known_urls))


class DpopSettings(Section):
    """Tokens bound by DPoP (RFC 9449). One that is bound is always checked; these say more."""

    required: bool = False
    """Whether tokens that are not bound by DPoP are refused."""
    nonce: bool = False
    """Whether each proof must have a nonce of the gateway's, which it gives in `DPoP-Nonce` and which serves for five minutes. With
    `server.sealing.keys` those of one replica count on all."""
    proof_age: ProofAge = Field(default="60s", validate_default=True)
    """How old a proof may be; at most 5m. Clocks may differ by `leeway` besides."""


class MtlsSettings(Section):
    """Tokens bound to client certificates (RFC 8705). One that is bound is always checked."""

    required: bool = False
    """Whether tokens that are not bound to a certificate are refused."""


class IssuerSettings(Section):
    """One authorization server whose access tokens count."""

    issuer: IssuerUrl
    """Its identifier: the token's `iss`, compared whole."""
    mode: Literal["jwt", "introspection", "uma"] = "jwt"
    """How its tokens are judged: as JWTs by its keys, by what it answers about each (`introspection`), or, by either way, by the
    permissions in them (`uma`)."""
    audiences: Annotated[list[Text], Field(min_length=1)] | None = None
    """What a token's `aud` must name, any of them, compared whole. Absent: `server.public_url`, with `mode: uma` the `client_id` too."""
    jwks_uri: FetchedUrl | None = None
    """Where its keys are. Absent, and without `jwks_file`: by discovery."""
    jwks_file: Text | None = None
    """A JSON Web Key Set in a file, in place of `jwks_uri`."""
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = Field(default=["RS256", "RS384", "ES256", "ES384", "PS256", "EdDSA"])
    """The signature algorithms that count."""
    leeway: Leeway = Field(default="30s", validate_default=True)
    """How far clocks may differ; at most 5m."""
    max_token_lifetime: Duration | None = None
    """The longest time between a token's `iat` and `exp`."""
    claims: ClaimSettings = ClaimSettings()
    """Where its tokens say what."""
    scope_format: ScopeFormatSettings | None = None
    """How it spells scopes, when not as SMART does."""
    ceiling: list[Text] | None = None
    """Never more than these scopes, whatever its tokens say: for an issuer of another organisation. Absent: no such bound."""
    v1_write: Literal["cud", "cu"] = "cud"
    """What a v1 `.write` means."""
    fhir_user_bases: list[BaseUrl] = Field(default=[])
    """Further FHIR base URLs whose `fhirUser` URLs count, besides the public and the upstream base."""
    allow_http: bool = False
    """Plain http to an address that is not loopback."""
    dpop: DpopSettings | None = None
    """How tokens bound by DPoP are judged; there is such a section where clients are to be told of DPoP in challenges and metadata."""
    mtls: MtlsSettings | None = None
    """How tokens bound to a certificate are judged."""
    introspection: IntrospectionSettings | None = None
    """With `mode: introspection`, or `uma` where permissions are not taken from JWTs: where and as whom it is asked."""
    uma: UmaSettings | None = None
    """With `mode: uma`: who the gateway is to it, and what its resources are here."""
