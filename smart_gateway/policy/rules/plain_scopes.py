"""Plain scopes (``__break-glass``): which of a token's count, after everything that limits its scopes. Spec: semantics 3 and 9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smart_gateway.principal import BY_CERTIFICATE

if TYPE_CHECKING:
    from smart_gateway.policy.access import Access


def holds_plain(access: Access, text: str) -> bool:
    """Whether the plain scope ``text`` counts.

    It is limited as scopes for resources are: the client must have registered it where registrations are known, every ceiling must name
    it, and with ``pin`` the policy says it in place of the token.
    """
    principal, client = access.principal, access.client
    if client is None or principal.anonymous or principal.permitted is not None or principal.issuer == BY_CERTIFICATE:
        return False
    held = principal.scopes.has(text) if client.pin is None else text in client.plain.pin
    return held and _is_left(access, text)


def could_hold_plain(access: Access, text: str) -> bool:
    """Whether ``text`` would count if the token had it: for hints."""
    client = access.client
    return client is not None and client.pin is None and _is_left(access, text)


def _is_left(access: Access, text: str) -> bool:
    """Whether everything that limits the token's scopes names this one."""
    client = access.client
    known = client is not None and client.registered_scopes is not None and client.pin is None
    if client is not None and known and text not in client.plain.registered:
        return False
    # An emergency lifts limits for its permissions; what a plain scope opens may be anything.
    return all(text in ceiling.plain for ceiling in access.ordinary.ceilings)
