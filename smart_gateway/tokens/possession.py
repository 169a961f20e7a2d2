"""Whether who sends a token is who it was given to: sender constraints, looked at with every request. Spec: semantics 2."""

from __future__ import annotations

from smart_gateway.errors import TokenError
from smart_gateway.principal import Principal
from smart_gateway.tokens.presented import Presented, Scheme


class Possessions:
    """Checks what a token's ``cnf`` (RFC 7800) asks for: each of its members, and no member that is not known."""

    async def check(self, principal: Principal, presented: Presented, _now: float) -> frozenset[str]:
        """What ``presented`` has shown to hold, of ``dpop`` and ``mtls``. Raises TokenError for a bound token without its proof."""
        if principal.confirmation or presented.scheme is Scheme.DPOP:
            raise TokenError("The token is bound to a key whose proof cannot be checked here yet.", reason="sender-constrained")
        return frozenset()
