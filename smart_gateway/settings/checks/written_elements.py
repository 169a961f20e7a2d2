"""Elements that ``policy.fields`` lets be written, and that another of its rules for the same users does not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from smart_gateway.fhir.fields import FieldPath
from smart_gateway.policy.rules.fielding import FieldRule
from smart_gateway.scopes.permissions import Permission
from smart_gateway.settings.problems import Problem, warning

_Rules = tuple[FieldRule, ...]


def check_written(rules: _Rules, *, hides: bool) -> Iterator[Problem]:
    """What can never be written, though a rule names it; ``rules`` in the order of the settings. ``hides``: no update reaches what is
    hidden, not even in an emergency."""
    for place, elsewhere in permutations(range(len(rules)), 2):
        rule, other = rules[place], rules[elsewhere]
        if rule.only and other.is_of(rule.type) and other.whom.includes(rule.whom):
            yield from _fixed(rule, other, hides=hides)
            if elsewhere < place or not (rule.is_of(other.type) and rule.whom.includes(other.whom)):
                yield from _apart(rule, other)


def _fixed(rule: FieldRule, other: FieldRule, *, hides: bool) -> Iterator[Problem]:
    """Elements that ``other`` keeps from every update, or hides, which no update reaches; a create has neither."""
    if rule.permissions is not Permission.UPDATE:
        return
    kept = other.keep if Permission.UPDATE in other.permissions else ()
    hidden = other.hide if hides and other.labelled is None else ()
    for index, path in enumerate(rule.only or ()):
        place = ("policy", *rule.path, "only", index)
        if any(_holds(one, path) for one in kept):
            yield warning(place, f"is never written: {other.name} keeps it as it is")
        elif any(_holds(one, path) for one in hidden):
            yield warning(place, f"is never written: {other.name} hides it, and what is hidden is not changed")


def _apart(rule: FieldRule, other: FieldRule) -> Iterator[Problem]:
    """Two lists of which both hold."""
    if not other.only or rule.permissions not in other.permissions:
        return
    if not any(_may_meet(one, path) for one in other.only for path in rule.only or ()):
        text = f"leaves nothing to be written together with {other.name}: both hold, and they have nothing in common"
        yield warning(("policy", *rule.path, "only"), text)


def _holds(outer: FieldPath, inner: FieldPath) -> bool:
    """Whether all of ``inner`` is certainly in ``outer``."""
    return not outer.is_conditional and outer.holds_names(_names(inner))


def _may_meet(one: FieldPath, other: FieldPath) -> bool:
    return one.meets_names(_names(other)) or other.meets_names(_names(one))


def _names(path: FieldPath) -> list[str]:
    return [step.name for step in path.steps]
