"""How often each client may ask: an allowance that fills up evenly, a minute's worth at most. Counted in each process by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cachetools import LRUCache

from smart_gateway.errors import TooManyRequests
from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import Arrival

_MINUTE = 60.0
_CLIENTS = 10_000
_OFTEN = "This client asks more often than the policy of this gateway allows."

_Client = tuple[str, str]


@dataclass(slots=True)
class _Allowance:
    """``left`` requests at ``since``, in seconds since the epoch; less than none where a batch has asked for more than there was."""

    left: float
    since: float


class Rates:
    """Counts the requests of each client by ``requests_per_minute``; of those without a token by their address."""

    def __init__(self, size: int = _CLIENTS) -> None:
        self._allowances: LRUCache[_Client, _Allowance] = LRUCache(size)

    def count(self, access: Access, arrival: Arrival) -> None:
        """One request more. Raises TooManyRequests, and counts none then."""
        rate = _rate(access)
        if rate is None:
            return
        allowance = self._filled(_client(access, arrival), rate, arrival.now)
        if allowance.left < 1:
            raise TooManyRequests(_OFTEN, retry_after=math.ceil((1 - allowance.left) * _MINUTE / rate))
        allowance.left -= 1

    def count_entries(self, access: Access, arrival: Arrival, entries: int) -> None:
        """A request is as many as it has entries: one was counted, the others leave the less for those that come."""
        rate = _rate(access)
        if rate is not None and entries > 1:
            self._filled(_client(access, arrival), rate, arrival.now).left -= entries - 1

    def _filled(self, client: _Client, rate: int, now: float) -> _Allowance:
        """The allowance of ``client`` with what has come in since; a clock that goes back gives nothing."""
        held = self._allowances.get(client)
        if held is None:
            held = self._allowances[client] = _Allowance(float(rate), now)
        held.left = min(float(rate), held.left + max(0.0, now - held.since) * rate / _MINUTE)
        held.since = now
        return held


def _rate(access: Access) -> int | None:
    own = access.client.requests_per_minute if access.client is not None else None
    return access.policy.requests_per_minute if own is None else own


def _client(access: Access, arrival: Arrival) -> _Client:
    """Who is counted: the client, as its issuer names it; without a name the subject; without a token the address."""
    principal = access.principal
    if principal.anonymous:
        return "", arrival.address or ""
    return principal.issuer, principal.client_id if principal.client_id is not None else f"subject {principal.subject}"
