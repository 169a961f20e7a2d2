"""What another rule on emergencies opens and closes: who may call one, for how long, by what, and which limits it lifts.

Which boundaries an emergency has is told by ``boundaries``.
"""

from __future__ import annotations

from collections.abc import Iterator

from smart_gateway.policy.comparing.differences import Difference, listed
from smart_gateway.policy.emergencies import BreakGlass
from smart_gateway.scopes.permissions import Permission

_ENDLESS = float("inf")


def compare_emergencies(old: BreakGlass | None, new: BreakGlass | None) -> Iterator[Difference]:
    """Every difference, part by part; None is no emergency at all."""
    if old is not None and new is not None:
        yield from _parts(old, new)
    elif old != new:
        yield Difference("break_glass", _described(old), _described(new), opens=old is None, closes=new is None)


def _parts(old: BreakGlass, new: BreakGlass) -> Iterator[Difference]:
    yield from _other("scope", old.scope, new.scope)
    yield from _other("reason_header", old.reason_header.lower(), new.reason_header.lower())
    yield from _other("purpose_header", old.purpose_header.lower(), new.purpose_header.lower())
    yield from _set("lifts", frozenset(map(str, old.lifts)), frozenset(map(str, new.lifts)))
    yield from _set("purposes", old.purposes, new.purposes)
    yield from _set("permissions", _letters(old.permissions), _letters(new.permissions))
    yield from _set("fhir_user", old.kinds, new.kinds)
    yield from _set("acr_values", frozenset(old.acr_values) or None, frozenset(new.acr_values) or None)
    yield from _longest("max_duration", old.max_duration, new.max_duration)
    yield from _longest("max_auth_age", old.max_auth_age, new.max_auth_age)


def _other(part: str, old: str, new: str) -> Iterator[Difference]:
    """Another name: what was called by the old one is closed, and opened by the new one."""
    if old != new:
        yield Difference(f"break_glass.{part}", old, new, opens=True, closes=True)


def _set(part: str, old: frozenset[str] | None, new: frozenset[str] | None) -> Iterator[Difference]:
    """None: any."""
    if old != new:
        wider = new is None or (old is not None and not new <= old)
        narrower = old is None or (new is not None and not old <= new)
        yield Difference(f"break_glass.{part}", listed(old), listed(new), opens=wider, closes=narrower)


def _longest(part: str, old: float | None, new: float | None) -> Iterator[Difference]:
    one, other = (_ENDLESS if seconds is None else seconds for seconds in (old, new))
    if one != other:
        yield Difference(f"break_glass.{part}", _seconds(one), _seconds(other), opens=other > one, closes=other < one)


def _letters(permissions: Permission) -> frozenset[str]:
    return frozenset(permissions.letters)


def _seconds(seconds: float) -> str:
    return "any" if seconds == _ENDLESS else f"{seconds:g} s"


def _described(rule: BreakGlass | None) -> str:
    if rule is None:
        return "no emergency"
    lifted, purposes = listed(frozenset(map(str, rule.lifts))), listed(rule.purposes)
    return f"{rule.scope} lifts {lifted} ({rule.permissions.letters}) for {listed(rule.kinds)}; {purposes}; {_seconds(rule.max_duration)}"
