"""What a request gives to an operation: parameters of its query and of the Parameters resource in its body, as one list.

Spec: FHIR R4 operations.html 3.2.0.3 (executing an operation synchronously), parameters.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from smart_gateway.errors import BodyTooLarge, RequestError, UnsupportedMediaType
from smart_gateway.fhir.media import is_json_body
from smart_gateway.request.body import read_object
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.request.parameters import read_parameter

_VALUE = re.compile(r"value[A-Z][A-Za-z0-9]*")
_TOP = frozenset({"resourceType", "id", "meta", "language", "parameter"})
_STEERING = frozenset({"_format", "_pretty"})  # say how the answer is written, to any interaction


@dataclass(frozen=True, slots=True)
class Argument:
    """One input of an operation. ``parameter`` is how a query has it; its value is empty where only a body can hold it.

    ``member`` is the member of ``Parameters.parameter`` that holds ``content`` (``valueUri``, ``resource``, ``part``), None for one of the
    query; ``place`` is its expression.
    """

    parameter: QueryParameter
    place: str
    member: str | None = None
    content: Any = None

    @property
    def is_plain(self) -> bool:
        """Whether it is one primitive value or a literal reference, as a query can hold it."""
        return self.member is None or (self.member.startswith("value") and _plain(self.member, self.content) is not None)


def read_operation(request: FhirRequest, body: bytes, limits: Limits) -> FhirRequest:
    """``request``, an operation by POST, with the resource that its ``body`` holds, if it holds any.

    Raises UnsupportedMediaType, BodyTooLarge, RequestError.
    """
    if not body and request.content_type is None:
        return replace(request, body_pending=False)
    if not is_json_body(request.content_type):
        text = "An operation takes a Parameters resource or another one as FHIR JSON in UTF-8: application/fhir+json."
        raise UnsupportedMediaType(text, expression="http.Content-Type")
    if len(body) > limits.body:
        raise BodyTooLarge("The body is larger than this gateway accepts.")
    if not body:
        return replace(request, body_pending=False)
    resource = read_object(body, limits.depth)
    if not isinstance(resource.get("resourceType"), str):
        raise RequestError("The body is no resource: it has no resourceType.", reason="type-mismatch")
    return replace(request, resource=resource, body_pending=False)


def read_arguments(request: FhirRequest, bare: str | None) -> tuple[Argument, ...]:
    """The inputs of the operation that ``request`` calls, those of the query first.

    A resource that is no Parameters is the input named ``bare``; where that is None it is refused. Raises RequestError.
    """
    query = [Argument(parameter, f"http.{parameter.key}") for parameter in request.parameters if parameter.key not in _STEERING]
    resource = request.resource
    if resource is None:
        return tuple(query)
    if resource["resourceType"] == "Parameters":
        return (*query, *_of_parameters(resource))
    if bare is None:
        raise RequestError("This operation takes a Parameters resource as its body.", reason="type-mismatch", expression="Parameters")
    place = str(resource["resourceType"])
    return (*query, Argument(QueryParameter(bare, bare, ""), place, "resource", resource))


def holds_resource(value: Any) -> bool:
    """Whether a decoded JSON value is a resource, or has one anywhere in it."""
    if isinstance(value, list):
        return any(holds_resource(item) for item in value)
    return isinstance(value, dict) and ("resourceType" in value or any(holds_resource(item) for item in value.values()))


def _of_parameters(resource: Mapping[str, Any]) -> Iterator[Argument]:
    items = resource.get("parameter", [])
    if resource.keys() - _TOP or not isinstance(items, list):
        raise _fault("The Parameters resource has a member that this gateway does not know.", "Parameters")
    for index, item in enumerate(items):
        yield _argument(item, f"Parameters.parameter[{index}]")


def _argument(item: Any, place: str) -> Argument:
    members = item.keys() - {"name"} if isinstance(item, dict) else set()
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or len(members) != 1:
        raise _fault("A parameter has a name and exactly one value, resource or list of parts.", place)
    member = str(members.pop())
    if member not in {"resource", "part"} and _VALUE.fullmatch(member) is None:
        raise _fault("A parameter has a name and exactly one value, resource or list of parts.", place)
    content = item[member]
    text = _plain(member, content) if member.startswith("value") else None
    return Argument(read_parameter(item["name"], text or ""), place, member, content)


def _plain(member: str, content: Any) -> str | None:
    """A primitive as a query would have it, a literal reference as its URL; None for anything else."""
    match content:
        case bool():
            return "true" if content else "false"
        case str():
            return content
        case int() | float():
            return str(content)
        case {"reference": str(reference)} if member == "valueReference" and content.keys() <= {"reference", "display"}:
            return reference
        case _:
            return None


def _fault(text: str, place: str) -> RequestError:
    return RequestError(text, reason="malformed-parameter", expression=place)
