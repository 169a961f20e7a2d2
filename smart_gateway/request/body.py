"""Bodies: the form of a POST ``_search``, and the resource of a write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from smart_gateway.errors import BodyTooLarge, RequestError, UnsupportedMediaType
from smart_gateway.fhir.media import FORM, is_json_body
from smart_gateway.fhir.query import decode_form
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.parameters import read_parameters, requested_format
from smart_gateway.request.preferences import with_format

_REASONS = {"duplicate-key": "duplicate-key", "depth": "json-depth"}


class Expected(Protocol):
    """What a body must be: ``policy.plan.BodyCheck``. ``id`` is None where the server chooses it."""

    @property
    def type(self) -> str: ...

    @property
    def id(self) -> str | None: ...


def read_form(request: FhirRequest, body: bytes, limits: Limits = Limits()) -> FhirRequest:  # noqa: B008 - a frozen value
    """``request``, a POST ``_search``, with the parameters of its form behind those of its query.

    Raises UnsupportedMediaType for any other body, BodyTooLarge, RequestError for what a query could not hold either, an access token among
    it, and for a ``_format`` that query and form both have. Spec: FHIR R4 http.html 3.1.0.9; semantics 1 and 4.
    """
    if request.content_type != FORM and (body or request.content_type is not None):
        raise UnsupportedMediaType(f"A search by POST has a body of type {FORM} in UTF-8.", expression="http.Content-Type")
    if len(body) > limits.form:
        raise _too_large()
    form = read_parameters(decode_form(body, limits.parameters - len(request.parameters)))
    wanted = requested_format(form)
    if wanted is not None and requested_format(request.parameters) is not None:
        raise RequestError("Query and form both have _format.", reason="duplicate-parameter", expression="http._format")
    preferences = request.preferences if wanted is None else with_format(request.preferences, wanted)
    return replace(request, parameters=(*request.parameters, *form), preferences=preferences, form_pending=False)


def read_resource(body: bytes, check: Expected, content_type: str | None, limits: Limits) -> Mapping[str, Any]:
    """The resource that ``body`` holds, of the type and with the id that the path names.

    ``content_type`` is that of ``FhirRequest``. Without ``check.id`` the body may hold an id, which servers ignore on create (FHIR R4
    http.html 3.1.0.8). Raises UnsupportedMediaType, BodyTooLarge, and RequestError for what is not such a resource.
    """
    if not is_json_body(content_type):
        raise UnsupportedMediaType("The body must be FHIR JSON in UTF-8: application/fhir+json.", expression="http.Content-Type")
    if len(body) > limits.body:
        raise _too_large()
    resource = read_object(body, limits.depth)
    require_named(resource, check)
    return resource


def require_named(resource: Mapping[str, Any], check: Expected) -> None:
    """Raises RequestError unless ``resource`` has the type and the id that the path names."""
    type, id = resource.get("resourceType"), resource.get("id")
    if type != check.type:
        raise _mismatch(f"The body is no {check.type}, which the path names.", "type-mismatch", check.type)
    if check.id is not None and id is None:
        raise _mismatch("The body has no id; an update must have that of the path.", "id-missing", f"{check.type}.id")
    if check.id not in (None, id) or not isinstance(id, str | None):
        raise _mismatch("The id in the body is not that of the path.", "id-mismatch", f"{check.type}.id")


def read_object(body: bytes, depth: int) -> Mapping[str, Any]:
    """The JSON object that ``body`` is. Raises RequestError."""
    value = read_json(body, depth)
    if not isinstance(value, dict):
        raise RequestError("The body is no JSON object.", reason="malformed-json")
    return value


def read_json(body: bytes, depth: int) -> Any:
    """The JSON value that ``body`` is. Raises RequestError."""
    try:
        return parse_json(body, max_depth=depth)
    except JsonError as error:
        raise RequestError(error.text, reason=_REASONS.get(error.reason, "malformed-json")) from None


def _mismatch(text: str, reason: str, expression: str) -> RequestError:
    return RequestError(text, reason=reason, expression=expression)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge("The body is larger than this gateway accepts.")
