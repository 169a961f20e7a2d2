"""Which scope would help: given only where the client could have it and the user's own boundary would allow it (semantics 10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from smart_gateway.boundary.describing import smallest_scope
from smart_gateway.boundary.model import Boundary
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Missing
from smart_gateway.policy.rules.plain_scopes import could_hold_plain
from smart_gateway.request.model import FhirRequest
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, ResourceScope


def missing_scopes(
    request: FhirRequest, access: Access, types: Iterable[str], permission: Permission, *, whole: bool = False
) -> tuple[Missing, ...]:
    """A scope for each of ``types``, or none at all: some of what is missing would not help. ``whole``: it must open all of the type."""
    found = [missing_scope(request, access, type, permission, whole=whole) for type in types]
    return tuple(chain.from_iterable(found)) if all(found) else ()


def missing_scope(request: FhirRequest, access: Access, type: str, permission: Permission, *, whole: bool = False) -> tuple[Missing, ...]:
    """The one smallest scope that would give ``permission`` on ``type``; empty where none would help this request."""
    if access.client is None or access.client.pin is not None or access.principal.anonymous or access.principal.permitted is not None:
        return ()
    for scope, boundary in access.remembered(("hints", f"{type}.{permission.letters}"), lambda: _hints(access, type, permission)):
        if (boundary.is_everything or not whole) and _would_help(request, access, boundary, type):
            return (Missing(scope.text, type, permission),)
    return ()


def opening_scope(access: Access, plain: Iterable[str], scopes: Iterable[ResourceScope]) -> tuple[Missing, ...]:
    """The first of the scopes that open an operation which the client could have; empty where it could have none."""
    if access.client is None or access.client.pin is not None or access.principal.anonymous or access.principal.permitted is not None:
        return ()
    fitting = [scope.text for scope in scopes if _could_ask(access, scope)]
    for text in (*fitting, *(text for text in sorted(plain) if could_hold_plain(access, text))):
        return (Missing(text),)
    return ()


def _could_ask(access: Access, wanted: ResourceScope) -> bool:
    """Whether the client could ask for all of ``wanted``, in a context that its token speaks for."""
    registered = access.client.registered_scopes if access.client is not None else None
    if wanted.context not in _contexts(access):
        return False
    return registered is None or any(_is_part(wanted, of=scope) for scope in registered)


def _is_part(wanted: ResourceScope, *, of: ResourceScope) -> bool:
    where = of.context is wanted.context and of.type in (wanted.type, "*")
    return where and wanted.permissions in of.permissions and of.params in ((), wanted.params)


def _hints(access: Access, type: str, permission: Permission) -> tuple[tuple[ResourceScope, Boundary], ...]:
    """The scopes that give something at all, the smallest first, and what each gives."""
    scopes = [scope for context in _contexts(access) for scope in _obtainable(access, context, type, permission)]
    given = [(scope, access.with_scope(scope, type, permission)) for scope in scopes]
    return tuple([(scope, boundary) for scope, boundary in given if not boundary.is_nothing])


def _contexts(access: Access) -> tuple[Context, ...]:
    """The contexts of the token's own scopes; without any, those that its launch context speaks for."""
    used = {scope.context for scope in access.principal.scopes.resources}
    if used:
        return tuple(context for context in Context if context in used)
    principal = access.principal
    contexts = [Context.PATIENT] if principal.patient is not None else []
    contexts += [Context.USER] if principal.fhir_user is not None else []
    return tuple(contexts) or (Context.SYSTEM,)


def _obtainable(access: Access, context: Context, type: str, permission: Permission) -> Iterator[ResourceScope]:
    """The scopes that the client could ask for: any, or what it is registered for where registrations are known."""
    syntax = access.principal.scopes.syntax
    registered = access.client.registered_scopes if access.client is not None else None
    if registered is None:
        yield smallest_scope(context, type, permission, syntax)
        return
    fitting = [s for s in registered if s.context is context and s.type in (type, "*") and permission in s.permissions]
    for scope in sorted(fitting, key=lambda s: len(s.params)):
        yield smallest_scope(context, type, permission, syntax, scope.params)


def _would_help(request: FhirRequest, access: Access, boundary: Boundary, type: str) -> bool:
    if request.id is not None and request.type == type and not access.matcher.could_hold(boundary, type, request.id):
        return False
    asked = request.compartment
    if asked is None or boundary.is_everything:
        return True
    return any(all(c.type != asked.type or asked.id in c.ids for c in region.compartments) for region in boundary.regions)
