"""Who acts for the subject of a token, and who may. Spec: RFC 8693 sections 4.1 and 4.4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from smart_gateway.principal import Actor


def read_actors(claims: Mapping[str, Any], issuer: str) -> tuple[Actor, ...]:
    """The actors of ``act``: who acts now first, then those before; none without that claim.

    Never raises: what is no object is an actor without a name, which no policy lets in.
    """
    return tuple(_actors(claims, issuer))


def read_may_act(claims: Mapping[str, Any], issuer: str) -> Actor | None:
    """Who may act for the subject; None where the token does not say, an actor without a name where it says it malformed."""
    return _actor(claims["may_act"], issuer) if "may_act" in claims else None


def _actors(claims: Mapping[str, Any], issuer: str) -> Iterator[Actor]:
    holder: Any = claims
    while isinstance(holder, Mapping) and "act" in holder:
        holder = holder["act"]
        yield _actor(holder, issuer)


def _actor(value: Any, issuer: str) -> Actor:
    """INVARIANT: half of an actor is none. A member that is no text voids the others, for each of them says less than all."""
    if not isinstance(value, Mapping):
        return Actor()
    named = [value.get(name, "") for name in ("sub", "client_id", "iss")]
    if not all(isinstance(text, str) for text in named):
        return Actor()
    subject, client_id, by = (text or None for text in named)
    return Actor(subject, client_id, None if by == issuer else by)
