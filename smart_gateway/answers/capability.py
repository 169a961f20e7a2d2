"""The CapabilityStatement as it is served, and facts read from the upstream's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from smart_gateway.answers.rewriting import base_rewriter
from smart_gateway.answers.smart_configuration import oauth_uris
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.policy.exports.planning import EXPORTED_ON, KICKOFF
from smart_gateway.policy.model import Capabilities, OpenedOperation
from smart_gateway.policy.operations.opened import opened_names
from smart_gateway.policy.operations.table import opened_on
from smart_gateway.policy.requirements import SERVED_ON_TYPES, SERVED_OVER_ALL

_STATEMENT_MEMBERS = (
    "resourceType id url version name title status experimental date publisher contact description useContext jurisdiction purpose "
    "copyright kind instantiates imports software implementation fhirVersion format patchFormat acceptLanguage implementationGuide"
).split()
_RESOURCE_MEMBERS = (
    "type profile supportedProfile documentation versioning readHistory updateCreate referencePolicy searchInclude searchRevInclude "
    "searchParam"
).split()
_OPERATION_MEMBERS = ("extension", "name", "definition", "documentation")
_SMART_SERVICE = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
            "code": "SMART-on-FHIR",
            "display": "SMART-on-FHIR",
        }
    ],
    "text": "OAuth2 using SMART-on-FHIR profile (see http://docs.smarthealthit.org)",
}

_encode = msgspec.json.Encoder().encode


def capability_statement(
    raw: bytes, bases: Bases, description: Mapping[str, Any] | None, *, cors: bool = False, opened: Collection[OpenedOperation] = ()
) -> bytes:
    """The upstream's CapabilityStatement as this gateway serves it: its URLs public, ``rest.security`` SMART's, and nothing in it that
    is refused anyway. ``description`` is that of the authorization server; ``cors``: browser apps may call; ``opened`` are
    operations of the policy. Raises UpstreamError.

    Spec: semantics 11; FHIR R4 capabilitystatement.html.
    """
    statement = _document(raw, bases)
    made = {name: statement[name] for name in _STATEMENT_MEMBERS if name in statement}
    made["implementation"] = {**_object(statement.get("implementation")), "url": bases.public}
    made["implementation"].setdefault("description", "FHIR server behind smart-gateway")
    security = _security(description, cors=cors)
    made["rest"] = [_rest(rest, security, opened) for rest in _objects(statement.get("rest")) if rest.get("mode") == "server"][:1]
    return _encode(made)


def facts(raw: bytes) -> Capabilities:
    """By what the upstream can be searched, by type. ``Capabilities(None)`` where the statement cannot be read."""
    try:
        statement = parse_json(raw)
    except JsonError:
        return Capabilities()
    rests = [rest for rest in _objects(_object(statement).get("rest")) if rest.get("mode") == "server"]
    if _object(statement).get("resourceType") != "CapabilityStatement" or not rests:
        return Capabilities()
    common = _parameter_names(rests[0])
    return Capabilities(
        {
            resource["type"]: _parameter_names(resource) | common
            for resource in _objects(rests[0].get("resource"))
            if isinstance(resource.get("type"), str)
        },
        any(found.get("code") == "search-system" for found in _objects(rests[0].get("interaction"))),
        _name(_object(statement).get("software")),
        frozenset(
            resource["type"]
            for resource in _objects(rests[0].get("resource"))
            if resource.get("conditionalCreate") is False and isinstance(resource.get("type"), str)
        ),
    )


def _document(raw: bytes, bases: Bases) -> Mapping[str, Any]:
    try:
        statement = parse_json(base_rewriter(bases).whole(raw))
    except JsonError:
        raise UpstreamError("The upstream's CapabilityStatement cannot be read.") from None
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        raise UpstreamError("The upstream answered something else than a CapabilityStatement.")
    return statement


def _rest(rest: Mapping[str, Any], security: Mapping[str, Any], opened: Collection[OpenedOperation]) -> dict[str, Any]:
    """One ``rest`` with what is served; the upstream may do more, and saying so would send clients into refusals.

    Types are searched together on every upstream: one by one.
    """
    made: dict[str, Any] = {"mode": "server"}
    made |= {name: rest[name] for name in ("documentation", "searchParam") if name in rest}
    made["security"] = security
    others = [found for found in _served(rest, SERVED_OVER_ALL) if found.get("code") != "search-system"]
    made["interaction"] = [{"code": "search-system"}, *others]
    made["resource"] = [_resource(resource, opened) for resource in _objects(rest.get("resource"))]
    return made | _operations(rest, None, opened)


def _resource(resource: Mapping[str, Any], opened: Collection[OpenedOperation]) -> dict[str, Any]:
    made = {name: resource[name] for name in _RESOURCE_MEMBERS if name in resource}
    made["interaction"] = _served(resource, SERVED_ON_TYPES)
    # Criteria are asked here, and what they find is written by id; the upstream itself must look for what a create names.
    conditional = {"conditionalCreate": resource.get("conditionalCreate") is True, "conditionalUpdate": True}
    type = resource.get("type")
    operations = _operations(resource, type, opened) if isinstance(type, str) else {}
    return made | conditional | {"conditionalDelete": "single"} | operations


def _served(holder: Mapping[str, Any], codes: frozenset[str]) -> list[Mapping[str, Any]]:
    return [found for found in _objects(holder.get("interaction")) if found.get("code") in codes]


def _operations(holder: Mapping[str, Any], type: str | None, policys: Collection[OpenedOperation]) -> dict[str, Any]:
    """Those that the upstream has and the gateway opens. Their names may come with the ``$`` or without."""
    opened = opened_on(type) | set(opened_names(policys, type)) | ({KICKOFF} if type in EXPORTED_ON else frozenset())
    found = [
        {name: operation[name] for name in _OPERATION_MEMBERS if name in operation}
        for operation in _objects(holder.get("operation"))
        if f"${str(operation.get('name')).removeprefix('$')}" in opened
    ]
    return {"operation": found} if found else {}


def _security(description: Mapping[str, Any] | None, *, cors: bool) -> dict[str, Any]:
    """Spec: FHIR R4, CapabilityStatement.rest.security; oauth-uris is deprecated since SMART 2.0, and still what older apps read."""
    extension = oauth_uris(description)
    return {**({"extension": extension} if extension else {}), **({"cors": True} if cors else {}), "service": [_SMART_SERVICE]}


def _parameter_names(holder: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(found["name"] for found in _objects(holder.get("searchParam")) if isinstance(found.get("name"), str))


def _name(software: Any) -> str | None:
    name = _object(software).get("name")
    return name if isinstance(name, str) else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
