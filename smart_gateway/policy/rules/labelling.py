"""Which limits on security labels bound one principal. Spec: semantics 9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from smart_gateway.boundary.labels import LADDER, LabelLimit
from smart_gateway.boundary.model import NOTHING, Boundary, Region, everything
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.rules.whom import EVERYBODY, Whom, spelled
from smart_gateway.principal import Principal
from smart_gateway.scopes.permissions import Permission

Place = Callable[..., str | None]
"""Where the rule at a path below the policy is written."""

_READS = (Permission.READ, Permission.SEARCH)
ALL = Permission.CREATE | Permission.READ | Permission.UPDATE | Permission.DELETE | Permission.SEARCH


@dataclass(frozen=True, slots=True)
class Raise:
    """What a plain scope adds: confidentiality up to ``ceiling``, and ``allowed`` codes that are forbidden otherwise."""

    scope: str
    ceiling: str | None = None
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelRule:
    """One limit, for whom it is, and where it holds: ``types`` None for all. ``path`` is the rule's below the policy."""

    limit: LabelLimit
    whom: Whom = EVERYBODY
    types: frozenset[str] | None = None
    permissions: Permission = ALL
    raised_by: tuple[Raise, ...] = ()
    path: tuple[str | int, ...] = ("labels",)

    @property
    def name(self) -> str:
        """What grounds call it: ``labels``, ``labels[1]``."""
        return spelled(self.path)

    def covers(self, type: str, permission: Permission) -> bool:
        return (self.types is None or type in self.types) and permission in self.permissions


@dataclass(frozen=True, slots=True)
class LabelBounds:
    """The rules that are for one principal, raised as far as its scopes raise them; None: the policy has no such section.

    A section that has no rule for somebody leaves nothing to them: it is closed (semantics 0.7).
    """

    rules: tuple[LabelRule, ...] | None = None

    def bound(self, type: str, permission: Permission) -> Boundary:
        """What the labels leave of ``type``."""
        if self.rules is None:
            return everything()
        if not self.rules:
            return NOTHING
        limits = tuple(dict.fromkeys(rule.limit for rule in self._deciding(type, permission)))
        if limits:
            return Boundary.of([Region(labels=limits)])
        # What an update makes readable is judged by what it was: so the stored resource is looked at.
        shows = permission is Permission.UPDATE and any(self._deciding(type, reading) for reading in _READS)
        return Boundary.of([Region()]) if shows else everything()

    def leaves_all(self, permission: Permission) -> bool:
        """Whether they bound no type at all."""
        if self.rules is None:
            return True
        meant = permission | Permission.READ | Permission.SEARCH if permission is Permission.UPDATE else permission
        return bool(self.rules) and all(rule.limit.is_trivial or not rule.permissions & meant for rule in self.rules)

    def shows(self, stored: Mapping[str, Any], new: Mapping[str, Any], type: str) -> bool:
        """Whether ``new`` may be read or searched in the place of ``stored``, which may not: its past would show."""
        return any(not self._admits(stored, type, reading) and self._admits(new, type, reading) for reading in _READS)

    def _admits(self, resource: Mapping[str, Any], type: str, permission: Permission) -> bool:
        return all(rule.limit.admits(resource) for rule in self._deciding(type, permission))

    def grounds(self, type: str, permission: Permission, place: Place) -> Iterator[Ground]:
        """What each rule does."""
        if self.rules == ():
            text = "the policy limits security labels, and no rule of it is for this request"
            yield Ground("labels", "labels", "denies", text, place("labels"))
        for rule in self._deciding(type, permission):
            yield Ground("labels", rule.name, "limits", f"the policy leaves resources with {rule.limit.text}", place(*rule.path))

    def _deciding(self, type: str, permission: Permission) -> list[LabelRule]:
        return [rule for rule in self.rules or () if rule.covers(type, permission) and not rule.limit.is_trivial]


def label_bounds(rules: tuple[LabelRule, ...] | None, principal: Principal, holds: Callable[[str], bool]) -> LabelBounds:
    """The rules for ``principal``; ``holds``: whether a plain scope of its counts."""
    if rules is None:
        return LabelBounds()
    if not any(rule.whom.surely_means(principal) for rule in rules):
        return LabelBounds(())
    meant = [rule for rule in rules if rule.whom.means(principal)]
    return LabelBounds(tuple(_raised(rule, holds) for rule in meant))


def _raised(rule: LabelRule, holds: Callable[[str], bool]) -> LabelRule:
    held = [one for one in rule.raised_by if holds(one.scope)]
    ceilings = (rule.limit.ceiling, *(one.ceiling for one in held if one.ceiling is not None))
    allowed = {code for one in held for code in one.allowed}
    forbidden = tuple(code for code in rule.limit.forbidden if code not in allowed)
    return replace(rule, limit=replace(rule.limit, ceiling=max(ceilings, key=LADDER.index), forbidden=forbidden))
