"""Scopes back into strings: the inverse of parsing."""

from __future__ import annotations

from urllib.parse import quote

from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context

# What a scope token (RFC 6749 section 3.3: no quote, no backslash) and a query item (no ``&``, ``=``, ``?``, ``%``) can carry bare.
_BARE = "/:|,$@*;!()'+#[]^`{}<>"


def spell_scope(context: Context, type: str, permissions: Permission, params: tuple[tuple[str, str], ...] = ()) -> str:
    """The v2 string that ``parse_scope`` reads as these. Spec: SMART App Launch 2.2, "FHIR Resource Scope Syntax"."""
    query = "&".join(f"{quote(name, safe=':')}={quote(value, safe=_BARE)}" for name, value in params)
    return f"{context}/{type}.{permissions.letters}" + (f"?{query}" if query else "")
