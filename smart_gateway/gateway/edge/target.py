"""The path that a request came by, and the path of the same place that the inner app is asked by."""

from __future__ import annotations

import re

from starlette.types import Scope

from smart_gateway.errors import RequestError

# What means itself, encoded or not: a decoded path of anything else could have been spelled in several ways.
_UNAMBIGUOUS = re.compile(r"[A-Za-z0-9\-._~$*/]*")


def full_path(scope: Scope) -> bytes:
    """The path on the wire with every mount prefix, as bytes.

    Servers may leave out ``raw_path``; it is then taken from the decoded ``path``, if that leaves no doubt. Raises RequestError.
    Spec: ASGI HTTP connection scope, ``path``, ``raw_path``, ``root_path``.
    """
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        path: str = scope["path"]
        if _UNAMBIGUOUS.fullmatch(path) is None:
            raise RequestError("The path holds characters that cannot be told from their encoded form.", reason="encoded-path")
        raw = path.encode("ascii")
    root = _root(scope).encode("latin-1", "replace")
    if not root:
        return raw
    return raw if _below(raw, root) else root + raw


def inner_path(scope: Scope, full: str) -> str:
    """``full`` as the ``path`` of an inner scope, with or without the mount prefix, whichever way ``scope`` itself has it."""
    root = _root(scope)
    if not root:
        return full
    return full if _below(scope["path"].encode(), root.encode()) else full.removeprefix(root)


def base_path(scope: Scope, public_path: str) -> str:
    """The path of the FHIR base itself: without a slash, as FHIR writes it, but for an app mounted there, which knows its root as ``/``."""
    return f"{public_path}/" if _root(scope) == public_path else public_path


def _root(scope: Scope) -> str:
    root: str = scope.get("root_path", "")
    return root.rstrip("/")


def _below(path: bytes, root: bytes) -> bool:
    return path == root or path.startswith(root + b"/")
