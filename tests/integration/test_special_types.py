"""Types whose place other resources decide, that hold others, or that belong to the server, against real HAPI (semantics 3, 5, 6, 7)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.app import FHIR_JSON, App, MakeApp, ids, refused
from tests.integration.records import EVERYBODY, canary
from tests.integration.servers.gateway import Gateway, StartGateway
from tests.integration.servers.hapi import Hapi

Resource = dict[str, Any]
INSIDE = [
    "Binary/bin-chart-a",
    "Binary/bin-of-lab-chart-a",
    "AuditEvent/audit-chart-a",
    "AuditEvent/audit-of-lab-chart-a",
    "Provenance/prov-version-chart-a",
    "Group/group-chart-a",
    "List/list-chart-a",
    "Person/person-chart-a",
    "Basic/basic-chart-a",
    "Consent/consent-chart-a",
    "Composition/composition-chart-a",
    "QuestionnaireResponse/answers-chart-a",
    "MeasureReport/report-chart-a",
    "DocumentReference/document-chart-a",
    "Observation/containing-chart-a",
]
OUTSIDE = [
    "Binary/bin-chart-b",
    "Binary/bin-of-lab-chart-b",
    "Binary/bin-bare-chart-b",
    "AuditEvent/audit-chart-b",
    "AuditEvent/audit-entity-alone-chart-b",  # its one entity is Anna's; she is nowhere named
    "AuditEvent/audit-mixed-chart-b",  # Anna is the agent, an entity is Bea's
    "Provenance/prov-deleted-chart-b",  # its target is no more
    "List/list-chart-b",
    "Basic/basic-chart-b",
    "Consent/consent-chart-b",
    "Composition/composition-chart-b",
    "QuestionnaireResponse/answers-chart-b",
    "MeasureReport/report-chart-b",
    "DocumentReference/document-chart-b",
    "Observation/containing-chart-b",  # the Patient inside it is contained: no reference to Anna
]


def ref(target: str) -> Resource:
    return {"reference": target}


def of(patient: str, base: str) -> Iterator[Resource]:
    """What both have."""
    who, lab, text = ref(f"Patient/pat-{patient}"), ref(f"Observation/lab-0-chart-{patient}"), canary(patient)
    end = f"chart-{patient}"
    concept = {"text": text}
    data = b64encode(f"content {text}".encode()).decode()
    for id, context in ((f"bin-{end}", who), (f"bin-of-lab-{end}", lab)):
        yield {"resourceType": "Binary", "id": id, "contentType": "text/plain", "securityContext": context, "data": data}
    yield audit(f"audit-{end}", who, who)
    yield audit(f"audit-of-lab-{end}", who, lab)
    yield {"resourceType": "List", "id": f"list-{end}", "status": "current", "mode": "working", "title": text, "subject": who}
    yield {"resourceType": "Basic", "id": f"basic-{end}", "code": concept, "subject": who}
    yield {"resourceType": "Consent", "id": f"consent-{end}", "status": "active", "scope": concept, "category": [concept], "patient": who}
    yield {
        "resourceType": "Composition",
        "id": f"composition-{end}",
        "status": "final",
        "type": concept,
        "subject": who,
        "date": "2024-01-01",
        "author": [ref("Practitioner/prac-1")],
        "title": text,
        "section": [{"title": text, "entry": [lab]}],
    }
    yield {"resourceType": "QuestionnaireResponse", "id": f"answers-{end}", "status": "completed", "subject": who}
    period = {"start": "2024-01-01", "end": "2024-02-01"}
    yield {
        "resourceType": "MeasureReport",
        "id": f"report-{end}",
        "status": "complete",
        "type": "individual",
        "measure": "http://example.org/measure",
        "subject": who,
        "period": period,
    }
    attachment = {"contentType": "text/plain", "url": f"{base}/Binary/bin-{end}", "title": text}
    yield {
        "resourceType": "DocumentReference",
        "id": f"document-{end}",
        "status": "current",
        "subject": who,
        "content": [{"attachment": attachment}],
    }


def audit(id: str, agent: Resource | None, entity: Resource) -> Resource:
    return {
        "resourceType": "AuditEvent",
        "id": id,
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"requestor": True, **({"who": agent} if agent is not None else {})}],
        "source": {"observer": {"display": "x"}},
        "entity": [{"what": entity}],
    }


def provenance(id: str, target: str) -> Resource:
    agent = [{"who": ref("Practitioner/prac-1")}]
    return {"resourceType": "Provenance", "id": id, "target": [ref(target)], "recorded": "2024-03-01T10:00:00Z", "agent": agent}


def containing(patient: str, subject: Resource, inner: Resource) -> Resource:
    return {
        "resourceType": "Observation",
        "id": f"containing-chart-{patient}",
        "status": "final",
        "code": {"text": canary(patient)},
        "subject": subject,
        "contained": [inner],
        "performer": [ref("#p")],
    }


def single() -> Iterator[Resource]:
    yield {"resourceType": "Binary", "id": "bin-bare-chart-b", "contentType": "text/plain", "data": "eA=="}
    yield audit("audit-entity-alone-chart-b", None, ref("Observation/lab-0-chart-a"))
    yield audit("audit-mixed-chart-b", ref("Patient/pat-a"), ref("Observation/lab-0-chart-b"))
    yield provenance("prov-version-chart-a", "Observation/lab-0-chart-a/_history/1")
    yield {
        "resourceType": "Group",
        "id": "group-chart-a",
        "type": "person",
        "actual": True,
        "member": [{"entity": ref("Patient/pat-a")}],
    }
    yield {"resourceType": "Person", "id": "person-chart-a", "link": [{"target": ref("Patient/pat-a")}, {"target": ref("Patient/pat-b")}]}
    yield containing("a", ref("Patient/pat-a"), {"resourceType": "Practitioner", "id": "p", "name": [{"family": canary("a")}]})
    yield containing("b", ref("Patient/pat-b"), {"resourceType": "Practitioner", "id": "p", "name": [{"family": "pat-a"}]})
    yield {
        "resourceType": "Subscription",
        "id": "subscription-of-nobody",
        "status": "off",
        "reason": "test",
        "criteria": "Observation?code=x",
        "channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:9/x"},
    }
    for id, inner in (("bundle-mixed", "chart-b"), ("bundle-labs", "chart-a")):
        entry = {"resource": {"resourceType": "Observation", "id": f"lab-0-{inner}", "status": "final", "code": {"text": "x"}}}
        second = {"resource": {"resourceType": "Condition", "id": f"c-{inner}", "subject": ref(f"Patient/pat-{inner[-1]}")}}
        yield {"resourceType": "Bundle", "id": id, "type": "collection", "entry": [entry] + ([second] if id == "bundle-mixed" else [])}


@pytest.fixture(scope="module", autouse=True)
def stored(hapi: Hapi) -> Iterator[None]:
    def put(resource: Resource) -> None:
        # In plain JSON a Binary would be taken for the content of one.
        target = f"{hapi.base}/{resource['resourceType']}/{resource['id']}"
        answer = httpx.put(target, json=resource, headers={"content-type": FHIR_JSON})
        assert answer.status_code in {200, 201}, answer.text

    made = [*of("a", hapi.base), *of("b", hapi.base), *single()]
    gone = {"resourceType": "Observation", "id": "special-gone-chart-b", "status": "final", "code": {"text": "x"}}
    late = provenance("prov-deleted-chart-b", "Observation/special-gone-chart-b/_history/1")
    for resource in (*made, gone, late):
        put(resource)
    httpx.delete(f"{hapi.base}/Observation/special-gone-chart-b").raise_for_status()
    yield
    for resource in (late, *reversed(made)):
        httpx.delete(f"{hapi.base}/{resource['resourceType']}/{resource['id']}").raise_for_status()


@pytest.fixture
def amy(as_user: MakeApp) -> App:
    return as_user("amy", "patient/*.rs", sees="a")


def form(app: App, target: str) -> httpx.Response:
    """The FHIR form, of a Binary too."""
    return app.get(target, headers={"accept": "application/fhir+json"})


@pytest.mark.parametrize("target", INSIDE)
def test_what_is_inside_is_served(as_user: MakeApp, target: str) -> None:
    sees = "ab" if target.startswith("Person/") else "a"  # her Person names Bea too
    answer = form(as_user("amy", "patient/*.rs", sees=sees), f"/{target}")
    assert answer.status_code == 200, answer.text
    assert f"{answer.json()['resourceType']}/{answer.json()['id']}" == target
    history = as_user("amy", "patient/*.rs", sees=sees).get(f"/{target}/_history").json()
    assert {entry["request"]["url"] for entry in history["entry"]} == {target}


@pytest.mark.parametrize("target", OUTSIDE)
@pytest.mark.parametrize("below", ["", "/_history", "/_history/1"])
def test_what_is_outside_is_not(amy: App, target: str, below: str) -> None:
    assert form(amy, f"/{target}{below}").status_code == 404


@pytest.mark.parametrize("target", [*INSIDE, *OUTSIDE, "Subscription/subscription-of-nobody", "Bundle/bundle-mixed"])
def test_all_of_it_is_there_for_who_may_see_everything(as_service: MakeApp, as_user: MakeApp, target: str) -> None:
    assert form(as_service("system/*.rs"), f"/{target}").status_code == 200
    assert form(as_user("dr-house", "user/*.rs", sees=EVERYBODY), f"/{target}").status_code == 200


@pytest.mark.parametrize("type", sorted({target.partition("/")[0] for target in INSIDE}))
def test_searches_find_no_more_than_reads_give(as_user: MakeApp, type: str) -> None:
    found = ids(as_user("amy", "patient/*.rs", sees="abc").get(f"/{type}?_count=100"))
    assert not set(found) & set(OUTSIDE)
    if type not in {"Binary", "Person", "Provenance"}:  # these are not found by what makes them readable (docs/known-limits.md)
        assert set(found) & set(INSIDE)


def test_the_record_of_another_is_no_nearer_by_a_person_that_links_to_it(amy: App) -> None:
    refused(amy.get("/Patient/pat-b"), 404)
    refused(amy.get("/Observation?patient=Patient/pat-b"), 403)
    refused(amy.get("/Condition/condition-chart-b"), 404)


def test_content_of_a_document_is_had_by_its_link(amy: App, as_service: MakeApp) -> None:
    for app, patient in ((amy, "a"), (as_service("system/*.rs"), "b")):
        document = app.get(f"/DocumentReference/document-chart-{patient}").json()
        url = document["content"][0]["attachment"]["url"]
        assert url == f"{app.base}/Binary/bin-chart-{patient}"
        content = app.follow(url)
        assert content.status_code == 200
        raw = app.get(f"/Binary/bin-chart-{patient}", headers={"accept": "text/plain"})
        assert (raw.status_code, raw.text) == (200, f"content {canary(patient)}")
        assert raw.headers["content-security-policy"] == "sandbox"
    assert amy.get("/Binary/bin-chart-b", headers={"accept": "text/plain"}).status_code == 404


def test_a_binary_is_never_written_through_patient_scopes(as_user: MakeApp) -> None:
    app = as_user("amy", "patient/*.cruds", sees="a")
    body = {"resourceType": "Binary", "contentType": "text/plain", "securityContext": ref("Patient/pat-a"), "data": "eA=="}
    refused(app.send("POST", "/Binary", body), 403)
    refused(app.send("PUT", "/Binary/bin-chart-a", body | {"id": "bin-chart-a"}), 403)
    refused(app("DELETE", "/Binary/bin-chart-a"), 403)


@pytest.fixture(scope="module")
def stricter(gateways: StartGateway, settings: dict[str, Any]) -> Gateway:
    return gateways({**settings, "policy": {"binary": "deny"}})


@pytest.fixture(scope="module")
def laxer(gateways: StartGateway, settings: dict[str, Any]) -> Gateway:
    return gateways({**settings, "policy": {"binary": "allow"}})


def test_the_policy_says_which_binary_is_read(as_user: MakeApp, stricter: Gateway, laxer: Gateway) -> None:
    refused(form(as_user("amy", "patient/*.rs", at=stricter), "/Binary/bin-chart-a"), 403, "insufficient-scope")
    app = as_user("amy", "patient/*.rs", sees="a", at=laxer)
    assert form(app, "/Binary/bin-chart-a").status_code == 200
    assert form(app, "/Binary/bin-bare-chart-b").status_code == 200
    assert form(app, "/Binary/bin-chart-b").status_code == 404


@pytest.mark.parametrize("target", ["Subscription/subscription-of-nobody", "StructureDefinition/x", "SearchParameter/x", "ConceptMap/x"])
def test_server_types_are_closed_to_patient_scopes(amy: App, target: str) -> None:
    refused(amy.get(f"/{target}"), 403, "insufficient-scope")
    refused(amy.get(f"/{target}/_history"), 403, "insufficient-scope")
    refused(amy.get(f"/{target.partition('/')[0]}"), 403, "insufficient-scope")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_server_types_are_written_by_nobody_whose_scope_does_not_name_them(as_service: MakeApp, as_user: MakeApp, method: str) -> None:
    (body,) = (resource for resource in single() if resource["resourceType"] == "Subscription")
    target = "/Subscription" if method == "POST" else "/Subscription/subscription-of-nobody"
    for app in (as_service("system/*.cruds"), as_user("dr-house", "user/*.cruds", sees=EVERYBODY)):
        answer = app("DELETE", target) if method == "DELETE" else app.send(method, target, body)
        refused(answer, 403, "insufficient-scope")


def test_a_bundle_is_open_to_who_may_see_all_that_it_holds(as_service: MakeApp, amy: App) -> None:
    refused(amy.get("/Bundle/bundle-labs"), 403)
    assert as_service("system/*.rs").get("/Bundle/bundle-mixed").status_code == 200
