"""Who asks: what a verified token says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from smart_gateway.fhir.references import Reference
from smart_gateway.scopes.scope import ResourceScope
from smart_gateway.scopes.scopeset import ScopeSet

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Never more than these scopes, whatever the token's own say: of an issuer, an actor, a certified statement, a hook.

    ``source`` names the rule in grounds. Several ceilings are intersected; one without scopes leaves nothing.
    """

    source: str
    scopes: tuple[ResourceScope, ...]


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified facts of one token (semantics, "principal").

    ``patient`` and ``encounter`` are FHIR ids; ``fhir_user`` is a reference of one of the five user types or None (the kind
    ``none``); ``expires_at`` and ``issued_at`` are seconds since the epoch; ``confirmation`` is the claim ``cnf``
    (RFC 7800); ``actor`` the claim ``act`` (RFC 8693); ``claims`` all that the token says, as verified; ``ceilings`` bound everything
    that its scopes open. ``anonymous`` is the principal of a request without a token.
    """

    issuer: str
    subject: str | None = None
    client_id: str | None = None
    scopes: ScopeSet = field(default_factory=ScopeSet)
    patient: str | None = None
    encounter: str | None = None
    fhir_user: Reference | None = None
    fhir_context: tuple[Mapping[str, Any], ...] = ()
    tenant: str | None = None
    expires_at: float | None = None
    issued_at: float | None = None
    token_id: str | None = None
    confirmation: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    actor: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    claims: Mapping[str, Any] = field(default_factory=lambda: _EMPTY, repr=False)
    ceilings: tuple[Ceiling, ...] = ()
    anonymous: bool = False

    @property
    def user_kind(self) -> str:
        """The type of fhirUser, or ``none``."""
        return self.fhir_user.type if self.fhir_user is not None else "none"
