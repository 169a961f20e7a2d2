"""The basic policy in front of real HAPI: clients, users, answer choices, public interactions, compartment search by path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.app import MakeApp, ids, refused, required_scopes
from tests.integration.records import EVERYBODY, LABS, all_records, transaction
from tests.integration.servers import realm
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi, start_hapi
from tests.integration.servers.keycloak import Keycloak

Configured = Callable[..., Gateway]


@pytest.fixture
def configured(gateways: StartGateway, settings: dict[str, Any]) -> Configured:
    """A gateway with this policy."""
    return lambda **policy: gateways({**settings, "policy": policy})


@pytest.mark.parametrize(
    ("client", "allowed", "denied"),
    [
        ({"limit": ["patient/Observation.rs"]}, "/Observation/lab-0-chart-a", "/Condition/condition-chart-a"),
        ({"pin": ["patient/Condition.rs"]}, "/Condition/condition-chart-a", "/Observation/lab-0-chart-a"),
        ({"limit": ["patient/Observation.rs?category=laboratory"]}, "/Observation/lab-0-chart-a", "/Observation/vital-0-chart-a"),
    ],
)
def test_a_client_never_gets_more_than_the_policy_says(
    configured: Configured, as_user: MakeApp, client: dict[str, Any], allowed: str, denied: str
) -> None:
    at = configured(clients={realm.APP: client})
    amy = as_user("amy", "patient/*.rs", sees="a", at=at)
    assert amy.get(allowed).status_code == 200
    assert amy.get(denied).status_code in {403, 404}
    refused(amy.get("/Observation/lab-0-chart-b" if "Observation" in allowed else "/Condition/condition-chart-b"), 404)


def test_a_client_that_is_not_named_is_refused(configured: Configured, as_user: MakeApp, as_service: MakeApp) -> None:
    at = configured(clients={realm.SERVICE: {"role": "system"}})
    refused(as_user("amy", "patient/*.rs", at=at).get("/Patient/pat-a"), 403, "client-not-allowed")
    assert as_service("system/*.rs", at=at).get("/Patient/pat-a").status_code == 200
    open_to_all = configured(clients={"*": {}})
    assert as_user("amy", "patient/*.rs", sees="a", at=open_to_all).get("/Patient/pat-a").status_code == 200
    refused(as_service("system/*.rs", sees="", at=open_to_all).get("/Patient/pat-a"), 403)


def test_only_registered_scopes_are_hinted(configured: Configured, as_user: MakeApp) -> None:
    at = configured(clients={realm.APP: {"registered_scopes": ["patient/Observation.rs", "launch/patient"]}})
    amy = as_user("amy", "patient/Patient.r", sees="a", at=at)
    assert required_scopes(refused(amy.get("/Observation"), 403)) == ["patient/Observation.s"]
    assert required_scopes(refused(amy.get("/Condition"), 403)) == []


SMART_EXTENSION = "http://hl7.org/fhir/smart-app-launch/StructureDefinition/required-scope"


def test_the_missing_scope_is_named_in_the_extension_that_the_policy_chooses(configured: Configured, as_user: MakeApp) -> None:
    chosen, other = (
        as_user("amy", "patient/Patient.r", sees="a", at=at) for at in (configured(required_scope_extension="smart"), configured())
    )
    assert required_scopes(refused(chosen.get("/Observation"), 403), SMART_EXTENSION) == ["patient/Observation.s"]
    assert required_scopes(refused(chosen.get("/Observation"), 403)) == []
    assert required_scopes(refused(other.get("/Observation"), 403), SMART_EXTENSION) == []
    assert required_scopes(refused(other.get("/Observation"), 403)) == ["patient/Observation.s"]
    entries = [{"request": {"method": "GET", "url": url}} for url in ("Patient/pat-a", "Observation")]
    answer = chosen.send("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": entries}).json()["entry"]
    assert [entry["response"]["status"][:3] for entry in answer] == ["200", "403"]
    assert required_scopes(answer[1]["response"]["outcome"], SMART_EXTENSION) == ["patient/Observation.s"]
    assert chosen.get("/Patient/pat-a").status_code == 200


def test_a_client_comes_from_its_networks_alone(configured: Configured, as_user: MakeApp, as_service: MakeApp) -> None:
    inside, outside = ["127.0.0.0/8", "::1/128"], ["10.1.0.0/16"]
    at = configured(clients={realm.APP: {"networks": inside}, realm.SERVICE: {"role": "system", "networks": outside}})
    amy, service = as_user("amy", "patient/*.rs", sees="a", at=at), as_service("system/*.rs", sees="", at=at)
    assert amy.get("/Patient/pat-a").status_code == 200
    for target in ("/Patient/pat-a", "/Patient/never-was", "/Observation", "/Patient/pat-a/_history"):
        refused(service.get(target), 403, "client-not-allowed")
    lied = {"x-forwarded-for": "10.1.2.3", "forwarded": "for=10.1.2.3", "x-real-ip": "10.1.2.3"}
    refused(service.get("/Patient/pat-a", headers=lied), 403, "client-not-allowed")
    assert service.get("/metadata").status_code == 200


def test_behind_a_trusted_proxy_its_word_counts_for_the_network(
    gateways: StartGateway, settings: dict[str, Any], as_service: MakeApp
) -> None:
    policy = {"clients": {realm.SERVICE: {"role": "system", "networks": ["10.1.0.0/16"]}}}
    at = gateways({**settings, "policy": policy, "server": {"trusted_proxies": ["127.0.0.1"]}})
    for address, status in (("10.1.2.3", 200), ("10.2.2.3", 403), ("10.1.2.3, 10.2.2.3", 403), ("unknown", 403), ("10.1.2.3:99", 403)):
        answer = as_service("system/*.rs", at=at).get("/Patient/pat-a", headers={"x-forwarded-for": address})
        assert answer.status_code == status, (address, answer.text)
    refused(as_service("system/*.rs", sees="", at=at).get("/Patient/pat-a"), 403, "client-not-allowed")


def test_user_rules_bound_user_scopes(configured: Configured, as_user: MakeApp) -> None:
    at = configured(users={"Practitioner": ["user/Patient.rs", "user/Observation.rs?category=laboratory"], "Patient": "nothing"})
    house = as_user("dr-house", "user/*.rs", sees=EVERYBODY, at=at)
    assert len(ids(house.get("/Observation?_count=100"))) == 4 * LABS
    refused(house.get("/Observation/vital-0-chart-a"), 404)
    refused(house.get("/Condition"), 403)
    refused(as_user("amy", "user/*.rs", at=at).get("/Patient/pat-a"), 403)
    refused(as_user("rita", "user/*.rs", at=at).get("/Patient/pat-a"), 403)


def test_the_two_answer_choices(configured: Configured, as_user: MakeApp) -> None:
    at = configured(foreign_patient_search="empty", absent_and_forbidden=403)
    amy = as_user("amy", "patient/*.rs", sees="a", at=at)
    for target in ("/Observation?patient=pat-b", "/Patient?_id=pat-b", "/Patient/pat-b/Observation"):
        answer = amy.get(target)
        assert (ids(answer), answer.json().get("total", 0)) == ([], 0)
    refused(amy.get("/Observation/lab-0-chart-b"), 403)
    refused(amy.get("/Observation/never-was"), 403)


def test_public_interactions_need_no_token(configured: Configured, app: MakeApp) -> None:
    at = configured(public=[{"interaction": "search-type", "type": "Organization"}, {"interaction": "read", "type": "Organization"}])
    anybody = app(None, at=at)
    assert ids(anybody.get("/Organization")) == ["Organization/org-1"]
    assert anybody.get("/Organization/org-1").status_code == 200
    refused(anybody.get("/Practitioner"), 401)
    refused(anybody.get("/Patient"), 401)


def test_a_free_id_is_created_only_where_the_policy_says_so(configured: Configured, as_user: MakeApp) -> None:
    at = configured(writes={"update_as_create": "uuid_only"})
    wanda = as_user("wanda", "patient/*.cruds", sees="w", at=at)
    uuid = "5a2e3f60-9d7c-4b07-8f6e-1c2d3e4f5a6b"
    for id, status in ((uuid, 201), ("chosen-chart-w", 404)):
        body = {
            "resourceType": "Observation",
            "id": id,
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": "Patient/pat-w"},
        }
        assert wanda.send("PUT", f"/Observation/{id}", body).status_code == status
    assert wanda("DELETE", f"/Observation/{uuid}").status_code in {200, 204}
    foreign = {
        "resourceType": "Observation",
        "id": "lab-0-chart-b",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/pat-w"},
    }
    refused(wanda.send("PUT", "/Observation/lab-0-chart-b", foreign), 404)


@pytest.fixture(scope="module")
def with_compartments(java: None, work: Path) -> Iterator[Hapi]:
    """A HAPI that has compartment search."""
    server = start_hapi(work / "hapi-compartments.log", compartments=True)
    try:
        server.put(transaction(all_records()))
        yield server
    finally:
        server.running.stop()


def test_compartments_by_the_upstreams_own_path(
    gateways: StartGateway, with_compartments: Hapi, settings: dict[str, Any], keycloak: Keycloak, app: MakeApp
) -> None:
    """What Anna only performed is found too: the compartment is the server's, not one parameter."""
    upstream = {"url": with_compartments.base, "fhir_version": "R4", "compartment_search": "compartment"}
    at = gateways({**settings, "upstream": upstream})
    amy = app(keycloak.user_token("amy", "patient/*.rs"), sees="ac", at=at)
    found = ids(amy.get("/Observation?_count=100"))
    assert "Observation/performed-by-anna" in found
    assert not [name for name in found if name.endswith(("-chart-b", "-chart-c", "-chart-w"))]
    assert set(found) == set(ids(amy.get("/Patient/pat-a/Observation?_count=100")))
    posted = amy("POST", "/Patient/pat-a/*/_search", data={"_type": "Observation,Condition", "_count": "100"})
    assert set(ids(posted)) == {*found, "Condition/condition-chart-a"}
    assert set(ids(amy.get("/Encounter/encounter-chart-a/Observation"))) == {f"Observation/lab-{n}-chart-a" for n in range(LABS)}
    assert set(ids(amy.get("/Observation?code=2339-0"))) == {f"Observation/lab-{n}-chart-a" for n in range(LABS)}
    refused(amy.get("/Patient/pat-b/Observation"), 403, "foreign-patient")
