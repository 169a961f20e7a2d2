"""Fetching JSON documents of issuers: the only place in this room that speaks HTTP."""

from __future__ import annotations

import asyncio
import re
from ipaddress import ip_address
from ssl import SSLContext
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.fhir.strict_json import JsonError, parse_json

_JSON = re.compile(r"application/([a-z0-9!#$&^_.+-]+\+)?json", re.IGNORECASE)
_URL = re.compile(r"[!-~]+")  # printable ASCII without spaces
MAX_DOCUMENT = 1 << 20  # bytes (semantics 2)


class FetchError(DependencyUnavailable):
    """A document could not be had; ``answered`` is the HTTP status where there was an answer."""

    def __init__(self, text: str, *, answered: int | None = None) -> None:
        super().__init__(text)
        self.answered = answered


class Transport(Protocol):
    """How the room reaches issuers."""

    async def get_json(self, url: str) -> Any:
        """The JSON document at ``url``, parsed strictly; raises FetchError for everything else."""

    async def aclose(self) -> None:
        """Closes all connections; later fetches fail."""


class HttpTransport:
    """``Transport`` over one shared httpx client.

    No redirect is followed, no proxy or certificate setting is taken from the environment, and an answer must come whole
    within ``seconds``, be a plain (not encoded) JSON document of at most ``max_bytes``, with status 200.
    """

    def __init__(self, *, seconds: float = 5.0, max_bytes: int = MAX_DOCUMENT, verify: SSLContext | bool = True) -> None:
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=seconds,
            verify=verify,
            headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "smart-gateway"},
        )

    async def get_json(self, url: str) -> Any:
        """Spec: semantics 2, "no redirect is followed", "a time limit"."""
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._get(url)
        except (TimeoutError, httpx.TimeoutException):
            raise FetchError("no whole answer within the time limit") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError, ValueError) as error:
            # RuntimeError: the client is closed, or the stream broke; the error's text may hold the URL, its class does not.
            raise FetchError(f"no answer ({type(error).__name__})") from error
        try:
            return parse_json(body)
        except JsonError as error:
            raise FetchError("the answer is not the JSON that it says it is") from error

    async def _get(self, url: str) -> bytes:
        async with self._client.stream("GET", url) as response:
            if response.status_code != 200:
                raise FetchError(f"answered {response.status_code}", answered=response.status_code)
            if not _JSON.fullmatch(response.headers.get("content-type", "").partition(";")[0].strip()):
                raise FetchError("the answer is not JSON by its Content-Type", answered=200)
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise FetchError("the answer is encoded although it was not asked to be", answered=200)
            return await self._collect(response)

    async def _collect(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                raise FetchError("the answer is too long", answered=200)
        return bytes(body)

    async def aclose(self) -> None:
        """Closes the shared client."""
        await self._client.aclose()


def is_fetchable(url: str, *, allow_http: bool) -> bool:
    """Whether ``url`` may be fetched: https, or plain http to a loopback address or where the settings allow it."""
    if not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and (allow_http or _is_loopback(host)))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
