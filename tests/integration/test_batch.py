"""Batches and transactions against a real server: each entry by its own rules, a transaction all or nothing (semantics 7)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.app import FHIR_JSON, App, MakeApp, refused, required_scopes
from tests.integration.records import LABS, VITALS, canary
from tests.integration.servers.gateway import Gateway
from tests.integration.servers.hapi import Hapi
from tests.support.entries import entry

WANDA = {"reference": "Patient/pat-w"}
ONE, TWO = "urn:uuid:0c9b0f6c-9a06-4f0e-8a39-d6f6a5b2f8d1", "urn:uuid:1c9b0f6c-9a06-4f0e-8a39-d6f6a5b2f8d2"
STORED = "Observation/batched-chart-w"


def observation(**changes: Any) -> dict[str, Any]:
    """A new Observation of Wanda's."""
    return {"resourceType": "Observation", "status": "final", "code": {"text": canary("w")}, "subject": WANDA, **changes}


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}


def post(app: App, type: str, *entries: Any, **headers: str) -> httpx.Response:
    return app.send("POST", "", {"resourceType": "Bundle", "type": type, "entry": list(entries)}, **headers)


def statuses(response: httpx.Response, type: str = "batch") -> list[int]:
    assert response.status_code == 200, response.text
    bundle = response.json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", f"{type}-response")
    return [int(e["response"]["status"][:3]) for e in bundle.get("entry", [])]


def count(hapi: Hapi) -> int:
    """How many resources HAPI holds of the types that these tests write."""
    types = ("Observation", "Patient", "Encounter", "Provenance", "Bundle", "Practitioner")
    return sum(httpx.get(f"{hapi.base}/{type}?_summary=count", timeout=60).json()["total"] for type in types)


@pytest.fixture
def wanda(as_user: MakeApp) -> App:
    return as_user("wanda", "patient/*.cruds", sees="w")


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    return as_user("amy", "patient/*.rs", sees="a")


@pytest.fixture
def stored(hapi: Hapi) -> Iterator[str]:
    """An Observation of Wanda's that a test may change."""
    httpx.put(f"{hapi.base}/{STORED}", json=observation(id="batched-chart-w")).raise_for_status()
    yield STORED
    httpx.delete(f"{hapi.base}/{STORED}")


@pytest.fixture
def made(hapi: Hapi) -> Iterator[list[str]]:
    """Locations of what a test makes, deleted after it, the last first."""
    locations: list[str] = []
    yield locations
    for location in reversed(locations):
        httpx.delete(f"{hapi.base}/{location.split('/fhir/')[1].split('/_history')[0]}")


def test_reads_and_searches_in_order(amy: App, gateway: Gateway) -> None:
    answer = post(
        amy,
        "batch",
        entry("GET", "Observation/lab-0-chart-a"),
        entry("GET", "Observation/lab-0-chart-b"),
        entry("GET", "Observation/never-was"),
        entry("GET", "Observation?_count=50"),
        entry("POST", "Observation/_search?code=8867-4"),
        entry("GET", "Observation?patient=Patient/pat-b"),
        entry("GET", f"{gateway.base}/Patient/pat-a"),
        entry("HEAD", "Patient/pat-a"),
        entry("GET", "Observation/lab-0-chart-a/_history/1"),
        entry("GET", "Patient/pat-a/Observation?code=8867-4"),
        entry("GET", "metadata"),
        entry("DELETE", "Observation/lab-0-chart-a"),
    )
    assert statuses(answer) == [200, 404, 404, 200, 200, 403, 200, 200, 200, 200, 200, 403]
    entries = answer.json()["entry"]
    assert entries[0]["resource"]["id"] == "lab-0-chart-a"
    assert entries[1] == entries[2]
    assert [len(entries[n]["resource"]["entry"]) for n in (3, 4, 9)] == [LABS + VITALS, VITALS, VITALS]
    assert entries[6]["resource"]["id"] == "pat-a"
    assert "resource" not in entries[7]
    assert entries[10]["resource"]["resourceType"] == "CapabilityStatement"
    assert required_scopes(entries[11]["response"]["outcome"]) == ["patient/Observation.d"]


def test_a_page_is_followed_alone_and_in_a_batch(amy: App, gateway: Gateway) -> None:
    answer = post(amy, "batch", entry("GET", "Observation?_count=4"))
    links = {link["relation"]: link["url"] for link in answer.json()["entry"][0]["resource"]["link"]}
    assert amy.follow(links["next"]).status_code == 200
    assert statuses(post(amy, "batch", entry("GET", links["next"]))) == [200]


