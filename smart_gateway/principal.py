"""Who asks: what a verified token says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from smart_gateway.fhir.references import Reference
from smart_gateway.scopes.scope import ResourceScope
from smart_gateway.scopes.scopeset import ScopeSet

BY_CERTIFICATE = "certificate"  # no URL, hence no issuer of the settings
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Never more than these scopes, whatever the token's own say: of an issuer, an actor, a certified statement, a hook.

    ``source`` names the rule in grounds. Several ceilings are intersected; one without scopes leaves nothing. ``by_context``: each scope
    of the token counts only within those of its own context, as where scopes are compared with what a client registered. ``plain`` are
    the plain scopes that it leaves.
    """

    source: str
    scopes: tuple[ResourceScope, ...]
    by_context: bool = False
    plain: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PermittedRegion:
    """What one permission of an authorization server opens: what ``scope`` would in a token with ``patient`` in context, and no more.

    ``resource`` and ``grant`` are the resource and the scope that the server knows it by; ``form`` is the id by which the settings describe
    it, of one resource or of many. Spec: UMA 2.0 Federated Authorization section 5.
    """

    resource: str
    grant: str
    scope: ResourceScope
    patient: str | None
    form: str

    @property
    def name(self) -> str:
        """What grounds and the log call it: a rule of the settings, which tells of no patient."""
        return f"{self.form}#{self.grant}"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts for the subject, by ``sub`` and ``client_id`` of the claim ``act``; ``issuer`` is who knows them by these names, None where
    that is the token's issuer. An actor without either name is one that nobody can tell. Spec: RFC 8693 section 4.1.
    """

    subject: str | None = None
    client_id: str | None = None
    issuer: str | None = None

    @property
    def name(self) -> str | None:
        """What the log calls it."""
        return self.subject or self.client_id


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified facts of one token (semantics, "principal").

    ``patient`` and ``encounter`` are FHIR ids; ``fhir_user`` is a reference of one of the five user types or None (the kind
    ``none``); ``expires_at`` and ``issued_at`` are seconds since the epoch; ``confirmation`` is the claim ``cnf`` (RFC 7800);
    ``actors`` are those of ``act`` (RFC 8693), who acts now first, then those before; ``may_act`` is who may act for the subject,
    where the token says it; ``claims`` all that the token says, as verified; ``ceilings`` bound everything that its scopes open.
    ``related_patient`` is the patient of the stored RelatedPerson that the fhirUser is, as the gateway itself has read it.
    ``permitted`` is what the permissions of a UMA token open, None for all other tokens; scopes of a UMA token count for nothing.
    ``anonymous`` is the principal of a request without a token; scopes that it has are what a listener opens to everybody. The issuer of
    a client that its certificate alone names is ``BY_CERTIFICATE``.
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
    actors: tuple[Actor, ...] = ()
    may_act: Actor | None = None
    claims: Mapping[str, Any] = field(default_factory=lambda: _EMPTY, repr=False)
    ceilings: tuple[Ceiling, ...] = ()
    permitted: tuple[PermittedRegion, ...] | None = None
    related_patient: str | None = None
    anonymous: bool = False

    @property
    def record(self) -> str | None:
        """The patient in context, or the only one whose record was permitted."""
        patients = {self.patient} if self.permitted is None else {region.patient for region in self.permitted}
        return next(iter(patients)) if len(patients) == 1 else None

    @property
    def user_kind(self) -> str:
        """The type of fhirUser, or ``none``."""
        return self.fhir_user.type if self.fhir_user is not None else "none"
