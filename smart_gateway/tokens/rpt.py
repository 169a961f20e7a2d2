"""What a requesting party token permits. Spec: UMA 2.0 Federated Authorization section 5.1.1; semantics 2, "UMA 2.0"."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smart_gateway.policy.uma import UmaResource, permitted_regions
from smart_gateway.principal import PermittedRegion

_log = logging.getLogger(__name__)
_MOST = 1000  # permissions of one token
_LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z; a time beyond it is no time


@dataclass(frozen=True, slots=True)
class Permitted:
    """The regions that count now; ``until`` is when that may change (seconds since the epoch), None: not by the permissions' own times."""

    regions: tuple[PermittedRegion, ...] = ()
    until: float | None = None


@dataclass(frozen=True, slots=True)
class _Permission:
    resource: str
    scopes: tuple[str, ...]
    since: float | None
    until: float | None

    def counts(self, now: float, leeway: float) -> bool:
        return (self.until is None or now < self.until) and (self.since is None or self.since <= now + leeway)


def introspected_permissions(claims: Mapping[str, Any]) -> Any:
    """The permissions of an introspection answer."""
    return claims.get("permissions")


def claimed_permissions(claims: Mapping[str, Any]) -> Any:
    """The permissions in a JWT, where Keycloak has them: the claim ``authorization``."""
    authorization = claims.get("authorization")
    return authorization.get("permissions") if isinstance(authorization, dict) else None


def read_permissions(value: Any, resources: Sequence[UmaResource], now: float, leeway: float) -> Permitted:
    """What ``value``, a list of permissions, opens at ``now``. One that is malformed, over, or for an unknown resource opens nothing."""
    if not isinstance(value, list):
        return Permitted()
    if len(value) > _MOST:
        _log.warning("a token with more than %d permissions: none of them counts", _MOST)
        return Permitted()
    permissions = [permission for permission in map(_read, value) if permission is not None]
    counting = [permission for permission in permissions if permission.counts(now, leeway)]
    regions = [region for one in counting for region in permitted_regions(one.resource, one.scopes, resources)]
    ends = [one.until for one in counting if one.until is not None]
    ends += [one.since - leeway for one in permissions if one.since is not None and one not in counting and one.counts(one.since, 0)]
    return Permitted(tuple(dict.fromkeys(regions)), min(ends, default=None))


def _read(item: Any) -> _Permission | None:
    """One permission, by the names of the standard or by Keycloak's own; a resource without scopes permits nothing here."""
    if not isinstance(item, dict):
        return None
    resource, scopes = _agreed(item, "resource_id", "rsid"), _agreed(item, "resource_scopes", "scopes")
    times = [item.get(name) for name in ("exp", "nbf", "iat")]
    if not isinstance(resource, str) or not resource or not isinstance(scopes, list) or not all(isinstance(s, str) for s in scopes):
        return None
    if not all(time is None or _is_time(time) for time in times):
        return None
    until, *begins = times
    return _Permission(resource, tuple(scopes), max((begin for begin in begins if begin is not None), default=None), until)


def _agreed(item: Mapping[str, Any], standard: str, own: str) -> Any:
    """The member by either name; None where both are there and differ."""
    if standard not in item:
        return item.get(own)
    return item[standard] if own not in item or item[own] == item[standard] else None


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LATEST  # NaN is in no range
