"""Operations that the policy opens in front of real HAPI: by plain scopes that are URIs, and how their answers are checked.

``$document`` makes a Bundle of a Composition and whatever it refers to, records of other patients among that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.app import refused
from tests.integration.ward import HIDDEN, Client, Resource, Ward, label

URI = "https://apps.example/scopes/document"
URN = "urn:example:scopes:document"
OWN_ENTRIES = {"Composition/open-mixed", "Patient/open-p1", "Observation/open-o1"}
FOREIGN_ENTRIES = {"Observation/open-o2", "Patient/open-p2"}
MIXED, PURE = "/Composition/open-mixed/$document", "/Composition/open-pure/$document"


def composition(name: str, *entries: str) -> Resource:
    return {
        "resourceType": "Composition",
        "id": f"open-{name}",
        "status": "final",
        "type": {"text": "letter"},
        "subject": {"reference": "Patient/open-p1"},
        "date": "2026-01-01",
        "author": [{"reference": "Patient/open-p1"}],
        "title": name,
        "section": [{"entry": [{"reference": entry} for entry in entries]}],
    }


def observation(name: str, of: str, text: str = "plain", *labels: dict[str, str]) -> Resource:
    meta = {"meta": {"security": list(labels)}} if labels else {}
    subject = {"reference": f"Patient/open-{of}"}
    return {"resourceType": "Observation", "id": f"open-{name}", **meta, "status": "final", "code": {"text": text}, "subject": subject}


@pytest.fixture(scope="module", autouse=True)
def records(ward: Ward) -> Iterator[None]:
    resources: list[Resource] = [
        {"resourceType": "Patient", "id": "open-p1"},
        {"resourceType": "Patient", "id": "open-p2", "name": [{"family": HIDDEN}]},
        observation("o1", "p1"),
        observation("o2", "p2", HIDDEN),
        observation("o3", "p1", HIDDEN, label("R")),
        composition("mixed", "Observation/open-o1", "Observation/open-o2"),
        composition("pure", "Observation/open-o1"),
        composition("labelled", "Observation/open-o1", "Observation/open-o3"),
    ]
    ward.put(*resources)
    yield
    ward.delete(*(f"{r['resourceType']}/{r['id']}" for r in reversed(resources)))


def opening(answer: str, *scopes: str, **more: Any) -> dict[str, Any]:
    """A policy with ``$document`` for Compositions."""
    opened = {"level": "instance", "types": ["Composition"], "method": "GET", "scopes": list(scopes or (URI,)), "answer": answer}
    return {"operations": {"$document": opened}, **more}


def entries(answer: httpx.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "document")
    return {f"{entry['resource']['resourceType']}/{entry['resource']['id']}" for entry in bundle["entry"]}


def patients(ward: Ward, policy: dict[str, Any], scope: str = f"patient/*.rs {URI}", *, seeing: bool = False) -> Client:
    """The app of the first patient."""
    return ward.client(policy, scope, seeing=seeing, patient="open-p1", fhirUser="Patient/open-p1")


@pytest.mark.parametrize("uri", [URI, URN])
def test_a_scope_that_is_a_uri_opens_it_whole_and_as_it_is_written(ward: Ward, uri: str) -> None:
    policy = opening("filter", uri)
    assert entries(patients(ward, policy, f"patient/*.rs {uri}").get(PURE)) >= {"Composition/open-pure", "Observation/open-o1"}
    for other in ("", f"{uri}s", uri.upper(), f"{uri}/", f"{uri}?x=y", f"{uri}#x", uri[:-1], "__document"):
        refused(patients(ward, policy, f"patient/*.rs {other}").get(PURE), 403, "insufficient-scope")


def test_who_registered_no_such_uri_is_not_let_in(ward: Ward) -> None:
    registered = {
        scope: opening("filter", clients={"growth-chart": {"registered_scopes": ["patient/*.rs", scope]}}) for scope in (URI, URN)
    }
    assert entries(patients(ward, registered[URI]).get(PURE)) >= {"Composition/open-pure"}
    refused(patients(ward, registered[URN]).get(PURE), 403, "insufficient-scope")
    limited = opening("filter", clients={"growth-chart": {"limit": ["patient/*.rs"]}})
    refused(patients(ward, limited).get(PURE), 403, "insufficient-scope")


def test_filter_takes_out_what_the_token_may_not_read(ward: Ward) -> None:
    patient = patients(ward, opening("filter"))
    assert entries(patient.get(MIXED)) == OWN_ENTRIES
    assert entries(patient.get(PURE)) == {"Composition/open-pure", "Patient/open-p1", "Observation/open-o1"}
    assert "total" not in patient.get(MIXED).json()
    narrow = patients(ward, opening("filter"), f"patient/Composition.r {URI}")
    assert entries(narrow.get(MIXED)) == {"Composition/open-mixed"}


def test_filter_takes_out_what_labels_hide(ward: Ward) -> None:
    labels = {"ceiling": "N", "unlabelled": "N", "raised_by": {"__restricted": "R"}}
    target = "/Composition/open-labelled/$document"
    assert "Observation/open-o3" not in entries(patients(ward, opening("filter", labels=labels)).get(target))
    raised = patients(ward, opening("filter", labels=labels), f"patient/*.rs {URI} __restricted", seeing=True)
    assert "Observation/open-o3" in entries(raised.get(target))


def test_refuse_refuses_the_whole_where_anything_is_outside(ward: Ward) -> None:
    patient = patients(ward, opening("refuse"))
    refused(patient.get(MIXED), 403, "outside-boundary")
    assert entries(patient.get(PURE)) >= {"Composition/open-pure", "Observation/open-o1"}
    refused(patients(ward, opening("refuse"), f"patient/Composition.r {URI}").get(PURE), 403, "outside-boundary")


@pytest.mark.parametrize("answer", ["none", "stream"])
def test_what_is_not_looked_at_is_all_that_the_operation_says(ward: Ward, answer: str) -> None:
    policy = opening(answer)
    assert entries(patients(ward, policy, seeing=True).get(MIXED)) == OWN_ENTRIES | FOREIGN_ENTRIES
    refused(patients(ward, policy, "patient/*.rs").get(MIXED), 403, "insufficient-scope")


@pytest.mark.parametrize("answer", ["filter", "refuse", "none", "stream"])
def test_the_instance_must_be_inside_however_the_answer_is_checked(ward: Ward, answer: str) -> None:
    stranger = ward.client(opening(answer), f"patient/*.rs {URI}", patient="open-p2", fhirUser="Patient/open-p2")
    refused(stranger.get(MIXED), 404)
    refused(stranger.get("/Composition/never-was/$document"), 404)
    patient = patients(ward, opening(answer))
    refused(patient.get("/Observation/open-o1/$document"), 403, "operation-not-opened")
    refused(patient.get(f"{MIXED}?persist=true"), 400)
