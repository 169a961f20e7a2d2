"""URLs, origins, networks and listening addresses as settings spell them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

_PRINTABLE = re.compile(r"[!-~]+")
_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_LISTEN = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(?P<port>[0-9]{1,5})")
_FIELD_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")  # no underscore: proxies take it for a hyphen, or drop the header
_TAKEN_HEADERS = frozenset({"authorization", "dpop", "host", "content-type", "content-length", "cookie", "x-forwarded-for", "x-request-id"})
_MANY = 2**24  # a trusted network holds at most an IPv4 /8


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """``host`` without brackets; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def anywhere(self) -> bool:
        """Whether every address of the machine is meant."""
        return self.host in {"0.0.0.0", "::", ""}  # noqa: S104  # compared, not bound

    def meets(self, other: ListenAddress) -> bool:
        """Whether both cannot be listened on at once."""
        return self.port == other.port != 0 and (self.host == other.host or self.anywhere or other.anywhere)


def parse_listen(text: str) -> ListenAddress:
    """``127.0.0.1:8080`` or ``[::1]:8080``; raises ValueError for anything else."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError
    host = match["host"]
    if host.startswith("["):
        host = str(ip_address(host[1:-1]))
    return ListenAddress(host, int(match["port"]))


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: ``localhost`` or a loopback address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_plain_http_elsewhere(url: str) -> bool:
    """Whether ``url`` would send what it carries in the clear over a network."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def _refused(text: str) -> PydanticCustomError:
    return PydanticCustomError("address", "{text}", {"text": text})


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        named = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named or not _PRINTABLE.fullmatch(text):
        raise _refused("must be an absolute http or https URL")
    if "@" in parts.netloc:
        raise _refused("a URL here holds no user name or password")
    host = parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc
    if not _HOST.fullmatch(host.removesuffix(":")):
        raise _refused("must be an absolute http or https URL")
    if "?" in text or "#" in text:
        raise _refused("a URL here has no query and no fragment")
    return parts


def _check_base(text: str) -> str:
    parts = _split(text)
    if parts.path.endswith("/"):
        raise _refused("no slash at the end: paths are put behind one")
    segments = parts.path.split("/")[1:]
    if any(segment in {".", ".."} or not _SEGMENT.fullmatch(segment) for segment in segments):
        raise _refused("the path must be plain segments, without percent-encoding, dots or empty ones")
    return text


def _check_fetched(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _refused("must be an absolute http or https URL") from None
    _split(text.removesuffix(f"?{parts.query}") if parts.query else text)
    return text


def _check_issuer(text: str) -> str:
    _split(text)
    return text


def _check_listen(text: str) -> str:
    try:
        parse_listen(text)
    except ValueError:
        raise _refused("must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080") from None
    return text


def _check_origin(text: str) -> str:
    if text == "*":
        raise _refused("every origin is not allowed here: name them")
    parts = _split(text)
    if parts.path or text != text.lower():
        raise _refused("an origin is scheme, host and port in lower case, without a path or a slash at the end")
    return text


def _check_network(text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError:
        raise _refused("must be an address or a network such as 10.1.0.0/16, without host bits") from None
    if network.version == 4 and network.num_addresses > _MANY or network.version == 6 and network.prefixlen < 32:  # noqa: RUF021
        raise _refused("too wide: whoever is in it can forge client addresses; name the proxies")
    return text


def _check_header(text: str) -> str:
    if not _FIELD_NAME.fullmatch(text):
        raise _refused("must be the name of a header: letters, digits and hyphens")
    if text.lower() in _TAKEN_HEADERS:
        raise _refused("is a header that says something else")
    return text


BaseUrl = Annotated[str, AfterValidator(_check_base)]
FetchedUrl = Annotated[str, AfterValidator(_check_fetched)]
IssuerUrl = Annotated[str, AfterValidator(_check_issuer)]
HeaderName = Annotated[str, AfterValidator(_check_header)]
Listen = Annotated[str, AfterValidator(_check_listen)]
Origin = Annotated[str, AfterValidator(_check_origin)]
NetworkText = Annotated[str, AfterValidator(_check_network)]
