"""What another policy shows and hides of elements, and lets writes change: for each kind of token, by the rules that are for it.

What it takes for closed as before is. What it cannot prove, because several rules together do what one did, it takes for opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from smart_gateway.fhir.fields import FieldPath, FieldStep
from smart_gateway.policy.comparing.circumstances import Asked, Circumstance, asked_by
from smart_gateway.policy.comparing.differences import Difference
from smart_gateway.policy.comparing.token_kinds import KINDS, OTHERS, Who, names_of, principal_of
from smart_gateway.policy.model import Policy
from smart_gateway.policy.rules.fielding import FieldBounds, FieldRule, field_bounds
from smart_gateway.scopes.permissions import Permission

_ANY = "*"
_WRITES = {Permission.CREATE: "created", Permission.UPDATE: "updated"}
Rules = tuple[FieldRule, ...]


@dataclass(frozen=True, slots=True)
class _Shift:
    """What becomes of one type for some tokens."""

    rule: str
    before: str
    after: str
    opens: bool
    closes: bool


def compare_fields(old: Policy, new: Policy) -> Iterator[Difference]:
    """Every difference of what is hidden and of what may be written; those for some tokens alone say for whom."""
    if old.fields == new.fields:
        return
    asked = asked_by(old, new)
    types = sorted({rule.type for rule in (*old.fields, *new.fields)})
    everybody = list(_tokens(old, new, asked))
    found: dict[_Shift, list[tuple[str, str, Circumstance]]] = {}
    for client, kind, circumstance in everybody:
        who = Who(client, kind, "none", circumstance=circumstance)
        before, after = (field_bounds(policy.fields, principal_of(who, policy, asked, _ANY)) for policy in (old, new))
        for type in types:
            for shift in _shifts(type, before, after):
                found.setdefault(shift, []).append((client, kind, circumstance))
    for shift, whose in found.items():
        for words in [""] if len(whose) == len(everybody) else _whose(whose):
            yield Difference(shift.rule + words, shift.before, shift.after, shift.opens, shift.closes)


def _tokens(old: Policy, new: Policy, asked: Asked) -> Iterator[tuple[str, str, Circumstance]]:
    """Clients, kinds of user and circumstances that both policies let in; what changes for others, their boundaries tell."""
    clients = (*sorted(names_of(old.clients, new.clients) | asked.clients), OTHERS)
    for client, kind, circumstance in product(clients, KINDS, asked.circumstances()):
        if all(_lets_in(client, kind, policy) for policy in (old, new)):
            yield client, kind, circumstance


def _lets_in(client: str, kind: str, policy: Policy) -> bool:
    """Requests without a token meet the rules for users of no kind and clients that are not named."""
    if client == OTHERS and kind == "none" and policy.public:
        return True
    return policy.clients is None or client in policy.clients or _ANY in policy.clients


def _shifts(type: str, before: FieldBounds, after: FieldBounds) -> Iterator[_Shift]:
    of = "every other type" if type == _ANY else type
    one, other = before.hides_of(type), after.hides_of(type)
    opens, closes = not hides_as_much(one, other), not hides_as_much(other, one)
    if opens or closes:
        yield _Shift(f"fields hidden of {of}", _hidden(one), _hidden(other), opens, closes)
    for permission, word in _WRITES.items():
        one, other = before.writing(type, permission), after.writing(type, permission)
        opens, closes = not bounds_as_much(one, other), not bounds_as_much(other, one)
        if opens or closes:
            yield _Shift(f"fields of {of} when {word}", _writable(one), _writable(other), opens, closes)


def _hidden(rules: Rules) -> str:
    parts = (
        ", ".join(path.text for path in rule.hide) + (f" where labelled {' or '.join(rule.labelled)}" if rule.labelled is not None else "")
        for rule in rules
    )
    return "; ".join(parts) or "none"


def _writable(rules: Rules) -> str:
    parts = [f"only {', '.join(path.text for path in rule.only) or 'nothing'}" for rule in rules if rule.only is not None]
    parts += [f"keeping {', '.join(path.text for path in rule.keep)}" for rule in rules if rule.keep]
    return "; ".join(parts) or "any"


def _whose(tokens: Iterable[tuple[str, str, Circumstance]]) -> Iterator[str]:
    """For whom, joined where all else is the same."""
    rows = [((client,), (kind,), (circumstance.text or "nothing of this",)) for client, kind, circumstance in tokens]
    for place in range(3):
        joined: dict[tuple[tuple[str, ...], ...], tuple[str, ...]] = {}
        for row in rows:
            key = (*row[:place], (), *row[place + 1 :])
            joined[key] = (*joined.get(key, ()), *row[place])
        rows = [(*key[:place], held, *key[place + 1 :]) for key, held in joined.items()]  # type: ignore[misc]
    for clients, kinds, circumstances in rows:
        having = "" if circumstances == ("nothing of this",) else f"; having {' or '.join(circumstances)}"
        yield f" for clients {', '.join(clients)}; users {', '.join(kinds)}{having}"


def hides_as_much(one: Rules, other: Rules) -> bool:
    """Whether every element that ``one`` hides, ``other`` hides too."""
    return all(
        any(_covers(held, path) and _is_labelled(label, rule) for rule in other for held in rule.hide)
        for hiding in one
        for path in hiding.hide
        for label in ((None,) if hiding.labelled is None else hiding.labelled)
    )


def _is_labelled(label: str | None, rule: FieldRule) -> bool:
    return rule.labelled is None or label in rule.labelled


def bounds_as_much(one: Rules, other: Rules) -> bool:
    """Whether every write that ``one`` refuses, ``other`` refuses too."""
    return all(_only_is_held(rule, other) and all(_is_kept(path, other) for path in rule.keep) for rule in one)


def _only_is_held(rule: FieldRule, by: Rules) -> bool:
    return rule.only is None or any(held.only is not None and _narrows(held.only, rule.only) for held in by)


def _is_kept(path: FieldPath, by: Rules) -> bool:
    """Whether ``path`` stays as it is: kept with what it is part of, or apart from all that may be written."""
    fixed = _as_far_as_a_condition(path)
    return any(
        any(_covers(held, path) for held in rule.keep)
        or (rule.only is not None and not any(_meet(held.steps, fixed) for held in rule.only))
        for rule in by
    )


def _as_far_as_a_condition(path: FieldPath) -> tuple[FieldStep, ...]:
    """What a condition chooses is touched by whatever touches the items that it chooses from."""
    first = next((number for number, step in enumerate(path.steps) if step.where is not None), len(path.steps))
    return path.steps[: first + 1]


def _narrows(inner: tuple[FieldPath, ...], outer: tuple[FieldPath, ...]) -> bool:
    """Whether resources that differ in ``inner`` alone differ in ``outer`` alone. Where one path leads to what another's condition reads,
    items change sides, and only the same paths are known to be as narrow."""
    if {path.steps for path in inner} == {path.steps for path in outer}:
        return True
    both = (*inner, *outer)
    conditions = [
        (*path.steps[: number + 1], FieldStep(step.where[0]))
        for path in both
        for number, step in enumerate(path.steps)
        if step.where is not None
    ]
    disturbed = any(len(path.steps) >= len(member) and _meet(path.steps, member) for path in both for member in conditions)
    return not disturbed and all(any(_covers(held, path) for held in outer) for path in inner)


def _covers(outer: FieldPath, inner: FieldPath) -> bool:
    """Whether all that ``inner`` leads to is part of what ``outer`` leads to, in every resource."""
    return len(outer.steps) <= len(inner.steps) and all(_holds(*pair) for pair in zip(outer.steps, inner.steps, strict=False))


def _holds(outer: FieldStep, inner: FieldStep) -> bool:
    return outer.matches(inner.name) and (outer.choice or not inner.choice) and outer.where in (None, inner.where)


def _meet(one: tuple[FieldStep, ...], other: tuple[FieldStep, ...]) -> bool:
    """Whether one may lead to a part of the other."""
    return all(a.matches(b.name) or b.matches(a.name) for a, b in zip(one, other, strict=False))
