"""Clients of certain Groups: what is left to them of the type Group, and which exports they may start (semantics 8 and 9)."""

from __future__ import annotations

from smart_gateway.boundary.model import NOTHING, Boundary, Filter, Region, everything
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.model import ClientRule

GROUP = "Group"
OTHER_GROUP = Denial("group-not-allowed", "The policy of this gateway lets this client export the members of certain Groups only.")


def group_bound(client: ClientRule, type: str) -> Boundary:
    """What the Groups of ``client`` leave of ``type``."""
    if client.groups is None or type != GROUP:
        return everything()
    if not client.groups:
        return NOTHING
    return Boundary.of([Region(filters=(Filter("_id", None, tuple(sorted(client.groups))),))])


def group_ground(client: ClientRule, type: str, name: str, place: str | None) -> tuple[Ground, ...]:
    """Which Groups are left, for the type Group."""
    if client.groups is None or type != GROUP:
        return ()
    named = " or ".join(f"{GROUP}/{id}" for id in sorted(client.groups)) or "no Group"
    return (Ground("client", name, "limits", f"the policy limits this client to {named}", place),)


def may_export(client: ClientRule | None, type: str | None, id: str | None) -> bool:
    """Whether an export of ``type`` and ``id`` is one of its Groups; any, where none are named."""
    if client is None or client.groups is None:
        return True
    return type == GROUP and id is not None and id in client.groups
