"""What can be taken away in a world: a limiting rule is added, or an opening one is removed. None where there is nothing of the kind.

A rule for users whom no rule met opens (docs/policies.md), and so does an alternative that was the only one of its ``any_of``: these are
no changes of either kind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from smart_gateway.boundary.labels import LADDER
from smart_gateway.policy.model import (
    DEFAULT_USERS,
    ActorRule,
    AnyOf,
    ConditionalRule,
    OperationAnswer,
    UserBound,
    UserRule,
)
from smart_gateway.policy.rules.users import NO_RULE, user_bounds
from smart_gateway.scopes.reading import read_scopes
from tests.properties import policies
from tests.properties.policies import World

Change = Callable[[random.Random, World], World | None]


def user_rule_added(rng: random.Random, world: World) -> World | None:
    """To a list: for users who are met already."""
    users = world.choices.get("users")
    if not isinstance(users, tuple) or user_bounds(world.principal, world.policy) is NO_RULE:
        return None
    single = rng.random() < 0.7
    rule = policies.conditional(rng) if single else AnyOf(tuple(policies.conditional(rng) for _ in range(2)))
    place = rng.randint(0, len(users))
    return world.with_policy(users=(*users[:place], rule, *users[place:]))


def user_kind_bounded(rng: random.Random, world: World) -> World | None:
    """``everything`` becomes anything else."""
    users = world.choices.get("users", DEFAULT_USERS)
    kind = world.principal.user_kind
    if not isinstance(users, Mapping) or users.get(kind) != UserRule(UserBound.EVERYTHING):
        return None
    return world.with_policy(users={**users, kind: policies.user_rule(rng)})


def patients_named(rng: random.Random, world: World) -> World | None:
    return world.with_policy(patients=rng.choice(("list", "missing"))) if world.choices.get("patients") is None else None


def clients_listed(rng: random.Random, world: World) -> World | None:
    """A section where there was none; a pin would say what the token may."""
    if world.choices.get("clients") is not None:
        return None
    return world.with_policy(clients={name: replace(policies.client_rule(rng), pin=None) for name in rng.choice((("app",), ("app", "*")))})


def client_bounded(rng: random.Random, world: World) -> World | None:
    """One key more in the client's section."""
    if world.client is None:
        return None
    rule = world.client[1]
    added: dict[str, Any] = {
        "limit": policies.listed(rng),
        "issuers": frozenset({rng.choice((policies.ISSUER, "https://other.example"))}),
        "networks": (ip_network(rng.choice(("10.0.0.0/8", "192.0.2.0/24"))),),
        "max_token_age": rng.choice((5.0, 600.0)),
        "sender_constraint": frozenset({"dpop"}),
        "groups": frozenset(rng.sample("abc", rng.randint(0, 2))),
        "registered_scopes": policies.listed(rng),
    }
    if rule.intersect_registered:
        del added["registered_scopes"]  # without them nothing is left: they would open
    name = rng.choice([name for name in added if getattr(rule, name) is None] or ["system_role"])
    return world.with_client(replace(rule, **{name: added.get(name, False)}))


def registration_enforced(rng: random.Random, world: World) -> World | None:
    if world.client is None or world.client[1].intersect_registered:
        return None
    return world.with_client(replace(world.client[1], intersect_registered=True))


def actors_bounded(rng: random.Random, world: World) -> World | None:
    """A section where there was none, or a limit for an actor that had none."""
    if world.choices.get("actors") is None:
        return world.with_policy(actors={rng.choice(("svc", "*", "agent")): ActorRule(policies.listed(rng))})
    actors = {name: ActorRule(policies.listed(rng)) if rule.limit is None else rule for name, rule in world.choices["actors"].items()}
    return world.with_policy(actors=actors)


def client_certified(rng: random.Random, world: World) -> World | None:
    """A certified statement bounds; where only certified clients come, it lets one in."""
    if world.choices.get("certified_only") or "app" in world.choices.get("certifications", {}):
        return None
    return world.with_policy(certifications={"app": policies.certification(rng)})


def only_certified(rng: random.Random, world: World) -> World | None:
    return None if world.choices.get("certified_only") else world.with_policy(certified_only=True)


def ceiling_added(rng: random.Random, world: World) -> World | None:
    return world.who(ceilings=(*world.principal.ceilings, policies.ceiling(rng)))


