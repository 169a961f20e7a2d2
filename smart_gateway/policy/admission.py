"""Whether a client may come at all, as it comes: what its section says of the request besides its scopes. Spec: semantics 2 and 9."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from smart_gateway.errors import TokenError
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.model import ClientRule
from smart_gateway.policy.plan import Deny
from smart_gateway.policy.rules.delegation import refuse_actor
from smart_gateway.principal import BY_CERTIFICATE

_ELSEWHERE = Denial("client-not-allowed", "The policy of this gateway does not let this client in from this network address.")

_NO_CLIENT = Denial("client-not-allowed", "The policy of this gateway does not know the client of this token.")
_UNCERTIFIED = Denial("client-not-certified", "The policy of this gateway lets this client in only with a certification that is in force.")
_UNBOUND = "The policy lets this client come only with a token that is bound to its key."


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request came: ``now`` in seconds since the epoch, the client's IP address where it is known, and which possessions of
    ``dpop`` and ``mtls`` it has shown."""

    now: float
    address: str | None = None
    shown: frozenset[str] = frozenset()


def refuse_party(access: Access) -> Deny | None:
    """The refusal of a client, or of who acts through it, that the policy does not know; None where they may ask."""
    if access.principal.anonymous:
        return None
    return Deny(403, (_NO_CLIENT,)) if access.client is None else refuse_actor(access.principal, access.policy)


def refuse_arrival(access: Access, arrival: Arrival) -> Deny | None:
    """The refusal of a client that its own section of the policy does not let in this way; None where it may come.

    Asked with every request, also for tokens that are cached. Raises TokenError for a token that is too old or not bound enough.
    """
    rule = access.client
    if rule is None or access.principal.anonymous:
        return None
    if not _is_certified(access, arrival.now):
        return Deny(403, (_UNCERTIFIED,))
    if rule.networks is not None and not _comes_from(arrival.address, rule):
        return Deny(403, (_ELSEWHERE,))
    if rule.sender_constraint is not None and not arrival.shown & rule.sender_constraint:
        raise TokenError(_UNBOUND, reason="sender-constraint-required")
    _require_young(access, rule, arrival.now)
    return None


def _is_certified(access: Access, now: float) -> bool:
    policy, name = access.policy, access.principal.client_id
    certification = policy.certifications.get(name) if name is not None else None
    if certification is None:
        return not policy.certified_only
    return certification.since <= now < certification.until


def _comes_from(address: str | None, rule: ClientRule) -> bool:
    if address is None or rule.networks is None:
        return False
    parsed = ip_address(address)
    return any(parsed in network for network in rule.networks)


def _require_young(access: Access, rule: ClientRule, now: float) -> None:
    """Spec: semantics 9; a token that does not say since when it is there is too old."""
    if rule.max_token_age is None or access.principal.issuer == BY_CERTIFICATE:
        return
    issued = access.principal.issued_at
    if issued is None or now - issued > rule.max_token_age:
        raise TokenError("The token is older than the policy allows for this client.", reason="token-too-old")
