"""What clients are told of the way to a token, held to SMART App Launch 2.2's table of members and capabilities."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smart_gateway.answers.smart_configuration import CAPABILITIES, Declared, described, oauth_uris, protected_resource, smart_configuration
from tests.answers.conftest import PUBLIC
from tests.support.smart_configuration import assert_conforms

IDP = "https://idp.example"
DISCOVERY: dict[str, Any] = {
    "issuer": IDP,
    "jwks_uri": f"{IDP}/jwks",
    "authorization_endpoint": f"{IDP}/authorize",
    "token_endpoint": f"{IDP}/token",
    "introspection_endpoint": f"{IDP}/introspect",
    "registration_endpoint": "javascript:alert(1)",
    "grant_types_supported": ["authorization_code", "implicit", "refresh_token", "client_credentials", "password"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt", "tls_client_auth", "client_secret_jwt"],
    "token_endpoint_auth_signing_alg_values_supported": ["RS384", "HS256"],
    "response_types_supported": ["code"],
    "scopes_supported": ["openid", "fhirUser", "offline_access", "patient/*.rs"],
    "subject_types_supported": ["public"],
}
NOTHING_DECLARED = Declared()


def made(discovery: dict[str, Any] | None = None, declared: Declared = NOTHING_DECLARED, **changes: Any) -> dict[str, Any]:
    document = {**(DISCOVERY if discovery is None else discovery), **changes}
    body = smart_configuration(described({name: value for name, value in document.items() if value is not ...}, declared), declared)
    assert body is not None
    published: dict[str, Any] = json.loads(body)
    return published


def test_the_whole_document_of_a_usual_issuer() -> None:
    document = made()
    assert_conforms(document)
    assert document == {
        "issuer": IDP,
        "jwks_uri": f"{IDP}/jwks",
        "authorization_endpoint": f"{IDP}/authorize",
        "token_endpoint": f"{IDP}/token",
        "introspection_endpoint": f"{IDP}/introspect",
        "scopes_supported": ["openid", "fhirUser", "offline_access", "patient/*.rs"],
        "response_types_supported": ["code"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "HS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
        "code_challenge_methods_supported": ["S256"],
        "capabilities": [
            "permission-v1",
            "permission-v2",
            "permission-patient",
            "permission-user",
            "client-confidential-symmetric",
            "client-confidential-asymmetric",
            "sso-openid-connect",
            "permission-offline",
        ],
    }


@pytest.mark.parametrize(
    ("capability", "member"),
    [
        ("sso-openid-connect", "issuer"),
        ("sso-openid-connect", "jwks_uri"),
        ("launch-ehr", "authorization_endpoint"),
        ("launch-standalone", "authorization_endpoint"),
        ("smart-app-state", "associated_endpoints"),
    ],
)
@pytest.mark.parametrize("how", ["declared", "said"])
def test_no_capability_without_the_members_that_it_requires(capability: str, member: str, how: str) -> None:
    """Spec: SMART App Launch 2.2, "Metadata": CONDITIONAL members."""
    endpoints = [{"url": "https://state.example", "capabilities": ["smart-app-state"]}]
    declared = Declared({}, (capability,)) if how == "declared" else NOTHING_DECLARED
    said = {"capabilities": [capability] if how == "said" else [], "associated_endpoints": endpoints}
    with_member, without = made(declared=declared, **said), made(declared=declared, **{**said, member: ...})
    assert capability in with_member["capabilities"]
    assert member in with_member
    assert capability not in without["capabilities"]
    assert member not in without
    assert_conforms(with_member)
    assert_conforms(without)


@pytest.mark.parametrize("change", [{"scopes_supported": ["openid"]}, {"scopes_supported": ["fhirUser"]}, {"scopes_supported": ...}])
def test_the_issuer_is_named_for_single_sign_on_alone(change: dict[str, Any]) -> None:
    """Spec: SMART App Launch 2.2: "otherwise, omitted"."""
    document = made(**change)
    assert "sso-openid-connect" not in document["capabilities"]
    assert "issuer" not in document
    assert document["jwks_uri"] == f"{IDP}/jwks"
    assert_conforms(document)
    declared = made(declared=Declared({}, ("sso-openid-connect",)), **change)
    assert declared["issuer"] == IDP
    assert_conforms(declared)


@pytest.mark.parametrize(
    ("methods", "algorithms", "capabilities"),
    [
        (["none"], ..., {"client-public"}),
        (["client_secret_basic"], ..., {"client-confidential-symmetric"}),
        (["client_secret_post"], ..., set()),
        (["private_key_jwt"], ["RS384"], {"client-confidential-asymmetric"}),
        (["private_key_jwt"], ["ES384", "RS256"], {"client-confidential-asymmetric"}),
        (["private_key_jwt"], ["RS256", "ES256"], set()),
        (["private_key_jwt"], ..., set()),
        (["client_secret_jwt"], ["RS384"], set()),
        (..., ["RS384"], set()),
        ("private_key_jwt", ["RS384"], set()),
    ],
)
def test_the_kinds_of_client_that_the_token_endpoint_knows(methods: Any, algorithms: Any, capabilities: set[str]) -> None:
    changes = {"token_endpoint_auth_methods_supported": methods, "token_endpoint_auth_signing_alg_values_supported": algorithms}
    document = made(**changes)
    assert {found for found in document["capabilities"] if found.startswith("client-")} == capabilities
    assert_conforms(document)


@pytest.mark.parametrize(
    ("said", "published"),
    [
        (..., ["authorization_code"]),
        (["client_credentials"], ["client_credentials"]),
        (["client_credentials", "authorization_code"], ["authorization_code", "client_credentials"]),
        (["password"], []),
        ([], []),
        ("client_credentials", []),
    ],
)
def test_grant_types_are_those_of_smart(said: Any, published: list[str]) -> None:
    assert made(grant_types_supported=said)["grant_types_supported"] == published


@pytest.mark.parametrize(
    ("said", "published"),
    [(..., ["S256"]), (["S256"], ["S256"]), (["plain", "S256"], ["S256"]), (["plain"], []), ([], []), ("S256", []), (None, ["S256"])],
)
def test_plain_is_never_a_challenge_method(said: Any, published: list[str]) -> None:
    assert made(code_challenge_methods_supported=said)["code_challenge_methods_supported"] == published


@pytest.mark.parametrize("token_endpoint", [..., None, "", "/token", "token", 7, "javascript:alert(1)"])
def test_without_a_token_endpoint_there_is_no_document(token_endpoint: Any) -> None:
    description = {name: value for name, value in {**DISCOVERY, "token_endpoint": token_endpoint}.items() if value is not ...}
    assert smart_configuration(description, NOTHING_DECLARED) is None


@pytest.mark.parametrize(
    "member", ["authorization_endpoint", "registration_endpoint", "jwks_uri", "management_endpoint", "user_access_brand_bundle"]
)
@pytest.mark.parametrize("value", ["/relative", "ftp://idp.example/x", 7, None, ["https://idp.example/x"]])
def test_addresses_are_absolute(member: str, value: Any) -> None:
    """Spec: SMART App Launch 2.2: all endpoint URLs in the response document SHALL be absolute URLs."""
    document = made(**{member: value})
    assert member not in document
    assert_conforms(document)


def test_what_the_issuer_says_of_itself_is_kept_where_it_has_the_form() -> None:
    document = made(
        capabilities=["launch-ehr", "permission-v2", 7, "https://example.org/own"],
        user_access_brand_bundle="https://idp.example/brands.json",
        user_access_brand_identifier={"value": "b1"},
        associated_endpoints=[{"url": "https://state.example", "capabilities": ["smart-app-state"]}],
    )
    assert document["capabilities"].count("permission-v2") == 1
    assert {"launch-ehr", "https://example.org/own"} <= set(document["capabilities"])
    assert document["user_access_brand_identifier"] == {"value": "b1"}
    assert document["associated_endpoints"][0]["url"] == "https://state.example"
    assert_conforms(document)


@pytest.mark.parametrize(
    "change",
    [
        {"user_access_brand_identifier": "b1"},
        {"associated_endpoints": []},
        {"associated_endpoints": {"url": "https://state.example"}},
        {"associated_endpoints": [{"url": "/state", "capabilities": []}]},
        {"associated_endpoints": [{"url": "https://state.example"}]},
        {"scopes_supported": "openid"},
        {"response_types_supported": [7]},
    ],
)
def test_malformed_members_are_left_out(change: dict[str, Any]) -> None:
    document = made(**change)
    assert not document.keys() & change.keys()
    assert_conforms(document)


def test_what_is_declared_stands_in_for_what_is_said() -> None:
    declared = Declared(
        {"token_endpoint": "https://elsewhere.example/token", "scopes_supported": ["launch/patient"]}, ("launch-standalone",)
    )
    document = made(declared=declared)
    assert document["token_endpoint"] == "https://elsewhere.example/token"
    assert document["scopes_supported"] == ["launch/patient"]
    assert document["authorization_endpoint"] == f"{IDP}/authorize"
    assert {"launch-standalone", "permission-v2"} <= set(document["capabilities"])
    assert_conforms(document)


def test_a_terse_issuer() -> None:
    document = made({"issuer": IDP, "token_endpoint": f"{IDP}/token"})
    assert document["grant_types_supported"] == ["authorization_code"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert_conforms(document)


def test_an_issuer_that_cannot_be_asked_is_what_was_declared() -> None:
    declared = Declared({"token_endpoint": f"{IDP}/token", "grant_types_supported": ["client_credentials"]})
    assert described(None, declared) == declared.members
    assert_conforms(json.loads(smart_configuration(described(None, declared), declared) or b"null"))


def test_every_capability_has_its_place_in_the_list() -> None:
    document = made(
        declared=Declared(
            {"associated_endpoints": [{"url": "https://s.example", "capabilities": ["smart-app-state"]}]}, tuple(CAPABILITIES)
        )
    )
    assert set(document["capabilities"]) == set(CAPABILITIES)
    assert_conforms(document)


def test_protected_resource() -> None:
    bindings = {"dpop_signing_alg_values_supported": ["ES256"]}
    document = json.loads(protected_resource(PUBLIC, ["https://a.example", "https://b.example"], DISCOVERY, bindings))
    assert document == {
        "resource": PUBLIC,
        "authorization_servers": ["https://a.example", "https://b.example"],
        "bearer_methods_supported": ["header"],
        "authorization_details_types_supported": ["smart_on_fhir"],
        "scopes_supported": DISCOVERY["scopes_supported"],
        "dpop_signing_alg_values_supported": ["ES256"],
    }
    bare = json.loads(protected_resource(PUBLIC, ["https://a.example"]))
    assert not bare.keys() & {"scopes_supported", "dpop_signing_alg_values_supported"}


def test_oauth_uris() -> None:
    (extension,) = oauth_uris(DISCOVERY)
    assert extension["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    assert {uri["url"]: uri["valueUri"] for uri in extension["extension"]} == {
        "authorize": f"{IDP}/authorize",
        "token": f"{IDP}/token",
        "introspect": f"{IDP}/introspect",
    }
    assert oauth_uris(None) == []
