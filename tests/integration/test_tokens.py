"""Which tokens count (semantics 2): Keycloak's own, and every kind that a gateway must not take, in front of real HAPI."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.app import MakeApp, refused
from tests.integration.servers import realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.keycloak import Keycloak
from tests.support.issuer import ScriptedIssuer, SigningKey, compact, encode, make_key, serve

GOOD = {"scope": "patient/*.rs", "patient": "pat-a"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[ScriptedIssuer]:
    with serve(ScriptedIssuer()) as running:
        yield running


@pytest.fixture(scope="module")
def two_issuers(gateways: StartGateway, settings: dict[str, Any], issuer: ScriptedIssuer) -> Gateway:
    """A gateway that trusts Keycloak and the scripted issuer."""
    scripted = {"issuer": issuer.issuer, "audiences": [realm.AUDIENCE], "jwks_uri": issuer.jwks_uri}
    return gateways({**settings, "issuers": [*settings["issuers"], scripted]})


def mint(issuer: ScriptedIssuer, key: SigningKey | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token of the scripted issuer that is good but for what is given."""
    return issuer.token(key, header, time.time(), realm.AUDIENCE, **{**GOOD, **claims})


def test_tokens_of_both_issuers_count(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer, keycloak: Keycloak) -> None:
    for token in (mint(issuer), keycloak.user_token("amy", "patient/*.rs")):
        assert app(token, sees="a", at=two_issuers).get("/Patient/pat-a").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"exp": time.time() - 3600},
        {"exp": ...},
        {"exp": "tomorrow"},
        {"nbf": time.time() + 3600},
        {"iat": time.time() + 3600},
        {"aud": "https://elsewhere.example/fhir"},
        {"aud": realm.AUDIENCE + "/"},
        {"aud": realm.AUDIENCE.upper()},
        {"aud": ...},
        {"aud": []},
        {"iss": "https://elsewhere.example"},
        {"iss": ...},
        {"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}},
        {"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}},
    ],
)
def test_a_claim_that_is_wrong_voids_the_token(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer, change: dict[str, Any]) -> None:
    refused(app(mint(issuer, **change), at=two_issuers).get("/Patient/pat-a"), 401)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS256"},
        {"alg": "RS512"},
        {"alg": ...},
        {"kid": "unknown"},
        {"typ": "ID"},
        {"typ": "logout+jwt"},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"jku": "http://127.0.0.1:1/keys", "kid": "unknown"},
        {"zip": "DEF", "alg": "RS256", "crit": ["zip"]},
    ],
    ids=str,
)
def test_a_header_that_is_wrong_voids_the_token(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer, header: dict[str, Any]) -> None:
    refused(app(mint(issuer, header=header), at=two_issuers).get("/Patient/pat-a"), 401)


def test_an_unsigned_token_does_not_count(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer) -> None:
    good = mint(issuer)
    head, payload, signature = good.split(".")
    unsigned = encode(b'{"alg":"none"}')
    for token in (
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f"{unsigned}.{payload}.",
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f"{head}.{payload}.{signature}==",
        f"{head}.{payload}.{signature}.x",
    ):
        refused(app(token, at=two_issuers).get("/Patient/pat-a"), 401)


def test_a_key_of_nobody_does_not_sign(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer) -> None:
    stranger = make_key("RS256", "stranger")
    refused(app(mint(issuer, stranger), at=two_issuers).get("/Patient/pat-a"), 401)
    refused(app(mint(issuer, stranger, {"kid": "key-1"}), at=two_issuers).get("/Patient/pat-a"), 401)
    refused(app(mint(issuer, stranger, {"jwk": stranger.jwk(), "kid": "key-1"}), at=two_issuers).get("/Patient/pat-a"), 401)


def test_one_issuer_does_not_speak_for_the_other(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer, keycloak: Keycloak) -> None:
    refused(app(mint(issuer, iss=keycloak.issuer), at=two_issuers).get("/Patient/pat-a"), 401)


def test_an_id_token_is_no_access_token(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer) -> None:
    for claim in ("nonce", "at_hash", "c_hash"):
        claims: dict[str, Any] = {claim: "x"}
        refused(app(mint(issuer, header={"typ": "JWT"}, **claims), at=two_issuers).get("/Patient/pat-a"), 401)


