"""An issuer's own description of itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.refreshing import Freshness, Refreshed
from smart_gateway.tokens.transport import FetchError, Transport, is_fetchable, require_fetchable


class Discovery:
    """The discovery document of one issuer, kept and renewed.

    OpenID Connect Discovery is asked first; where that answers 404, RFC 8414; ``urls`` are other addresses, tried in the same way. A
    document whose ``issuer`` is not exactly the configured one is refused.
    Spec: OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3.
    """

    def __init__(self, config: IssuerConfig, transport: Transport, freshness: Freshness, *, urls: tuple[str, str] | None = None) -> None:
        self._config = config
        self._urls = urls or discovery_urls(config.issuer)
        self._transport = transport
        self._document: Refreshed[Mapping[str, Any]] = Refreshed(f"the discovery document of {config.issuer}", self._load, freshness)

    async def document(self, now: float) -> Mapping[str, Any]:
        """The document; raises DependencyUnavailable when none may serve."""
        return await self._document.get(now)

    async def address(self, name: str, now: float) -> str:
        """The address that the document has as ``name`` (``jwks_uri``); raises DependencyUnavailable without one that may be asked."""
        url = (await self.document(now)).get(name)
        if not isinstance(url, str) or not is_fetchable(url, allow_http=self._config.allow_http):
            raise FetchError(f"the discovery document names no {name} that may be asked")
        return url

    def expire(self) -> None:
        """Asks the issuer again at the next look: what the document named does not work."""
        self._document.expire()

    async def aclose(self) -> None:
        """Ends a fetch under way."""
        await self._document.aclose()

    async def _load(self, _now: float) -> Mapping[str, Any]:
        first, second = self._urls
        try:
            document = await self._fetch(first)
        except FetchError as error:
            if error.answered != 404:
                raise
            document = await self._fetch(second)
        if not isinstance(document, dict) or document.get("issuer") != self._config.issuer:
            raise FetchError("the discovery document is not of this issuer")
        return MappingProxyType(document)

    async def _fetch(self, url: str) -> Any:
        require_fetchable(url, allow_http=self._config.allow_http)
        return await self._transport.get_json(url)


def discovery_urls(issuer: str) -> tuple[str, str]:
    """Where ``issuer`` describes itself: by OpenID Connect Discovery (appended) and by RFC 8414 (inserted before the path)."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    return f"{origin}{path}/.well-known/openid-configuration", f"{origin}/.well-known/oauth-authorization-server{path}"
