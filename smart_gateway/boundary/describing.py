"""The smallest scope that would give one permission: a missing bound said as a scope (semantics 10)."""

from __future__ import annotations

from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, ResourceScope, Syntax
from smart_gateway.scopes.spelling import spell_scope

_READS = Permission.READ | Permission.SEARCH


def smallest_scope(
    context: Context, type: str, permission: Permission, syntax: Syntax, params: tuple[tuple[str, str], ...] = ()
) -> ResourceScope:
    """The scope ``context/type.x`` for one permission, in the spelling asked for; v1 has ``read`` and ``write`` only."""
    if syntax is Syntax.V1 and not params:
        word = "read" if permission in _READS else "write"
        held = _READS if permission in _READS else Permission.CREATE | Permission.UPDATE | Permission.DELETE
        return ResourceScope(context, type, held, (), Syntax.V1, f"{context}/{type}.{word}")
    return ResourceScope(context, type, permission, params, Syntax.V2, spell_scope(context, type, permission, params))
