"""SMART App Launch 2.2's table of ``.well-known/smart-configuration``, as assertions.

Spec: SMART App Launch 2.2, conformance, "Metadata"; "Client Authentication: Asymmetric", "Advertising server support".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

Check = Callable[[Any], bool]


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and urlsplit(value).scheme in {"http", "https"} and bool(urlsplit(value).netloc)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item for item in value)


def _are_some_of(*words: str) -> Check:
    return lambda value: _are_texts(value) and bool(value) and set(value) <= set(words)


def _are_endpoints(value: Any) -> bool:
    return isinstance(value, list) and all(_is_url(item["url"]) and _are_texts(item["capabilities"]) for item in value)


REQUIRED: Mapping[str, Check] = {
    "grant_types_supported": _are_some_of("authorization_code", "client_credentials"),
    "token_endpoint": _is_url,
    "capabilities": lambda value: _are_texts(value) and bool(value) and len(set(value)) == len(value),
    "code_challenge_methods_supported": lambda value: _are_texts(value) and "S256" in value and "plain" not in value,
}
OPTIONAL: Mapping[str, Check] = {
    "issuer": _is_url,
    "jwks_uri": _is_url,
    "authorization_endpoint": _is_url,
    "token_endpoint_auth_methods_supported": _are_some_of("client_secret_post", "client_secret_basic", "private_key_jwt"),
    "token_endpoint_auth_signing_alg_values_supported": _are_texts,
    "registration_endpoint": _is_url,
    "smart_app_state_endpoint": _is_url,
    "associated_endpoints": _are_endpoints,
    "user_access_brand_bundle": _is_url,
    "user_access_brand_identifier": lambda value: isinstance(value, dict),
    "scopes_supported": _are_texts,
    "response_types_supported": _are_texts,
    "management_endpoint": _is_url,
    "introspection_endpoint": _is_url,
    "revocation_endpoint": _is_url,
}
NEEDED_BY: Mapping[str, tuple[str, ...]] = {
    "sso-openid-connect": ("issuer", "jwks_uri"),
    "launch-ehr": ("authorization_endpoint",),
    "launch-standalone": ("authorization_endpoint",),
    "smart-app-state": ("associated_endpoints",),
}


def assert_conforms(document: Mapping[str, Any]) -> None:
    """Every member is one of the table, has its form, and is there where a capability requires it."""
    checks = {**REQUIRED, **OPTIONAL}
    assert REQUIRED.keys() <= document.keys()
    assert document.keys() <= checks.keys()
    assert [name for name, value in document.items() if not checks[name](value)] == []
    for capability in document["capabilities"]:
        assert set(NEEDED_BY.get(capability, ())) <= document.keys(), capability
    assert ("issuer" in document) is ("sso-openid-connect" in document["capabilities"])
