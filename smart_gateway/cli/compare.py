"""``smart-gateway compare``: what a change of the policy opens and closes, for those who review it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from smart_gateway.boundary.model import Boundary
from smart_gateway.cli.configuration import add_tenant
from smart_gateway.policy.comparing.boundaries import Group, compare_boundaries, group_changes
from smart_gateway.policy.comparing.differences import Difference
from smart_gateway.policy.comparing.rules import compare_rules
from smart_gateway.policy.wording import describe
from smart_gateway.settings.building.policy import build_policy
from smart_gateway.settings.loading import Examination
from smart_gateway.settings.policy_files import examine_policy, is_policy

_DONE, _OPENS = 0, 3
_SHOWN = 8  # types, before they are counted
_WEIGHED = frozenset({"policy"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of docs/command-line.md."""
    parser.add_argument("old", type=Path, metavar="OLD", help="settings, or a policy alone, as they are")
    parser.add_argument("new", type=Path, metavar="NEW", help="the same as they shall be")
    add_tenant(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Prints what is open after and was not before, and what was and is not: 3 where anything opens, else 0."""
    old, new = (examine_policy(source, arguments.tenant) for source in (arguments.old, arguments.new))
    assert old.settings is not None
    assert new.settings is not None
    one, other = build_policy(old.settings), build_policy(new.settings)
    groups = group_changes(compare_boundaries(one, other))
    differences = list(compare_rules(one, other))
    if not (is_policy(arguments.old) or is_policy(arguments.new)):
        differences += _sections(old, new)
    changes: list[Group | Difference] = [*groups, *differences]
    opens, closes = any(change.opens for change in changes), any(change.closes for change in changes)
    if arguments.format == "json":
        shown = {"boundaries": [_group(group) for group in groups], "rules": [_difference(found) for found in differences]}
        print(json.dumps({"opens": opens, "closes": closes, **shown}, indent=2, ensure_ascii=False))
    else:
        print("\n".join(_lines(groups, differences)) or "Nothing opens, nothing closes.")
    return _OPENS if opens else _DONE


def _sections(old: Examination, new: Examination) -> Iterator[Difference]:
    """Sections besides the policy that are not the same: nobody has weighed what they do."""
    one, other = (examination.root.plain() if examination.root is not None else {} for examination in (old, new))
    for name in sorted({*one, *other} - _WEIGHED):
        if one.get(name) != other.get(name):
            yield Difference(name, "as in OLD", "as in NEW", opens=True, closes=True, unknown=True)


def _group(group: Group) -> dict[str, Any]:
    return {
        "clients": list(group.clients),
        "issuer": group.issuer,
        "actor": group.actor,
        "having": group.circumstance,
        "emergency": group.emergency,
        "users": list(group.users),
        "contexts": list(group.contexts),
        "types": list(group.types),
        "permissions": group.permissions.letters,
        "opens": group.opens,
        "closes": group.closes,
        "before": _boundary(group.before),
        "after": _boundary(group.after),
    }


def _boundary(boundary: Boundary) -> dict[str, Any]:
    regions = [
        {
            "compartments": [f"{owner.type}/{id}" for owner in region.compartments for id in owner.ids],
            "filters": [filter.text for filter in region.filters],
            "labels": [limit.text for limit in region.labels],
        }
        for region in boundary.regions
    ]
    return {"text": describe(boundary), "everything": boundary.is_everything, "regions": regions}


def _difference(one: Difference) -> dict[str, Any]:
    said = {"rule": one.rule, "before": one.before, "after": one.after}
    return {**said, "opens": one.opens, "closes": one.closes, "weighed": not one.unknown}


def _lines(groups: Iterable[Group], differences: Iterable[Difference]) -> Iterator[str]:
    for one in differences:
        if one.unknown:
            yield f"cannot be weighed, counts as opened: {one.rule}: {one.before} -> {one.after}"
        else:
            yield f"{_word(one.opens, one.closes)}: {one.rule}: {one.before} -> {one.after}"
    for group in sorted(groups, key=lambda g: (not g.opens, g.clients, g.users)):
        yield f"{_word(group.opens, group.closes)}: {', '.join(group.permissions.letters)} on {_types(group.types)}"
        yield f"  for {_whose(group)}"
        yield f"  before: {describe(group.before)}"
        yield f"  after:  {describe(group.after)}"


def _word(opens: bool, closes: bool) -> str:
    return "opens and closes" if opens and closes else "opens" if opens else "closes"


def _types(types: tuple[str, ...]) -> str:
    named = ["all types at once" if type == "*" else type for type in types]
    more = f" and {len(named) - _SHOWN} more types" if len(named) > _SHOWN else ""
    return ", ".join(named[:_SHOWN]) + more


def _whose(group: Group) -> str:
    """Clients, users and scopes of the tokens, in words."""
    said = [f"clients {', '.join(group.clients)}", f"users {', '.join(group.users)}"]
    said.append("tokens with " + " or ".join("no scopes" if one == "none" else f"{one}/ scopes" for one in group.contexts))
    said += [f"issuer {group.issuer}"] if group.issuer != "any other" else []
    said += [f"having {group.circumstance}"] if group.circumstance else []
    said += ["in an emergency"] if group.emergency else []
    said += [f"actor {group.actor}"] if group.actor is not None else []
    return "; ".join(said)
