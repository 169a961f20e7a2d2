"""How many permission tickets are asked for in a minute: by each client, and in all."""

from __future__ import annotations

import math
from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network

from smart_gateway.errors import TooManyRequests

_MINUTE = 60.0
_V6_CLIENT = 64  # bits: whoever has an IPv6 address has all of such a network


class TicketAllowance:
    """``each`` tickets for one client and ``in_all`` for all of them, in every minute of the clock; for this process alone.

    No more clients are remembered than tickets are given.
    """

    def __init__(self, each: int, in_all: int) -> None:
        self._each = each
        self._in_all = in_all
        self._minute = -1
        self._given: Counter[str] = Counter()

    def take(self, client: str, now: float) -> None:
        """Takes one for ``client``. Raises TooManyRequests."""
        minute = math.floor(now / _MINUTE)
        if minute != self._minute:
            self._minute = minute
            self._given.clear()
        if self._given[client] >= self._each or self._given.total() >= self._in_all:
            wait = math.ceil((minute + 1) * _MINUTE - now)
            raise TooManyRequests("More permission tickets were asked for than are given in a minute.", retry_after=max(1, wait))
        self._given[client] += 1


def client_at(address: str | None) -> str:
    """The name of a client of which nothing is known but where it comes from; all of those that come from nowhere are one."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return "address"
    if isinstance(parsed, IPv6Address):
        parsed = parsed.ipv4_mapped or ip_network((parsed.packed, _V6_CLIENT), strict=False).network_address
    return f"address {parsed}"
