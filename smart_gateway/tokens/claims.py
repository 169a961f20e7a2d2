"""From a verified token's claims to the principal."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from smart_gateway.fhir.references import Bases, Reference, is_id, parse_reference
from smart_gateway.principal import Ceiling, Principal
from smart_gateway.scopes.claim_paths import find_claim, read_nested
from smart_gateway.scopes.reading import read_scopes
from smart_gateway.tokens.authorization_details import LaunchGrant, detailed_grant
from smart_gateway.tokens.delegation import read_actors, read_may_act
from smart_gateway.tokens.issuer import ClaimPaths, IssuerConfig

_USER_TYPES = frozenset({"Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"})


def read_principal(claims: Mapping[str, Any], config: IssuerConfig, bases: Bases) -> Principal:
    """The principal that ``claims`` of ``config.issuer``, verified before, speak of (semantics 2, "Claims").

    Never raises: a fact that is missing or malformed is one that the principal lacks.
    """
    paths = config.claims
    grant = detailed_grant(claims, bases.public) or _top_level_grant(claims, paths)
    return Principal(
        issuer=config.issuer,
        subject=_text(claims.get("sub")),
        client_id=_text(find_claim(claims, paths.client)),
        scopes=read_scopes(grant.scope, replacement=config.replacement, v1_write=config.v1_write),
        patient=_launch_id(grant.patient, "Patient", bases),
        encounter=_launch_id(grant.encounter, "Encounter", bases),
        fhir_user=_fhir_user(find_claim(claims, paths.fhir_user), bases, config.fhir_user_bases),
        fhir_context=_fhir_context(grant.fhir_context),
        tenant=_text(find_claim(claims, paths.tenant)),
        expires_at=_number(claims.get("exp")),
        issued_at=_number(claims.get("iat")),
        token_id=_text(claims.get("jti")),
        confirmation=_object(claims.get("cnf")),
        actors=read_actors(claims, config.issuer),
        may_act=read_may_act(claims, config.issuer),
        claims=MappingProxyType(dict(claims)),
        ceilings=() if config.ceiling is None else (Ceiling(f"the issuer {config.issuer}", config.ceiling, plain=config.ceiling_plain),),
    )


def _top_level_grant(claims: Mapping[str, Any], paths: ClaimPaths) -> LaunchGrant:
    return LaunchGrant(*(find_claim(claims, path) for path in (paths.scope, paths.patient, paths.encounter, paths.fhir_context)))


def _launch_id(value: Any, type: str, bases: Bases) -> str | None:
    """The id in a launch context claim: a bare id, ``type/id``, or that under one of our bases; None for anything else."""
    if not isinstance(value, str):
        return None
    if is_id(value):
        return value if value not in {".", ".."} else None
    reference = parse_reference(value, bases)
    return reference.id if reference is not None and reference.type == type and reference.version is None else None


def _fhir_user(value: Any, bases: Bases, further: tuple[str, ...]) -> Reference | None:
    """The user that ``fhirUser`` names: ``Type/id``, relative or under a base that counts; None is the kind ``none``.

    Spec: SMART App Launch 2.2, "Scopes for requesting identity data"; semantics 2.
    """
    if not isinstance(value, str):
        return None
    candidates = (parse_reference(value, Bases(public=base, upstream=bases.upstream)) for base in (bases.public, *further))
    reference = next((candidate for candidate in candidates if candidate is not None), None)
    return reference if reference is not None and reference.version is None and reference.type in _USER_TYPES else None


def _fhir_context(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Spec: SMART App Launch 2.2, "fhirContext"; some issuers can carry it as a text only."""
    value = read_nested(value)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return ()
    return tuple(MappingProxyType(item) for item in value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _object(value: Any) -> Mapping[str, Any]:
    return MappingProxyType(value if isinstance(value, dict) else {})
