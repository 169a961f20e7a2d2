"""Scopes of tokens that grant nothing although they look as if they did: said to those who run the gateway, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from cachetools import LRUCache

from smart_gateway.policy.model import Policy
from smart_gateway.principal import Principal
from smart_gateway.scopes.validity import objection

_log = logging.getLogger(__name__)
_MOST_SHOWN = 200  # characters of a scope


class VoidScopes:
    """Logs each such scope of each client once. Spec: semantics 3. Of those that were logged, the ``size`` last seen are remembered."""

    def __init__(self, size: int = 1_000) -> None:
        self._logged: LRUCache[tuple[str, str | None, str], bool] = LRUCache(size)

    def note(self, principal: Principal, policy: Policy) -> None:
        """Logs what of the scopes of ``principal`` grants nothing under ``policy``, and was not logged before."""
        for text, reason in _void(principal, policy):
            key = (principal.issuer, principal.client_id, text)
            if key not in self._logged:
                message = "a scope of client %r grants nothing: %r: %s"
                _log.warning(message, (principal.client_id or "")[:_MOST_SHOWN], text[:_MOST_SHOWN], reason[:_MOST_SHOWN])
            self._logged[key] = True


def _void(principal: Principal, policy: Policy) -> Iterator[tuple[str, str]]:
    for malformed in principal.scopes.malformed:
        yield malformed.text, malformed.reason
    for scope in principal.scopes.resources:
        reason = objection(scope, policy.vocabulary, policy.value_sets)
        if reason is not None:
            yield scope.text, reason
