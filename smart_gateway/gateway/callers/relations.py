"""Whose record a RelatedPerson is about: the stored one says it, where the policy bounds these users by ``related_patient``.

Spec: semantics 3. Kept for a minute, so that a relation that has ended is no way in for longer than that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from cachetools import LRUCache

from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.references import Reference, parse_reference
from smart_gateway.fhir.search_values_dates import HOUR, SECOND, time_range
from smart_gateway.fhir.search_values_syntax import ValueSyntaxError
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.gateway.subrequest import Inner
from smart_gateway.policy.model import Policy
from smart_gateway.policy.plan import UpstreamRequest
from smart_gateway.policy.rules.users import needs_related_patient
from smart_gateway.principal import Principal

_KEPT = 60.0  # seconds
_EPOCH = date(1970, 1, 1).toordinal() * 24 * HOUR
_GONE = frozenset({404, 410})


@dataclass(frozen=True, slots=True)
class _Related:
    """``principal`` as it came, ``amended`` by what was found out at ``since``."""

    principal: Principal
    policy: Policy
    amended: Principal
    since: float


class Relations:
    """Reads the RelatedPerson that a user is, and keeps what it says for each principal object."""

    def __init__(self, size: int = 10_000) -> None:
        self._held: LRUCache[int, _Related] = LRUCache(size)

    async def of(self, principal: Principal, policy: Policy, inner: Callable[[], Inner], now: float) -> Principal:
        """``principal`` with the patient of its RelatedPerson, where the policy asks for that; the same object as long as it is kept.

        INVARIANT: an entry holds its principal, so that no other object can have its identity. Raises UpstreamError where the
        RelatedPerson cannot be read.
        """
        user = principal.fhir_user
        if user is None or not needs_related_patient(principal, policy):
            return principal
        held = self._held.get(id(principal))
        if held is not None and held.principal is principal and held.policy is policy and 0 <= now - held.since < _KEPT:
            return held.amended
        patient = await _patient_of(user, policy, inner(), now)
        amended = replace(principal, related_patient=patient)
        self._held[id(principal)] = _Related(principal, policy, amended, now)
        return amended


async def _patient_of(user: Reference, policy: Policy, inner: Inner, now: float) -> str | None:
    received = await inner.collect(UpstreamRequest("GET", (user.type, user.id)))
    if received.status in _GONE:
        return None
    if received.status != 200:
        raise UpstreamError("The FHIR server did not give the RelatedPerson that the user is.")
    try:
        stored = parse_json(received.require_json(policy.vocabulary.release.version))
    except JsonError:
        raise UpstreamError("The FHIR server's RelatedPerson cannot be read.") from None
    return _named(stored, user, policy, now) if isinstance(stored, dict) else None


def _named(stored: Mapping[str, Any], user: Reference, policy: Policy, now: float) -> str | None:
    """The patient, where the resource is the one that was asked for, active, and of today."""
    if (stored.get("resourceType"), stored.get("id")) != (user.type, user.id):
        raise UpstreamError("The FHIR server gave another resource than the RelatedPerson that the user is.")
    if stored.get("active", True) is not True or not _is_of_today(stored.get("period", {}), now):
        return None
    patient = stored.get("patient")
    literal = patient.get("reference") if isinstance(patient, dict) else None
    reference = parse_reference(literal, policy.bases) if isinstance(literal, str) else None
    return reference.id if reference is not None and reference.type == "Patient" else None


def _is_of_today(period: object, now: float) -> bool:
    """Whether ``now`` lies in a Period, dates as in UTC; one that cannot be read holds nothing."""
    if not isinstance(period, dict) or period.keys() - {"start", "end"}:
        return False
    try:
        ranges = {name: time_range(text) for name, text in period.items()}
    except (ValueSyntaxError, TypeError):
        return False
    moment = _EPOCH + int(now * SECOND)
    begun = "start" not in ranges or ranges["start"].low - (ranges["start"].offset or 0) <= moment
    return begun and ("end" not in ranges or moment < ranges["end"].high - (ranges["end"].offset or 0))
