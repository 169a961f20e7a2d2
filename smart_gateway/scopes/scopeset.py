"""All scopes of one token."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smart_gateway.scopes.scope import MalformedScope, PlainScope, ResourceScope, Scope, Syntax


@dataclass(frozen=True, slots=True)
class ScopeSet:
    """The scopes of a token in the order in which it names them, sorted by kind; doubled strings count once."""

    resources: tuple[ResourceScope, ...] = ()
    plain: tuple[PlainScope, ...] = ()
    malformed: tuple[MalformedScope, ...] = ()

    @classmethod
    def of(cls, scopes: Iterable[Scope]) -> ScopeSet:
        """Sorts ``scopes`` by kind."""
        unique = list(dict.fromkeys(scopes))
        return cls(
            tuple(s for s in unique if isinstance(s, ResourceScope)),
            tuple(s for s in unique if isinstance(s, PlainScope)),
            tuple(s for s in unique if isinstance(s, MalformedScope)),
        )

    @property
    def syntax(self) -> Syntax:
        """The spelling to answer in: v1 only where every resource scope is written so (semantics 10)."""
        if self.resources and all(scope.syntax is Syntax.V1 for scope in self.resources):
            return Syntax.V1
        return Syntax.V2

    def has(self, text: str) -> bool:
        """Whether the token carries exactly this plain scope."""
        return any(scope.text == text for scope in self.plain)
