"""The public documents: CapabilityStatement, smart-configuration, protected resource metadata; and facts read from the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from smart_gateway.answers.rewriting import base_rewriter
from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.references import Bases
from smart_gateway.fhir.strict_json import JsonError, parse_json
from smart_gateway.policy.exporting import EXPORTED_ON, KICKOFF
from smart_gateway.policy.model import Capabilities
from smart_gateway.policy.operation_table import opened_on
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
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
# Spec: SMART App Launch 2.2, conformance, "Declaring support for OAuth2 endpoints" (the CapabilityStatement's extension).
_OAUTH_URI_SOURCES = (
    ("authorize", "authorization_endpoint"),
    ("token", "token_endpoint"),
    ("register", "registration_endpoint"),
    ("manage", "management_endpoint"),
    ("introspect", "introspection_endpoint"),
    ("revoke", "revocation_endpoint"),
)
_ENFORCED = ("permission-v1", "permission-v2", "permission-patient", "permission-user")
_ENDPOINTS = ("issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "registration_endpoint", "management_endpoint",
              "introspection_endpoint", "revocation_endpoint")  # fmt: skip
_LISTS = ("token_endpoint_auth_methods_supported", "scopes_supported", "response_types_supported")
_CLIENT_CAPABILITIES = (
    ("private_key_jwt", "client-confidential-asymmetric"),
    ("client_secret_basic", "client-confidential-symmetric"),
    ("none", "client-public"),
)

_encode = msgspec.json.Encoder().encode


def capability_statement(raw: bytes, bases: Bases, discovery: Mapping[str, Any] | None) -> bytes:
    """The upstream's CapabilityStatement as this gateway serves it: its URLs public, ``rest.security`` SMART's, and nothing in it that
    is refused anyway. ``discovery`` is the issuer's discovery document. Raises UpstreamError.

    Spec: semantics 11; FHIR R4 capabilitystatement.html.
    """
    statement = _document(raw, bases)
    made = {name: statement[name] for name in _STATEMENT_MEMBERS if name in statement}
    made["implementation"] = {**_object(statement.get("implementation")), "url": bases.public}
    made["implementation"].setdefault("description", "FHIR server behind smart-gateway")
    made["rest"] = [_rest(rest, discovery) for rest in _objects(statement.get("rest")) if rest.get("mode") == "server"][:1]
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


def smart_configuration(discovery: Mapping[str, Any]) -> bytes:
    """``.well-known/smart-configuration``, from the issuer's discovery document (OpenID Connect, RFC 8414, or its own smart-configuration).

    Spec: SMART App Launch 2.2, conformance, "Metadata". ``capabilities``: what the gateway enforces, what the issuer's document says, and
    the kinds of client that its token endpoint authenticates.
    """
    made: dict[str, Any] = {name: discovery[name] for name in _ENDPOINTS if _is_url(discovery.get(name))}
    made |= {name: _strings(discovery[name]) for name in _LISTS if _strings(discovery.get(name))}
    # RFC 8414 section 2 gives the default for an issuer that does not say; the implicit grant is none of SMART's.
    made["grant_types_supported"] = [g for g in _strings(discovery.get("grant_types_supported")) if g != "implicit"] or [
        "authorization_code"
    ]
    challenges = discovery.get("code_challenge_methods_supported")
    made["code_challenge_methods_supported"] = ["S256"] if challenges is None or "S256" in _strings(challenges) else []
    made["capabilities"] = _capabilities(discovery)
    return _encode(made)


def protected_resource(public: str, issuers: Sequence[str], discovery: Mapping[str, Any] | None = None) -> bytes:
    """RFC 9728 metadata of the public base; ``scopes_supported`` where the issuer's discovery document has them."""
    made: dict[str, Any] = {"resource": public, "authorization_servers": list(issuers), "bearer_methods_supported": ["header"]}
    scopes = _strings(discovery.get("scopes_supported")) if discovery is not None else []
    if scopes:
        made["scopes_supported"] = scopes
    return _encode(made)


def _document(raw: bytes, bases: Bases) -> Mapping[str, Any]:
    try:
        statement = parse_json(base_rewriter(bases).whole(raw))
    except JsonError:
        raise UpstreamError("The upstream's CapabilityStatement cannot be read.") from None
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        raise UpstreamError("The upstream answered something else than a CapabilityStatement.")
    return statement


def _rest(rest: Mapping[str, Any], discovery: Mapping[str, Any] | None) -> dict[str, Any]:
    """One ``rest`` with what is served; the upstream may do more, and saying so would send clients into refusals.

    Types are searched together on every upstream: one by one.
    """
    made: dict[str, Any] = {"mode": "server"}
    made |= {name: rest[name] for name in ("documentation", "searchParam") if name in rest}
    made["security"] = _security(discovery)
    others = [found for found in _served(rest, SERVED_OVER_ALL) if found.get("code") != "search-system"]
    made["interaction"] = [{"code": "search-system"}, *others]
    made["resource"] = [_resource(resource) for resource in _objects(rest.get("resource"))]
    return made | _operations(rest, None)


def _resource(resource: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: resource[name] for name in _RESOURCE_MEMBERS if name in resource}
    made["interaction"] = _served(resource, SERVED_ON_TYPES)
    # Criteria are asked here, and what they find is written by id; the upstream itself must look for what a create names.
    conditional = {"conditionalCreate": resource.get("conditionalCreate") is True, "conditionalUpdate": True}
    type = resource.get("type")
    operations = _operations(resource, type) if isinstance(type, str) else {}
    return made | conditional | {"conditionalDelete": "single"} | operations


def _served(holder: Mapping[str, Any], codes: frozenset[str]) -> list[Mapping[str, Any]]:
    return [found for found in _objects(holder.get("interaction")) if found.get("code") in codes]


def _operations(holder: Mapping[str, Any], type: str | None) -> dict[str, Any]:
    """Those that the upstream has and the gateway opens. Their names may come with the ``$`` or without."""
    opened = opened_on(type) | ({KICKOFF} if type in EXPORTED_ON else frozenset())
    found = [
        {name: operation[name] for name in _OPERATION_MEMBERS if name in operation}
        for operation in _objects(holder.get("operation"))
        if f"${str(operation.get('name')).removeprefix('$')}" in opened
    ]
    return {"operation": found} if found else {}


def _security(discovery: Mapping[str, Any] | None) -> dict[str, Any]:
    known = discovery or {}
    uris = [{"url": name, "valueUri": known[source]} for name, source in _OAUTH_URI_SOURCES if _is_url(known.get(source))]
    return {**({"extension": [{"url": _OAUTH_URIS, "extension": uris}]} if uris else {}), "service": [_SMART_SERVICE]}


def _capabilities(discovery: Mapping[str, Any]) -> list[str]:
    methods = _strings(discovery.get("token_endpoint_auth_methods_supported"))
    clients = (capability for method, capability in _CLIENT_CAPABILITIES if method in methods)
    return list(dict.fromkeys((*_ENFORCED, *_strings(discovery.get("capabilities")), *clients)))


def _parameter_names(holder: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(found["name"] for found in _objects(holder.get("searchParam")) if isinstance(found.get("name"), str))


def _name(software: Any) -> str | None:
    name = _object(software).get("name")
    return name if isinstance(name, str) else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))
