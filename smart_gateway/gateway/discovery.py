"""The documents that need no token: CapabilityStatement, smart-configuration, protected resource metadata. Spec: semantics 11."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smart_gateway.answers.answer import Answer
from smart_gateway.answers.capability import capability_statement, protected_resource, smart_configuration
from smart_gateway.errors import DependencyUnavailable, NotAcceptable, RequestError, UpstreamError
from smart_gateway.gateway.exchange import JSON_TYPE
from smart_gateway.gateway.snapshot import Snapshot
from smart_gateway.gateway.subrequest import Inner
from smart_gateway.policy.plan import UpstreamRequest
from smart_gateway.policy.reading import JUDGED_MEDIA, media_place
from smart_gateway.request.model import FhirRequest

_PLAIN_JSON = (b"content-type", b"application/json")
_HARMLESS = frozenset({"_format", "_pretty"})
# Spec: FHIR R4 http.html 3.1.0.9; mode=terminology asks for another resource, which is not judged here.
_MODES = frozenset({(), (("mode", "full"),), (("mode", "normative"),)})


async def capabilities(request: FhirRequest, snapshot: Snapshot, inner: Inner) -> Answer:
    """The upstream's CapabilityStatement as this gateway serves it. Raises RequestError, UpstreamError."""
    mode = tuple((parameter.key, parameter.value) for parameter in request.parameters if parameter.key not in _HARMLESS)
    if mode not in _MODES:
        raise RequestError(
            "The CapabilityStatement takes only mode=full or mode=normative, _format and _pretty.",
            reason="unknown-parameter",
            expression=f"http.{mode[0][0]}",
        )
    if request.preferences.media not in JUDGED_MEDIA:
        raise NotAcceptable("The CapabilityStatement is given as FHIR JSON: application/fhir+json.", expression=media_place(request))
    received = await inner.collect(UpstreamRequest("GET", ("metadata",), mode))
    if received.status != 200:
        raise UpstreamError("The FHIR server did not give its CapabilityStatement.")
    raw = received.require_json(snapshot.policy.vocabulary.release.version)
    return Answer(200, (JSON_TYPE,), capability_statement(raw, snapshot.policy.bases, await _known_discovery(snapshot)))


async def smart(snapshot: Snapshot) -> Answer:
    """``.well-known/smart-configuration``. Raises DependencyUnavailable while the issuer's own document cannot be had."""
    return Answer(200, (_PLAIN_JSON,), smart_configuration(await snapshot.discovery.document()))


async def protected(snapshot: Snapshot) -> Answer:
    """RFC 9728 metadata."""
    body = protected_resource(snapshot.policy.bases.public, snapshot.issuers, await _known_discovery(snapshot))
    return Answer(200, (_PLAIN_JSON,), body)


async def _known_discovery(snapshot: Snapshot) -> Mapping[str, Any] | None:
    """The issuer's document, where it can be had: these answers are of use without it."""
    try:
        return await snapshot.discovery.document()
    except DependencyUnavailable:
        return None
