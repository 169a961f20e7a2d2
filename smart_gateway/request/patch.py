"""The body of a PATCH that can be judged: a JSON Patch."""

from __future__ import annotations

from smart_gateway.errors import BodyTooLarge, UnsupportedMediaType
from smart_gateway.fhir.json_patch import JsonPatch, read_json_patch
from smart_gateway.fhir.media import JSON_PATCH
from smart_gateway.request.body import read_json
from smart_gateway.request.limits import Limits

_OTHER = (
    f"The patch must be a JSON Patch in UTF-8, {JSON_PATCH}. A FHIRPath Patch or an XML Patch is accepted only where nothing has to be "
    "judged: what it makes of a resource cannot be told without the server."
)


def read_patch(body: bytes, content_type: str | None, limits: Limits) -> JsonPatch:
    """The operations in ``body``; ``content_type`` is that of ``FhirRequest``.

    Raises UnsupportedMediaType for other kinds of patches, BodyTooLarge, and RequestError that names the operation for what is no
    JSON Patch. Spec: RFC 6902; semantics 6.
    """
    if content_type != JSON_PATCH:
        raise UnsupportedMediaType(_OTHER, expression="http.Content-Type")
    if len(body) > limits.body:
        raise BodyTooLarge("The body is larger than this gateway accepts.")
    return read_json_patch(read_json(body, limits.depth), body)
