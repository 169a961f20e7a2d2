"""What each principal may touch, kept for as long as its token is seen again."""

from __future__ import annotations

from cachetools import LRUCache

from smart_gateway.gateway.callers.void_scopes import VoidScopes
from smart_gateway.policy.access import Access
from smart_gateway.policy.model import Policy
from smart_gateway.principal import Principal


class Accesses:
    """Keeps one Access for each principal object under the policy in force; a reloaded policy starts anew."""

    def __init__(self, size: int = 10_000) -> None:
        self._held: LRUCache[int, Access] = LRUCache(size)
        self._void = VoidScopes()

    def of(self, principal: Principal, policy: Policy) -> Access:
        """The Access of this very principal object: the verifier gives the same one while a token is cached.

        INVARIANT: an entry holds its principal, so that no other object can have its identity.
        """
        held = self._held.get(id(principal))
        if held is not None and held.principal is principal and held.policy is policy:
            return held
        self._void.note(principal, policy)
        access = self._held[id(principal)] = Access(principal, policy)
        return access