def test_a_batch_mixes_what_is_allowed_and_what_is_not(wanda: App, hapi: Hapi, stored: str, made: list[str]) -> None:
    before = count(hapi)
    answer = post(
        wanda,
        "batch",
        entry("POST", "Observation", observation()),
        entry("POST", "Observation", observation(subject={"reference": "Patient/pat-b"})),
        entry("PUT", stored, observation(id="batched-chart-w", status="amended")),
        entry("PUT", "Observation/lab-0-chart-b", observation(id="lab-0-chart-b")),
        entry("DELETE", "Observation/lab-0-chart-b"),
        entry("PUT", "Observation/never-was", observation(id="never-was")),
        entry("POST", "Observation", observation(focus=[{"reference": "Patient?identifier=x"}])),
        entry("PATCH", "Observation/lab-0-chart-b", patch({"op": "replace", "path": "/status", "value": "amended"})),
    )
    assert statuses(answer) == [201, 403, 200, 404, 404, 404, 403, 404]
    made.append(answer.json()["entry"][0]["response"]["location"])
    assert count(hapi) == before + 1
    assert httpx.get(f"{hapi.base}/{stored}").json()["status"] == "amended"
    assert canary("b") in httpx.get(f"{hapi.base}/Observation/lab-0-chart-b").text


def test_a_transaction_is_carried_out_and_answered_entry_by_entry(
    wanda: App, gateway: Gateway, hapi: Hapi, stored: str, made: list[str]
) -> None:
    answer = post(
        wanda,
        "transaction",
        entry("GET", stored),
        entry("POST", "Encounter", {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, "subject": WANDA}, ONE),
        entry("POST", "Observation", observation(encounter={"reference": ONE}), TWO),
        entry("PUT", stored, observation(id="batched-chart-w", status="amended")),
        entry(
            "POST",
            "Provenance",
            {
                "resourceType": "Provenance",
                "target": [{"reference": TWO}],
                "recorded": "2024-03-01T10:00:00Z",
                "agent": [{"who": {"reference": "Practitioner/prac-1"}}],
            },
        ),
        prefer="return=representation",
    )
    assert statuses(answer, "transaction") == [200, 201, 201, 200, 201], answer.text
    entries = answer.json()["entry"]
    made += [entries[n]["response"]["location"] for n in (1, 2, 4)]
    assert [e.get("resource", {}).get("resourceType") for e in entries[:4]] == ["Observation", "Encounter", "Observation", "Observation"]
    encounter = entries[1]["resource"]["id"]
    assert entries[2]["resource"]["encounter"]["reference"] == f"Encounter/{encounter}"
    assert entries[0]["resource"]["status"] == "amended"  # reads come last
    assert made[0].startswith(f"{gateway.base}/Encounter/{encounter}/_history/")
    assert wanda.follow(made[2]).status_code == 200


@pytest.mark.parametrize(
    "bad",
    [
        entry("GET", "Patient/pat-b"),
        entry("PUT", "Observation/lab-0-chart-b", observation(id="lab-0-chart-b")),
        entry("DELETE", "Observation/never-was"),
        entry("POST", "Observation", observation(subject={"reference": "Patient/pat-b"})),
        entry("POST", "Observation", observation(subject={"reference": TWO})),
        entry("POST", "Observation", observation(performer=[{"reference": "Patient?identifier=x"}])),
        entry("POST", "Observation", observation(focus=[{"reference": f"Patient?identifier=urn:test:mrn|{canary('b')}"}])),
        entry("POST", "Patient", {"resourceType": "Patient", "id": "pat-w"}),
        entry("POST", "Practitioner", {"resourceType": "Practitioner"}),
        entry("POST", "Observation", observation(), "https://elsewhere.example/fhir/Patient/pat-b"),
        entry("GET", "$graphql?query=x"),
        entry("GET", "Patient/pat-w/../pat-b"),
        entry("GET", "Patient/%2e%2e/Patient/pat-b"),
        entry("GET", "//Patient/pat-b"),
        entry("GET", "https://elsewhere.example/fhir/Patient/pat-b"),
        entry("GET", "Patient/pat-w#x"),
        entry("POST", "Bundle", {"resourceType": "Bundle", "type": "batch", "entry": [entry("GET", "Patient/pat-b")]}),
        entry("PUT", STORED, observation(id="batched-chart-w")),
        entry("PATCH", "Observation/vital-0-chart-w", patch({"op": "replace", "path": "/subject/reference", "value": "Patient/pat-b"})),
    ],
)
def test_a_transaction_with_one_refused_entry_writes_nothing(wanda: App, hapi: Hapi, stored: str, bad: Any) -> None:
    before, version = count(hapi), httpx.get(f"{hapi.base}/{stored}").headers["etag"]
    given = (entry("POST", "Observation", observation()), entry("PUT", stored, observation(id="batched-chart-w", status="amended")))
    answer = post(wanda, "transaction", *given, bad)
    assert answer.status_code in {400, 403}, answer.text
    outcome = refused(answer, answer.status_code)
    assert outcome["issue"][0]["expression"][0].startswith("Bundle.entry[")
    assert count(hapi) == before
    assert httpx.get(f"{hapi.base}/{stored}").headers["etag"] == version


