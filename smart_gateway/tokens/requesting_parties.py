"""Who comes with a requesting party token: its permissions in the place of scopes. Spec: UMA 2.0 Federated Authorization section 5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from smart_gateway.errors import TokenError
from smart_gateway.principal import Principal
from smart_gateway.scopes.scopeset import ScopeSet
from smart_gateway.tokens.introspection import Introspected, Introspection
from smart_gateway.tokens.issuer import UmaConfig
from smart_gateway.tokens.rpt import read_permissions

_IDENTITY = ("sub", "client_id")


def requesting_party(
    principal: Principal, permissions: Any, config: UmaConfig, now: float, leeway: float
) -> tuple[Principal, float | None]:
    """``principal`` with what ``permissions`` open, in the place of scopes and launch context; and until when that stays so."""
    permitted = read_permissions(permissions, config.resources, now, leeway)
    who = replace(principal, scopes=ScopeSet(), patient=None, encounter=None, fhir_context=(), permitted=permitted.regions)
    return who, permitted.until


async def ask_about(token: str, now: float, permissions: Introspection, identity: Introspection) -> Introspected:
    """What the issuer says of a requesting party token, and whose it is.

    Keycloak tells the permissions without subject and client, and those without the permissions: where neither is named, it is asked a
    second time, as about an access token. Raises TokenError, DependencyUnavailable.
    """
    found = await permissions.ask(token, now)
    claims = found.claims or {}
    if any(name in claims for name in _IDENTITY):
        return found
    also = await identity.ask(token, now)
    if not _is_one_token(claims, also.claims or {}):
        raise TokenError("The token's issuer contradicts itself about it.", reason="inactive")
    return Introspected({**(also.claims or {}), **claims}, min(found.until, also.until))


def _is_one_token(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("jti", "aud", "exp") if name in one and name in other)
