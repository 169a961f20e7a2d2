"""Tokens that the gateway asks an authorization server for. Spec: RFC 6749 section 5."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smart_gateway.tokens.client_authentication import ClientAuthentication, Entropy
from smart_gateway.tokens.discovery import Discovery
from smart_gateway.tokens.transport import FetchError, Received, Transport, post_form, require_fetchable

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 section 2.1
_ERROR = re.compile(r"[a-z_]{1,40}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_UNSAID = 60.0  # seconds that a token counts where the answer does not say for how long
_LONGEST = 86_400.0


class GrantRefused(FetchError):
    """The authorization server gives no token; ``error`` is its code (RFC 6749 section 5.2)."""

    def __init__(self, error: str, answered: int) -> None:
        super().__init__(f"refused with {error}", answered=answered)
        self.error = error


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A bearer token, and for how many seconds it counts from when it was asked for."""

    value: str = field(repr=False)
    lifetime: float


class TokenEndpoint:
    """The token endpoint of one authorization server: at ``url``, or where ``discovery`` finds it."""

    def __init__(
        self,
        transport: Transport,
        authentication: ClientAuthentication,
        *,
        url: str | None = None,
        discovery: Discovery | None = None,
        allow_http: bool = False,
        entropy: Entropy = os.urandom,
    ) -> None:
        self._transport = transport
        self._authentication = authentication
        self._url = url
        self._discovery = discovery
        self._allow_http = allow_http
        self._entropy = entropy

    @property
    def client_id(self) -> str | None:
        """Who the gateway is there."""
        return self._authentication.client_id

    async def ask(self, form: Mapping[str, str], now: float, *, types: frozenset[str] | None = None) -> IssuedToken:
        """The token that ``form`` asks for; ``types``: the ``issued_token_type`` that it must be of (RFC 8693 section 2.2.1).

        Raises GrantRefused where the server says no, FetchError where it does not answer as it must.
        """
        url = await self._endpoint(now)
        sent, headers = self._authentication.apply(form, {}, url, now, self._entropy)
        received = await post_form(self._transport, url, sent, headers)
        if received.status != 200:
            raise _refusal(received)
        return _read(received.json(), types)

    async def aclose(self) -> None:
        """Ends fetches under way and closes the transport."""
        if self._discovery is not None:
            await self._discovery.aclose()
        await self._transport.aclose()

    async def _endpoint(self, now: float) -> str:
        if self._discovery is not None:
            return await self._discovery.address("token_endpoint", now)
        url = self._url or ""
        require_fetchable(url, allow_http=self._allow_http)
        return url


def _refusal(received: Received) -> FetchError:
    """Spec: RFC 6749 section 5.2: 400, or 401 where the gateway itself was not believed."""
    try:
        document = received.json() if received.status in {400, 401, 403} else None
    except FetchError:
        document = None
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str) and _ERROR.fullmatch(error):
        return GrantRefused(error, received.status)
    return FetchError(f"answered {received.status}", answered=received.status)


def _read(document: Any, types: frozenset[str] | None) -> IssuedToken:
    """Spec: RFC 6749 section 5.1. A token of another kind than Bearer would need a proof that the gateway does not have."""
    if not isinstance(document, dict):
        raise FetchError("the answer is not a token", answered=200)
    value, kind = document.get("access_token"), document.get("token_type")
    if not isinstance(value, str) or _TOKEN.fullmatch(value) is None:
        raise FetchError("the answer holds no token", answered=200)
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise FetchError("the answer holds a token of another kind than Bearer", answered=200)
    if types is not None and document.get("issued_token_type") not in types:
        raise FetchError("the answer holds a token of another type than was asked for", answered=200)
    return IssuedToken(value, _lifetime(document.get("expires_in")))


def _lifetime(said: Any) -> float:
    """``expires_in`` in seconds; some servers write the number as a text."""
    if isinstance(said, str) and _SECONDS.fullmatch(said):
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, int | float) or not said >= 0:
        return _UNSAID
    return min(float(said), _LONGEST)
