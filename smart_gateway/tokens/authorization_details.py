"""Rich authorization details of type ``smart_on_fhir``: which scope and launch context of a token are for this server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TYPE = "smart_on_fhir"


@dataclass(frozen=True, slots=True)
class LaunchGrant:
    """A scope and the launch context it comes with: claim values as they stand, not yet judged."""

    scope: Any = None
    patient: Any = None
    encounter: Any = None
    fhir_context: Any = None


NOTHING = LaunchGrant()


def detailed_grant(claims: Mapping[str, Any], base: str) -> LaunchGrant | None:
    """What the token's ``authorization_details`` grant at ``base``; None when it has none of this type.

    Only details whose ``locations`` hold ``base``, compared whole, count; several must agree on the launch context, because
    a principal has one. Anything malformed grants nothing. Spec: RFC 9396 section 2; semantics 3.
    """
    if "authorization_details" not in claims:
        return None
    details = claims["authorization_details"]
    if not isinstance(details, list) or not all(isinstance(item, dict) and isinstance(item.get("type"), str) for item in details):
        return NOTHING
    ours = [item for item in details if item["type"] == _TYPE]
    if not ours:
        return None
    if not all(_is_strings(item.get("locations")) for item in ours):
        return NOTHING
    return _agreed([item for item in ours if base in item["locations"]])


def _agreed(details: list[dict[str, Any]]) -> LaunchGrant:
    grants = [LaunchGrant(None, item.get("patient"), item.get("encounter"), item.get("fhirContext")) for item in details]
    scopes = [_scope_strings(item.get("scope")) for item in details]
    if not grants or any(grant != grants[0] for grant in grants):
        return NOTHING
    strings = [text for part in scopes if part is not None for text in part]
    if None in scopes:
        return NOTHING
    return LaunchGrant(strings, grants[0].patient, grants[0].encounter, grants[0].fhir_context)


def _scope_strings(scope: Any) -> list[str] | None:
    if isinstance(scope, str):
        return [text for text in scope.split(" ") if text]
    return scope if _is_strings(scope) else None


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
