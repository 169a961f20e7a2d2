"""Whom a limiting rule of the policy is for: labels and fields. Spec: semantics 9."""

from __future__ import annotations

from dataclasses import dataclass

from smart_gateway.policy.rules.placeholders import claim_texts
from smart_gateway.principal import Principal
from smart_gateway.scopes.claim_paths import find_claim


@dataclass(frozen=True, slots=True)
class Whom:
    """All of this must hold; None: not asked. ``clients`` by their ids, ``kinds`` of fhirUser, any of them; each of ``claims``, a path and
    texts of which one must be the claim's value, or among its values."""

    clients: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    claims: tuple[tuple[str, frozenset[str]], ...] = ()

    def means(self, principal: Principal) -> bool:
        """Whether a rule that takes away is for ``principal``: also where a claim is there and cannot be read."""
        return self._holds(principal, unreadable=True)

    def surely_means(self, principal: Principal) -> bool:
        """Whether a rule without which nothing is left is for ``principal``: not where a claim cannot be read (semantics 0.7)."""
        return self._holds(principal, unreadable=False)

    def _holds(self, principal: Principal, *, unreadable: bool) -> bool:
        if self.clients is not None and principal.client_id not in self.clients:
            return False
        if self.kinds is not None and principal.user_kind not in self.kinds:
            return False
        answers = [has_one_of(path, texts, principal) for path, texts in self.claims]
        return all(unreadable if answer is None else answer for answer in answers)

    def includes(self, other: Whom) -> bool:
        """Whether everybody whom ``other`` means is meant."""
        asked = dict(other.claims)
        return (
            (self.clients is None or (other.clients is not None and other.clients <= self.clients))
            and (self.kinds is None or (other.kinds is not None and other.kinds <= self.kinds))
            and all(path in asked and asked[path] <= texts for path, texts in self.claims)
        )


EVERYBODY = Whom()


def spelled(path: tuple[str | int, ...]) -> str:
    """What grounds call the rule at ``path`` below the policy: ``labels``, ``fields[1]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else part for part in path)


def has_one_of(path: str, texts: frozenset[str], principal: Principal) -> bool | None:
    """Whether the claim at ``path`` is one of ``texts``, or lists one; None where it is there and cannot be read."""
    value = find_claim(principal.claims, (path,))
    if value is None or value in ("", [], ()):
        return False
    found = claim_texts(value)
    return None if found is None else not texts.isdisjoint(found)
