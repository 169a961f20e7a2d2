"""Verified tokens, kept for a short while, and the tokens that are denied whatever they are."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from smart_gateway.errors import TokenError
from smart_gateway.principal import Principal


@dataclass(frozen=True, slots=True)
class DenyList:
    """Tokens that are refused although they verify: by ``jti`` and by subject, whichever issuer they are of."""

    token_ids: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()

    def check(self, principal: Principal) -> None:
        """Raises TokenError for a token that is denied."""
        if principal.token_id in self.token_ids or principal.subject in self.subjects:
            raise TokenError("The token has been revoked.", reason="revoked")


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    since: float
    until: float


class VerifiedTokens:
    """Principals by the SHA-256 of their token, at most ``size``, the least recently used leaving first.

    Only successes are kept. An entry serves from when it was made until the earlier of ``ttl`` seconds later (or a time that is
    said) and the token's own expiry, judged by the ``now`` of each look. One cache belongs to one closed list of issuers, and a
    token's bytes decide which of them judges it, so the digest alone tells issuers apart.
    """

    def __init__(self, size: int, ttl: float) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._size = size
        self._ttl = ttl

    def get(self, digest: bytes, now: float) -> Principal | None:
        """The principal of the token with this digest: the same object at each look."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if not entry.since <= now < entry.until:  # before ``since``: the clock was set back, nothing may live longer by that
            del self._entries[digest]
            return None
        self._entries.move_to_end(digest)
        return entry.principal

    def put(self, digest: bytes, principal: Principal, now: float, until: float | None = None) -> None:
        """Keeps ``principal`` until ``until``, or for the cache's own time; one without an end or already expired is not kept."""
        ends = [end for end in (principal.expires_at, until) if end is not None]
        if not ends or min(ends) <= now:
            return
        self._entries[digest] = _Entry(principal, now, min(*ends, now + self._ttl if until is None else until))
        self._entries.move_to_end(digest)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)


def token_digest(token: str) -> bytes:
    """The key of a token in the cache; the token itself is never kept."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
