"""Who asks: from what a request presents to a principal that may come. Spec: semantics 2."""

from __future__ import annotations

from smart_gateway.errors import RequestError, TokenError
from smart_gateway.gateway.certificates import client_certificate
from smart_gateway.gateway.exchange import Exchange
from smart_gateway.gateway.headers import client_address
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.gateway.target import full_path
from smart_gateway.policy.admission import Arrival
from smart_gateway.policy.authorize import is_public
from smart_gateway.policy.requirements import DISCOVERY
from smart_gateway.principal import Principal
from smart_gateway.request.model import FhirRequest
from smart_gateway.tokens.bearer import read_token
from smart_gateway.tokens.presented import Presented

ANONYMOUS = Principal("", anonymous=True)


async def identify(exchange: Exchange, request: FhirRequest) -> tuple[Principal, Arrival]:
    """The principal of a request, and how it came. A token is not looked at for discovery; where the policy opens an interaction, one
    that is sent still counts. Raises TokenError, DependencyUnavailable, RequestError."""
    snapshot = exchange.snapshot
    if request.interaction in DISCOVERY:
        return ANONYMOUS, Arrival(snapshot.clock())
    presented, now = present(exchange, snapshot), snapshot.clock()
    exchange.presented = presented
    if presented.token is None:
        if is_public(request, snapshot.policy):
            return ANONYMOUS, Arrival(now, presented.address)
        raise await snapshot.invitations.without_token(request, presented, snapshot.policy, now)
    try:
        principal = await snapshot.verifier.verify(presented.token, now)
    except TokenError as refused:
        raise await snapshot.invitations.instead_of(refused, request, presented, snapshot.policy, now) from None
    exchange.nonce = snapshot.possessions.nonce(principal, presented, now)
    shown = await snapshot.possessions.check(principal, presented, now)
    return principal, Arrival(now, presented.address, shown)


def present(exchange: Exchange, snapshot: Snapshot) -> Presented:
    """What the request presents. Raises RequestError, HeadersTooLarge, TokenError."""
    scope = exchange.scope
    scheme, token = read_token(scope["headers"], snapshot.limits)
    proofs = tuple(value for name, value in scope["headers"] if name == b"dpop")
    if len(proofs) > 1:
        raise RequestError("The request has two DPoP headers.", reason="duplicate-header", expression="http.DPoP")
    return Presented(
        method=scope["method"],
        url=snapshot.policy.bases.public + full_path(scope).decode("latin-1").removeprefix(snapshot.public_path),
        token=token,
        scheme=scheme,
        proofs=proofs,
        certificate=client_certificate(scope, snapshot),
        address=client_address(scope, snapshot),
    )
