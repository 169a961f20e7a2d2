"""Break-glass by headers: whether a request calls an emergency, and what its access is then. Spec: semantics 9."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smart_gateway.errors import RequestError
from smart_gateway.policy.access import Access
from smart_gateway.policy.break_glass import break_glass
from smart_gateway.policy.emergencies import BreakGlass, EmergencyCall
from smart_gateway.policy.plan import Deny
from smart_gateway.request.model import FhirRequest

_LONGEST = 512  # characters

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True)
class CalledEmergency:
    """An emergency that was called with a request, for its record. ``granted``: it counts."""

    rule: BreakGlass
    call: EmergencyCall
    granted: bool = False


def called_emergency(headers: Headers, rule: BreakGlass | None) -> CalledEmergency | None:
    """What a request calls: there is a reason, or a purpose that is for emergencies. Raises RequestError for broken headers."""
    if rule is None:
        return None
    call = EmergencyCall(_text(headers, rule.purpose_header), _text(headers, rule.reason_header))
    return CalledEmergency(rule, call) if call.reason is not None or call.purpose in rule.purposes else None


def in_emergency(called: CalledEmergency | None, request: FhirRequest, access: Access, now: float) -> Access | Deny:
    """The access that counts for this request, or why it is refused. Raises StepUpWanted."""
    if called is None:
        return access
    found = break_glass(called.call, request, access, now)
    called.granted = isinstance(found, Access)
    return found


def _text(headers: Headers, name: str) -> str | None:
    """The header's value, which must be one, in UTF-8, and printable: it goes into the record as it is."""
    lower = name.lower().encode("ascii")
    values = [value for key, value in headers if key.lower() == lower]
    if not values:
        return None
    if len(values) > 1:
        raise _fault(f"The request has more than one {name} header.", "duplicate-header", name)
    try:
        text = values[0].decode().strip()
    except UnicodeDecodeError:
        raise _fault(f"The header {name} is not UTF-8.", "malformed-header", name) from None
    if not text.isprintable() or len(text) > _LONGEST:
        raise _fault(f"The header {name} is at most {_LONGEST} printable characters.", "malformed-header", name)
    return text


def _fault(text: str, reason: str, name: str) -> RequestError:
    return RequestError(text, reason=reason, expression=f"http.{name}")
