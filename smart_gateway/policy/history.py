"""The plans for instance, type and system history (semantics 5; FHIR R4 http.html 3.1.0.12)."""

from __future__ import annotations

import re
from collections import Counter

from smart_gateway.boundary.model import Boundary
from smart_gateway.errors import RequestError
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.causes import Denial
from smart_gateway.policy.plan import CheckHistory, Decision, Deny, Permit, Plan, Stream, UpstreamRequest
from smart_gateway.policy.reading import kept_summary, require_judged_media
from smart_gateway.policy.requirements import REQUIRED
from smart_gateway.policy.wording import check_sentence
from smart_gateway.request.model import FhirRequest, QueryParameter

_DAY = r"(?:eq|ne|gt|lt|ge|le|sa|eb|ap)?\d{4}(?:-\d\d(?:-\d\d)?)?"
_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)?"
# What each parameter that is sent along may be. Spec: FHIR R4 http.html 3.1.0.12; `_sort` is R5's.
_VALUES = {
    "_since": re.compile(_MOMENT, re.ASCII),
    "_at": re.compile(f"{_DAY}|(?:eq|ne|gt|lt|ge|le|sa|eb|ap)?{_MOMENT}", re.ASCII),
    "_count": re.compile(r"0*[1-9][0-9]{0,8}", re.ASCII),
    "_sort": re.compile(r"-?_lastUpdated|none"),
}
_LIST = Denial("parameter-not-allowed", "_list can reach outside this token's bounds and is refused.", "http._list")
_NOT_SENT = frozenset({"_format", "_pretty", "_elements"})


def plan_history(request: FhirRequest, access: Access) -> Decision:
    """Streams where nothing is bounded; else every version is checked before it is sent."""
    permission = REQUIRED[request.interaction]
    grounds = access.grounds(request.type, permission) if request.type is not None else ()
    path = (*(part for part in (request.type, request.id) if part is not None), "_history")
    if access.unlimited(permission) and access.follows_streams:
        pairs = tuple((p.key, p.value) for p in request.parameters if p.name != "_format")
        return Permit(Plan(Stream(), UpstreamRequest("GET", path, pairs)), grounds)
    boundary = access.boundary(request.type, permission) if request.type is not None else None
    if boundary is not None and request.id is not None and not access.matcher.could_hold(boundary, request.type or "", request.id):
        return absent(access.policy, grounds)
    if any(parameter.name == "_list" for parameter in request.parameters):
        return Deny(403, (_LIST,), grounds=grounds)
    require_judged_media(request)
    upstream = UpstreamRequest("GET", path, _query(request, access, boundary))
    return Permit(Plan(CheckHistory(request.type, request.id, boundary), upstream, checks=_checks(boundary)), grounds)


def _query(request: FhirRequest, access: Access, boundary: Boundary | None) -> tuple[tuple[str, str], ...]:
    """What goes along. ``_elements`` is a wish, as in a read: not sent, so that the check sees whole versions."""
    given = Counter(parameter.key for parameter in request.parameters)
    pairs = []
    for parameter in request.parameters:
        if parameter.key in _NOT_SENT:
            continue
        if parameter.key != "_summary":
            _require_known(parameter)
        if given[parameter.key] > 1:
            raise _broken(parameter, f"{parameter.key} is given more than once.", "malformed-parameter")
        if parameter.key == "_summary":
            pairs.append(kept_summary(parameter, access, boundary, request.type))
        else:
            pairs.append((parameter.key, parameter.value))
    return tuple(pairs)


def _require_known(parameter: QueryParameter) -> None:
    pattern = _VALUES.get(parameter.key)
    if pattern is None:
        raise _broken(
            parameter,
            "A history under a bounded token takes only _since, _at, _count, _sort, _format, _pretty, _elements and _summary.",
            "unknown-parameter",
        )
    if pattern.fullmatch(parameter.value) is None:
        raise _broken(parameter, f"The value of {parameter.key} is none that a history takes.", "malformed-parameter")


def _broken(parameter: QueryParameter, text: str, reason: str) -> RequestError:
    return RequestError(text, reason=reason, expression=f"http.{parameter.key}")


def _checks(boundary: Boundary | None) -> tuple[str, ...]:
    if boundary is None:
        return ("every version in the answer is one that the token may search, by its own type",)
    return (f"every version in the answer {check_sentence(boundary)}", "deletions leave only where the whole type is open")
