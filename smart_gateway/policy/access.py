"""What one principal may touch under one policy: the boundary of every (type, permission), computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar, cast

from smart_gateway.boundary.matching import Matcher
from smart_gateway.boundary.model import NOTHING, Boundary, Region
from smart_gateway.policy.emergencies import emergency_grounds
from smart_gateway.policy.grounds import Ground
from smart_gateway.policy.model import ClientRule, Policy
from smart_gateway.policy.requirements import public_permissions
from smart_gateway.policy.rules.ceilings import ceilings, leaves_all, names_all, within
from smart_gateway.policy.rules.granting import Grant, Standing, grant, user_grounds
from smart_gateway.policy.rules.groups import group_bound, group_ground
from smart_gateway.policy.rules.restricting import Restrictions, restrictions
from smart_gateway.policy.rules.users import listed_patients, user_bounds
from smart_gateway.policy.wording import describe
from smart_gateway.principal import BY_CERTIFICATE, PermittedRegion, Principal
from smart_gateway.scopes.permissions import Permission
from smart_gateway.scopes.scope import Context, ResourceScope

_T = TypeVar("_T")
_MOST_KEPT = 1024  # more than the boundaries that one access has itself
_ANY_CLIENT = ClientRule(system_role=True)  # without a clients section every client's scopes decide alone


class Access:
    """A principal under a policy. Both are immutable, so every answer is memoised; safe to keep as long as the token is."""

    __slots__ = (
        "_grants",
        "_kept",
        "_ordinary",
        "_readable",
        "_remembered",
        "_unlimited",
        "ceilings",
        "client",
        "matcher",
        "permitted",
        "policy",
        "principal",
        "restrictions",
        "scopes",
        "standing",
    )

    def __init__(self, principal: Principal, policy: Policy) -> None:
        self.principal = principal
        self.policy = policy
        self.matcher: Matcher = policy.matcher
        self._ordinary = None if policy.emergency is None else Access(principal, policy.emergency.ordinary)
        self.client = _client_rule(principal, policy)
        system = self.client is not None and self.client.system_role
        patients = None if policy.patients is None else listed_patients(policy.patients, principal, policy)
        self.standing = Standing(principal, policy, user_bounds(principal, policy), system, patients)
        self.scopes = self._effective_scopes()
        self.permitted = self._effective_permissions()
        self.ceilings = tuple(ceilings(principal, policy, self.client))
        self.restrictions = restrictions(self)
        self._grants: dict[tuple[str, Permission], tuple[Boundary, tuple[Ground, ...]]] = {}
        self._readable: dict[str, Boundary] = {}
        self._unlimited: dict[Permission, bool] = {}
        self._remembered: dict[tuple[str, str], object] = {}
        self._kept: dict[tuple[int, str], tuple[Boundary, object]] = {}

    def boundary(self, type: str, permission: Permission) -> Boundary:
        """What the token may touch of ``type`` by one permission: scopes, client and user intersected. Spec: semantics 9."""
        return self.counting_for(permission)._judged(type, permission)[0]

    def boundary_by(self, context: Context, type: str, permission: Permission) -> Boundary:
        """What the token may touch of ``type`` by the scopes of one ``context`` alone. Spec: semantics 8, ``$export``."""
        if self.counting_for(permission) is not self:
            return self.counting_for(permission).boundary_by(context, type, permission)
        scopes = [scope for scope in self.scopes if scope.context is context and scope.type in (type, "*")]
        if not scopes or self.principal.anonymous:
            return NOTHING
        given = _union(grant(scope, type, permission, self.standing) for scope in scopes)
        return given.intersect(self._limit(context, type, permission)).intersect(self.restrictions.bound(type, permission))

    def grounds(self, type: str, permission: Permission) -> tuple[Ground, ...]:
        """Every scope and rule that was looked at for this boundary."""
        counting = self.counting_for(permission)
        return (*emergency_grounds(counting.policy), *counting._judged(type, permission)[1])

    def readable(self, type: str) -> Boundary:
        """What may appear of ``type`` in an answer that did not ask for it: ``r`` or ``s``. Spec: semantics 4."""
        held = self._readable.get(type)
        if held is None:
            held = self._readable[type] = self.boundary(type, Permission.READ).union(self.boundary(type, Permission.SEARCH))
        return held

    def unlimited(self, permission: Permission) -> bool:
        """Whether the token has EVERYTHING of every type: a user/ or system/ ``*`` without filters that no policy bounds."""
        held = self._unlimited.get(permission)
        if held is None:
            held = self._unlimited[permission] = self.counting_for(permission)._is_unlimited(permission)
        return held

    @property
    def sees_all(self) -> bool:
        """Whether nothing that an answer could hold is closed to the token: every type may be read or searched whole."""
        return self.unlimited(Permission.READ) or self.unlimited(Permission.SEARCH)

    @property
    def follows_streams(self) -> bool:
        """Whether the links of an answer that nobody rewrites can be followed: a server's own pages are searches over all types."""
        return self.unlimited(Permission.SEARCH)

    def remembered(self, key: tuple[str, str], make: Callable[[], _T]) -> _T:
        """What ``make`` gives, worked out once for this access: for what depends on nothing but principal, policy and ``key``."""
        held = self._remembered.get(key)
        if held is None:
            held = self._remembered[key] = make()
        return cast(_T, held)

    def kept(self, boundary: Boundary, type: str, make: Callable[[], _T]) -> _T:
        """What ``make`` gives for ``type`` in ``boundary``, worked out once for this very boundary object.

        INVARIANT: an entry holds its boundary, so that no other object can have its identity.
        """
        held = self._kept.get((id(boundary), type))
        if held is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            held = self._kept[id(boundary), type] = (boundary, make())
        return cast(_T, held[1])

    def with_scope(self, scope: ResourceScope, type: str, permission: Permission) -> Boundary:
        """What the boundary would be by ``scope`` alone: for hints only, never for a decision."""
        if self.counting_for(permission) is not self:
            return self.counting_for(permission).with_scope(scope, type, permission)
        given = grant(scope, type, permission, self.standing).boundary
        return given.intersect(self._limit(scope.context, type, permission)).intersect(self.restrictions.bound(type, permission))

    def restrictions_for(self, permission: Permission) -> Restrictions:
        """What the policy takes from ``permission`` by labels and elements."""
        return self.counting_for(permission).restrictions

    @property
    def ordinary(self) -> Access:
        """What counts without any emergency."""
        return self._ordinary or self

    def counting_for(self, permission: Permission) -> Access:
        """The access that counts for ``permission``: an emergency lifts limits for some only."""
        emergency = self.policy.emergency
        return self if emergency is None or self._ordinary is None or permission in emergency.rule.permissions else self._ordinary

    def _effective_scopes(self) -> tuple[ResourceScope, ...]:
        if self.client is None:
            return ()
        return self.client.pin if self.client.pin is not None else self.principal.scopes.resources

    def _effective_permissions(self) -> tuple[PermittedRegion, ...]:
        """What permissions open beside scopes; a client that is pinned has its scopes, whatever its token says."""
        if self.client is None or self.client.pin is not None:
            return ()
        return self.principal.permitted or ()

    def _judged(self, type: str, permission: Permission) -> tuple[Boundary, tuple[Ground, ...]]:
        held = self._grants.get((type, permission))
        if held is None:
            held = self._grants[type, permission] = self._restricted(type, permission)
        return held

    def _restricted(self, type: str, permission: Permission) -> tuple[Boundary, tuple[Ground, ...]]:
        boundary, grounds = self._judge(type, permission)
        restricted = boundary.intersect(self.restrictions.bound(type, permission))
        return restricted, (*grounds, *self.restrictions.grounds(type, permission))

    def _judge(self, type: str, permission: Permission) -> tuple[Boundary, tuple[Ground, ...]]:
        if type not in self.policy.vocabulary.types:
            return NOTHING, ()
        if self.principal.anonymous:
            return self._public(type, permission)
        if self.client is None:
            return NOTHING, (
                Ground(
                    "client",
                    self.principal.client_id or "",
                    "denies",
                    "the policy names neither this client nor '*'",
                    self.policy.place("clients"),
                ),
            )
        given = [(scope.context, grant(scope, type, permission, self.standing)) for scope in self.scopes]
        limits = {context: self._limit(context, type, permission) for context in dict.fromkeys(context for context, _ in given)}
        limited = Boundary.union_of(
            _union(one for context, one in given if context is limited).intersect(limit) for limited, limit in limits.items()
        )
        permitted = [self._permit(region, type, permission) for region in self.permitted]
        limited = Boundary.union_of((limited, *(one.boundary for one in permitted)))
        grounds = (*(one.ground for _, one in given), *(one.ground for one in permitted))
        return limited, (
            *self._client_grounds(limits, type),
            *(user_grounds(type, permission, self.standing) if Context.USER in limits else ()),
            *grounds,
            *self._malformed(),
        )

    def _permit(self, region: PermittedRegion, type: str, permission: Permission) -> Grant:
        """What a permission opens: as its scope would with its patient in context, within the same limits."""
        standing = self.standing.about(region.patient)
        given = grant(region.scope, type, permission, standing)
        ground = Ground("permission", region.name, given.ground.result, f"{region.scope.text}: {given.ground.text}")
        if given.boundary.is_nothing:
            return Grant(NOTHING, ground)
        limited = given.boundary.intersect(self._limit(region.scope.context, type, permission, standing))
        return Grant(limited, replace(ground, result="limits", text="the policy leaves nothing of it") if limited.is_nothing else ground)

    def _public(self, type: str, permission: Permission) -> tuple[Boundary, tuple[Ground, ...]]:
        """Public interactions, and what a listener opens to everybody, count as bounded (semantics 11): the whole type at most."""
        for rule in self.policy.public:
            if rule.type == type and permission in public_permissions(rule):
                region = Region(sources=(f"public {rule.interaction} {type}",))
                return Boundary.of([region]), (
                    Ground("public", f"{rule.interaction} {type}", "grants", "needs no token", self.policy.place("public")),
                )
        given = [grant(scope, type, permission, self.standing.for_limits()) for scope in self.principal.scopes.resources]
        boundary = _union(given)
        if boundary.is_everything:
            boundary = Boundary.of([Region(sources=("listener",))])
        return boundary, tuple(one.ground for one in given)

    def _limit(self, context: Context, type: str, permission: Permission, standing: Standing | None = None) -> Boundary:
        """What client and ceilings leave to scopes of ``context``, whatever they say."""
        if self.client is None:
            return NOTHING
        boundary, limiting = group_bound(self.client, type), (standing or self.standing).for_limits()
        for ceiling in self.ceilings:
            boundary = boundary.intersect(_union(grant(s, type, permission, limiting) for s in within(ceiling, context)))
        return boundary

    def _client_grounds(self, limits: Mapping[Context, Boundary], type: str) -> tuple[Ground, ...]:
        name = self.principal.client_id or ""
        place = self.policy.place("clients", name if name in (self.policy.clients or {}) else "*")
        grounds = group_ground(self.client, type, name, place) if self.client is not None else ()
        if self.client is not None and self.client.pin is not None:
            grounds += (Ground("client", name, "limits", "the policy pins this client's scopes: those of the token do not count", place),)
        if not self.ceilings:
            return grounds
        whose = " and ".join(dict.fromkeys(ceiling.source for ceiling in self.ceilings))
        bounds = dict.fromkeys(describe(limit) for limit in limits.values() if not limit.is_everything)
        return grounds + tuple(Ground("client", name, "limits", f"the policy limits {whose} to: {bound}", place) for bound in bounds)

    def _malformed(self) -> tuple[Ground, ...]:
        return tuple(Ground("scope", s.text, "ignored", s.reason) for s in self.principal.scopes.malformed)

    def _is_unlimited(self, permission: Permission) -> bool:
        if self.principal.anonymous or self.client is None or not self.restrictions.leaves_all(permission):
            return False
        return any(self._opens_all(scope, permission) for scope in self.scopes)

    @property
    def _user_is_unbounded(self) -> bool:
        return self.standing.patients is None and all(any(rule.is_everything for rule in rules) for rules in self.standing.user)

    def _opens_all(self, scope: ResourceScope, permission: Permission) -> bool:
        if not names_all(scope, permission):
            return False
        if self.client is None or self.client.groups is not None:
            return False
        if not all(leaves_all(within(ceiling, scope.context), permission) for ceiling in self.ceilings):
            return False
        if scope.context is Context.SYSTEM:
            return self.standing.system
        return scope.context is Context.USER and self._user_is_unbounded


def _client_rule(principal: Principal, policy: Policy) -> ClientRule | None:
    """The client's section, or that of ``"*"``; None where the client is refused. Spec: semantics 3.

    A name that belongs to other issuers is nobody's: not even one of those who are not named.
    """
    if policy.clients is None:
        return _ANY_CLIENT
    named = policy.clients.get(principal.client_id) if principal.client_id is not None else None
    rule = named if named is not None else policy.clients.get("*")
    by_token = rule is not None and rule.issuers is not None and principal.issuer != BY_CERTIFICATE
    return None if rule is None or (by_token and principal.issuer not in (rule.issuers or ())) else rule


def _union(grants: Iterable[Grant]) -> Boundary:
    return Boundary.union_of(given.boundary for given in grants)
