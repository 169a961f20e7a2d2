"""Lists of scopes beyond which nothing is open to a principal: those of its client, its actor, its issuer and others. Spec: semantics 9."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.policy.rules.delegation import actor_ceilings
from smart_gateway.principal import Ceiling, Principal
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, ResourceScope


def ceilings(principal: Principal, policy: Policy, client: ClientRule | None) -> Iterator[Ceiling]:
    """Every ceiling, and whose it is."""
    name = principal.client_id
    if client is not None and client.limit is not None:
        yield Ceiling("this client", client.limit, plain=client.plain.limit)
    if client is not None and client.intersect_registered:
        yield Ceiling("this client's registration", client.registered_scopes or (), by_context=True, plain=client.plain.registered)
    if name is not None and name in policy.certifications:
        certified = policy.certifications[name]
        yield Ceiling("this client's certification", certified.scopes, by_context=True, plain=certified.plain)
    yield from actor_ceilings(principal, policy)
    yield from principal.ceilings


def within(ceiling: Ceiling, context: Context) -> tuple[ResourceScope, ...]:
    """The scopes of a ceiling that count for scopes of ``context``."""
    return tuple(scope for scope in ceiling.scopes if scope.context is context) if ceiling.by_context else ceiling.scopes


def names_all(scope: ResourceScope, permission: Permission) -> bool:
    """Whether ``scope`` names every type, without a filter."""
    return scope.type == "*" and not scope.params and permission in scope.permissions


def leaves_all(limit: Iterable[ResourceScope], permission: Permission) -> bool:
    """Whether one of ``limit`` bounds nothing."""
    return any(names_all(scope, permission) and scope.context is not Context.PATIENT for scope in limit)
