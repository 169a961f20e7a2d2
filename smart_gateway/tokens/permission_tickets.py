"""The gateway as a resource server of a UMA authorization server: its own token there, and tickets for the permissions that clients lack.

Spec: UMA 2.0 Federated Authorization sections 1.3 (PAT) and 4 (permission endpoint).
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.policy.wanting import WantedPermission
from smart_gateway.tokens.breaker import Breaker
from smart_gateway.tokens.client_authentication import Entropy
from smart_gateway.tokens.discovery import Discovery
from smart_gateway.tokens.issuer import IssuerConfig, UmaConfig
from smart_gateway.tokens.own_token import OwnToken
from smart_gateway.tokens.refreshing import Freshness
from smart_gateway.tokens.ticket_allowance import TicketAllowance
from smart_gateway.tokens.token_endpoint import TokenEndpoint
from smart_gateway.tokens.transport import FetchError, Received, Transport

_log = logging.getLogger(__name__)
_TICKET = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,4096}")  # what a quoted string of a header holds as it stands
_REFUSED = frozenset({"invalid_resource_id", "invalid_scope"})
_BACKOFF, _BACKOFF_MOST = 1.0, 30.0  # seconds for which an endpoint that does not answer is left alone


class PermissionTickets:
    """The permission endpoint of one issuer, asked with a PAT that client credentials give. ``config`` has ``uma``."""

    def __init__(self, config: IssuerConfig, transport: Transport, freshness: Freshness, entropy: Entropy) -> None:
        assert config.uma is not None
        self._config = config
        self._uma: UmaConfig = config.uma
        self._transport = transport
        self._discovery = Discovery(config, transport, freshness, urls=uma_discovery_urls(config.issuer))
        endpoint = TokenEndpoint(
            transport, config.uma.authentication, discovery=self._discovery, allow_http=config.allow_http, entropy=entropy
        )
        scope = {} if config.uma.pat_scope is None else {"scope": config.uma.pat_scope}
        self._pat = OwnToken(endpoint, scope, purpose="to ask for permissions")
        self._allowance = TicketAllowance(config.uma.tickets_per_minute, config.uma.tickets_in_all)
        self._breaker = Breaker(_BACKOFF, _BACKOFF_MOST)

    async def register(self, wanted: Sequence[WantedPermission], client: str, now: float) -> str | None:
        """A ticket for ``wanted``, for ``client`` to ask with; None where the server knows no such resource or scope.

        Raises TooManyRequests, and DependencyUnavailable where the server cannot be asked.
        """
        self._allowance.take(client, now)
        if self._breaker.wait(now) > 0:
            raise self._unavailable(now)
        try:
            ticket = await self._ask(wanted, now)
        except DependencyUnavailable as error:
            _log.warning("no permission ticket can be had of %s: %s", self._config.issuer, error.text)
            self._breaker.failed(now)
            raise self._unavailable(now) from None
        self._breaker.succeeded()
        return ticket

    async def probe(self, now: float) -> None:
        """Gets the gateway's own token. Raises DependencyUnavailable where this client can ask for no permissions."""
        await self._endpoint(now)
        await self._pat.get(now)

    async def aclose(self) -> None:
        """Ends what is under way, and closes the transport."""
        await self._pat.aclose()

    async def _ask(self, wanted: Sequence[WantedPermission], now: float) -> str | None:
        """A PAT that is not taken any more, as after it was revoked, is asked for anew, once."""
        url = await self._endpoint(now)
        pat = await self._pat.get(now)
        received = await self._post(url, wanted, pat)
        if received.status in {401, 403}:
            self._pat.drop(pat)
            received = await self._post(url, wanted, await self._pat.get(now))
        return _ticket(received)

    async def _endpoint(self, now: float) -> str:
        return await self._discovery.address("permission_endpoint", now)

    async def _post(self, url: str, wanted: Sequence[WantedPermission], pat: str) -> Received:
        """Spec: UMA 2.0 Federated Authorization section 4.1: a list also for one permission, for Keycloak takes nothing else."""
        content = json.dumps([{"resource_id": one.resource, "resource_scopes": one.scopes} for one in wanted]).encode()
        return await self._transport.post(url, content, {"content-type": "application/json", "authorization": f"Bearer {pat}"})

    def _unavailable(self, now: float) -> DependencyUnavailable:
        wait = max(1, math.ceil(self._breaker.wait(now)))
        return DependencyUnavailable("The authorization server cannot be asked for permissions at the moment.", retry_after=wait)


def uma_discovery_urls(issuer: str) -> tuple[str, str]:
    """Where ``issuer`` describes itself as a UMA server: appended, as Keycloak has it, and inserted before the path, as RFC 8414 does."""
    parts = urlsplit(issuer)
    path, origin = parts.path.rstrip("/"), f"{parts.scheme}://{parts.netloc}"
    return f"{origin}{path}/.well-known/uma2-configuration", f"{origin}/.well-known/uma2-configuration{path}"


def _ticket(received: Received) -> str | None:
    """Spec: UMA 2.0 Federated Authorization sections 4.1 and 4.2."""
    document = received.json() if received.status in {200, 201, 400} else None
    if not isinstance(document, dict):
        raise FetchError(f"answered {received.status}", answered=received.status)
    if received.status == 400:
        if document.get("error") in _REFUSED:
            return None
        raise FetchError("answered 400", answered=400)
    ticket = document.get("ticket")
    if not isinstance(ticket, str) or _TICKET.fullmatch(ticket) is None:
        raise FetchError("the answer holds no ticket that a header can carry", answered=received.status)
    return ticket
