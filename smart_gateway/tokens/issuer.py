"""The settings of one issuer, as the room needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from smart_gateway.errors import SettingsError
from smart_gateway.policy.uma import UmaResource
from smart_gateway.scopes.replacement import Replacement
from smart_gateway.scopes.scope import ResourceScope
from smart_gateway.tokens.algorithms import ALGORITHMS, DEFAULT_ALGORITHMS
from smart_gateway.tokens.client_authentication import ClientAuthentication


@dataclass(frozen=True, slots=True)
class ClaimPaths:
    """Where an issuer's tokens say what: for each fact the claim paths to try, in order; the first that is present counts.

    Paths are those of ``claim_paths``. ``audience`` names the resources that the token is for.
    """

    patient: tuple[str, ...] = ("patient",)
    fhir_user: tuple[str, ...] = ("fhirUser",)
    scope: tuple[str, ...] = ("scope", "scp")
    client: tuple[str, ...] = ("client_id", "azp", "appid")
    tenant: tuple[str, ...] = ()
    encounter: tuple[str, ...] = ("encounter",)
    fhir_context: tuple[str, ...] = ("fhirContext",)
    audience: tuple[str, ...] = ("aud",)


@dataclass(frozen=True, slots=True)
class IntrospectionConfig:
    """How an issuer is asked about its tokens (RFC 7662).

    ``url`` is the endpoint; None: the one of its discovery document. A positive answer serves for ``cache`` seconds, a negative one for
    ``negative_cache``. ``signed``: only JWT answers count (RFC 9701). ``opaque``: tokens that are no JWTs are taken for this issuer's.
    """

    authentication: ClientAuthentication
    url: str | None = None
    cache: float = 30.0
    negative_cache: float = 5.0
    signed: bool = False
    opaque: bool = True


@dataclass(frozen=True, slots=True)
class UmaConfig:
    """The gateway as a resource server of an issuer (UMA 2.0): as whom it asks for its PAT, and what its ``resources`` are there.

    ``as_uri`` is what clients are told; ``pat_scope`` the scope that the PAT is asked with. A client gets ``tickets_per_minute``, all of
    them together ``tickets_in_all``.
    """

    authentication: ClientAuthentication
    resources: tuple[UmaResource, ...]
    as_uri: str
    pat_scope: str | None = None
    tickets_per_minute: int = 30
    tickets_in_all: int = 600


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """One trusted issuer of access tokens (settings ``issuers:``): of JWTs, or of tokens that it is asked about where there is
    ``introspection``. With ``uma`` they are requesting party tokens: their permissions count, and no scopes.

    ``issuer`` and ``audiences`` are compared whole; ``leeway`` and ``max_token_lifetime`` are in seconds; keys come from
    ``jwks_file``, else ``jwks_uri``, else discovery. ``ceiling``: never more than these scopes,
    and of plain ones ``ceiling_plain``; None where there is none.
    ``replacement`` restores replaced characters in scopes; ``fhir_user_bases`` are further service bases, without a trailing slash, whose
    fhirUser URLs count.
    Raises SettingsError for an issuer without audience or algorithm, or with one that is not asymmetric.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks_uri: str | None = None
    jwks_file: Path | None = None
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    leeway: float = 30.0
    max_token_lifetime: float | None = None
    claims: ClaimPaths = field(default_factory=ClaimPaths)
    replacement: Replacement | None = None
    ceiling: tuple[ResourceScope, ...] | None = None
    ceiling_plain: frozenset[str] = frozenset()
    v1_write: str = "cud"
    fhir_user_bases: tuple[str, ...] = ()
    allow_http: bool = False
    introspection: IntrospectionConfig | None = None
    uma: UmaConfig | None = None

    def __post_init__(self) -> None:
        if not self.issuer or not self.audiences or not all(self.audiences):
            raise SettingsError("An issuer needs a name and at least one audience.")
        if not self.algorithms or not ALGORITHMS.keys() >= set(self.algorithms):
            raise SettingsError("An issuer's algorithms must be asymmetric signature algorithms, at least one.")
        if self.jwks_uri is not None and self.jwks_file is not None:
            raise SettingsError("An issuer's keys come from jwks_uri or from jwks_file, not from both.")
        if not self.leeway >= 0 or (self.max_token_lifetime is not None and not self.max_token_lifetime > 0):
            raise SettingsError("An issuer's leeway cannot be negative, nor its max_token_lifetime zero.")
