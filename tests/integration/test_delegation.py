"""The gateway's own tokens, exchanged ones and actors, with real Keycloak before real HAPI that looks at what it gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jwt
import pytest

from tests.integration.app import MakeApp, refused
from tests.integration.servers import realm
from tests.integration.servers.delegating import FHIR_SERVER, GATEWAY, GATEWAY_SECRET, Realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi
from tests.integration.servers.keycloak import Keycloak
from tests.integration.servers.watched import Watched, watch

SECRET = "an identity secret of more than thirty-two bytes"
CLIENT = {"client_id": GATEWAY, "client_secret": GATEWAY_SECRET}


@pytest.fixture(scope="module")
def delegation(keycloak: Keycloak) -> Realm:
    return Realm(keycloak, "delegation")


@pytest.fixture(scope="module")
def watched(hapi: Hapi) -> Iterator[Watched]:
    with watch(hapi.base) as running:
        yield running


@pytest.fixture(scope="module")
def settings_for(watched: Watched, delegation: Realm) -> Any:
    def make(authorization: Any = "none", *, policy: Mapping[str, Any] | None = None, **upstream: Any) -> dict[str, Any]:
        return {
            "upstream": {"url": watched.base, "fhir_version": "R4", "authorization": authorization, **upstream},
            "issuers": [{"issuer": delegation.issuer, "audiences": [realm.AUDIENCE]}],
            "policy": dict(policy or {}),
        }

    return make


@pytest.fixture
def admitting(watched: Watched, delegation: Realm) -> Iterator[None]:
    """The FHIR server asks Keycloak about every token, which must be meant for it."""

    def admits(headers: Mapping[str, str]) -> bool:
        return delegation.introspect(headers.get("authorization", "").removeprefix("Bearer ")).get("active") is True

    watched.admits = admits
    yield
    watched.admits = lambda _headers: True


def claims(headers: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = jwt.decode(headers["authorization"].removeprefix("Bearer "), options={"verify_signature": False})
    return told


@pytest.mark.usefixtures("admitting")
def test_the_gateway_comes_by_its_own_token(
    gateways: StartGateway, settings_for: Any, app: MakeApp, watched: Watched, delegation: Realm
) -> None:
    at = gateways(settings_for({"client_credentials": CLIENT}))
    amy = app(delegation.user_token("amy", "patient/*.rs"), sees="a", at=at)
    assert amy.get("/Patient/pat-a").status_code == 200
    refused(amy.get("/Patient/pat-b"), 404)
    first = watched.of("/Patient/pat-a")
    assert claims(first)["azp"] == GATEWAY
    assert FHIR_SERVER in claims(first)["aud"]
    assert amy.get("/Observation").status_code == 200
    assert watched.of("/Observation")["authorization"] == first["authorization"]


@pytest.mark.usefixtures("admitting")
@pytest.mark.parametrize("actor", [False, True])
def test_a_users_token_is_exchanged_for_one_that_the_server_takes(
    gateways: StartGateway, settings_for: Any, app: MakeApp, watched: Watched, delegation: Realm, *, actor: bool
) -> None:
    exchange = {**CLIENT, "audience": FHIR_SERVER, "scope": ["patient/*.rs", "launch/patient"], "actor": actor}
    at = gateways(settings_for({"token_exchange": exchange}))
    token = delegation.user_token("amy", "patient/*.rs")
    assert FHIR_SERVER not in jwt.decode(token, options={"verify_signature": False})["aud"]
    amy = app(token, sees="a", at=at)
    assert amy.get("/Patient/pat-a").status_code == 200
    sent = claims(watched.of("/Patient/pat-a"))
    subject = jwt.decode(token, options={"verify_signature": False})["sub"]
    assert (sent["sub"], sent["azp"], sent["patient"]) == (subject, GATEWAY, "pat-a")
    assert FHIR_SERVER in (sent["aud"] if isinstance(sent["aud"], list) else [sent["aud"]])
    assert amy.get("/Observation").status_code == 200
    ben = app(delegation.user_token("ben", "patient/*.rs"), sees="b", at=at)
    assert ben.get("/Patient/pat-b").status_code == 200
    assert claims(watched.of("/Patient/pat-b"))["sub"] != subject
    assert token not in str(watched.seen)


def test_what_keycloak_does_not_exchange_does_not_get_through(
    gateways: StartGateway, settings_for: Any, app: MakeApp, watched: Watched, delegation: Realm
) -> None:
    wrong = gateways(settings_for({"token_exchange": {**CLIENT, "client_secret": "wrong"}}))
    asked = len(watched.seen)
    refused(app(delegation.user_token("amy", "patient/*.rs"), at=wrong).get("/Patient/pat-a"), 503, "dependency-unavailable")
    ours = gateways(settings_for({"token_exchange": {**CLIENT, "audience": FHIR_SERVER}}))
    chosen = app(delegation.user_token("amy", "patient/*.rs", "chosen"), at=ours)
    refused(chosen.get("/Patient/pat-a"), 401, "exchange-refused")
    assert [path for path, _ in watched.seen[asked:] if "pat-a" in path] == []


def test_forwarded_and_fixed_and_none(gateways: StartGateway, settings_for: Any, app: MakeApp, watched: Watched, delegation: Realm) -> None:
    token = delegation.user_token("amy", "patient/*.rs")
    for authorization, sent in (("none", None), ("forward", f"Bearer {token}"), ({"bearer": "fixed"}, "Bearer fixed")):
        assert app(token, sees="a", at=gateways(settings_for(authorization))).get("/Patient/pat-a").status_code == 200
        assert watched.of("/Patient/pat-a").get("authorization") == sent


def test_identity_headers_tell_who_asks(
    gateways: StartGateway, settings_for: Any, app: MakeApp, watched: Watched, delegation: Realm
) -> None:
    identity = {"headers": {"X-Fhir-Patient": "patient", "X-Fhir-User": "fhir_user"}, "assertion": "X-Identity", "secret": SECRET}
    at = gateways(settings_for(identity_headers=identity))
    amy = app(delegation.user_token("amy", "patient/*.rs"), sees="a", at=at)
    assert amy.get("/Patient/pat-a", headers={"X-Fhir-Patient": "pat-x", "X-Identity": "forged"}).status_code == 200
    sent = watched.of("/Patient/pat-a")
    assert (sent["x-fhir-patient"], sent["x-fhir-user"]) == ("pat-a", "Patient/pat-a")
    told = jwt.decode(sent["x-identity"], SECRET, ["HS256"], audience=watched.base, issuer=at.base)
    assert (told["patient"], told["client_id"], told["jti"]) == ("pat-a", realm.APP, sent["x-request-id"])
    house = app(delegation.user_token("dr-house", "user/*.rs"), sees="ab", at=at)
    assert house.get("/Patient/pat-b").status_code == 200
    assert (watched.of("/Patient/pat-b")["x-fhir-patient"], watched.of("/Patient/pat-b")["x-fhir-user"]) == ("", "Practitioner/prac-1")


@pytest.fixture(scope="module")
def with_actors(gateways: StartGateway, settings_for: Any) -> Gateway:
    return gateways(settings_for(policy={"actors": {"scheduler": {"limit": ["patient/Patient.r"]}}}))


def test_who_acts_is_judged_limited_and_logged(
    gateways: StartGateway, settings_for: Any, with_actors: Gateway, app: MakeApp, delegation: Realm
) -> None:
    token = delegation.scheduled_token("amy", "patient/*.rs")
    limited = app(token, sees="a", at=with_actors)
    read = limited.get("/Patient/pat-a")
    assert read.status_code == 200
    refused(limited.get("/Observation"), 403, "insufficient-scope")
    (event,) = with_actors.events_of(read.headers["x-request-id"])
    assert (event["actor"], event["patient"]) == ("scheduler", "pat-a")
    others = gateways(settings_for(policy={"actors": {"somebody": {}}}))
    refused(app(token, at=others).get("/Patient/pat-a"), 403, "actor-not-allowed")
    assert app(token, sees="a", at=gateways(settings_for())).get("/Observation").status_code == 200


def test_a_user_in_person_does_not_meet_the_actors(with_actors: Gateway, app: MakeApp, delegation: Realm) -> None:
    assert app(delegation.user_token("amy", "patient/*.rs"), sees="a", at=with_actors).get("/Observation").status_code == 200


def test_a_token_that_names_who_may_act_for_it_is_nobody_elses(with_actors: Gateway, app: MakeApp, delegation: Realm) -> None:
    token = delegation.user_token("amy", "patient/*.rs", "chosen")
    answer = app(token, sees="a", at=with_actors).get("/Observation")
    assert answer.status_code == 200, answer.text
