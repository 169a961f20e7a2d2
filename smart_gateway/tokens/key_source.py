"""Where an issuer's keys come from: a file, a configured address or discovery."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.tokens.algorithms import SignatureAlgorithm
from smart_gateway.tokens.discovery import Discovery
from smart_gateway.tokens.issuer import IssuerConfig
from smart_gateway.tokens.jwks import KeySet, VerifyingKey, parse_key_set
from smart_gateway.tokens.refreshing import Freshness, Refreshed
from smart_gateway.tokens.transport import MAX_DOCUMENT, FetchError, Transport, require_fetchable


class KeySource:
    """The keys of one issuer, kept and renewed (semantics 2, "JWKS")."""

    def __init__(self, config: IssuerConfig, discovery: Discovery, transport: Transport, freshness: Freshness) -> None:
        self._config = config
        self._discovery = discovery
        self._transport = transport
        self._keys: Refreshed[KeySet] = Refreshed(f"the key set of {config.issuer}", self._load, freshness)

    async def candidates(self, kid: str | None, algorithm: SignatureAlgorithm, now: float) -> tuple[VerifyingKey, ...]:
        """The keys to try for a token; none when the issuer has none that fits, also after one renewal.

        Raises DependencyUnavailable when no key set may serve, or the issuer publishes no usable key at all.
        """
        keys = await self._keys.get(now)
        found = keys.candidates(kid, algorithm)
        if not found:
            keys = await self._keys.renew(now)
            found = keys.candidates(kid, algorithm)
        if not keys.keys:
            raise DependencyUnavailable("The token's issuer publishes no usable key at the moment.")
        return found

    async def ready(self, now: float) -> bool:
        """Whether there is a usable key, fetched if need be."""
        try:
            return bool((await self._keys.get(now)).keys)
        except DependencyUnavailable:
            return False

    async def aclose(self) -> None:
        """Ends a fetch under way."""
        await self._keys.aclose()

    async def _load(self, now: float) -> KeySet:
        if self._config.jwks_file is not None:
            return parse_key_set(await asyncio.to_thread(_read_json, self._config.jwks_file))
        if self._config.jwks_uri is not None:
            return await self._fetch(self._config.jwks_uri)
        uri = await self._discovery.address("jwks_uri", now)
        try:
            return await self._fetch(uri)
        except FetchError:
            self._discovery.expire()  # the issuer may have moved its keys
            raise

    async def _fetch(self, uri: str) -> KeySet:
        require_fetchable(uri, allow_http=self._config.allow_http)
        return parse_key_set(await self._transport.get_json(uri))


def _read_json(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT + 1)
        if len(data) > MAX_DOCUMENT:
            raise FetchError("the key file is too long")
        return parse_json(data)
    except OSError as error:
        raise FetchError(f"the key file cannot be read ({type(error).__name__})") from error
    except JsonError as error:
        raise FetchError("the key file is not JSON") from error