def test_who_may_only_read_writes_nothing(amy: App, hapi: Hapi) -> None:
    before = count(hapi)
    outcome = refused(
        post(amy, "transaction", entry("GET", "Patient/pat-a"), entry("POST", "Condition", {"resourceType": "Condition"})), 403
    )
    assert required_scopes(outcome) == ["patient/Condition.c"]
    assert count(hapi) == before


@pytest.mark.parametrize("by", [WANDA, {"reference": ONE}])
def test_a_reference_to_the_own_record_is_resolved(wanda: App, hapi: Hapi, made: list[str], by: dict[str, str]) -> None:
    own = httpx.get(f"{hapi.base}/Patient/pat-w").json()
    given = (entry("PUT", "Patient/pat-w", own, ONE), entry("POST", "Observation", observation(subject=by)))
    answer = post(wanda, "transaction", *given, prefer="return=representation")
    assert statuses(answer, "transaction") == [200, 201], answer.text
    made.append(answer.json()["entry"][1]["response"]["location"])
    assert answer.json()["entry"][1]["resource"]["subject"]["reference"] == "Patient/pat-w"
    assert statuses(post(wanda, "batch", entry("POST", "Observation", observation(subject={"reference": ONE})))) == [403]


def test_a_new_patient_takes_nobodys_place(as_user: MakeApp, hapi: Hapi) -> None:
    """HAPI takes the id of a posted Patient for a name of it: a reference to it would leave the chart that was judged."""
    before = count(hapi)
    doctor = as_user("dr-wilson", "patient/*.cruds", "user/*.cruds", sees="abcw")
    assert doctor.get("/Patient/pat-b").status_code == 200
    wanda = as_user("wanda", "patient/*.cruds", "user/*.cruds", sees="w")
    given = (entry("POST", "Patient", {"resourceType": "Patient", "id": "pat-w"}), entry("POST", "Observation", observation()))
    refused(post(wanda, "transaction", *given), 403)
    assert count(hapi) == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_a_stale_version_is_a_conflict(wanda: App, hapi: Hapi, stored: str, method: str, type: str) -> None:
    tag = httpx.get(f"{hapi.base}/{stored}").headers["etag"]
    httpx.put(f"{hapi.base}/{stored}", json=observation(id="batched-chart-w", status="amended")).raise_for_status()
    bodies = {
        "PUT": observation(id="batched-chart-w", status="cancelled"),
        "PATCH": patch({"op": "replace", "path": "/status", "value": "unknown"}),
    }
    answer = post(wanda, type, entry(method, stored, bodies.get(method), ifMatch=tag))
    assert (answer.status_code == 400) if type == "transaction" else (statuses(answer) == [412]), answer.text
    assert httpx.get(f"{hapi.base}/{stored}").json()["status"] == "amended"


def test_a_patch_is_applied_and_judged(wanda: App, hapi: Hapi, stored: str) -> None:
    good = patch({"op": "test", "path": "/status", "value": "final"}, {"op": "replace", "path": "/status", "value": "amended"})
    bad = patch({"op": "replace", "path": "/subject/reference", "value": "Patient/pat-b"})
    assert statuses(post(wanda, "batch", entry("PATCH", stored, bad))) == [403]
    assert statuses(post(wanda, "transaction", entry("PATCH", stored, good)), "transaction") == [200]
    held = httpx.get(f"{hapi.base}/{stored}").json()
    assert (held["status"], held["subject"]) == ("amended", WANDA)


def test_a_delete_in_a_transaction(wanda: App, hapi: Hapi, stored: str) -> None:
    assert statuses(post(wanda, "transaction", entry("DELETE", stored)), "transaction")[0] in {200, 204}
    assert httpx.get(f"{hapi.base}/{stored}").status_code == 410


