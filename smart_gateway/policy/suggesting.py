"""From the records of decisions to the least that would have allowed what was allowed.

A record names who asked, the interaction, the types of its path and the scopes that granted it. What came along (includes, the record of
``$everything``) it does not name, nor on which other resources the place of one depended: there the scopes that granted it are kept as
they are. Plain scopes it does not name at all: those that count for a client are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smart_gateway.boundary.dependent import MEMBERS
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.policy.model import SERVER_TYPES, ClientRule, Policy
from smart_gateway.policy.requirements import DISCOVERY, REQUIRED
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, ResourceScope, Syntax
from smart_gateway.scopes.spelling import spell_scope

ReadScope = Callable[[str, str | None], ResourceScope | None]
"""A rule of a record, and the issuer of its token, as a scope; None for what is none."""
_READS = Permission.READ | Permission.SEARCH
# Interactions of whose answers no path names the types.
_WHOLE = frozenset({Interaction.OPERATION, Interaction.SEARCH_SYSTEM, Interaction.HISTORY_SYSTEM})


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """One thing that was asked, refused, and how often is told beside."""

    client: str
    interaction: str
    type: str
    code: str


@dataclass(slots=True)
class Usage:
    """What one client did: how many requests, by which kinds of users, and by which permissions under which scopes."""

    permitted: int = 0
    users: Counter[str] = field(default_factory=Counter)
    needed: dict[tuple[Context, str, tuple[tuple[str, str], ...]], Permission] = field(default_factory=dict)
    whole: set[ResourceScope] = field(default_factory=set)
    unexplained: int = 0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The least for one client (None: tokens that name none). ``kept`` are those of ``scopes`` that are as wide as they were, for the
    record does not say what came along; ``plain`` those that open no resource by themselves, of which it says nothing; ``unexplained``
    counts permitted requests that no scope of the record accounts for."""

    client: str | None
    requests: int
    users: tuple[tuple[str, int], ...]
    scopes: tuple[str, ...]
    kept: tuple[str, ...]
    plain: tuple[str, ...]
    system: bool
    unexplained: int


class Observed:
    """Reads records one by one; ``suggestions`` and ``refused`` tell what they come to."""

    def __init__(self, read: ReadScope) -> None:
        self._read = read
        self._clients: dict[str | None, Usage] = {}
        self._refused: Counter[Asked] = Counter()

    def add(self, record: Mapping[str, Any]) -> None:
        """Counts one record: what was let through, and what a dry run would have refused. The rest says nothing of need."""
        outcome = record.get("outcome")
        if record.get("dry_run") is True and outcome == "deny":
            self._refused[Asked(*(str(record.get(key) or "") for key in ("client_id", "interaction", "type", "code")))] += 1
        elif outcome == "permit" and record.get("interaction") is not None and record.get("issuer") is not None:
            self._permit(record)

    def suggestions(self, policy: Policy | None = None) -> Iterator[Suggestion]:
        """One for each client, by name, the tokens without one last. ``policy`` is that under which the records were made: within the
        limits that clients have there, and with the plain scopes that count for them there."""
        for client in sorted(self._clients, key=lambda name: (name is None, name or "")):
            yield _suggestion(client, self._clients[client], policy)

    def refused(self) -> list[tuple[Asked, int]]:
        """What a dry run would have refused, the most frequent first."""
        return sorted(self._refused.items(), key=lambda item: (-item[1], item[0]))

    def _permit(self, record: Mapping[str, Any]) -> None:
        usage = self._clients.setdefault(_text(record.get("client_id")), Usage())
        usage.permitted += 1
        usage.users[(_text(record.get("fhir_user")) or "none").partition("/")[0]] += 1
        issuer = _text(record.get("issuer"))
        found = [self._read(rule, issuer) for rule in record.get("rules") or () if isinstance(rule, str)]
        scopes = [scope for scope in found if scope is not None]
        explained = [_use(usage, interaction, type, scopes) for interaction, type in _parts(record)]
        usage.unexplained += 0 if all(explained) else 1


def _parts(record: Mapping[str, Any]) -> Iterator[tuple[Interaction, str | None]]:
    """What was asked: of a batch, each kind of entry that was carried out."""
    if record.get("interaction") != str(Interaction.BATCH):
        yield from _part(record)
        return
    for entry in record.get("entries") or ():
        status = entry.get("status")
        if isinstance(status, int) and status < 400:
            yield from _part(entry)


def _part(asked: Mapping[str, Any]) -> Iterator[tuple[Interaction, str | None]]:
    try:
        interaction = Interaction(str(asked.get("interaction")))
    except ValueError:
        return
    if interaction not in DISCOVERY:
        yield interaction, _text(asked.get("type"))


