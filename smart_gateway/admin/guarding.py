"""Who may ask for an explanation: somebody on this machine, by a page that came from here, or by a program of theirs.

Against pages of other origins (also by DNS rebinding: a name of theirs that suddenly means this machine), and against a proxy in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from starlette.types import Scope

from smart_gateway.settings.sections.addresses import is_loopback

_PROXIED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})
_OWN = frozenset({b"same-origin", b"none"})  # Sec-Fetch-Site: by this page, or by the user without any


@dataclass(frozen=True, slots=True)
class Objection:
    """Why nothing is explained."""

    status: int
    text: str


def object_to(scope: Scope) -> Objection | None:
    """What is wrong with any request for ``/explain``; None where nothing is."""
    client = scope.get("client")
    if client is None or not _is_here(client[0]):
        return Objection(403, "explanations are given on this machine only")
    if any(name in _PROXIED for name, _ in scope["headers"]):
        return Objection(403, "explanations are given to nobody behind a proxy")
    hosts = _values(scope, b"host")
    if len(hosts) != 1 or not is_loopback(_name(hosts[0])):
        return Objection(421, "this listener is asked by a loopback address or as localhost")
    return None


def object_to_post(scope: Scope) -> Objection | None:
    """What is wrong with asking for an explanation; None where nothing is. Pages elsewhere can neither send JSON unasked nor hide where
    they come from. Spec: Fetch, CORS-safelisted request-header; Fetch Metadata, Sec-Fetch-Site."""
    host = _values(scope, b"host")[0]
    if any(origin.lower() != b"http://" + host.lower() for origin in _values(scope, b"origin")):
        return Objection(403, "this question comes from a page that is not this one")
    if any(site not in _OWN for site in _values(scope, b"sec-fetch-site")):
        return Objection(403, "this question comes from a page that is not this one")
    types = _values(scope, b"content-type")
    if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != b"application/json":
        return Objection(415, "a question is application/json")
    if _values(scope, b"content-encoding"):
        return Objection(415, "a question is not compressed")
    return None


def _values(scope: Scope, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == wanted]


def _name(host: bytes) -> str:
    """A Host header without its port and without brackets; nothing for one that cannot be read."""
    text = host.decode("latin-1").lower()
    name, _, port = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "")
    if port and not (port.isascii() and port.isdigit()):
        return ""
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name


def _is_here(address: str) -> bool:
    """Whether the other end of the connection is this machine; IPv4 in IPv6 counts as what it stands for."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback
