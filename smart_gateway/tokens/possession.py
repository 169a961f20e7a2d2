"""Whether who sends a token is who it was given to: sender constraints, looked at with every request. Spec: semantics 2."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smart_gateway.errors import NonceWanted, ProofMissing, TokenError
from smart_gateway.principal import Principal
from smart_gateway.tokens.dpop import PROOF_ALGORITHMS, ProofRules, read_proof, refuse_proof
from smart_gateway.tokens.nonces import Nonces
from smart_gateway.tokens.presented import Presented, Scheme
from smart_gateway.tokens.shared_cache import LocalCache, SharedCache
from smart_gateway.tokens.thumbprints import certificate_thumbprint

DPOP, MTLS = "dpop", "mtls"
_JKT, _X5T = "jkt", "x5t#S256"
_SHOWN_BY = {_JKT: DPOP, _X5T: MTLS}
_KEYCLOAK_KIND = "kc-jkt-type"  # says what ``jkt`` is the thumbprint of


@dataclass(frozen=True, slots=True)
class BindingRules:
    """What an issuer's tokens must be bound by, and how their proofs are judged; ``nonce``: each proof must have one of ours."""

    dpop_required: bool = False
    mtls_required: bool = False
    nonce: bool = False
    proofs: ProofRules = field(default_factory=ProofRules)


_ANY = BindingRules()
_NOTHING: frozenset[str] = frozenset()


class Possessions:
    """Checks what a token's ``cnf`` (RFC 7800) asks for: each of its members, and no member that is not known.

    ``rules`` are by issuer; ``seen`` remembers the proofs that were used.
    """

    def __init__(
        self, rules: Mapping[str, BindingRules] | None = None, nonces: Nonces | None = None, seen: SharedCache | None = None
    ) -> None:
        self._rules = dict(rules or {})
        self._nonces = nonces or Nonces([os.urandom(32)], "")
        self._seen = seen or LocalCache()

    def wanted(self, principal: Principal) -> frozenset[str]:
        """What of ``dpop`` and ``mtls`` must be shown with the token. Raises TokenError for one that counts for nothing,
        whatever is shown."""
        rules, confirmation = self._rules.get(principal.issuer, _ANY), principal.confirmation
        _require_known(confirmation)
        if rules.mtls_required and _X5T not in confirmation:
            raise TokenError("Tokens of this issuer count only where they are bound to a certificate.", reason="sender-constraint-required")
        if rules.dpop_required and _JKT not in confirmation:
            text = "Tokens of this issuer count only where they are bound by DPoP."
            raise ProofMissing(text, algorithms=PROOF_ALGORITHMS, reason="sender-constraint-required")
        return frozenset([shown for member, shown in _SHOWN_BY.items() if member in confirmation]) if confirmation else _NOTHING

    async def check(self, principal: Principal, presented: Presented, now: float) -> frozenset[str]:
        """What ``presented`` has shown to hold, of ``dpop`` and ``mtls``. Raises TokenError for a bound token without its proof."""
        if presented.scheme is Scheme.DPOP and _JKT not in principal.confirmation:
            _require_known(principal.confirmation)
            raise TokenError("The token is not bound by DPoP.", reason="not-bound")
        wanted = self.wanted(principal)
        if MTLS in wanted:
            _check_certificate(principal.confirmation[_X5T], presented)
        if DPOP in wanted:
            await self._check_proof(principal, presented, self._rules.get(principal.issuer, _ANY), now)
        return wanted

    def nonce(self, principal: Principal, presented: Presented, now: float) -> str | None:
        """The nonce that the answer carries for the next proof; None where none is wanted. Spec: RFC 9449 section 9."""
        if not self._rules.get(principal.issuer, _ANY).nonce or (presented.scheme is Scheme.BEARER and _JKT not in principal.confirmation):
            return None
        return self._nonces.make(principal.issuer, now)

    async def _check_proof(self, principal: Principal, presented: Presented, rules: BindingRules, now: float) -> None:
        """Spec: RFC 9449 section 7: a bound token never goes by Bearer, not even with a proof."""
        if presented.scheme is not Scheme.DPOP:
            raise ProofMissing("The token is bound by DPoP: it comes with the scheme DPoP and a proof.", algorithms=PROOF_ALGORITHMS)
        proof = read_proof(presented, principal.confirmation[_JKT], rules.proofs, now)
        if rules.nonce and (proof.nonce is None or not self._nonces.counts(proof.nonce, principal.issuer, now)):
            raise NonceWanted("The DPoP proof needs the nonce that this answer carries.", algorithms=PROOF_ALGORITHMS)
        if not await self._seen.add_once(f"dpop:{proof.id}", proof.lasts, now):
            refuse_proof("The DPoP proof has been used before.", "proof-replayed")


def _require_known(confirmation: Mapping[str, Any]) -> None:
    """A binding that cannot be checked is not passed over, whatever it is."""
    if not confirmation:
        return
    known = set(_SHOWN_BY)
    if _JKT in confirmation and confirmation.get(_KEYCLOAK_KIND) == "DPoP":
        known.add(_KEYCLOAK_KIND)
    if not confirmation.keys() <= known or not all(isinstance(value, str) and value.isascii() for value in confirmation.values()):
        raise TokenError("The token is bound in a way that cannot be checked here.", reason="sender-constrained")


def _check_certificate(wanted: str, presented: Presented) -> None:
    """Spec: RFC 8705 section 3."""
    if presented.certificate is None:
        raise TokenError("The token is bound to a certificate, and the client has shown none.", reason="certificate-missing")
    if not hmac.compare_digest(wanted, certificate_thumbprint(presented.certificate)):
        raise TokenError("The token is bound to another certificate.", reason="certificate-mismatch")
