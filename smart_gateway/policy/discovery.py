"""The request for the CapabilityStatement: the one public document that the upstream is asked for. Spec: semantics 11."""

from __future__ import annotations

from smart_gateway.errors import NotAcceptable, RequestError
from smart_gateway.policy.plan import UpstreamRequest
from smart_gateway.policy.reading import JUDGED_MEDIA, media_place
from smart_gateway.request.model import FhirRequest

_HARMLESS = frozenset({"_format", "_pretty"})
# Spec: FHIR R4 http.html 3.1.0.10; mode=terminology asks for another resource, which is not judged here.
_MODES = frozenset({(), (("mode", "full"),), (("mode", "normative"),)})


def capability_request(request: FhirRequest) -> UpstreamRequest:
    """What is asked upstream for ``request``. Raises RequestError for other parameters, NotAcceptable for what is not JSON."""
    mode = tuple((parameter.key, parameter.value) for parameter in request.parameters if parameter.key not in _HARMLESS)
    if mode not in _MODES:
        raise RequestError(
            "The CapabilityStatement takes only mode=full or mode=normative, _format and _pretty.",
            reason="unknown-parameter",
            expression=f"http.{mode[0][0]}",
        )
    if request.preferences.media not in JUDGED_MEDIA:
        raise NotAcceptable("The CapabilityStatement is given as FHIR JSON: application/fhir+json.", expression=media_place(request))
    return UpstreamRequest("GET", ("metadata",), mode)
