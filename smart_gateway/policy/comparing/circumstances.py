"""What policies ask of tokens besides client, user and scopes for resources: claims, plain scopes, placeholders, wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from itertools import combinations
from typing import Any

from smart_gateway.policy.emergencies import BreakGlass
from smart_gateway.policy.model import Policy, UserRule, When
from smart_gateway.policy.rules.labelling import Raise
from smart_gateway.policy.rules.whom import Whom

_CLAIM = re.compile(r"\$\{claim\.([^{}]*)\}")
_MOST = 4  # conditions of which every combination is tried
# Places without a say, and values that hold the whole release.
_APART = frozenset({"vocabulary", "bases", "places", "rules", "matcher", "value_sets", "capabilities"})


@dataclass(frozen=True, slots=True, order=True)
class Circumstance:
    """Claims, by path and value, and plain scopes that a token has."""

    claims: tuple[tuple[str, str], ...] = ()
    plain: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """In words; empty for a token without any."""
        return ", ".join([*(f"{path}={value}" for path, value in self.claims), *self.plain])


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that some policies ask: pairs of claim and value, plain scopes, the claims that placeholders read, those that list
    patients, clients by name, and the plain scopes by which emergencies are called."""

    pairs: frozenset[tuple[str, str]]
    plain: frozenset[str]
    read: frozenset[str]
    lists: frozenset[str]
    clients: frozenset[str]
    emergencies: frozenset[str]

    @property
    def is_exhausted(self) -> bool:
        """Whether every combination is among ``circumstances``."""
        return len(self.pairs) + len(self.plain) <= _MOST

    def circumstances(self) -> Iterator[Circumstance]:
        """Every combination; where these are too many, none of the conditions, all, and each alone."""
        conditions: list[tuple[str, str] | str] = [*sorted(self.pairs), *sorted(self.plain)]
        sizes = range(len(conditions) + 1) if self.is_exhausted else (0, 1, len(conditions))
        for size in sizes:
            for chosen in combinations(conditions, size):
                claims = tuple(one for one in chosen if not isinstance(one, str))
                yield Circumstance(claims, tuple(one for one in chosen if isinstance(one, str)))

    def claims(self, circumstance: Circumstance) -> Mapping[str, Any]:
        """The claims of a token in ``circumstance``; what only placeholders and lists read has a value of its own."""
        found: dict[str, Any] = {path: f"the-{path.replace('_', '-')}" for path in self.read}
        found |= {path: [f"listed-{path.replace('_', '-')}"] for path in self.lists}
        said = {path: [value for name, value in circumstance.claims if name == path] for path, _ in circumstance.claims}
        return {**found, **said}


def asked_by(*policies: Policy) -> Asked:
    """What any of ``policies`` asks."""
    parts = [part for policy in policies for part in _parts(policy)]
    whoms = [part for part in parts if isinstance(part, When | Whom)]
    return Asked(
        pairs=frozenset((path, text) for whom in whoms for path, texts in whom.claims for text in texts),
        plain=frozenset(part.scope for part in parts if isinstance(part, Raise)),
        read=frozenset(name for part in parts if isinstance(part, str) for name in _CLAIM.findall(part)),
        lists=frozenset(part.patients for part in parts if isinstance(part, UserRule | Policy) and part.patients is not None),
        clients=frozenset(name for part in parts if isinstance(part, Whom) for name in part.clients or ()),
        emergencies=frozenset(part.scope for part in parts if isinstance(part, BreakGlass)),
    )


def _parts(value: Any) -> Iterator[Any]:
    """``value`` and everything in it."""
    yield value
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.name not in _APART:
                yield from _parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _parts(item)
    elif isinstance(value, tuple | frozenset):
        for item in value:
            yield from _parts(item)
