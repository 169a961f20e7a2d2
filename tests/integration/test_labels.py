"""Limits on security labels in front of real HAPI: what is labelled too high looks absent, by every way there is to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.app import refused
from tests.integration.ward import HIDDEN, OWN, Client, Ward, label

NORMAL = {"labels": {"ceiling": "N", "unlabelled": "N", "raised_by": {"__restricted": "R"}}}
OPEN = {"labels": {"ceiling": "N", "unlabelled": "N", "forbidden": [f"{OWN}|SUD"], "raised_by": {"__sud": {"allowed": [f"{OWN}|SUD"]}}}}
RESEARCH = {"labels": {"required": [f"{OWN}|RESEARCH"]}}
PURPOSE = "purpose_of_use"
BY_PURPOSE = {
    "labels": [
        {"when": {"claim": {PURPOSE: ["TREAT", "HPAYMT"]}}, "ceiling": "R", "unlabelled": "N"},
        {"when": {"claim": {PURPOSE: "HPAYMT"}}, "ceiling": "N", "unlabelled": "N"},
        {"when": {"claim": {PURPOSE: "HRESCH"}}, "required": [f"{OWN}|RESEARCH"]},
    ]
}
UNLABELLED = {"labels": {"ceiling": "N"}}


def observation(name: str, *labels: dict[str, str], hidden: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"ward-{name}",
        "meta": {"security": list(labels)} if labels else {},
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2339-0"}], "text": HIDDEN if hidden else "plain"},
        "subject": {"reference": "Patient/ward-p"},
        **more,
    }


VISIBLE = {"Observation/ward-none", "Observation/ward-n", "Observation/ward-foreign", "Observation/ward-research"}
RESTRICTED = {"Observation/ward-r", "Observation/ward-nr"}
BEYOND = {"Observation/ward-v", "Observation/ward-odd"}


@pytest.fixture(scope="module", autouse=True)
def records(ward: Ward) -> Iterator[None]:
    patient = {
        "resourceType": "Patient",
        "id": "ward-p",
        "name": [{"family": "Ward"}],
        "managingOrganization": {"reference": "Organization/ward-o"},
    }
    organization = {"resourceType": "Organization", "id": "ward-o", "name": HIDDEN, "meta": {"security": [label("R")]}}
    observations = [
        observation("none"),
        observation("n", label("N")),
        observation("foreign", label("BLUE", OWN)),
        observation("research", label("N"), label("RESEARCH", OWN)),
        observation("r", label("R"), hidden=True),
        observation("nr", label("N"), label("R"), hidden=True),
        observation("v", label("V"), hidden=True),
        observation("odd", label("restricted"), hidden=True),
    ]
    report = {
        "resourceType": "DiagnosticReport",
        "id": "ward-report",
        "status": "final",
        "code": {"text": "report"},
        "subject": {"reference": "Patient/ward-p"},
        "result": [{"reference": "Observation/ward-r"}, {"reference": "Observation/ward-n"}],
    }
    ward.put(patient, organization, *observations, report)
    yield
    names = ["DiagnosticReport/ward-report", *VISIBLE, *RESTRICTED, *BEYOND, "Patient/ward-p", "Organization/ward-o"]
    ward.delete(*names)


@pytest.fixture
def normal(ward: Ward) -> Client:
    return ward.client(NORMAL)


@pytest.fixture
def raised(ward: Ward) -> Client:
    return ward.client(NORMAL, "user/*.cruds __restricted", seeing=True)


@pytest.mark.parametrize("scope", ["user/*.cruds", "patient/*.cruds"])
def test_a_search_finds_what_is_labelled_low_enough(ward: Ward, scope: str) -> None:
    target = "/Observation?code=2339-0&_count=2"
    claims = {"patient": "ward-p"}
    assert ward.client(NORMAL, scope, **claims).found(target) == VISIBLE
    assert ward.client(NORMAL, f"{scope} __restricted", seeing=True, **claims).found(target) == VISIBLE | RESTRICTED
    assert ward.client({}, scope, seeing=True, **claims).found(target) == VISIBLE | RESTRICTED | BEYOND


def test_no_number_tells_of_what_is_hidden(normal: Client) -> None:
    assert "total" not in normal.get("/Observation?code=2339-0&_total=accurate").json()
    refused(normal.get("/Observation?_summary=count"), 403, "inexact-count")
    for query in (f"_security={label('R')['system']}|R", "_id=ward-r,ward-v", "_security:not=x"):
        assert not normal.found(f"/Observation?{query}") & (RESTRICTED | BEYOND)


def test_a_read_looks_absent(normal: Client, raised: Client) -> None:
    absent = normal.get("/Observation/never-was")
    for name in RESTRICTED | BEYOND:
        answer = normal.get(f"/{name}")
        assert refused(answer, 404)["issue"][0]["details"] == absent.json()["issue"][0]["details"]
        assert set(answer.headers) == set(absent.headers)
        refused(normal.get(f"/{name}/_history"), 404)
        refused(normal.get(f"/{name}/_history/1"), 404)
    assert all(normal.get(f"/{name}").status_code == 200 for name in VISIBLE)
    assert all(raised.get(f"/{name}").status_code == 200 for name in RESTRICTED)
    assert all(raised.get(f"/{name}").status_code == 404 for name in BEYOND)


def test_includes_bring_nothing_that_is_hidden(normal: Client, raised: Client) -> None:
    asked = "/DiagnosticReport?_id=ward-report&_include=DiagnosticReport:result"
    assert normal.found(asked) == {"DiagnosticReport/ward-report", "Observation/ward-n"}
    assert raised.found(asked) == {"DiagnosticReport/ward-report", "Observation/ward-n", "Observation/ward-r"}
    assert normal.found("/Patient?_id=ward-p&_revinclude=Observation:subject&_count=50") == {"Patient/ward-p", *VISIBLE}
    assert normal.found("/Patient?_id=ward-p&_include=Patient:organization") == {"Patient/ward-p"}


def test_summaries_and_elements_do_not_lose_the_label(normal: Client) -> None:
    refused(normal.get("/Observation?_summary=true"), 403, "summary-hides-check")
    assert normal.found("/Observation?_elements=status&code=2339-0&_count=50") == VISIBLE
    assert normal.found("/Observation?_summary=data&code=2339-0&_count=50") == VISIBLE
    refused(normal.get("/Observation/ward-r?_summary=data"), 404)


def test_an_old_version_is_hidden_by_the_label_of_today(ward: Ward, normal: Client, raised: Client) -> None:
    ward.put(observation("aging", hidden=True))
    try:
        seeing = ward.client(NORMAL, seeing=True)
        assert seeing.get("/Observation/ward-aging/_history/1").status_code == 200
        ward.put(observation("aging", label("R"), hidden=True))
        refused(normal.get("/Observation/ward-aging/_history/1"), 404)
        refused(normal.get("/Observation/ward-aging/_history"), 404)
        assert normal.get("/Observation/_history?_count=50").status_code == 200
        assert raised.get("/Observation/ward-aging/_history/1").status_code == 200
        assert len(raised.get("/Observation/ward-aging/_history").json()["entry"]) == 2
    finally:
        ward.delete("Observation/ward-aging")


def test_what_is_hidden_cannot_be_written(ward: Ward, normal: Client) -> None:
    refused(normal("PUT", "/Observation/ward-r", observation("r", label("N"))), 404)
    refused(normal("DELETE", "/Observation/ward-r"), 404)
    patch = [{"op": "remove", "path": "/meta/security"}]
    refused(normal("PATCH", "/Observation/ward-r", patch, content_type="application/json-patch+json"), 404)
    assert ward.stored("Observation/ward-r")["meta"]["security"][0]["code"] == "R"


def test_nothing_is_labelled_beyond_the_limit(ward: Ward, normal: Client, raised: Client) -> None:
    relabelled = [{"op": "add", "path": "/meta/security", "value": [label("R")]}]
    refused(normal("PATCH", "/Observation/ward-n", relabelled, content_type="application/json-patch+json"), 403)
    refused(normal("PUT", "/Observation/ward-n", observation("n", label("V"))), 403)
    refused(normal("POST", "/Observation", observation("new", label("R"))), 403)
    made = raised("POST", "/Observation", {**observation("new", label("R")), "status": "preliminary"})
    assert made.status_code == 201
    name = made.headers["location"].removeprefix(f"{raised.base}/").partition("/_history")[0]
    refused(normal.get(f"/{name}"), 404)
    assert normal("PUT", "/Observation/ward-n", observation("n", label("N"))).status_code == 200
    ward.delete(name)


def test_entries_of_a_batch_go_by_the_same_rule(normal: Client) -> None:
    asked = ["Observation/ward-r", "Observation/ward-n", "Observation?code=2339-0&_count=50"]
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": url}} for url in asked]}
    entries = normal("POST", "", batch).json()["entry"]
    assert [entry["response"]["status"][:3] for entry in entries] == ["404", "200", "200"]
    found = {f"Observation/{entry['resource']['id']}" for entry in entries[2]["resource"]["entry"]}
    assert found == VISIBLE


def test_operations_go_by_the_same_rule(normal: Client, raised: Client) -> None:
    everything = normal.found("/Patient/ward-p/$everything")
    assert everything >= {"Patient/ward-p", *VISIBLE}
    assert not everything & (RESTRICTED | BEYOND)
    assert raised.found("/Patient/ward-p/$everything") >= RESTRICTED
    refused(normal.get("/Observation/ward-r/$meta"), 404)


def test_nothing_is_chained_through_what_may_be_hidden(normal: Client) -> None:
    refused(normal.get(f"/Patient?organization.name={HIDDEN}"), 403, "chain-not-allowed")
    refused(normal.get("/Patient?_has:Observation:patient:_security=x"), 403, "chain-not-allowed")


def test_forbidden_labels_hide_and_scopes_allow_them(ward: Ward) -> None:
    ward.put(observation("sud", label("SUD", OWN), hidden=True))
    try:
        refused(ward.client(OPEN).get("/Observation/ward-sud"), 404)
        assert ward.client(OPEN).found("/Observation?code=2339-0&_count=50") == VISIBLE
        assert ward.client(OPEN, "user/*.rs __sud", seeing=True).get("/Observation/ward-sud").status_code == 200
        refused(ward.client(OPEN, "user/*.rs __other").get("/Observation/ward-sud"), 404)
    finally:
        ward.delete("Observation/ward-sud")


def test_required_labels_are_all_there_is_and_can_be_counted(ward: Ward) -> None:
    research = ward.client(RESEARCH)
    assert research.found("/Observation?_count=50") == {"Observation/ward-research"}
    assert research.get("/Observation?_summary=count").json()["total"] == 1
    refused(research.get("/Observation/ward-n"), 404)
    refused(research("POST", "/Observation", observation("new")), 403)


def test_without_a_word_on_them_unlabelled_resources_are_hidden(ward: Ward) -> None:
    strict = ward.client(UNLABELLED)
    assert strict.found("/Observation?_count=50") == {"Observation/ward-n", "Observation/ward-research"}
    refused(strict.get("/Observation/ward-none"), 404)
    refused(strict.get("/Patient/ward-p"), 404)


def test_what_a_purpose_of_use_shows(ward: Ward) -> None:
    """A limit for each purpose; a token of several purposes has the limits of them all, and one of none nothing."""
    target = "/Observation?code=2339-0&_count=50"
    treating = ward.client(BY_PURPOSE, seeing=True, purpose_of_use="TREAT")
    assert treating.found(target) == VISIBLE | RESTRICTED
    assert treating.get("/Observation/ward-r").status_code == 200
    refused(treating.get("/Observation/ward-v"), 404)
    for paying in ("HPAYMT", ["TREAT", "HPAYMT"]):
        client = ward.client(BY_PURPOSE, purpose_of_use=paying)
        assert client.found(target) == VISIBLE
        refused(client.get("/Observation/ward-r"), 404)
        refused(client("PUT", "/Observation/ward-r", observation("r", label("N"))), 404)
    for researching in ("HRESCH", ["TREAT", "HRESCH"], ["HRESCH", "unheard-of"]):
        client = ward.client(BY_PURPOSE, purpose_of_use=researching)
        assert client.found(target) == {"Observation/ward-research"}
        refused(client.get("/Observation/ward-n"), 404)


@pytest.mark.parametrize("said", [..., None, "", "treat", "TREAT,HPAYMT", " TREAT", [], ["BTG"], {"code": "TREAT"}, [{"code": "TREAT"}]])
def test_without_a_purpose_that_the_policy_names_there_is_nothing(ward: Ward, said: Any) -> None:
    client = ward.client(BY_PURPOSE, purpose_of_use=said)
    refused(client.get("/Observation?_count=50"), 403)
    assert client.get("/Observation/ward-none").status_code in {403, 404}
    refused(client("POST", "/Observation", observation("new")), 403)


READING = {"labels": {"forbidden": [f"{OWN}|VIP"], "permissions": "rs"}}


def test_no_update_shows_the_past_of_what_labels_hide(ward: Ward) -> None:
    """Only reading is limited: but whoever takes the label away would read what was there before it."""
    client = ward.client(READING)
    bare = {**observation("past"), "status": "amended"}
    json_patch = {"content_type": "application/json-patch+json"}
    ward.put(observation("past", hidden=True))
    ward.put(observation("past", label("VIP", OWN), hidden=True))
    try:
        refused(client.get("/Observation/ward-past/_history/1"), 404)
        refused(client("PUT", "/Observation/ward-past", bare), 403, "element-not-writable")
        refused(client("PATCH", "/Observation/ward-past", [{"op": "replace", "path": "/meta/security", "value": []}], **json_patch), 403)
        for type in ("batch", "transaction"):
            entry = {"request": {"method": "PUT", "url": "Observation/ward-past"}, "resource": bare}
            answer = client("POST", "", {"resourceType": "Bundle", "type": type, "entry": [entry]})
            assert "403" in answer.text or answer.status_code == 403, answer.text
        assert ward.stored("Observation/ward-past")["meta"]["security"][0]["code"] == "VIP"
        refused(client.get("/Observation/ward-past/_history/1"), 404)
        assert client("PUT", "/Observation/ward-past", {**bare, "meta": {"security": [label("VIP", OWN)]}}).status_code == 200
    finally:
        ward.delete("Observation/ward-past")