def label_rule_added(rng: random.Random, world: World) -> World | None:
    """For a section that is not there, or one that has a rule for this principal already."""
    rules = world.choices.get("labels")
    if rules is not None and not any(rule.whom.surely_means(world.principal) for rule in rules):
        return None
    return world.with_policy(labels=(*(rules or ()), policies.label_rule(rng)))


def label_limit_lowered(rng: random.Random, world: World) -> World | None:
    rules = list(world.choices.get("labels") or ())
    if not rules:
        return None
    place = rng.randrange(len(rules))
    limit = rules[place].limit
    lower = {
        "ceiling": LADDER[rng.randint(0, LADDER.index(limit.ceiling))],
        "unlabelled": LADDER[rng.randint(LADDER.index(limit.unlabelled), len(LADDER) - 1)],
        "forbidden": (*limit.forbidden, rng.choice(policies.FORBIDDEN)),
        "required": (*limit.required, f"{policies.OWN}|OK"),
    }
    name = rng.choice(tuple(lower))
    rules[place] = replace(rules[place], limit=replace(limit, **{name: lower[name]}))
    return world.with_policy(labels=tuple(rules))


def label_rule_widened(rng: random.Random, world: World) -> World | None:
    """It holds of every type and permission."""
    rules = world.choices.get("labels")
    return None if rules is None else world.with_policy(labels=tuple(replace(r, types=None, permissions=policies.ALL) for r in rules))


def field_rule_added(rng: random.Random, world: World) -> World | None:
    return world.with_policy(fields=(*world.choices.get("fields", ()), policies.field_rule(rng)))


def scope_lost(rng: random.Random, world: World) -> World | None:
    """By the token: a scope for resources or a plain one."""
    scopes = world.principal.scopes
    held = [scope.text for scope in (*scopes.resources, *scopes.plain)]
    kept = [text for text in held if rng.random() < 0.6]
    return world.who(scopes=read_scopes(" ".join(kept), replacement=None, v1_write="cud")) if len(kept) < len(held) else None


def scope_unlisted(rng: random.Random, world: World) -> World | None:
    """By the client's section: a scope of what it is limited to, is pinned to, or has registered."""
    if world.client is None:
        return None
    name, rule = rng.choice(("limit", "pin", "registered_scopes")), world.client[1]
    listed = getattr(rule, name)
    plain = replace(rule.plain, **{name.removesuffix("_scopes"): frozenset()})
    if not listed:
        return world.with_client(replace(rule, plain=plain)) if listed is not None else None
    gone = rng.choice(listed)
    return world.with_client(replace(rule, **{name: tuple(scope for scope in listed if scope is not gone)}))


def client_removed(rng: random.Random, world: World) -> World | None:
    """Together with what is for clients that are not named: those of whom nothing is said are refused."""
    if world.client is None:
        return None
    return world.with_policy(clients={name: rule for name, rule in world.choices["clients"].items() if name not in (world.client[0], "*")})


def system_role_lost(rng: random.Random, world: World) -> World | None:
    return world.with_client(replace(world.client[1], system_role=False)) if world.client is not None else None


def user_kind_removed(rng: random.Random, world: World) -> World | None:
    users = world.choices.get("users", DEFAULT_USERS)
    return (
        world.with_policy(users={k: r for k, r in users.items() if k != world.principal.user_kind}) if isinstance(users, Mapping) else None
    )


def alternative_removed(rng: random.Random, world: World) -> World | None:
    """One rule of an ``any_of`` of which another one is for the user."""
    users = world.choices.get("users")
    places = [i for i, item in enumerate(users) if isinstance(item, AnyOf)] if isinstance(users, tuple) else []
    if not places or not isinstance(users, tuple):
        return None
    place = rng.choice(places)
    rules = users[place].rules
    gone = rng.choice(rules)
    left = tuple(rule for rule in rules if rule is not gone)
    unreadable = isinstance(world.principal.claims.get("org"), dict) and gone.when.claims  # such a rule closes
    if unreadable or (_met(gone, world) and not any(_met(rule, world) for rule in left)):
        return None
    return world.with_policy(users=tuple(item for item in (*users[:place], AnyOf(left), *users[place + 1 :]) if item != AnyOf(())))


