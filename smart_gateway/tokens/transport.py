"""Fetching documents of issuers and posting to them: the only place in this room that speaks HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from ssl import SSLContext
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import httpx

from smart_gateway.errors import DependencyUnavailable
from smart_gateway.fhir.strict_json import JsonError, parse_json

_JSON = re.compile(r"application/([a-z0-9!#$&^_.+-]+\+)?json", re.IGNORECASE)
_SECONDS = re.compile(r"[0-9]{1,3}")
_URL = re.compile(r"[!-~]+")  # printable ASCII without spaces
MAX_DOCUMENT = 1 << 20  # bytes (semantics 2)
FORM_TYPE = "application/x-www-form-urlencoded"


class FetchError(DependencyUnavailable):
    """A document could not be had; ``answered`` is the HTTP status where there was an answer."""

    def __init__(self, text: str, *, answered: int | None = None) -> None:
        super().__init__(text)
        self.answered = answered


@dataclass(frozen=True, slots=True)
class Received:
    """What was answered: ``media`` is the Content-Type in lower case, without parameters; ``retry_after`` seconds, where they were said."""

    status: int
    media: str
    body: bytes = field(repr=False)
    retry_after: int | None = None

    def json(self) -> Any:
        """The body, parsed strictly; raises FetchError for what is not JSON, or does not say that it is."""
        if not _JSON.fullmatch(self.media):
            raise FetchError("the answer is not JSON by its Content-Type", answered=self.status)
        return _parsed(self.body)


class Transport(Protocol):
    """How the room reaches issuers."""

    async def get_json(self, url: str) -> Any:
        """The JSON document at ``url``, parsed strictly; raises FetchError for everything else."""

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Received:
        """The answer to ``content``, of any status; ``headers`` in lower case. Raises FetchError where none came whole."""

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
        received = await self._ask("GET", url, None, {})
        if received.status != 200:
            raise FetchError(f"answered {received.status}", answered=received.status)
        return received.json()

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Received:
        """Under the same bounds as a fetch."""
        return await self._ask("POST", url, content, headers)

    async def _ask(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> Received:
        try:
            async with asyncio.timeout(self._seconds), self._client.stream(method, url, content=content, headers=headers) as response:
                return await self._receive(response)
        except (TimeoutError, httpx.TimeoutException):
            raise FetchError("no whole answer within the time limit") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError, ValueError) as error:
            # RuntimeError: the client is closed, or the stream broke; the error's text may hold the URL, its class does not.
            raise FetchError(f"no answer ({type(error).__name__})") from error

    async def _receive(self, response: httpx.Response) -> Received:
        status = response.status_code
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise FetchError("the answer is encoded although it was not asked to be", answered=status)
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                raise FetchError("the answer is too long", answered=status)
        media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Received(status, media, bytes(body), _retry_after(response))

    async def aclose(self) -> None:
        """Closes the shared client."""
        await self._client.aclose()


async def post_form(transport: Transport, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Received:
    """The answer to a form, which says what it is by its Content-Type; a JSON answer is asked for unless ``headers`` say otherwise."""
    content = urlencode(form).encode("ascii")
    return await transport.post(url, content, {"content-type": FORM_TYPE, **headers})


def _parsed(body: bytes) -> Any:
    try:
        return parse_json(body)
    except JsonError as error:
        raise FetchError("the answer is not the JSON that it says it is") from error


def _retry_after(response: httpx.Response) -> int | None:
    """Seconds; a date, or a longer time than three digits say, is not taken."""
    said = response.headers.get("retry-after", "")
    return int(said) if _SECONDS.fullmatch(said) else None


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


def require_fetchable(url: str, *, allow_http: bool) -> None:
    """Raises FetchError for what may not be fetched."""
    if not is_fetchable(url, allow_http=allow_http):
        raise FetchError("plain http to an address that is not loopback is not allowed")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