def _use(usage: Usage, interaction: Interaction, type: str | None, scopes: Iterable[ResourceScope]) -> bool:
    """Notes what one interaction needed; whether any scope accounts for it."""
    permission = REQUIRED.get(interaction)
    if permission is None or type is None or interaction in _WHOLE or type in MEMBERS:
        usage.whole.update(scopes)
        return bool(usage.whole)
    granting = [scope for scope in scopes if scope.type in (type, "*") and permission in scope.permissions]
    for scope in granting:
        key = (scope.context, type, scope.params)
        usage.needed[key] = usage.needed.get(key, Permission(0)) | permission
    return bool(granting)


def _suggestion(client: str | None, usage: Usage, policy: Policy | None) -> Suggestion:
    rule = _rule(client, policy)
    narrow = [_scope(*key, permissions) for key, permissions in usage.needed.items()]
    whole, limit = _least(usage.whole), rule.limit if rule is not None else None
    kept = _least(_within(whole, limit))
    scopes = _least({*_within(narrow, limit), *kept})
    return Suggestion(
        client,
        usage.permitted,
        tuple(usage.users.most_common()),
        tuple(scope.text for scope in scopes),
        tuple(scope.text for scope in scopes if scope in kept),
        () if policy is None or rule is None else _plain(policy, rule),
        any(scope.context is Context.SYSTEM for scope in (*narrow, *whole)),
        usage.unexplained,
    )


def _rule(client: str | None, policy: Policy | None) -> ClientRule | None:
    """The client's section in ``policy``; that of a client without one, where there are no sections."""
    if policy is None or policy.clients is None:
        return None if policy is None else ClientRule()
    return policy.clients.get(client or "*", policy.clients.get("*"))


def _within(scopes: Iterable[ResourceScope], limit: tuple[ResourceScope, ...] | None) -> list[ResourceScope]:
    """What ``scopes`` and ``limit`` both say, so that no suggestion is wider than the limit that there is."""
    if limit is None:
        return list(scopes)
    return [one for scope in scopes for one in _meeting(scope, limit)]


def _meeting(scope: ResourceScope, limit: Iterable[ResourceScope]) -> Iterator[ResourceScope]:
    """What of ``scope`` each of ``limit`` leaves, but for what leaves the record of a patient alone where another leaves more."""
    found = [met for bound in limit if (met := _meet(scope, bound)) is not None]
    wide = [one for one in found if one.context is not Context.PATIENT]
    yield from (one for one in found if one in wide or not any(_holds(other, replace(one, context=other.context)) for other in wide))


def _meet(scope: ResourceScope, bound: ResourceScope) -> ResourceScope | None:
    """A limit's context says nothing, but that of a patient, whose record then is all that is left."""
    permissions, types = scope.permissions & bound.permissions, {scope.type, bound.type} - {"*"}
    if not permissions or len(types) > 1:
        return None
    context = Context.PATIENT if bound.context is Context.PATIENT else scope.context
    params = tuple(dict.fromkeys((*bound.params, *scope.params)))
    return _scope(context, types.pop() if types else "*", params, permissions)


def _plain(policy: Policy, rule: ClientRule) -> tuple[str, ...]:
    """The plain scopes to which ``policy`` gives a meaning, of those that count for the client."""
    raising = {raised.scope for one in policy.labels or () for raised in one.raised_by}
    opening = {text for operation in policy.operations for text in operation.plain}
    calling = {policy.break_glass.scope} if policy.break_glass is not None else set()
    given = (rule.registered_scopes, rule.plain.registered) if rule.pin is None else (rule.pin, rule.plain.pin)
    listed = [plain for scopes, plain in ((rule.limit, rule.plain.limit), given) if scopes is not None]
    return tuple(sorted(text for text in raising | opening | calling if all(text in plain for plain in listed)))


def _scope(context: Context, type: str, params: tuple[tuple[str, str], ...], permissions: Permission) -> ResourceScope:
    return ResourceScope(context, type, permissions, params, Syntax.V2, spell_scope(context, type, permissions, params))


def _least(scopes: Iterable[ResourceScope]) -> list[ResourceScope]:
    """``scopes`` in SMART's second spelling, without those that another one holds."""
    spelled = {_scope(scope.context, scope.type, scope.params, scope.permissions) for scope in scopes}
    least = [one for one in spelled if not any(_holds(other, one) for other in spelled if other != one)]
    return sorted(least, key=lambda scope: scope.text)


def _holds(wide: ResourceScope, narrow: ResourceScope) -> bool:
    """Whether ``wide`` gives all that ``narrow`` does. Server types are kept by name where ``*`` does not open them (semantics 3)."""
    by_name = narrow.type in SERVER_TYPES and (narrow.context is Context.PATIENT or narrow.permissions not in _READS)
    return (
        wide.context is narrow.context
        and (wide.type == narrow.type or (wide.type == "*" and not by_name))
        and set(wide.params) <= set(narrow.params)
        and narrow.permissions in wide.permissions
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