def rule_scope_removed(rng: random.Random, world: World) -> World | None:
    """A scope of what a rule for users lists."""
    users = world.choices.get("users")
    if not isinstance(users, tuple):
        return None
    return world.with_policy(users=tuple(_shorter(item) for item in users))


def raise_removed(rng: random.Random, world: World) -> World | None:
    rules = world.choices.get("labels")
    return None if rules is None else world.with_policy(labels=tuple(replace(rule, raised_by=rule.raised_by[1:]) for rule in rules))


def lift_removed(rng: random.Random, world: World) -> World | None:
    """The break-glass rule, or one limit that it lifts."""
    rule = world.choices.get("break_glass")
    if rule is None:
        return None
    lifted = sorted(rule.lifts)
    return world.with_policy(break_glass=replace(rule, lifts=frozenset(lifted[1:])) if lifted and rng.random() < 0.8 else None)


def shared_type_removed(rng: random.Random, world: World) -> World | None:
    shared = sorted(world.choices["shared_types"])
    return world.with_policy(shared_types=frozenset(shared) - {rng.choice(shared), "Organization"})


def addition_removed(rng: random.Random, world: World) -> World | None:
    """A type that only an addition puts into the compartment, and that is not shared."""
    return world.with_policy(compartment_additions={})


def binary_closed(rng: random.Random, world: World) -> World | None:
    order = ("allow", "security_context", "deny")
    return world.with_policy(binary=order[min(order.index(world.choices["binary"]) + 1, 2)])


def server_type_removed(rng: random.Random, world: World) -> World | None:
    return world.with_policy(writable_server_types=frozenset())


def public_removed(rng: random.Random, world: World) -> World | None:
    return world.with_policy(public=world.choices["public"][1:])


def operation_bounded(rng: random.Random, world: World) -> World | None:
    """It is gone, or one of the scopes that open it, or a parameter; or more of it is looked at."""
    (rule,) = world.choices["operations"]
    less = (
        (),
        (replace(rule, plain=frozenset()),),
        (replace(rule, parameters=dict.fromkeys(rule.parameters, True)),),
        (replace(rule, parameters={}),),
        (replace(rule, types=frozenset({"Observation"}) & (rule.types or frozenset({"Observation"}))),),
        (replace(rule, levels=frozenset({"instance"})),),
        (replace(rule, answer=OperationAnswer.REFUSE),),
    )
    return world.with_policy(operations=rng.choice(less))


def parameter_unnamed(_rng: random.Random, world: World) -> World | None:
    """A search parameter that the policy alone knows is not named any more."""
    return world.with_policy(search_parameters={})


# With the section of the policy, or the type, that each is about.
LIMITING: Mapping[Change, str | None] = {
    user_rule_added: "users",
    user_kind_bounded: None,
    patients_named: None,
    clients_listed: None,
    client_bounded: "clients",
    registration_enforced: "clients",
    actors_bounded: "parties",
    client_certified: None,
    only_certified: None,
    ceiling_added: None,
    label_rule_added: None,
    label_limit_lowered: "labels",
    label_rule_widened: "labels",
    field_rule_added: "Observation",
}
REMOVING: Mapping[Change, str | None] = {
    scope_lost: None,
    scope_unlisted: "clients",
    client_removed: "clients",
    system_role_lost: "clients",
    user_kind_removed: None,
    alternative_removed: "users",
    rule_scope_removed: "users",
    raise_removed: "labels",
    lift_removed: None,
    shared_type_removed: "Organization",
    addition_removed: "Device",
    binary_closed: "Binary",
    server_type_removed: "Subscription",
    public_removed: "public",
    operation_bounded: None,
    parameter_unnamed: None,
}


def _met(rule: ConditionalRule, world: World) -> bool:
    alone = world.with_policy(users=(rule,))
    return user_bounds(world.principal, alone.policy) is not NO_RULE


def _shorter(item: ConditionalRule | AnyOf) -> ConditionalRule | AnyOf:
    if isinstance(item, AnyOf):
        return AnyOf(tuple(replace(rule, rule=_less(rule.rule)) for rule in item.rules))
    return replace(item, rule=_less(item.rule))


def _less(rule: UserRule) -> UserRule:
    return rule if rule.scopes is None else replace(rule, scopes=rule.scopes[2:])
