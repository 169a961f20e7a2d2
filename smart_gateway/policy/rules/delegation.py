"""Who acts for somebody else: whether the policy and the token itself let it, and what it may do at most. Spec: RFC 8693 section 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from smart_gateway.policy.causes import Denial
from smart_gateway.policy.model import ActorRule, Policy
from smart_gateway.policy.plan import Deny
from smart_gateway.principal import Actor, Ceiling, Principal

_OTHERS = "*"
_UNNAMED = Denial("actor-not-allowed", "The token says that somebody acts for its subject, but not who.")
_UNKNOWN = Denial("actor-not-allowed", "The policy of this gateway does not let this actor act for others.")
_NOT_CHOSEN = Denial("actor-not-allowed", "The token names who may act for its subject, and it is not who acts.")


def refuse_actor(principal: Principal, policy: Policy) -> Deny | None:
    """The refusal of who acts now; None where nobody does, or it may.

    Only who acts now is judged: those before are for the record (RFC 8693 section 4.1).
    """
    if not principal.actors:
        return None
    actor = principal.actors[0]
    if actor.name is None:
        return Deny(403, (_UNNAMED,))
    if principal.may_act is not None and not _is_meant(principal.may_act, actor):
        return Deny(403, (_NOT_CHOSEN,))
    return Deny(403, (_UNKNOWN,)) if policy.actors is not None and not _rules(actor, policy.actors) else None


def actor_ceilings(principal: Principal, policy: Policy) -> Iterator[Ceiling]:
    """What who acts now may do at most."""
    for actor in principal.actors[:1]:
        for rule in _rules(actor, policy.actors or {}):
            if rule.limit is not None:
                yield Ceiling(f"the actor {actor.name}", rule.limit, plain=rule.plain)


def _rules(actor: Actor, rules: Mapping[str, ActorRule]) -> tuple[ActorRule, ...]:
    """Those for any of its names, else that for others. Names that another issuer gave are not those of the policy."""
    names = (actor.subject, actor.client_id) if actor.issuer is None else ()
    named = tuple(rules[name] for name in dict.fromkeys(names) if name is not None and name in rules and name != _OTHERS)
    return named or ((rules[_OTHERS],) if _OTHERS in rules else ())


def _is_meant(may_act: Actor, actor: Actor) -> bool:
    """Whether everything that ``may_act`` says holds of the actor. Spec: RFC 8693 section 4.4."""
    pairs = ((may_act.subject, actor.subject), (may_act.client_id, actor.client_id))
    return may_act.name is not None and may_act.issuer == actor.issuer and all(wanted in (None, name) for wanted, name in pairs)
