"""How the gateway authenticates: what each way sends, which keys sign, and what stays secret."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import unquote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from smart_gateway.errors import SettingsError
from smart_gateway.tokens.algorithms import ALGORITHMS, signature_holds
from smart_gateway.tokens.client_authentication import ClientAuthentication, ClientMethod, read_assertion_key

ENDPOINT = "https://idp.example.org/introspect"
NOW = 1_750_000_000.9
RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
ED = ed25519.Ed25519PrivateKey.generate()


def entropy(size: int) -> bytes:
    return b"\xab" * size


def pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def jwk(key: Any, **members: Any) -> bytes:
    writer = {"RSA": RSAAlgorithm, "Ell": ECAlgorithm, "ECP": ECAlgorithm}.get(type(key).__name__[:3], OKPAlgorithm)
    written = {**writer.to_jwk(key, as_dict=True), **members}
    return json.dumps({name: value for name, value in written.items() if value is not None}).encode()


def applied(authentication: ClientAuthentication) -> tuple[dict[str, str], dict[str, str]]:
    form, headers = {"token": "t"}, {"accept": "application/json"}
    made = authentication.apply(form, headers, ENDPOINT, NOW, entropy)
    assert (form, headers) == ({"token": "t"}, {"accept": "application/json"}), "what was given stays as it was"
    return made


@pytest.mark.parametrize(
    ("client", "secret"),
    [("gateway", "s3cr3t"), ("https://gw.example/a:b", "p%:+ ü&=\"\\'"), ("a b", ":"), ("\N{SNOWMAN}", "\N{PILE OF POO}")],
)
def test_basic_encodes_id_and_secret_before_it_joins_them(client: str, secret: str) -> None:
    """RFC 6749 section 2.3.1: a colon in the id would otherwise move the border."""
    form, headers = applied(ClientAuthentication(ClientMethod.BASIC, client, secret))
    scheme, _, credentials = headers.pop("authorization").partition(" ")
    pair = base64.b64decode(credentials, validate=True).decode("ascii").split(":")
    assert (scheme, [unquote_plus(part) for part in pair]) == ("Basic", [client, secret])
    assert (form, headers) == ({"token": "t"}, {"accept": "application/json"})


def test_post_puts_them_into_the_form() -> None:
    form, headers = applied(ClientAuthentication(ClientMethod.POST, "gateway", "s3cr3t"))
    assert form == {"token": "t", "client_id": "gateway", "client_secret": "s3cr3t"}
    assert headers == {"accept": "application/json"}


def test_bearer_shows_a_token() -> None:
    form, headers = applied(ClientAuthentication(ClientMethod.BEARER, secret="abc.def"))
    assert (form, headers["authorization"]) == ({"token": "t"}, "Bearer abc.def")


@pytest.mark.parametrize(
    ("key", "alg"), [(RSA, "RS384"), (P256, "ES256"), (P384, "ES384"), (P521, "ES512"), (ED, "EdDSA")], ids=lambda value: str(value)[:5]
)
def test_an_assertion_is_signed_for_the_endpoint_and_for_a_minute(key: Any, alg: str) -> None:
    """RFC 7523 section 3; SMART App Launch 2.2 "Asymmetric client authentication"."""
    form, headers = applied(ClientAuthentication(ClientMethod.PRIVATE_KEY_JWT, "gateway", key=read_assertion_key(pem(key), "k-1")))
    assert headers == {"accept": "application/json"}
    assert (form["token"], form["client_id"]) == ("t", "gateway")
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    head, payload, signature = form["client_assertion"].split(".")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, payload))
    assert header == {"typ": "JWT", "alg": alg, "kid": "k-1"}
    assert claims == {
        "iss": "gateway",
        "sub": "gateway",
        "aud": ENDPOINT,
        "jti": "ab" * 16,
        "iat": 1_750_000_000,
        "exp": 1_750_000_060,
    }
    signed = f"{head}.{payload}".encode()
    assert signature_holds(ALGORITHMS[alg], key.public_key(), signed, base64.urlsafe_b64decode(signature + "=="))


def test_another_audience_can_be_said() -> None:
    key = read_assertion_key(pem(P384))
    form, _ = applied(ClientAuthentication(ClientMethod.PRIVATE_KEY_JWT, "gateway", key=key, audience="https://idp.example.org"))
    assert "kid" not in PyJWS().get_unverified_header(form["client_assertion"])
    assert json.loads(base64.urlsafe_b64decode(form["client_assertion"].split(".")[1] + "=="))["aud"] == "https://idp.example.org"


@pytest.mark.parametrize(
    ("data", "kid", "expected"),
    [
        (jwk(P384, kid="own"), None, ("ES384", "own")),
        (jwk(P384, kid="own"), "said", ("ES384", "said")),
        (jwk(P384, kid=5), None, ("ES384", None)),
        (b"\n " + jwk(RSA), None, ("RS384", None)),
        (jwk(RSA, alg="PS256"), None, ("PS256", None)),
        (jwk(ED), None, ("EdDSA", None)),
        (pem(P256), None, ("ES256", None)),
    ],
)
def test_keys_come_as_pem_or_jwk(data: bytes, kid: str | None, expected: tuple[str, str | None]) -> None:
    key = read_assertion_key(data, kid)
    assert (key.alg, key.kid) == expected
    assert key == read_assertion_key(data, kid)
    assert "PRIVATE" not in repr(key)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"{",
        b"[]",
        b"{}",
        b'{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}',
        b'{"kty": "oct", "alg": "HS256", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}',
        jwk(P384, alg="ES256"),
        jwk(P384, alg="none"),
        jwk(P384, alg="HS384"),
        jwk(P384, alg=["ES384"]),
        jwk(P384, d=None),
        jwk(RSA, alg="ES256"),
        jwk(RSA, d=None),
        jwk(rsa.generate_private_key(65537, 1024)),
        pem(rsa.generate_private_key(65537, 1024)),
        pem(ec.generate_private_key(ec.SECP256K1())),
        pem(dsa.generate_private_key(1024)),
        pem(x25519.X25519PrivateKey.generate()),
    ],
)
def test_what_cannot_sign_is_refused_and_not_repeated(data: bytes) -> None:
    with pytest.raises(SettingsError) as refusal:
        read_assertion_key(data)
    assert refusal.value.text.startswith("The key file holds")
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    ("method", "given"),
    [
        (ClientMethod.BASIC, {"client_id": "gateway"}),
        (ClientMethod.BASIC, {"secret": "s"}),
        (ClientMethod.POST, {"client_id": "gateway", "secret": "s", "key": read_assertion_key(pem(P256))}),
        (ClientMethod.BEARER, {"client_id": "gateway"}),
        (ClientMethod.PRIVATE_KEY_JWT, {"client_id": "gateway"}),
        (ClientMethod.PRIVATE_KEY_JWT, {"client_id": "gateway", "secret": "s"}),
        (ClientMethod.PRIVATE_KEY_JWT, {"client_id": "gateway", "secret": "s", "key": read_assertion_key(pem(P256))}),
        (ClientMethod.PRIVATE_KEY_JWT, {"key": read_assertion_key(pem(P256))}),
    ],
)
def test_no_way_goes_without_what_it_needs(method: ClientMethod, given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        ClientAuthentication(method, **given)


def test_secrets_are_not_shown() -> None:
    assert "s3cr3t" not in repr(ClientAuthentication(ClientMethod.BASIC, "gateway", "s3cr3t"))
