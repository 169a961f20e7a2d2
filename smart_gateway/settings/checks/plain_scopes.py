"""The plain scopes (``__break-glass``) that the policy gives a meaning: they count in lists of scopes that bound tokens."""

from __future__ import annotations

from smart_gateway.settings.sections.labels import build_labels
from smart_gateway.settings.sections.operations import plain_scopes
from smart_gateway.settings.sections.policy import ClientSettings, PolicySettings


def meant_plain_scopes(policy: PolicySettings) -> frozenset[str]:
    """Those that open an operation, raise a limit on labels, or call an emergency."""
    raising = frozenset(raised.scope for rule in build_labels(policy.labels) or () for raised in rule.raised_by)
    calling = frozenset[str]() if policy.break_glass is None else frozenset({policy.break_glass.scope})
    return plain_scopes(policy.operations) | raising | calling


def nobody_may_have(scope: str, policy: PolicySettings) -> bool:
    """Whether the section of each client leaves the plain scope ``scope`` out."""
    return bool(policy.clients) and not any(_may_have(scope, client) for client in (policy.clients or {}).values())


def _may_have(scope: str, client: ClientSettings) -> bool:
    said = client.registered_scopes if client.pin is None else client.pin
    return all(listed is None or scope in listed for listed in (said, client.limit))
