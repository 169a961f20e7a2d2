"""The plan for read and vread."""

from __future__ import annotations

from collections.abc import Mapping

from smart_gateway.boundary.model import Boundary
from smart_gateway.errors import NotAcceptable, RequestError
from smart_gateway.policy.absence import absent
from smart_gateway.policy.access import Access
from smart_gateway.policy.parameters.summaries import hides_check
from smart_gateway.policy.plan import CheckResource, Decision, Permit, Plan, Stream, UpstreamRequest
from smart_gateway.policy.wording import check_sentence
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.scopes.permissions import Permission

# Types that hold whole resources of other types: these are judged unless the token has everything of every type (semantics 7).
_CARRIERS = frozenset({"Bundle", "Parameters"})
JUDGED_MEDIA = frozenset({"json", "any"})


def plan_read(request: FhirRequest, access: Access) -> Decision:
    """Streams under EVERYTHING; else the answer is fetched, checked and only then sent. Spec: semantics 5."""
    assert request.type is not None
    assert request.id is not None
    boundary = access.boundary(request.type, Permission.READ)
    grounds = access.grounds(request.type, Permission.READ)
    path = (request.type, request.id) if request.version is None else (request.type, request.id, "_history", request.version)
    if boundary.is_everything and (request.type not in _CARRIERS or access.unlimited(Permission.READ)):
        if not access.unlimited(Permission.READ):
            _require_known(request)
        upstream = UpstreamRequest("GET", path, tuple((p.key, p.value) for p in request.parameters if p.name != "_format"))
        return Permit(Plan(Stream(), upstream), grounds)
    if not access.matcher.could_hold(boundary, request.type, request.id):
        return absent(access.policy, grounds)
    query = _bounded_query(request, access, boundary)
    content = request.preferences.media == "raw"
    if content:
        query = ()  # the whole Binary is fetched in its FHIR form, which can be judged
    else:
        require_judged_media(request)
    rule = CheckResource(request.type, request.id, boundary, request.version, content)
    sentence = access.remembered(("read", request.type), lambda: f"{check_sentence(boundary)}, else it looks absent")
    check = f"{request.type}/{request.id} {sentence}"
    return Permit(Plan(rule, UpstreamRequest("GET", path, query), checks=(check,)), grounds)


def require_judged_media(request: FhirRequest) -> None:
    """Under a bound only FHIR JSON can be judged (semantics 0.3)."""
    if request.preferences.media not in JUDGED_MEDIA:
        text = "Under this token the answer must be checked, and only FHIR JSON can be: ask for application/fhir+json."
        raise NotAcceptable(text, expression=media_place(request))


def require_known_media(request: FhirRequest) -> None:
    """What is passed on unchecked is still what a FHIR server gives."""
    if request.preferences.media == "other":
        raise NotAcceptable("None of the media types asked for is one of FHIR's.", expression=media_place(request))


def media_place(request: FhirRequest) -> str:
    """The expression of what asks for the media type: ``_format`` comes before ``Accept``."""
    return "http._format" if any(parameter.name == "_format" for parameter in request.parameters) else "http.Accept"


def _bounded_query(request: FhirRequest, access: Access, boundary: Boundary) -> tuple[tuple[str, str], ...]:
    """What goes along with a bounded read. ``_elements`` is a wish that a server need not grant (FHIR R4 search.html
    3.1.1.5.9): it is not sent, so that the check sees the whole resource."""
    kept = []
    for parameter in request.parameters:
        match parameter.key:
            case "_format" | "_pretty" | "_elements":
                continue
            case "_summary" if parameter.value == "text":
                raise _unjudged_summary(parameter)
            case "_summary":
                kept.append(kept_summary(parameter, access, boundary, request.type))
            case _:
                raise _unknown(parameter)
    return tuple(kept)


def _require_known(request: FhirRequest) -> None:
    """One type open is not all: what a server makes of other parameters may be more than the resource asked for."""
    for parameter in request.parameters:
        if parameter.key not in {"_format", "_pretty", "_elements", "_summary"}:
            raise _unknown(parameter)


def _unknown(parameter: QueryParameter) -> RequestError:
    return RequestError(
        "A read under a bounded token takes only _format, _pretty, _elements and _summary.",
        reason="unknown-parameter",
        expression=f"http.{parameter.key}",
    )


def kept_summary(parameter: QueryParameter, access: Access, boundary: Boundary | None, type: str | None) -> tuple[str, str]:
    """``_summary`` as it is sent; ``boundary`` and ``type`` are None over all types. Raises RequestError where it hides what is checked."""
    judged = {type: boundary} if boundary is not None and type is not None else _searched(access)
    if parameter.value == "count" or any(hides_check(parameter.value, bound, of, access) for of, bound in judged.items()):
        raise _unjudged_summary(parameter)
    return parameter.key, parameter.value


def _searched(access: Access) -> Mapping[str, Boundary]:
    bounds = {type: access.boundary(type, Permission.SEARCH) for type in access.policy.vocabulary.types}
    return {type: boundary for type, boundary in bounds.items() if not boundary.is_nothing}


def _unjudged_summary(parameter: QueryParameter) -> RequestError:
    """Of a single resource servers give ``text`` as HTML. Spec: FHIR R4 search.html, Summary."""
    return RequestError(
        "This _summary may hide what must be checked, or is no FHIR JSON of one resource.",
        reason="summary-refused",
        expression=f"http.{parameter.key}",
    )