@pytest.mark.parametrize(
    "patient",
    [
        ...,
        None,
        "",
        5,
        ["pat-a"],
        {"id": "pat-a"},
        "pat_a",
        "pat-a,pat-b",
        "*",
        "Practitioner/prac-1",
        "https://elsewhere.example/Patient/pat-a",
    ],
    ids=str,
)
def test_a_patient_claim_that_is_no_id_voids_patient_scopes(
    app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer, patient: object
) -> None:
    one = app(mint(issuer, patient=patient), at=two_issuers)
    refused(one.get("/Patient/pat-a"), 403)
    refused(one.get("/Observation"), 403)


@pytest.mark.parametrize(
    "scope", [..., None, "", 5, {}, [], ["patient/*.rs", 5], "openid launch/patient", "patient/*", "patient/*.sr", "patient/*.rs?"]
)
def test_a_scope_claim_that_says_nothing_opens_nothing(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer, scope: object) -> None:
    refused(app(mint(issuer, scope=scope), at=two_issuers).get("/Patient/pat-a"), 403)


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": ["openid", "patient/*.rs"]},
        {"scope": ..., "scp": "patient/*.rs"},
        {"scope": ..., "scp": ["patient/*.rs"]},
        {"patient": "Patient/pat-a"},
        {"aud": ["x", realm.AUDIENCE]},
        {"scope": "http://smarthealthit.org/fhir/scopes/patient/*.read"},
    ],
    ids=str,
)
def test_other_spellings_of_a_good_token(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer, claims: dict[str, Any]) -> None:
    assert app(mint(issuer, **claims), sees="a", at=two_issuers).get("/Patient/pat-a").status_code == 200


def test_doubled_claims_are_refused(app: MakeApp, two_issuers: Gateway, issuer: ScriptedIssuer) -> None:
    payload = base64.urlsafe_b64decode(mint(issuer).split(".")[1] + "==")
    doubled = payload[:-1] + b',"patient":"pat-b"}'
    assert json.loads(doubled)["patient"] == "pat-b"
    token = compact({"alg": "RS256", "kid": "key-1", "typ": "at+jwt"}, doubled, issuer.keys[0])
    refused(app(token, at=two_issuers).get("/Patient/pat-a"), 401)


def test_keycloak_rotates_its_keys_without_a_restart(
    gateways: StartGateway, settings: dict[str, Any], app: MakeApp, keycloak: Keycloak
) -> None:
    gateway = gateways(settings)
    old = keycloak.user_token("amy", "patient/*.rs")
    assert app(old, sees="a", at=gateway).get("/Patient/pat-a").status_code == 200
    keycloak.rotate_keys()
    new = keycloak.user_token("amy", "patient/*.rs")
    assert new.split(".")[0] != old.split(".")[0]
    assert app(new, sees="a", at=gateway).get("/Patient/pat-a").status_code == 200
    assert app(old, sees="a", at=gateway).get("/Patient/pat-a").status_code == 200


def test_an_issuer_that_is_gone_opens_nothing_new(gateways: StartGateway, settings: dict[str, Any], app: MakeApp) -> None:
    """Tokens of keys that are known go on for a while; those of others cannot be judged."""
    with serve(ScriptedIssuer()) as gone:
        config = {"issuer": gone.issuer, "audiences": [realm.AUDIENCE], "jwks_uri": gone.jwks_uri}
        at = gateways({**settings, "issuers": [*settings["issuers"], config]})
        assert app(mint(gone, jti="1"), sees="a", at=at).get("/Patient/pat-a").status_code == 200
    assert app(mint(gone, jti="2"), sees="a", at=at).get("/Patient/pat-a").status_code == 200
    assert app(mint(gone, make_key("RS256", "new")), at=at).get("/Patient/pat-a").status_code in {401, 503}


def test_an_issuer_that_was_never_there_gives_503(gateways: StartGateway, settings: dict[str, Any], app: MakeApp) -> None:
    with serve(ScriptedIssuer()) as gone:
        config = {"issuer": gone.issuer, "audiences": [realm.AUDIENCE], "jwks_uri": gone.jwks_uri}
    at = gateways({**settings, "issuers": [*settings["issuers"], config]}, ready=503)
    refused(app(mint(gone), at=at).get("/Patient/pat-a"), 503)
