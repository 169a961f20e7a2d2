"""What clients are told of the way to a token: ``.well-known/smart-configuration``, RFC 9728 metadata, the oauth-uris extension.

All three are made of one description: the issuer's own discovery document, and over it what the operator declares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
# Spec: SMART App Launch 1.0, conformance, "Declaring support for OAuth2 endpoints"; authorize and token are required there.
_OAUTH_URI_SOURCES = (
    ("authorize", "authorization_endpoint"),
    ("token", "token_endpoint"),
    ("register", "registration_endpoint"),
    ("manage", "management_endpoint"),
    ("introspect", "introspection_endpoint"),
    ("revoke", "revocation_endpoint"),
)
_REQUIRED_URIS = frozenset({"authorize", "token"})

CAPABILITIES = (
    "launch-ehr launch-standalone authorize-post client-public client-confidential-symmetric client-confidential-asymmetric "
    "sso-openid-connect context-banner context-style context-ehr-patient context-ehr-encounter context-standalone-patient "
    "context-standalone-encounter permission-offline permission-online permission-patient permission-user permission-v1 permission-v2 "
    "smart-app-state"
).split()
"""Spec: SMART App Launch 2.2, conformance, "Capabilities": every other simple word is reserved; those of others are URIs."""
_ENFORCED = ("permission-v1", "permission-v2", "permission-patient", "permission-user")
_ENDPOINTS = ("jwks_uri", "authorization_endpoint", "token_endpoint", "registration_endpoint", "management_endpoint",
              "introspection_endpoint", "revocation_endpoint", "user_access_brand_bundle")  # fmt: skip
_LISTS = ("scopes_supported", "response_types_supported", "token_endpoint_auth_signing_alg_values_supported")
# Spec: SMART App Launch 2.2, conformance, "Metadata": the values that the table allows, and the members that capabilities require.
_GRANT_TYPES = ("authorization_code", "client_credentials")
_AUTHENTICATION_METHODS = ("client_secret_post", "client_secret_basic", "private_key_jwt")
_REQUIRED_BY = {
    "sso-openid-connect": ("issuer", "jwks_uri"),
    "launch-ehr": ("authorization_endpoint",),
    "launch-standalone": ("authorization_endpoint",),
    "smart-app-state": ("associated_endpoints",),
}
# Spec: SMART App Launch 2.2, "Client Authentication: Asymmetric", "Advertising server support".
_ASYMMETRIC = frozenset({"RS384", "ES384"})

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Declared:
    """What the operator declares of the authorization server: ``members`` stand in for those of its discovery document,
    ``capabilities`` beside those that can be told from it."""

    members: Mapping[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()


def described(discovery: Mapping[str, Any] | None, declared: Declared) -> Mapping[str, Any]:
    """The description of the authorization server; ``discovery`` is None where it cannot be asked."""
    return {**(discovery or {}), **declared.members}


def smart_configuration(description: Mapping[str, Any], declared: Declared) -> bytes | None:
    """``.well-known/smart-configuration``; None where the description has no token endpoint, without which there is no such document.

    Spec: SMART App Launch 2.2, conformance, "Metadata". ``capabilities`` are what the gateway enforces, what the description says or
    shows, and what is declared, but none whose required members are missing. ``issuer`` is there for ``sso-openid-connect`` only.
    """
    if not _is_url(description.get("token_endpoint")):
        return None
    made: dict[str, Any] = {name: description[name] for name in ("issuer", *_ENDPOINTS) if _is_url(description.get(name))}
    made |= {name: _strings(description[name]) for name in _LISTS if _strings(description.get(name))}
    made |= _objects(description)
    methods = _strings(description.get("token_endpoint_auth_methods_supported"))
    if any(method in methods for method in _AUTHENTICATION_METHODS):
        made["token_endpoint_auth_methods_supported"] = [method for method in methods if method in _AUTHENTICATION_METHODS]
    made["grant_types_supported"] = _grant_types(description)
    made["code_challenge_methods_supported"] = _challenges(description)
    made["capabilities"] = _capabilities(made, methods, (*_strings(description.get("capabilities")), *declared.capabilities))
    if "sso-openid-connect" not in made["capabilities"]:
        made.pop("issuer", None)
    return _encode(made)


def protected_resource(
    public: str, issuers: Sequence[str], description: Mapping[str, Any] | None = None, bindings: Mapping[str, Any] | None = None
) -> bytes:
    """RFC 9728 metadata of the public base: every issuer, ``scopes_supported`` where the description has them, and ``bindings``, the
    members of its section 2 about tokens that are bound."""
    made: dict[str, Any] = {
        "resource": public,
        "authorization_servers": list(issuers),
        "bearer_methods_supported": ["header"],
        "authorization_details_types_supported": ["smart_on_fhir"],
    }
    scopes = _strings(description.get("scopes_supported")) if description is not None else []
    if scopes:
        made["scopes_supported"] = scopes
    return _encode({**made, **(bindings or {})})


def oauth_uris(description: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The oauth-uris extension of a CapabilityStatement; none without the two addresses that it requires."""
    known = description or {}
    uris = [{"url": name, "valueUri": known[source]} for name, source in _OAUTH_URI_SOURCES if _is_url(known.get(source))]
    return [{"url": _OAUTH_URIS, "extension": uris}] if {uri["url"] for uri in uris} >= _REQUIRED_URIS else []


def _grant_types(description: Mapping[str, Any]) -> list[str]:
    """RFC 8414 section 2 gives the default for an issuer that does not say."""
    said = description.get("grant_types_supported")
    return ["authorization_code"] if said is None else [grant for grant in _GRANT_TYPES if grant in _strings(said)]


def _challenges(description: Mapping[str, Any]) -> list[str]:
    """``S256`` and never ``plain``. Who does not say is taken to have it, for SMART requires it; who says otherwise is not."""
    said = description.get("code_challenge_methods_supported")
    return ["S256"] if said is None or "S256" in _strings(said) else []


def _objects(description: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are no words: of these only what has the form that the table asks for."""
    made: dict[str, Any] = {}
    identifier, endpoints = description.get("user_access_brand_identifier"), description.get("associated_endpoints")
    if isinstance(identifier, dict):
        made["user_access_brand_identifier"] = identifier
    if isinstance(endpoints, list) and endpoints and all(_is_associated(endpoint) for endpoint in endpoints):
        made["associated_endpoints"] = endpoints
    return made


def _is_associated(endpoint: Any) -> bool:
    return isinstance(endpoint, dict) and _is_url(endpoint.get("url")) and isinstance(endpoint.get("capabilities"), list)


def _capabilities(made: Mapping[str, Any], methods: Sequence[str], said: Sequence[str]) -> list[str]:
    found = dict.fromkeys((*_ENFORCED, *said, *_shown(made, methods)))
    return [capability for capability in found if all(member in made for member in _REQUIRED_BY.get(capability, ()))]


def _shown(made: Mapping[str, Any], methods: Sequence[str]) -> list[str]:
    """The capabilities that standard metadata shows by itself."""
    scopes = made.get("scopes_supported", ())
    algorithms = made.get("token_endpoint_auth_signing_alg_values_supported", ())
    shown = {
        "client-public": "none" in methods,
        "client-confidential-symmetric": "client_secret_basic" in methods,
        "client-confidential-asymmetric": "private_key_jwt" in methods and bool(_ASYMMETRIC & set(algorithms)),
        "sso-openid-connect": {"openid", "fhirUser"} <= set(scopes) and "authorization_endpoint" in made,
        "permission-offline": "offline_access" in scopes,
    }
    return [capability for capability, holds in shown.items() if holds]


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))