def test_without_a_bound_it_goes_the_same_way(as_service: MakeApp, hapi: Hapi, gateway: Gateway, made: list[str]) -> None:
    service = as_service("system/*.cruds")
    given = (
        entry("GET", "Patient/pat-b"),
        entry("POST", "Observation", observation(subject={"reference": "Patient/pat-b"})),
        entry("POST", "SearchParameter", {"resourceType": "SearchParameter"}),
        entry("GET", "Patient/$expunge"),
        entry("GET", "Observation?patient=pat-b&_count=2"),
    )
    answer = post(service, "batch", *given)
    assert statuses(answer) == [200, 201, 403, 403, 200]
    made.append(answer.json()["entry"][1]["response"]["location"])
    assert hapi.base not in answer.text
    refused(post(service, "transaction", *given), 403)


@pytest.mark.parametrize("type", ["history", "searchset", "batch", "transaction", "collection"])
def test_a_bundle_as_data_is_stored_and_never_carried_out(as_service: MakeApp, wanda: App, hapi: Hapi, made: list[str], type: str) -> None:
    before = httpx.get(f"{hapi.base}/Observation/lab-0-chart-b").headers["etag"]
    body = {"resourceType": "Bundle", "type": type, "entry": [entry("DELETE", "Observation/lab-0-chart-b")]}
    if type in {"searchset", "collection"}:
        body["entry"] = [{"fullUrl": f"{hapi.base}/Observation/lab-0-chart-b", "resource": observation(id="lab-0-chart-b")}]
    answer = as_service("system/*.cruds").send("POST", "/Bundle", body)
    if answer.status_code == 201:  # HAPI stores some types of Bundle only
        made.append(answer.headers["location"])
    assert answer.status_code in {201, 422}, answer.text
    refused(wanda.send("POST", "/Bundle", body), 403)
    assert httpx.get(f"{hapi.base}/Observation/lab-0-chart-b").headers["etag"] == before


def test_a_reference_that_is_a_search_is_one_alone_too(wanda: App, as_user: MakeApp, hapi: Hapi) -> None:
    """HAPI resolves it in any write, and would tell by that whether somebody has the identifier."""
    before = count(hapi)
    body = observation(focus=[{"reference": f"Patient?identifier=urn:test:mrn|{canary('b')}"}])
    assert "focus" in refused(wanda.send("POST", "/Observation", body), 403, "conditional-reference")["issue"][0]["details"]["text"]
    assert count(hapi) == before


@pytest.mark.parametrize("type", ["batch", "transaction"])
@pytest.mark.parametrize("url", ["Observation/$lastn", "Patient/pat-a/$everything", "ValueSet/$expand"])
def test_an_operation_by_post_creates_nothing(as_user: MakeApp, hapi: Hapi, type: str, url: str) -> None:
    """HAPI takes each POST of a Bundle for a create, whatever its URL says: what is posted would be stored by who may only read."""
    amy = as_user("amy", "patient/*.rs", sees="ac")  # of Carl's she performed an Observation, which is in her record
    stored = f"{hapi.base}/Parameters?_summary=count"
    before = httpx.get(stored, timeout=60).json()["total"]
    answer = post(amy, type, entry("POST", url, {"resourceType": "Parameters"}), entry("GET", "Patient/pat-a"))
    assert statuses(answer, type)[1] == 200
    assert statuses(answer, type)[0] != 201
    assert httpx.get(stored, timeout=60).json()["total"] == before


@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_what_is_validated_in_a_batch_is_not_written(wanda: App, hapi: Hapi, type: str) -> None:
    before = count(hapi)
    assert statuses(post(wanda, type, entry("POST", "Observation/$validate", observation())), type) == [200]
    assert count(hapi) == before


def test_many_entries(amy: App) -> None:
    answer = post(amy, "batch", *[entry("GET", f"Observation/lab-{n % LABS}-chart-{'ab'[n % 2]}") for n in range(200)])
    assert statuses(answer) == [200 if n % 2 == 0 else 404 for n in range(200)]
    refused(post(amy, "batch", *[entry("GET", "Patient/pat-a")] * 1001), 400, "too-many-entries")


def test_media(amy: App) -> None:
    bundle = {"resourceType": "Bundle", "type": "batch"}
    assert amy.send("POST", "", bundle, accept="application/fhir+xml").status_code == 406
    assert amy("POST", "", content=b"<Bundle/>", headers={"content-type": "application/fhir+xml"}).status_code == 415
    assert amy("POST", "/", content=json.dumps(bundle), headers={"content-type": FHIR_JSON}).status_code == 200
