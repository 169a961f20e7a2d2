"""Who asks: from what a request presents to a principal that may come. Spec: semantics 2."""

from __future__ import annotations

from smart_gateway.errors import RequestError, TokenError, TokenMissing
from smart_gateway.gateway.callers.certificates import client_certificate
from smart_gateway.gateway.callers.listeners import ANONYMOUS, Choice, Listener, require_certificate
from smart_gateway.gateway.edge.headers import client_address
from smart_gateway.gateway.edge.target import full_path
from smart_gateway.gateway.exchange import Exchange
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.policy.admission import Arrival
from smart_gateway.policy.authorize import is_public
from smart_gateway.policy.requirements import DISCOVERY
from smart_gateway.principal import Principal
from smart_gateway.request.model import FhirRequest
from smart_gateway.tokens.bearer import read_token
from smart_gateway.tokens.possession import MTLS
from smart_gateway.tokens.presented import Presented


async def identify(exchange: Exchange, request: FhirRequest) -> tuple[Principal, Arrival]:
    """The principal of a request, and how it came. A token is not looked at for discovery; where the policy opens an interaction, one
    that is sent still counts. Raises TokenError, DependencyUnavailable, RequestError."""
    snapshot = exchange.snapshot
    if request.interaction in DISCOVERY:
        return ANONYMOUS, Arrival(snapshot.clock())
    presented, now = present(exchange, snapshot), snapshot.clock()
    exchange.presented = presented
    listener, certificate = snapshot.listeners.of(exchange.scope), presented.certificate
    client = None if certificate is None else snapshot.client_certificates.client(certificate)
    limited = require_certificate(listener, client, shown=certificate is not None)
    verified = await _verified(request, presented, listener, snapshot, now)
    if isinstance(verified, Principal):
        exchange.nonce = snapshot.possessions.nonce(verified, presented, now)
        shown = await snapshot.possessions.check(verified, presented, now)
        _require_own(verified, client)
        who = snapshot.listeners.limited(verified, listener) if limited else verified
    else:
        shown = frozenset() if client is None else frozenset({MTLS})
        who = _without_token(verified, client, listener, snapshot, limited=limited)
    if who.anonymous and not who.scopes.resources and not is_public(request, snapshot.policy):
        if limited:
            text = "Beyond what is open to everybody, this request needs a client certificate that is known here."
            raise TokenMissing(text, reason="certificate-missing")
        raise await snapshot.invitations.without_token(request, presented, snapshot.policy, now)
    return who, Arrival(now, presented.address, shown)


async def _verified(request: FhirRequest, presented: Presented, listener: Listener, snapshot: Snapshot, now: float) -> Principal | Choice:
    """The principal of the token, or what the listener makes of there being none. Raises TokenError where it does not make anything."""
    if presented.token is None:
        if listener.token.missing is Choice.REJECT:
            raise await snapshot.invitations.without_token(request, presented, snapshot.policy, now)
        return listener.token.missing
    try:
        return await snapshot.verifier.verify(presented.token, now)
    except TokenError as refused:
        if listener.token.unknown is Choice.REJECT:
            raise await snapshot.invitations.instead_of(refused, request, presented, snapshot.policy, now) from None
        return listener.token.unknown


def _require_own(principal: Principal, client: str | None) -> None:
    """A certificate that names a client counts with its own tokens only."""
    if client is not None and principal.client_id != client:
        raise TokenError("The token is of another client than the certificate.", reason="certificate-mismatch")


def _without_token(choice: Choice, client: str | None, listener: Listener, snapshot: Snapshot, *, limited: bool) -> Principal:
    """Who asks where no token counts: whom the certificate names, where the listener ignores that, else nobody."""
    if choice is Choice.IGNORE and client is not None:
        return snapshot.listeners.certified(client, snapshot.policy)
    return snapshot.listeners.nobody(listener) if choice is Choice.LIMIT or limited else ANONYMOUS


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
        address=client_address(scope, snapshot.trusted_proxies),
    )
