"""Whose request it is: by the host that it came to, then by its path, before anything else of it is read.

Hosts are compared without case, port and the dot that ends a whole name; paths byte by byte, for a path that is spelled in another way
names nothing here. A host that a tenant names is for the tenants that name it alone, whatever the path.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from starlette.types import Scope

from smart_gateway.errors import RequestError
from smart_gateway.gateway.edge.headers import comes_through_proxy
from smart_gateway.gateway.edge.target import full_path
from smart_gateway.gateway.snapshot import EventLog, Network
from smart_gateway.request.limits import Limits

T = TypeVar("T")

_AUTHORITY = re.compile(rb"([a-z0-9_][a-z0-9._-]{0,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PROTECTED_RESOURCE = b"/.well-known/oauth-protected-resource"  # RFC 9728 section 3.1: it stands before the path of the resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Porch:
    """What is known of a request before it is known whose it is; a ``Threshold``. ``limits`` are the widest of all tenants', each of
    which applies its own; ``log`` gets the records of what came to none of them."""

    limits: Limits
    log: EventLog
    trusted_proxies: tuple[Network, ...] = ()
    public: str = ""
    clock: Callable[[], float] = time.time
    entropy: Callable[[int], bytes] = os.urandom


@dataclass(frozen=True, slots=True)
class Address:
    """Where one tenant is reached: ``host`` None is every host that no tenant names; ``path`` has no slash at its end."""

    host: bytes | None
    path: bytes


class Directory(Generic[T]):
    """Who is at which address. INVARIANT: no address lies within another of the same host."""

    def __init__(self, entries: Iterable[tuple[Address, T]]) -> None:
        self._paths: dict[bytes | None, dict[bytes, T]] = {}
        for address, entry in entries:
            self._paths.setdefault(address.host, {})[address.path] = entry
        self._depth = max((path.count(b"/") for paths in self._paths.values() for path in paths), default=0)

    def find(self, scope: Scope, porch: Porch) -> T | None:
        """Whose request ``scope`` is; None for one that is nobody's, and where that can be doubted."""
        try:
            host, path = _host(scope, porch), full_path(scope)
        except RequestError:
            return None
        paths = self._paths.get(host) if host in self._paths else self._paths.get(None)
        return self._at(paths or {}, path)

    def _at(self, paths: Mapping[bytes, T], path: bytes) -> T | None:
        if path == _PROTECTED_RESOURCE or path.startswith(_PROTECTED_RESOURCE + b"/"):
            path = path[len(_PROTECTED_RESOURCE) :]
        segments = path.split(b"/", self._depth + 1)
        prefixes = (b"/".join(segments[:count]) for count in range(1, len(segments) + 1))
        return next((paths[prefix] for prefix in prefixes if prefix in paths), None)


def _host(scope: Scope, porch: Porch) -> bytes | None:
    """The host, in lower case, that the client named: to a trusted proxy, where it says so. None for a request that names none.

    Raises RequestError for one that names several, or what is no host. Spec: RFC 9110 section 7.2, RFC 3986 section 3.2.2.
    """
    named = [value for name, value in scope["headers"] if name == b"host"]
    if comes_through_proxy(scope, porch.trusted_proxies):
        named = [value for name, value in scope["headers"] if name == b"x-forwarded-host"] or named
    if not named:
        return None
    match = _AUTHORITY.fullmatch(named[0].lower())
    if len(named) > 1 or match is None:
        raise RequestError("The request does not name one host.", reason="host")
    return match[1].removesuffix(b".")
