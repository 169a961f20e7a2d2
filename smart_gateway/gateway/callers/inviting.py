"""Refusals that say how to come again: where a UMA server could permit what is asked, the refusal carries a ticket to ask it with.

Spec: UMA 2.0 Grant section 3.2; semantics 2, "UMA 2.0".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from smart_gateway.errors import PermissionWanted, RequestError, SmartGatewayError, TokenError, TokenMissing
from smart_gateway.policy.access import Access
from smart_gateway.policy.admission import Arrival, refuse_arrival
from smart_gateway.policy.authorize import authorize, authorize_types
from smart_gateway.policy.model import Policy
from smart_gateway.policy.plan import Deny
from smart_gateway.policy.uma import UmaResource, permitted_regions
from smart_gateway.policy.wanting import WantedPermission, wanted_permissions
from smart_gateway.principal import PermittedRegion, Principal
from smart_gateway.request.completing import is_complete
from smart_gateway.request.model import FhirRequest
from smart_gateway.tokens.presented import Presented
from smart_gateway.tokens.ticket_allowance import client_at

_NO_TOKEN = "This request needs an access token."  # noqa: S105
_ASK = "The authorization server can be asked to permit this, with the ticket of this answer."
_NO_TICKET = "This request needs a token that the authorization server gives for the permissions in it."


@dataclass(frozen=True, slots=True)
class UmaServer:
    """One UMA authorization server: what clients are told of it, and what it knows of the resources here."""

    issuer: str
    as_uri: str
    resources: tuple[UmaResource, ...]


class TicketSource(Protocol):
    """``tokens.verifier.Verifier``."""

    def issuer_of(self, token: str) -> str | None:
        """The issuer that would judge ``token``."""
        ...

    async def ticket(self, issuer: str, wanted: Sequence[WantedPermission], client: str, now: float) -> str | None:
        """A ticket for ``wanted``. Raises TooManyRequests, DependencyUnavailable."""
        ...


class Invitations:
    """What is answered to who may not come in yet: ``servers`` are those that can be asked. Without them nobody is invited."""

    def __init__(self, servers: Sequence[UmaServer] = (), source: TicketSource | None = None) -> None:
        self.servers = tuple(servers) if source is not None else ()
        self._source = source

    async def without_token(self, request: FhirRequest, presented: Presented, policy: Policy, now: float) -> SmartGatewayError:
        """The refusal of a request that brings no token: by the first server that can permit it. Raises as ``ticket`` does."""
        if not self.servers:
            return TokenMissing(_NO_TOKEN)
        asked = [(server, wanted_permissions(request, server.resources, policy)) for server in self.servers]
        server, wanted = next(((server, wanted) for server, wanted in asked if wanted), asked[0])
        return await self._refusal(server, wanted, client_at(presented.address), now)

    async def instead_of(
        self, refused: TokenError, request: FhirRequest, presented: Presented, policy: Policy, now: float
    ) -> SmartGatewayError:
        """The refusal of a token that is no good: one of a UMA server can be had anew."""
        server = self._server(self._source.issuer_of(presented.token)) if self._source is not None and presented.token else None
        if server is None:
            return refused
        wanted = wanted_permissions(request, server.resources, policy)
        return await self._refusal(server, wanted, client_at(presented.address), now, refused)

    async def beside(self, request: FhirRequest, access: Access, arrival: Arrival) -> PermissionWanted | None:
        """The refusal of a token whose permissions do not suffice; None where more of them would not help."""
        principal = access.principal
        server = self._server(principal.issuer) if principal.permitted is not None else None
        if server is None or refuse_arrival(access, arrival) is not None:
            return None
        held = {(region.resource, region.grant) for region in principal.permitted or ()}
        wanted = _without(held, wanted_permissions(request, server.resources, access.policy))
        if not wanted or not _helps(wanted, server, request, access):
            return None
        name = principal.client_id or principal.subject
        client = client_at(arrival.address) if name is None else f"client {name}"
        refusal = await self._refusal(server, wanted, client, arrival.now)
        return refusal if refusal.ticket is not None else None

    def _server(self, issuer: str | None) -> UmaServer | None:
        return next((server for server in self.servers if server.issuer == issuer), None)

    async def _refusal(
        self, server: UmaServer, wanted: Sequence[WantedPermission], client: str, now: float, refused: TokenError | None = None
    ) -> PermissionWanted:
        assert self._source is not None  # INVARIANT: there are servers only with a source
        ticket = await self._source.ticket(server.issuer, wanted, client, now) if wanted else None
        text = _NO_TICKET if ticket is None else _ASK
        return PermissionWanted(text if refused is None else f"{refused.text} {text}", as_uri=server.as_uri, ticket=ticket, refused=refused)


def _without(held: set[tuple[str, str]], wanted: Sequence[WantedPermission]) -> tuple[WantedPermission, ...]:
    left = [replace(one, scopes=tuple(scope for scope in one.scopes if (one.resource, scope) not in held)) for one in wanted]
    return tuple(one for one in left if one.scopes)


def _helps(wanted: Sequence[WantedPermission], server: UmaServer, request: FhirRequest, access: Access) -> bool:
    """Whether the request would be let through with the permissions that are wanted too: no other rule denies it."""
    principal = access.principal
    more = tuple(region for one in wanted for region in permitted_regions(one.resource, one.scopes, server.resources))
    richer = Access(_with(principal, more), access.policy)
    try:
        decision = authorize(request, richer) if is_complete(request) else authorize_types(request, richer)
    except RequestError:
        return False
    return not isinstance(decision, Deny)


def _with(principal: Principal, more: tuple[PermittedRegion, ...]) -> Principal:
    return replace(principal, permitted=(*(principal.permitted or ()), *more))
