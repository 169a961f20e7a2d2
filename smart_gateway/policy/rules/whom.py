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
        if self.clients is not None and principal.client_id not in self.clients:
            return False
        if self.kinds is not None and principal.user_kind not in self.kinds:
            return False
        return all(_may_be_among(path, texts, principal) for path, texts in self.claims)

    def includes(self, other: Whom) -> bool:
        """Whether everybody whom ``other`` means is meant."""
        asked = dict(other.claims)
        return (
            (self.clients is None or (other.clients is not None and other.clients <= self.clients))
            and (self.kinds is None or (other.kinds is not None and other.kinds <= self.kinds))
            and all(path in asked and asked[path] <= texts for path, texts in self.claims)
        )


EVERYBODY = Whom()


def _may_be_among(path: str, texts: frozenset[str], principal: Principal) -> bool:
    value = find_claim(principal.claims, (path,))
    if value is None or value in ("", [], ()):
        return False
    found = claim_texts(value)
    return found is None or not texts.isdisjoint(found)
